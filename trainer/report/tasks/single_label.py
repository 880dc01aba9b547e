"""One label an example: who is taken for whom, ROC and PR curves, calibration, thresholds."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from trainer.heads._classes.per_label import scores_per_label
from trainer.report import calibration, curves, thresholds
from trainer.report.confusion import confusion_blocks
from trainer.report.evidence import Evidence, Line
from trainer.report.intervals import Measure, mean_of
from trainer.report.page import Block, Paragraph, Section, Text
from trainer.report.say import Say
from trainer.report.tasks.inputs import text_of
from trainer.report.tasks.label_table import label_table
from trainer.report.tasks.task import Mistakes, Task


class Answers(NamedTuple):
    """The answers of a split as arrays.

    Attributes:
        names: (C + U,) the labels of train, and those that only the split has.
        known: C.
        gold, answer: (n,) places among them.
        probabilities: (n, C) float64.
    """

    names: Sequence[str]
    known: int
    gold: np.ndarray
    answer: np.ndarray
    probabilities: np.ndarray


def answers_of(lines: Sequence[Line]) -> Answers:
    """The lines of a split as arrays."""
    known = list(lines[0]["probabilities"])
    names = list(dict.fromkeys([*known, *(line["gold"] for line in lines)]))
    places = {name: place for place, name in enumerate(names)}
    return Answers(
        names=names,
        known=len(known),
        gold=np.array([places[line["gold"]] for line in lines]),
        answer=np.array([places[line["answer"]] for line in lines]),
        probabilities=np.array([list(line["probabilities"].values()) for line in lines]),
    )


class SingleLabel(Task):
    """See `Task`."""

    def measures(self, lines: Sequence[Line]) -> list[Measure]:
        """Accuracy, and the mean F1 of the labels."""
        answers = answers_of(lines)
        return [mean_of("accuracy", self.goodness(lines)), _f1_macro(answers)]

    def goodness(self, lines: Sequence[Line]) -> np.ndarray:
        """1 where the label is right."""
        return np.array([line["gold"] == line["answer"] for line in lines], np.float64)

    def sections(self, evidence: Evidence, say: Say) -> list[Section]:
        """Labels, curves and calibration."""
        answers = answers_of(evidence.lines)
        return [
            self._labels(answers, say),
            _curves(answers, say),
            _calibration(answers, evidence, say),
            _thresholds(answers, evidence, say),
        ]

    def _labels(self, answers: Answers, say: Say) -> Section:
        per_label = scores_per_label(answers.gold, answers.answer, answers.names)
        facts, blocks = confusion_blocks(answers.gold, answers.answer, answers.names, say)
        table = label_table(per_label, say)
        title = say("Labels", "标签")
        return Section("labels", title, {"per_label": per_label, **facts}, [table, *blocks])

    def mistakes(self, lines: Sequence[Line], say: Say) -> Mistakes:
        """The surest wrong answers."""
        wrong = [place for place, line in enumerate(lines) if line["gold"] != line["answer"]]
        surest = sorted(wrong, key=lambda place: -lines[place]["score"])
        return Mistakes(say("The surest wrong answers", "最有把握却答错的样本"), surest)

    def shown(self, line: Line, say: Say) -> Text:
        """The label, and the right one."""
        title = say(
            f"answered {line['answer']} ({line['score']:.1%} sure), labelled {line['gold']}",
            f"预测 {line['answer']}（把握 {line['score']:.1%}），标注 {line['gold']}",
        )
        return Text(title, line["origin"], text_of(line))


def _f1_macro(answers: Answers) -> Measure:
    labels = len(answers.names)
    examples = len(answers.gold)
    columns = np.zeros((examples, 3, labels))
    rows = np.arange(examples)
    columns[rows, 0, answers.gold] = answers.gold == answers.answer
    columns[rows, 1, answers.answer] = 1
    columns[rows, 2, answers.gold] = 1

    def of_sums(sums: np.ndarray) -> np.ndarray:
        right, given, gold = np.moveaxis(sums.reshape(*sums.shape[:-1], 3, labels), -2, 0)
        f1 = 2 * right / np.maximum(given + gold, 1)
        means: np.ndarray = f1.mean(axis=-1)
        return means

    return Measure("f1_macro", columns.reshape(examples, -1), of_sums)


def _curves(answers: Answers, say: Say) -> Section:
    """ROC and precision-recall, one label against the rest."""
    is_known = answers.gold < answers.known
    gold = np.eye(answers.known, dtype=bool)[answers.gold[is_known]]
    names = answers.names[: answers.known]
    title = say("ROC and precision-recall", "ROC 与精确率-召回率")
    return curves.section(title, gold, answers.probabilities[is_known], names, say)


def _calibration(answers: Answers, evidence: Evidence, say: Say) -> Section:
    """Whether a probability of 90 % is right nine times in ten."""
    sure = answers.probabilities.max(axis=1)
    right = answers.gold == answers.answer
    found = calibration.of(sure, right)
    facts = {"expected_calibration_error": found.error, "bins": found.as_json()}
    blocks: list[Block] = [
        Paragraph(
            say(
                f"Expected calibration error: {found.error:.3f}. On average the model is"
                f" {sure.mean():.1%} sure, and right in {right.mean():.1%}.",
                f"期望校准误差：{found.error:.3f}。模型平均把握为 {sure.mean():.1%}，"
                f"实际正确率为 {right.mean():.1%}。",
            )
        ),
        found.figure(say),
    ]
    temperature = _temperature(evidence)
    if temperature is not None:
        facts["temperature"] = temperature
        blocks.append(
            Paragraph(
                say(
                    f"Validation would choose the temperature {temperature:.3f}: logits divided by"
                    " it are best calibrated.",
                    f"验证集选出的温度为 {temperature:.3f}：logits 除以它之后校准得最好。",
                )
            )
        )
    return Section("calibration", say("Calibration", "校准"), facts, blocks)


def _thresholds(answers: Answers, evidence: Evidence, say: Say) -> Section:
    """Where the model is sure; of two labels, how often the rarer one is given."""
    sure = answers.probabilities.max(axis=1)
    facts, blocks = thresholds.sureness(sure, answers.gold == answers.answer, say)
    counts = np.bincount(answers.gold, minlength=len(answers.names))
    if answers.known == 2 == len(answers.names) and counts.all():
        label = int(counts[1] <= counts[0])
        chosen_by = evidence.choosing_lines
        validation = None if chosen_by is None else _counts(answers_of(chosen_by), label)
        of_label = thresholds.of_label(
            answers.names[label], _counts(answers, label), validation, say
        )
        facts["label"], more = of_label
        blocks += more
    return Section("thresholds", say("Thresholds and costs", "阈值与代价"), facts, blocks)


def _counts(answers: Answers, label: int) -> thresholds.Counts:
    return thresholds.counts_of(answers.gold == label, answers.probabilities[:, label])


def _temperature(evidence: Evidence) -> float | None:
    if "validation" not in evidence.splits:
        return None
    answers = answers_of(evidence.splits["validation"])
    is_known = answers.gold < answers.known
    if not is_known.any():
        return None
    return calibration.temperature(answers.probabilities[is_known], answers.gold[is_known])


TASK = SingleLabel()
