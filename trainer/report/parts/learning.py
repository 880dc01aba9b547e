"""How the run learnt: loss of train and metrics of validation, by step."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from matplotlib.axes import Axes

from trainer.files.json_file import JsonObject
from trainer.report.evidence import Evidence
from trainer.report.figures import COLOURS, INK, drawing, svg_of, thinned
from trainer.report.page import Block, Figure, Paragraph, Section
from trainer.report.say import Say

NOT_DRAWN = ("step", "split", "epoch", "loss")


def learning(evidence: Evidence, metric: str, say: Say) -> Section:
    """The section.

    Args:
        evidence: of the run.
        metric: of validation, that is drawn beside the losses.
        say: see `speaker`.
    """
    train = [point for point in evidence.curve if point["split"] == "train"]
    validation = [point for point in evidence.curve if point["split"] == "validation"]
    title = say("Learning curves", "学习曲线")
    facts = {"validation": [_numbers(point) for point in validation]}
    if not train and not validation:
        text = say("metrics.jsonl has no points.", "metrics.jsonl 中没有数据点。")
        return Section("learning", title, facts, [Paragraph(text, "note")])
    blocks: list[Block] = [_figure(train, validation, metric, evidence.results.get("step"), say)]
    return Section("learning", title, facts, blocks)


def _numbers(point: JsonObject) -> dict[str, float]:
    return {name: value for name, value in point.items() if isinstance(value, (int, float))}


def _figure(
    train: Sequence[JsonObject],
    validation: Sequence[JsonObject],
    metric: str,
    kept: int | None,
    say: Say,
) -> Figure:
    with drawing(2) as (figures, (left, right)):
        _draw(left, train, "loss", say("train", "训练"), COLOURS[0])
        _draw(left, validation, "loss", say("validation", "验证"), COLOURS[1])
        left.set_ylabel(say("loss", "损失"))
        left.legend(fontsize=8)
        drawn = metric if any(metric in point for point in validation) else "loss"
        _draw(right, validation, drawn, say("validation", "验证"), COLOURS[1])
        right.set_ylabel(drawn)
        for axes in (left, right):
            axes.set_xlabel(say("step", "步"))
            if kept:
                axes.axvline(kept, color=INK, linewidth=0.8, linestyle=":")
        svg = svg_of(figures)
    caption = say(
        "Left: loss. Right: validation's metric. The dotted line is the step that is kept.",
        "左：损失。右：验证集指标。虚线为保留的检查点所在的步。",
    )
    return Figure(svg, caption)


def _draw(axes: Axes, points: Sequence[JsonObject], name: str, label: str, colour: str) -> None:
    known = [(point["step"], point[name]) for point in points if point.get(name) is not None]
    if known:
        steps, values = thinned(*np.array(known, np.float64).T)
        marker = "o" if len(known) < 30 else ""
        axes.plot(steps, values, label=label, color=colour, marker=marker, markersize=4)
