"""Answers to questions: by question word and by length, with an answer and without."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from trainer.report.evidence import Evidence, Line
from trainer.report.figures import bars, drawing, svg_of
from trainer.report.intervals import Measure, mean_of
from trainer.report.page import Block, Figure, Mark, MarkKind, Section, Table, Text
from trainer.report.say import Say
from trainer.report.tasks.task import Mistakes, Task

ASKED = ("who", "what", "when", "where", "which", "why", "how many", "how much", "how")
ASKED_IN_CHINESE = ("什么", "谁", "哪", "何时", "几", "多少", "为什么", "怎")
WORD = re.compile(r"\w+")
LENGTHS = (50, 100, 200, 400)  # of contexts, in words or Chinese characters


class Questions(Task):
    """See `Task`."""

    def measures(self, lines: Sequence[Line]) -> list[Measure]:
        """F1 and exact match in per cent."""
        return [mean_of("f1", _column(lines, "f1"), 100), _exact_match(lines)]

    def goodness(self, lines: Sequence[Line]) -> np.ndarray:
        """F1 of each answer."""
        return _column(lines, "f1")

    def sections(self, evidence: Evidence, say: Say) -> list[Section]:
        """By what is asked, by the answer's and the context's length."""
        lines = evidence.lines
        groups = {
            "question_words": _grouped(lines, lambda line: _asked(line, say)),
            "answer_words": _grouped(lines, lambda line: _answer_length(line, say)),
            "context_words": _grouped(lines, _context_length),
        }
        captions = {
            "question_words": say("By what is asked", "按疑问词"),
            "answer_words": say("By the length of the shortest gold answer", "按标准答案长度"),
            "context_words": say("By the length of the context", "按上下文长度"),
        }
        blocks: list[Block] = [_figure(groups["question_words"], say)]
        blocks += [_table(captions[name], group, say) for name, group in groups.items()]
        facts = {name: _facts(group) for name, group in groups.items()}
        return [Section("answers", say("Answers", "答案"), facts, blocks)]

    def mistakes(self, lines: Sequence[Line], say: Say) -> Mistakes:
        """The surest answers that share no word with a gold one."""
        wrong = [place for place, line in enumerate(lines) if line["f1"] == 0]
        surest = sorted(wrong, key=lambda place: -lines[place]["score"])
        return Mistakes(say("The surest wrong answers", "最有把握却答错的问题"), surest)

    def shown(self, line: Line, say: Say) -> Text:
        """The question, the answer in its context, and the right ones."""
        inputs = line["inputs"]
        nothing = say("no answer", "无答案")
        golds = " / ".join(dict.fromkeys(line["gold"])) or nothing
        answer = line["answer"] or nothing
        marks = []
        if line["start"] >= 0:
            kind: MarkKind = "right" if line["f1"] else "wrong"
            marks.append(Mark(line["start"], line["end"], say("answered", "预测"), kind))
        for gold in dict.fromkeys(line["gold"]):
            place = inputs["context"].find(gold)
            if place >= 0:
                marks.append(Mark(place, place + len(gold), say("gold", "标准"), "gold"))
        title = say(
            f"answered {answer} ({line['score']:.1%} sure); right: {golds}",
            f"预测 {answer}（把握 {line['score']:.1%}）；正确：{golds}",
        )
        return Text(title, line["origin"], inputs["context"], marks, [inputs["question"]])


def _column(lines: Sequence[Line], name: str) -> np.ndarray:
    return np.array([line[name] for line in lines], np.float64)


def _exact_match(lines: Sequence[Line]) -> Measure:
    return mean_of("exact_match", _column(lines, "exact_match"), 100)


def _asked(line: Line, say: Say) -> str:
    question = line["inputs"]["question"].lower()
    words = f" {' '.join(WORD.findall(question))} "
    for word in ASKED:
        if f" {word} " in words:
            return word
    for word in ASKED_IN_CHINESE:
        if word in question:
            return word
    return say("other", "其他")


def _answer_length(line: Line, say: Say) -> str:
    lengths = [_words(gold) for gold in line["gold"]]
    if not lengths:
        return say("no answer", "无答案")
    shortest = min(lengths)
    return str(shortest) if shortest < 5 else "5–9" if shortest < 10 else "10+"


def _context_length(line: Line) -> str:
    length = _words(line["inputs"]["context"])
    edges = [0, *LENGTHS]
    place = int(np.searchsorted(LENGTHS, length))
    if place == len(LENGTHS):
        return f"{LENGTHS[-1]}+"
    return f"{edges[place]}–{LENGTHS[place]}"


def _words(text: str) -> int:
    """Words, or characters of Chinese, which has no spaces."""
    ideographs = sum("\u4e00" <= character <= "\u9fff" for character in text)
    return ideographs or len(text.split())


def _grouped(lines: Sequence[Line], of: Callable[[Line], str]) -> Mapping[str, list[Line]]:
    groups: dict[str, list[Line]] = defaultdict(list)
    for line in lines:
        groups[of(line)].append(line)
    return dict(sorted(groups.items(), key=lambda item: -len(item[1])))


def _facts(groups: Mapping[str, Sequence[Line]]) -> dict[str, dict[str, float]]:
    return {
        name: {
            "questions": len(group),
            "f1": 100 * float(_column(group, "f1").mean()),
            "exact_match": 100 * float(_column(group, "exact_match").mean()),
        }
        for name, group in groups.items()
    }


def _table(caption: str, groups: Mapping[str, Sequence[Line]], say: Say) -> Table:
    rows = [
        (name, scores["f1"], scores["exact_match"], int(scores["questions"]))
        for name, scores in _facts(groups).items()
    ]
    columns = [
        say("group", "分组"),
        "F1",
        say("exact match", "完全匹配"),
        say("questions", "问题数"),
    ]
    return Table(caption, columns, rows)


def _figure(groups: Mapping[str, Sequence[Line]], say: Say) -> Figure:
    measures = [mean_of("f1", _column(group, "f1"), 100) for group in groups.values()]
    values = np.array([measure.value for measure in measures])
    intervals = np.array([measure.interval() for measure in measures])
    errors = np.abs(intervals.T - values)
    with drawing(height=0.3 * len(groups) + 1) as (figures, (axes,)):
        bars(axes, list(groups), values.tolist(), errors)
        axes.set(xlim=(0, 100))
        axes.set_xlabel("F1")
        svg = svg_of(figures)
    caption = say("F1 by what is asked, with 95 % intervals", "按疑问词的 F1，误差线为 95% 区间")
    return Figure(svg, caption)


TASK = Questions()
