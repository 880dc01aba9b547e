"""How good the kept model is: the metrics of validation and test, and of each label."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import TypeAlias

import numpy as np

from trainer.data.prepare import Prepared
from trainer.heads._labels import shown_label
from trainer.run.evaluation import Evaluated
from trainer.run.job import CALIBRATION_FILE
from trainer.run.kept_model import KeptModel

REPORTED_SPLITS = ("validation", "test")
SHOWN_LABELS = 30  # on the terminal
LABEL_METRICS = ("precision", "recall", "f1")
LabelScores: TypeAlias = Mapping[str, Mapping[str, float]]  # label -> metric -> value


@dataclasses.dataclass(frozen=True)
class Scores:
    """What evaluating the kept model gave, by split.

    Attributes:
        metrics: the split's metrics by name.
        per_label: those of each label, where there are labels.
        results: what the metrics are made of, as `Evaluator.results` returns it.
    """

    metrics: dict[str, dict[str, float]]
    per_label: dict[str, LabelScores]
    results: dict[str, dict[str, np.ndarray]]

    def as_json(self) -> dict[str, object]:
        """The parts of results.json that they are."""
        if not self.per_label:
            return dict(self.metrics)
        return {**self.metrics, "per_label": self.per_label}


def score(
    kept: KeptModel,
    prepared: Prepared,
    *,
    evaluated: Evaluated | None = None,
    calibrate: bool = False,
) -> Scores:
    """Evaluates the kept model on validation and test, as far as there are such splits.

    Args:
        kept: the model.
        prepared: has the splits.
        evaluated: training's last evaluation, which is not made again where it is of this model.
        calibrate: let validation decide anew what it decides, such as a threshold, and keep that
            with the model.
    """
    scores = Scores({}, {}, {})
    if evaluated is not None and evaluated.step != kept.step:
        evaluated = None
    for split in REPORTED_SPLITS:
        if split not in prepared.splits:
            continue
        is_validation = split == "validation"
        _score_split(
            kept,
            prepared,
            split,
            scores,
            evaluated if is_validation else None,
            calibrate=calibrate and is_validation,
        )
    return scores


def _score_split(
    kept: KeptModel,
    prepared: Prepared,
    split: str,
    scores: Scores,
    evaluated: Evaluated | None,
    *,
    calibrate: bool,
) -> None:
    """Adds the scores of one split."""
    head = kept.parts.head
    job = kept.job
    store = prepared.splits[split]
    results = evaluated.results if evaluated else _results(kept, prepared, split)
    scores.results[split] = results
    if calibrate:
        chosen = head.calibrate(results, store)
        if chosen and job.writes:
            job.write_json(CALIBRATION_FILE, chosen)
    metrics = dict(head.metrics(results, store))
    if evaluated and evaluated.judged is not None:
        metrics |= evaluated.judged
    elif job.writes:
        metrics |= _judged(kept, prepared, split)
    scores.metrics[split] = metrics
    if label_scores := head.per_label(results, store):
        scores.per_label[split] = label_scores
        kept.parts.display.table(f"{split}, each label", label_rows(label_scores))


def _results(kept: KeptModel, prepared: Prepared, split: str) -> dict[str, np.ndarray]:
    results = kept.evaluator.results(prepared.splits[split], _progress(kept, "evaluating"))
    kept.parts.display.done("evaluating")
    return results


def _judged(kept: KeptModel, prepared: Prepared, split: str) -> dict[str, float]:
    """The metrics that take more than results, such as generated texts; the chief alone makes
    them.
    """
    judged = kept.evaluator.judged(prepared.splits[split], _progress(kept, "generating"))
    kept.parts.display.done("generating")
    return judged


def _progress(kept: KeptModel, doing: str) -> Callable[[int, int], None]:
    return lambda done, total: kept.parts.display.progress(doing, done, total)


def label_rows(scores: LabelScores) -> list[tuple[str, str]]:
    """The scores of the most frequent labels, for people, in the order of their names.

    Args:
        scores: label -> precision, recall, f1 and support.
    Returns:
        (label, scores) a row; a last row says how many labels are left out.
    """
    by_support = sorted(scores, key=lambda label: -scores[label]["support"])
    frequent = set(by_support[:SHOWN_LABELS])
    shown = [label for label in scores if label in frequent]
    rows = [(shown_label(label), _label_row(scores[label])) for label in shown]
    left_out = len(scores) - len(shown)
    if left_out:
        rows.append(("", f"{left_out:,} less frequent ones are in results.json"))
    return rows


def _label_row(metrics: Mapping[str, float]) -> str:
    shown = "  ".join(f"{name} {metrics[name]:.3f}" for name in LABEL_METRICS)
    return f"{shown}  of {metrics['support']:,}"
