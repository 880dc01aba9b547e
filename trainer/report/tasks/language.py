"""A language model: how surprised it is, and by which rows of the split."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from trainer.files.json_file import JsonObject
from trainer.report.evidence import Evidence, Line
from trainer.report.figures import COLOURS, drawing, svg_of
from trainer.report.intervals import Measure
from trainer.report.page import Block, Figure, Paragraph, Section, Text
from trainer.report.say import Say
from trainer.report.tasks.inputs import text_of
from trainer.report.tasks.task import Mistakes, Task

LARGEST_EXPONENT = 700  # of which float64 still holds the exponential


class Language(Task):
    """See `Task`."""

    def measures(self, lines: Sequence[Line]) -> list[Measure]:
        """Perplexity, loss and accuracy of a token; rows are drawn, not tokens."""
        tokens, loss, correct = _columns(lines)
        of_loss = np.stack([tokens * loss, tokens], axis=1)
        of_correct = np.stack([correct, tokens], axis=1)
        return [
            Measure("perplexity", of_loss, _perplexity),
            Measure("loss", of_loss, _share),
            Measure("accuracy", of_correct, _share),
        ]

    def goodness(self, lines: Sequence[Line]) -> np.ndarray:
        """Nothing: no row is right or wrong."""
        return np.zeros(0)

    def sections(self, evidence: Evidence, say: Say) -> list[Section]:
        """How the loss is spread over rows, and along the split."""
        _, loss, _ = _columns(evidence.lines)
        quantiles = np.quantile(loss, [0.1, 0.5, 0.9]).tolist()
        facts: JsonObject = dict(zip(("loss_10", "loss_50", "loss_90"), quantiles, strict=True))
        text = say(
            f"Of the rows, one in ten has a loss below {quantiles[0]:.3f}, half below"
            f" {quantiles[1]:.3f}, nine in ten below {quantiles[2]:.3f}.",
            f"各行的损失：一成低于 {quantiles[0]:.3f}，一半低于 {quantiles[1]:.3f}，"
            f"九成低于 {quantiles[2]:.3f}。",
        )
        blocks: list[Block] = [Paragraph(text), _figure(loss, say)]
        if evidence.positions:
            facts["positions"] = evidence.positions
            blocks += _positions(evidence.positions, say)
        return [Section("loss", say("Loss", "损失"), facts, blocks)]

    def mistakes(self, lines: Sequence[Line], say: Say) -> Mistakes:
        """The rows with the highest loss."""
        order = np.argsort(-_columns(lines)[1], kind="stable").tolist()
        return Mistakes(say("The rows with the highest loss", "损失最大的行"), order)

    def shown(self, line: Line, say: Say) -> Text:
        """The loss, and the text where the row is one."""
        title = say(
            f"loss {line['loss'] or 0:.3f} over {line['tokens']} tokens",
            f"{line['tokens']} 个词元，损失 {line['loss'] or 0:.3f}",
        )
        return Text(title, line["origin"], text_of(line))


def _columns(lines: Sequence[Line]) -> np.ndarray:
    """(3, n) float64: tokens, mean loss, and right tokens of each row that predicts any."""
    rows = [(line["tokens"], line["loss"] or 0.0, line["correct"]) for line in lines]
    return np.array(rows, np.float64).T


def _share(sums: np.ndarray) -> np.ndarray:
    share: np.ndarray = sums[..., 0] / sums[..., 1]
    return share


def _perplexity(sums: np.ndarray) -> np.ndarray:
    return np.exp(np.minimum(_share(sums), LARGEST_EXPONENT))


def _figure(loss: np.ndarray, say: Say) -> Figure:
    with drawing(2) as (figures, (left, right)):
        left.hist(loss, bins=40, color=COLOURS[0])
        left.set_xlabel(say("loss", "损失"))
        left.set_ylabel(say("rows", "行数"))
        parts = np.array_split(loss, min(len(loss), 50))
        right.plot(
            np.linspace(0, 100, len(parts)), [part.mean() for part in parts], color=COLOURS[0]
        )
        right.set_xlabel(say("place in the split, %", "在数据中的位置，%"))
        right.set_ylabel(say("loss", "损失"))
        svg = svg_of(figures)
    caption = say(
        "Left: the loss of the rows. Right: along the split, a fiftieth at a time.",
        "左：各行损失的分布。右：沿数据顺序，每五十分之一的平均损失。",
    )
    return Figure(svg, caption)


def _positions(positions: Sequence[JsonObject], say: Say) -> list[Block]:
    """The loss by how many tokens of the row stand before."""
    first, last = positions[0], positions[-1]
    text = say(
        f"With {first['from']} to {first['to']} tokens of the row before it, a token costs"
        f" {first['loss']:.3f}; with {last['from']} to {last['to']}, {last['loss']:.3f}.",
        f"前面有 {first['from']} 到 {first['to']} 个词元时，每个词元的损失为 {first['loss']:.3f}；"
        f"有 {last['from']} 到 {last['to']} 个时为 {last['loss']:.3f}。",
    )
    names = [f"{each['from']}–{each['to']}" for each in positions]
    with drawing() as (figures, (axes,)):
        losses = [each["loss"] for each in positions]
        axes.plot(range(len(positions)), losses, marker="o", color=COLOURS[0])
        axes.set_xticks(range(len(positions)), names, rotation=90)
        axes.set_xlabel(say("tokens before", "前面的词元数"))
        axes.set_ylabel(say("loss", "损失"))
        svg = svg_of(figures)
    caption = say(
        "The loss of a token by how much of its row was read before.",
        "每个词元的损失，按同一行中之前已读的词元数。",
    )
    return [Paragraph(text), Figure(svg, caption)]


TASK = Language()
