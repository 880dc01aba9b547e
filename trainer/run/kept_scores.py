"""How good the kept model is: the metrics of validation and test, and of each label."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import TypeAlias

import numpy as np

from trainer.data.prepare import Prepared
from trainer.errors import shown_label
from trainer.heads.contract import Judged
from trainer.run.evaluation import Evaluated
from trainer.run.job import CALIBRATION_FILE
from trainer.run.kept_model import KeptModel

REPORTED_SPLITS = ("validation", "test")
SHOWN_LABELS = 30  # on the terminal
LABEL_METRICS = ("precision", "recall", "f1")
LabelScores: TypeAlias = Mapping[str, Mapping[str, float]]  # label -> metric -> value


@dataclasses.dataclass(frozen=True)
class SplitScores:
    """How good the model is on one split.

    Attributes:
        metrics: by name.
        per_label: those of each label; empty where there are no labels.
        results: what the metrics are made of, as `Evaluator.results` returns it.
        texts: what was generated for the first examples.
    """

    metrics: Mapping[str, float]
    per_label: LabelScores
    results: Mapping[str, np.ndarray]
    texts: Sequence[str] = ()


@dataclasses.dataclass(frozen=True)
class Scores:
    """How good the model is, by split."""

    splits: Mapping[str, SplitScores]

    @property
    def results(self) -> dict[str, Mapping[str, np.ndarray]]:
        """What the metrics of each split are made of."""
        return {split: scores.results for split, scores in self.splits.items()}

    def as_json(self) -> dict[str, object]:
        """The parts of results.json that they are."""
        facts: dict[str, object] = {}
        per_label = {}
        for split, scores in self.splits.items():
            facts[split] = scores.metrics
            if scores.per_label:
                per_label[split] = scores.per_label
        if per_label:
            facts["per_label"] = per_label
        return facts


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
    if evaluated is not None and evaluated.step != kept.step:
        evaluated = None
    splits = {}
    for split in REPORTED_SPLITS:
        if split in prepared.splits:
            is_validation = split == "validation"
            splits[split] = _score_split(
                kept,
                prepared,
                split,
                evaluated if is_validation else None,
                calibrate=calibrate and is_validation,
            )
    return Scores(splits)


def _score_split(
    kept: KeptModel,
    prepared: Prepared,
    split: str,
    evaluated: Evaluated | None,
    *,
    calibrate: bool,
) -> SplitScores:
    """The scores of one split, of results that are known or made now."""
    job = kept.job
    store = prepared.splits[split]
    results = evaluated.results if evaluated else _results(kept, prepared, split)
    if calibrate:
        chosen = kept.evaluator.calibrate(results, store)
        if chosen and job.writes:
            job.write_json(CALIBRATION_FILE, chosen)
    scorer = kept.evaluator.scorer
    judged = evaluated.judged if evaluated else None
    if judged is None:
        judged = _judged(kept, prepared, split)
    metrics = {**scorer.metrics(results, store), **judged.metrics}
    per_label = scorer.per_label(results, store)
    if per_label:
        kept.parts.display.table(f"{split}, each label", label_rows(per_label))
    return SplitScores(metrics, per_label, results, judged.texts)


def _results(kept: KeptModel, prepared: Prepared, split: str) -> dict[str, np.ndarray]:
    results = kept.evaluator.results(prepared.splits[split], _progress(kept, "evaluating"))
    kept.parts.display.done("evaluating")
    return results


def _judged(kept: KeptModel, prepared: Prepared, split: str) -> Judged:
    """What takes more than results, such as generated texts; the chief alone makes them."""
    if not kept.job.writes:
        return Judged({}, ())
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
