"""Several labels an example: each label against the rest."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from trainer.heads._classes.per_label import scores_per_label
from trainer.report import curves, thresholds
from trainer.report.evidence import Evidence, Line
from trainer.report.intervals import Measure, f1_of, mean_of
from trainer.report.page import Section, Text
from trainer.report.say import Say
from trainer.report.tasks.inputs import text_of
from trainer.report.tasks.label_table import label_table
from trainer.report.tasks.task import Mistakes, Task


class MultiLabel(Task):
    """See `Task`."""

    def measures(self, lines: Sequence[Line]) -> list[Measure]:
        """F1 over all labels, and how often all labels are right."""
        right = [len(set(line["gold"]) & set(line["answer"])) for line in lines]
        given = [len(line["answer"]) for line in lines]
        gold = [len(line["gold"]) for line in lines]
        exact = [set(line["gold"]) == set(line["answer"]) for line in lines]
        return [
            f1_of("f1_micro", np.array(right), np.array(given), np.array(gold)),
            mean_of("accuracy", np.array(exact, np.float64)),
        ]

    def goodness(self, lines: Sequence[Line]) -> np.ndarray:
        """The labels that gold and answer share, of all that either has."""
        shares = []
        for line in lines:
            gold, answer = set(line["gold"]), set(line["answer"])
            either = len(gold | answer)
            shares.append(len(gold & answer) / either if either else 1.0)
        return np.array(shares)

    def sections(self, evidence: Evidence, say: Say) -> list[Section]:
        """The labels, and their curves."""
        lines = evidence.lines
        names = list(lines[0]["probabilities"])
        gold = _gold(lines)
        answer = np.array([[name in line["answer"] for name in names] for line in lines])
        scores = _scores(lines)
        title = say("ROC and precision-recall", "ROC 与精确率-召回率")
        return [
            _labels(gold, answer, names, say),
            curves.section(title, gold, scores, names, say),
            _thresholds(evidence, say),
        ]

    def mistakes(self, lines: Sequence[Line], say: Say) -> Mistakes:
        """Wrong answers with the highest loss."""
        wrong = [
            place for place, line in enumerate(lines) if set(line["gold"]) != set(line["answer"])
        ]
        worst = sorted(wrong, key=lambda place: -lines[place]["loss"])
        return Mistakes(say("The answers with the highest loss", "损失最大的样本"), worst)

    def shown(self, line: Line, say: Say) -> Text:
        """The labels, and the right ones."""
        gold, answer = (", ".join(line[name]) or "–" for name in ("gold", "answer"))
        title = say(f"answered {answer}; labelled {gold}", f"预测 {answer}；标注 {gold}")
        return Text(title, line["origin"], text_of(line))


def _gold(lines: Sequence[Line]) -> np.ndarray:
    """(n, C) bool, of the labels that train has."""
    names = list(lines[0]["probabilities"])
    return np.array([[name in line["gold"] for name in names] for line in lines])


def _scores(lines: Sequence[Line]) -> np.ndarray:
    """(n, C) float64."""
    return np.array([list(line["probabilities"].values()) for line in lines])


def _counts(lines: Sequence[Line]) -> thresholds.Counts:
    """Of all labels of all examples; those that train does not have are missed at any threshold."""
    gold = _gold(lines)
    counts = thresholds.counts_of(gold.ravel(), _scores(lines).ravel())
    unseen = sum(len(line["gold"]) for line in lines) - int(gold.sum())
    return counts._replace(gold=counts.gold + unseen)


def _thresholds(evidence: Evidence, say: Say) -> Section:
    """What another threshold would give."""
    chosen_by = evidence.choosing_lines
    validation = None if chosen_by is None else _counts(chosen_by)
    threshold = float(evidence.config["head"].get("threshold", 0.5))  # type: ignore[arg-type]
    facts, blocks = thresholds.of_all_labels(threshold, _counts(evidence.lines), validation, say)
    return Section("thresholds", say("Thresholds", "阈值"), facts, blocks)


def _labels(gold: np.ndarray, answer: np.ndarray, names: Sequence[str], say: Say) -> Section:
    """precision, recall and F1 of each label, (n, C) bool each."""
    per_label = scores_per_label(gold, answer, names)
    table = label_table(per_label, say)
    return Section("labels", say("Labels", "标签"), {"per_label": per_label}, [table])


TASK = MultiLabel()
