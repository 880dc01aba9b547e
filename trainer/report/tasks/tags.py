"""A tag a word, which marks no spans, such as parts of speech."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from trainer.report.confusion import confusion_blocks
from trainer.report.evidence import Evidence, Line
from trainer.report.intervals import Measure
from trainer.report.page import Section, Text
from trainer.report.say import Say
from trainer.report.tasks.inputs import text_of
from trainer.report.tasks.task import Mistakes, Task

MOST_SHOWN = 12  # wrong words of a text


class Tags(Task):
    """See `Task`."""

    def measures(self, lines: Sequence[Line]) -> list[Measure]:
        """The share of right words; texts are drawn, not words."""
        columns = np.array([[_right(line), len(line["gold"])] for line in lines], np.float64)
        return [Measure("accuracy", columns, lambda sums: sums[..., 0] / sums[..., 1])]

    def goodness(self, lines: Sequence[Line]) -> np.ndarray:
        """The share of right words of each text."""
        return np.array([_right(line) / max(len(line["gold"]), 1) for line in lines])

    def sections(self, evidence: Evidence, say: Say) -> list[Section]:
        """Which tag is taken for which."""
        lines = evidence.lines
        gold = [tag for line in lines for tag in line["gold"]]
        answer = [tag for line in lines for tag in line["answer"]]
        names = sorted({*gold, *answer})
        places = {name: place for place, name in enumerate(names)}
        facts, blocks = confusion_blocks(
            np.array([places[tag] for tag in gold]),
            np.array([places[tag] for tag in answer]),
            names,
            say,
        )
        return [Section("labels", say("Tags", "词性等标记"), facts, blocks)]

    def mistakes(self, lines: Sequence[Line], say: Say) -> Mistakes:
        """Texts with the most wrong words."""
        wrong = [place for place, line in enumerate(lines) if _right(line) < len(line["gold"])]
        worst = sorted(wrong, key=lambda place: _right(lines[place]) - len(lines[place]["gold"]))
        return Mistakes(say("The texts with the most wrong words", "错误最多的文本"), worst)

    def shown(self, line: Line, say: Say) -> Text:
        """The wrong words by their numbers."""
        pairs = zip(line["gold"], line["answer"], strict=True)
        wrong = [
            say(
                f"word {number}: {answer}, labelled {gold}",
                f"第 {number} 词：{answer}，标注 {gold}",
            )
            for number, (gold, answer) in enumerate(pairs, 1)
            if gold != answer
        ]
        title = say(f"{len(wrong)} wrong words", f"{len(wrong)} 个词错误")
        return Text(title, line["origin"], text_of(line), notes=["; ".join(wrong[:MOST_SHOWN])])


def _right(line: Line) -> int:
    return sum(map(str.__eq__, line["gold"], line["answer"]))


TASK = Tags()
