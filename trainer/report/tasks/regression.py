"""A number an example: how near it comes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from trainer.report.evidence import Evidence, Line
from trainer.report.figures import COLOURS, INK, drawing, svg_of
from trainer.report.intervals import Measure, mean_of, pearson_of
from trainer.report.page import Block, Figure, Paragraph, Section, Text
from trainer.report.say import Say
from trainer.report.tasks.inputs import text_of
from trainer.report.tasks.task import Mistakes, Task

MOST_POINTS = 1500  # of a scatter plot


class Regression(Task):
    """See `Task`."""

    def measures(self, lines: Sequence[Line]) -> list[Measure]:
        """The correlation, and the mean squared error."""
        gold, answer = _numbers(lines)
        return [pearson_of("pearson", gold, answer), mean_of("mse", (gold - answer) ** 2)]

    def goodness(self, lines: Sequence[Line]) -> np.ndarray:
        """1 where the number is right, 0 where it is off by the spread of the gold numbers."""
        gold, answer = _numbers(lines)
        spread = float(gold.std()) or 1.0
        return np.clip(1 - np.abs(gold - answer) / spread, 0, 1)

    def sections(self, evidence: Evidence, say: Say) -> list[Section]:
        """A scatter plot and the residuals."""
        gold, answer = _numbers(evidence.lines)
        residuals = answer - gold
        quantiles = np.quantile(np.abs(residuals), [0.5, 0.9]).tolist()
        facts = {
            "mean_error": float(residuals.mean()),
            "median_absolute_error": quantiles[0],
            "absolute_error_90": quantiles[1],
        }
        text = say(
            f"Half of the answers are off by {quantiles[0]:.3g} at most, nine in ten by"
            f" {quantiles[1]:.3g}. On average they are {residuals.mean():+.3g} off.",
            f"一半的答案误差不超过 {quantiles[0]:.3g}，九成不超过 {quantiles[1]:.3g}；"
            f"平均偏差 {residuals.mean():+.3g}。",
        )
        blocks: list[Block] = [Paragraph(text), _figure(gold, answer, say)]
        return [Section("numbers", say("Numbers", "数值"), facts, blocks)]

    def mistakes(self, lines: Sequence[Line], say: Say) -> Mistakes:
        """Those that are off the most."""
        worst = sorted(range(len(lines)), key=lambda place: -lines[place]["loss"])
        return Mistakes(say("The answers that are off the most", "误差最大的样本"), worst)

    def shown(self, line: Line, say: Say) -> Text:
        """The number, and the right one."""
        title = say(
            f"answered {line['answer']:.3g}, labelled {line['gold']:.3g}",
            f"预测 {line['answer']:.3g}，标注 {line['gold']:.3g}",
        )
        return Text(title, line["origin"], text_of(line))


def _numbers(lines: Sequence[Line]) -> tuple[np.ndarray, np.ndarray]:
    """(n,) float64 each, gold and answers."""
    gold = np.array([line["gold"] for line in lines], np.float64)
    return gold, np.array([line["answer"] for line in lines], np.float64)


def _figure(gold: np.ndarray, answer: np.ndarray, say: Say) -> Figure:
    drawn = np.random.default_rng(0).permutation(len(gold))[:MOST_POINTS]
    ends = [min(gold.min(), answer.min()), max(gold.max(), answer.max())]
    with drawing(2) as (figures, (left, right)):
        left.scatter(gold[drawn], answer[drawn], s=6, alpha=0.4, color=COLOURS[0], linewidths=0)
        left.plot(ends, ends, color=INK, linewidth=0.8, linestyle=":")
        left.set_xlabel(say("labelled", "标注"))
        left.set_ylabel(say("answered", "预测"))
        right.hist(answer - gold, bins=40, color=COLOURS[0])
        right.set_xlabel(say("answered − labelled", "预测 − 标注"))
        right.set_ylabel(say("examples", "样本数"))
        svg = svg_of(figures)
    caption = say(
        "Left: each example's answer by its label. Right: how far off answers are.",
        "左：每个样本的预测与标注。右：误差分布。",
    )
    return Figure(svg, caption)


TASK = Regression()
