"""The contract of a kind of answers, and which one a run has."""

from __future__ import annotations

import dataclasses
import importlib
from collections.abc import Sequence
from typing import Protocol

import numpy as np

from trainer.report.evidence import Evidence, Line
from trainer.report.intervals import Measure
from trainer.report.page import Section, Text
from trainer.report.say import Say


@dataclasses.dataclass(frozen=True)
class Mistakes:
    """The answers to look at first.

    Attributes:
        title: what they are, such as the surest wrong answers.
        lines: numbers of lines, worst first.
    """

    title: str
    lines: Sequence[int]


class Task(Protocol):
    """What is made of the answers of a kind."""

    def measures(self, lines: Sequence[Line]) -> list[Measure]:
        """The figures that have an interval, the main one first."""
        ...

    def goodness(self, lines: Sequence[Line]) -> np.ndarray:
        """(n,) float64 from 0 to 1: how right each answer is, by which slices are compared; empty
        where no answer is right or wrong.
        """
        ...

    def sections(self, evidence: Evidence, say: Say) -> list[Section]:
        """What figures and tables show of the judged split."""
        ...

    def mistakes(self, lines: Sequence[Line], say: Say) -> Mistakes:
        """The answers to look at first."""
        ...

    def shown(self, line: Line, say: Say) -> Text:
        """An answer for people, beside what is right."""
        ...


KINDS = {
    "classification": "single_label",
    "prompt": "single_label",
    "multi_label": "multi_label",
    "regression": "regression",
    "token_classification": "tags",
    "spans": "spans",
    "question_answering": "questions",
    "causal_lm": "language",
    "masked_lm": "language",
    "text_generation": "generation",
}


def task_of(evidence: Evidence) -> Task | None:
    """What makes the report of a run's answers; None for a head that is not ours."""
    head = evidence.config["head"]
    kind = str(head["name"])
    if head.get("kind") in KINDS:
        kind = str(head["kind"])
    if "gold_tags" in evidence.lines[0]:
        kind = "spans"
    if kind not in KINDS:
        return None
    module = importlib.import_module(f"trainer.report.tasks.{KINDS[kind]}")
    task: Task = module.TASK
    return task
