"""Spans with types, such as entities: strictly and leniently, and how they are missed."""

from __future__ import annotations

import importlib.util
from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from trainer.files.json_file import JsonObject
from trainer.report.confusion import confusion_blocks
from trainer.report.evidence import Evidence, Line
from trainer.report.intervals import Measure, f1_of
from trainer.report.page import Block, Mark, MarkKind, Section, Table, Text
from trainer.report.say import Say
from trainer.report.tasks.inputs import text_of
from trainer.report.tasks.task import Mistakes, Task

NOTHING = "–"  # where no span is
SCHEMES = ("strict", "exact", "partial", "ent_type")  # of nervaluate
HAS_SCHEMES = importlib.util.find_spec("nervaluate") is not None  # not for Python 3.10


class Span(NamedTuple):
    """A span of a text, in words: the first, and behind the last."""

    type: str
    start: int
    end: int


def spans_of(tags: Sequence[str]) -> list[Span]:
    """The spans of tags O, B-x, I-x, none of which begins with I-."""
    spans: list[Span] = []
    for place, tag in enumerate(tags):
        if tag.startswith("B-"):
            spans.append(Span(tag[2:], place, place + 1))
        elif tag.startswith("I-") and spans:
            spans[-1] = spans[-1]._replace(end=place + 1)
    return spans


class Spans(Task):
    """See `Task`."""

    def measures(self, lines: Sequence[Line]) -> list[Measure]:
        """F1 of whole spans; texts are drawn, not spans."""
        counts = np.array([_counts(line) for line in lines])
        return [f1_of("f1", *counts.T)]

    def goodness(self, lines: Sequence[Line]) -> np.ndarray:
        """F1 within each text; 1 where there is nothing to find, and nothing found."""
        right, given, gold = np.array([_counts(line) for line in lines]).T
        both = given + gold
        return np.where(both, 2 * right / np.maximum(both, 1), 1.0)

    def sections(self, evidence: Evidence, say: Say) -> list[Section]:
        """Per type, by four schemes; borders; and which type is taken for which."""
        lines = evidence.lines
        facts, schemes = _schemes(lines, say) if HAS_SCHEMES else ({}, [])
        borders, border_table = _borders(lines, say)
        confusion, blocks = _confusion(lines, say)
        types, type_table = _types(evidence, say)
        return [
            Section(
                "labels",
                say("Types of spans", "实体类型"),
                {**types, **facts, **borders, **confusion},
                [type_table, *schemes, border_table, *blocks],
            )
        ]

    def mistakes(self, lines: Sequence[Line], say: Say) -> Mistakes:
        """Texts with the most missed and invented spans."""
        wrong = []
        for place, line in enumerate(lines):
            right, given, gold = _counts(line)
            if given + gold > 2 * right:
                wrong.append((2 * right - given - gold, place))
        title = say("The texts with the most wrong spans", "错误最多的文本")
        return Mistakes(title, [place for _, place in sorted(wrong)])

    def shown(self, line: Line, say: Say) -> Text:
        """The text with its right, wrong and missed spans."""
        places = {(span["type"], span["start"], span["end"]) for span in line["gold"]}
        marks = []
        for span in line["answer"]:
            is_right = (span["type"], span["start"], span["end"]) in places
            kind: MarkKind = "right" if is_right else "wrong"
            marks.append(Mark(span["start"], span["end"], span["type"], kind))
        answered = {(mark.label, mark.start, mark.end) for mark in marks}
        missed = []
        for span in line["gold"]:
            if (span["type"], span["start"], span["end"]) not in answered:
                marks.append(Mark(span["start"], span["end"], f"({span['type']})", "gold"))
                missed.append(f"{text_of(line)[span['start'] : span['end']]} {span['type']}")
        right, given, gold = _counts(line)
        title = say(
            f"{right} of {gold} spans found, {given - right} invented or with another border or"
            " type",
            f"{gold} 个实体找到 {right} 个，多出或边界、类型不符 {given - right} 个",
        )
        notes = [say("not found: ", "未找到：") + "; ".join(missed)] if missed else []
        return Text(title, line["origin"], text_of(line), marks, notes)


def _counts(line: Line) -> tuple[int, int, int]:
    """How many spans of a text are right, are given, and are gold."""
    gold, given = set(spans_of(line["gold_tags"])), set(spans_of(line["answer_tags"]))
    return len(gold & given), len(given), len(gold)


def _types(evidence: Evidence, say: Say) -> tuple[JsonObject, Table]:
    right: Counter[str] = Counter()
    given: Counter[str] = Counter()
    gold: Counter[str] = Counter()
    for line in evidence.lines:
        golds, answers = set(spans_of(line["gold_tags"])), set(spans_of(line["answer_tags"]))
        right.update(span.type for span in golds & answers)
        given.update(span.type for span in answers)
        gold.update(span.type for span in golds)
    rows = []
    for name in sorted({*given, *gold}):
        precision = right[name] / max(given[name], 1)
        recall = right[name] / max(gold[name], 1)
        f1 = 2 * right[name] / (given[name] + gold[name])
        rows.append((name, precision, recall, f1, gold[name]))
    columns = [
        say("type", "类型"),
        say("precision", "精确率"),
        say("recall", "召回率"),
        "F1",
        say("spans", "实体数"),
    ]
    facts = {
        name: {"precision": precision, "recall": recall, "f1": f1, "support": support}
        for name, precision, recall, f1, support in rows
    }
    return {"per_label": facts}, Table(say("Each type, strictly", "各类型（严格）"), columns, rows)


def _schemes(lines: Sequence[Line], say: Say) -> tuple[JsonObject, list[Block]]:
    """The four ways in which SemEval 2013 compares spans."""
    from nervaluate.evaluator import Evaluator

    types = sorted({span.type for line in lines for span in spans_of(line["gold_tags"])})
    golds = [[_as_entity(span) for span in spans_of(line["gold_tags"])] for line in lines]
    answers = [[_as_entity(span) for span in spans_of(line["answer_tags"])] for line in lines]
    found = Evaluator(golds, answers, tags=types, loader="dict").evaluate()["overall"]
    words = {
        "strict": say("borders and type", "边界与类型都对"),
        "exact": say("borders, whatever the type", "边界对，不论类型"),
        "partial": say("borders in part, whatever the type", "边界部分重叠，不论类型"),
        "ent_type": say("type, where borders overlap", "类型对，边界重叠即可"),
    }
    rows = [
        (words[name], found[name].precision, found[name].recall, found[name].f1) for name in SCHEMES
    ]
    facts = {
        name: {"precision": precision, "recall": recall, "f1": f1}
        for name, (_, precision, recall, f1) in zip(SCHEMES, rows, strict=True)
    }
    caption = say("Strictly and leniently (SemEval 2013)", "严格与宽松（SemEval 2013）")
    columns = [
        say("what must be right", "要求"),
        say("precision", "精确率"),
        say("recall", "召回率"),
        "F1",
    ]
    return {"schemes": facts}, [Table(caption, columns, rows)]


def _as_entity(span: Span) -> dict[str, object]:
    """As nervaluate has it: the last word belongs to it."""
    return {"label": span.type, "start": span.start, "end": span.end - 1}


def _borders(lines: Sequence[Line], say: Say) -> tuple[JsonObject, Table]:
    """What became of the gold spans, and how many answers touch none."""
    counts = dict.fromkeys(("right", "type", "border", "both", "missed", "invented"), 0)
    for line in lines:
        golds, answers = spans_of(line["gold_tags"]), spans_of(line["answer_tags"])
        for gold in golds:
            counts[_fate(gold, answers)] += 1
        counts["invented"] += sum(not _touching(answer, golds) for answer in answers)
    words = {
        "right": say("right", "正确"),
        "type": say("another type", "类型不符"),
        "border": say("another border", "边界不符"),
        "both": say("another type and border", "类型与边界都不符"),
        "missed": say("not found", "未找到"),
        "invented": say("found where there is none", "多出"),
    }
    rows = [(words[name], count) for name, count in counts.items()]
    caption = say("What became of the spans", "实体的结果")
    columns = [say("spans", "实体"), say("count", "数量")]
    return {"fates": counts}, Table(caption, columns, rows)


def _fate(gold: Span, answers: Sequence[Span]) -> str:
    touching = _touching(gold, answers)
    if gold in touching:
        return "right"
    if any(each[1:] == gold[1:] for each in touching):
        return "type"
    if any(each.type == gold.type for each in touching):
        return "border"
    return "both" if touching else "missed"


def _touching(span: Span, others: Sequence[Span]) -> list[Span]:
    return [other for other in others if other.start < span.end and span.start < other.end]


def _confusion(lines: Sequence[Line], say: Say) -> tuple[JsonObject, list[Block]]:
    """By the types of words: a word outside of spans has none."""
    golds = [_type(tag) for line in lines for tag in line["gold_tags"]]
    answers = [_type(tag) for line in lines for tag in line["answer_tags"]]
    is_outside = [gold == answer == NOTHING for gold, answer in zip(golds, answers, strict=True)]
    names = [NOTHING, *sorted({*golds, *answers} - {NOTHING})]
    places = {name: place for place, name in enumerate(names)}
    kept = ~np.array(is_outside)
    return confusion_blocks(
        np.array([places[name] for name in golds])[kept],
        np.array([places[name] for name in answers])[kept],
        names,
        say,
    )


def _type(tag: str) -> str:
    return tag[2:] or NOTHING


TASK = Spans()
