"""Generated texts beside what should have been written."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from trainer.report.evidence import Evidence, Line
from trainer.report.page import Block, Section, Table, Text
from trainer.report.say import Say
from trainer.report.tasks.language import Language
from trainer.report.tasks.task import Mistakes

LENGTHS = (0, 5, 10, 20, 40, 80)  # of targets, in tokens


class Generation(Language):
    """See `Task`: a language model whose texts are judged, too."""

    def goodness(self, lines: Sequence[Line]) -> np.ndarray:
        """How much each generated text shares with its target; nothing where none is generated."""
        if not all("answer" in line for line in lines):
            return np.zeros(0)
        return np.array([shared(line) / 100 for line in lines])

    def sections(self, evidence: Evidence, say: Say) -> list[Section]:
        """By the length of the target."""
        written = [line for line in evidence.lines if "answer" in line]
        sections = super().sections(evidence, say)
        if not written:
            return sections
        rows = []
        tokens = np.array([line["tokens"] for line in written])
        scores = np.array([shared(line) for line in written])
        for low, high in zip(LENGTHS, [*LENGTHS[1:], None], strict=True):
            chosen = (tokens >= low) & (tokens < (high or np.inf))
            if chosen.any():
                name = f"{low}–{high - 1}" if high else f"{low}+"
                rows.append((name, float(scores[chosen].mean()), int(chosen.sum())))
        caption = say(
            "chrF of generated texts by the length of the target, in tokens",
            "生成文本的 chrF，按目标长度（词元）",
        )
        columns = [say("tokens", "词元"), "chrF", say("texts", "文本数")]
        table: Block = Table(caption, columns, rows)
        facts = {name: {"chrf": score, "texts": count} for name, score, count in rows}
        title = say("Generated texts", "生成的文本")
        return [Section("generated", title, {"by_length": facts}, [table]), *sections]

    def mistakes(self, lines: Sequence[Line], say: Say) -> Mistakes:
        """The texts that are least like their target; first those that are generated."""
        written = [place for place, line in enumerate(lines) if "answer" in line]
        if not written:
            return super().mistakes(lines, say)
        worst = sorted(written, key=lambda place: shared(lines[place]))
        title = say("The texts that are least like their target", "与目标差别最大的文本")
        return Mistakes(title, worst)

    def shown(self, line: Line, say: Say) -> Text:
        """The prompt, what was written and what should have been."""
        if "answer" not in line:
            return super().shown(line, say)
        notes = [
            say("written: ", "生成：") + line["answer"],
            say("target: ", "目标：") + line["gold"],
        ]
        title = f"chrF {shared(line):.1f}"
        return Text(title, line["origin"], line["inputs"]["text"], notes=notes)


def shared(line: Line) -> float:
    """chrF of a text, from 0 to 100."""
    from sacrebleu.metrics import CHRF

    return float(CHRF().sentence_score(line["answer"], [line["gold"]]).score)


TASK = Generation()
