"""The explanations of a report, kept in explanations.json: of some answers, wrong and right."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from trainer.files.json_file import JsonObject
from trainer.heads.contract import Target
from trainer.report.evidence import Evidence, Line
from trainer.report.explain.texts import Explainer
from trainer.report.rows import spread
from trainer.report.say import speaker
from trainer.report.tasks import Task, task_of
from trainer.run.kept_model import KeptModel

NOTHING = "–"


def chosen(task: Task, lines: Sequence[Line], count: int) -> list[int]:
    """Which examples are explained: half of them the worst mistakes, the others spread.

    Args:
        task: what the answers are.
        lines: of a split.
        count: how many.
    """
    worst = list(task.mistakes(lines, speaker("en")).lines[: count // 2])
    others = np.setdiff1d(np.flatnonzero(task.goodness(lines) == 1), worst)
    if not len(others):  # of numbers none is wholly right
        others = np.setdiff1d(np.arange(len(lines)), worst)
    return [*worst, *others[spread(count - len(worst), len(others))].tolist()]


def explanations(kept: KeptModel, evidence: Evidence, count: int) -> list[JsonObject]:
    """Explanations of some answers, as explanations.json has them.

    Args:
        kept: the model.
        evidence: of its run.
        count: how many.
    """
    task = task_of(evidence)
    if task is None:
        return []
    lines = evidence.lines
    explainer = Explainer(kept)
    return list(_explained(explainer, [lines[place] for place in chosen(task, lines, count)]))


def _explained(explainer: Explainer, lines: Sequence[Line]) -> Iterator[JsonObject]:
    for line in lines:
        texts = tuple(map(str, line["inputs"].values()))
        answers = list(explainer.answers(texts))
        if not answers:  # a text without spans
            continue
        answer = next((each for each in answers if not is_right(each.target, line)), answers[0])
        place = {key: line[key] for key in ("split", "id", "origin")}
        found = explainer.explain(answer)
        yield {**place, "gold": gold_of(line, answer.target), **found.as_json()}


def is_right(target: Target, line: Line) -> bool:
    """Whether a part of an answer is right, as far as labels can be right."""
    gold = line["gold"]
    if "f1" in line:  # of an answer in a context
        return bool(line["f1"])
    if isinstance(gold, list) and (not gold or isinstance(gold[0], dict)):
        return any(_place(span) == (target.label, target.start, target.end) for span in gold)
    if isinstance(gold, str):
        return target.label == gold
    return target.label in gold if isinstance(gold, list) else True


def gold_of(line: Line, target: Target) -> str:
    """What is right in place of a part of an answer, as people read it."""
    gold = line["gold"]
    if not isinstance(gold, list):
        return str(gold)
    if gold and isinstance(gold[0], dict):
        here = [span for span in gold if span["start"] < target.end and target.start < span["end"]]
        return ", ".join(dict.fromkeys(span["type"] for span in here)) or NOTHING
    return " / ".join(dict.fromkeys(map(str, gold))) or NOTHING


def _place(span: JsonObject) -> tuple[object, object, object]:
    return span["type"], span["start"], span["end"]
