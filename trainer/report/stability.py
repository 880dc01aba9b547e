"""One config trained with several seeds: how much of its score is luck."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from trainer.report.evidence import Evidence, Line
from trainer.report.figures import COLOURS, drawing, svg_of
from trainer.report.intervals import LEVEL
from trainer.report.page import Block, Cell, Figure, Paragraph, Section, Table
from trainer.report.paired import require_same_examples, shared_split, shared_task
from trainer.report.say import Say

MOST_SHOWN = 15  # examples
LONGEST = 600  # characters of a text
# what an answer is, of each kind: the first of these that a line has
ANSWERS = ("answer_tags", "answer")


class Spread(NamedTuple):
    """A metric over several seeds.

    Attributes:
        mean: of the seeds.
        deviation: between them, of a sample.
        low, high: where the mean of all seeds lies, with 95 % confidence.
        least, most: of the seeds.
    """

    mean: float
    deviation: float
    low: float
    high: float
    least: float
    most: float


def spread_of(values: Sequence[float]) -> Spread:
    """The spread of two values or more. Source: Student 1908."""
    from scipy import stats

    array = np.array(values, np.float64)
    deviation = float(array.std(ddof=1))
    half = float(stats.t.ppf((1 + LEVEL) / 2, len(array) - 1)) * deviation / np.sqrt(len(array))
    mean = float(array.mean())
    return Spread(mean, deviation, mean - half, mean + half, float(array.min()), float(array.max()))


def stability(runs: Sequence[Evidence], say: Say) -> list[Section]:
    """The sections of the page.

    Args:
        runs: of two seeds or more, each by its name.
        say: see `speaker`.
    Raises:
        ConfigError: they are not on the same examples.
    """
    split = shared_split(runs)
    lines = [run.splits[split] for run in runs]
    require_same_examples(runs, lines, split)
    return [_scores(runs, split, say), *_answers(runs, lines, say)]


def _scores(runs: Sequence[Evidence], split: str, say: Say) -> Section:
    metrics = [run.results.get(split) or {} for run in runs]
    names = [name for name in metrics[0] if all(name in found for found in metrics)]
    spreads = {name: spread_of([found[name] for found in metrics]) for name in names}
    main = _main_metric(runs, names)
    first = spreads[main]
    text = say(
        f"{main} of {split} over {len(runs)} seeds: {first.mean:.4f} on average, from"
        f" {first.least:.4f} to {first.most:.4f}. The mean of all seeds lies between"
        f" {first.low:.4f} and {first.high:.4f} (95 %).",
        f"{len(runs)} 个种子在 {split} 上的 {main}：平均 {first.mean:.4f}，从 {first.least:.4f} 到"
        f" {first.most:.4f}；所有种子的均值在 {first.low:.4f} 到 {first.high:.4f} 之间（95%）。",
    )
    rows: list[list[Cell]] = [
        [name, spread.mean, spread.deviation, f"{spread.low:.4f} – {spread.high:.4f}"]
        + [found[name] for found in metrics]
        for name, spread in spreads.items()
    ]
    columns = [
        say("metric", "指标"),
        say("mean", "平均"),
        say("deviation", "标准差"),
        say("95 % interval of the mean", "均值的 95% 区间"),
        *(run.name for run in runs),
    ]
    blocks: list[Block] = [
        Paragraph(text, "verdict"),
        Table(say("Metrics by seed", "各种子的指标"), columns, rows),
        _figure(runs, say),
    ]
    facts = {
        "split": split,
        "seeds": [run.name for run in runs],
        "metrics": {name: spread._asdict() for name, spread in spreads.items()},
    }
    return Section("verdict", say("Verdict", "结论"), facts, blocks)


def _main_metric(runs: Sequence[Evidence], names: Sequence[str]) -> str:
    task = shared_task(runs)
    wanted = [measure.name for measure in task.measures(runs[0].lines)]
    return next((name for name in wanted if name in names), names[0])


def _figure(runs: Sequence[Evidence], say: Say) -> Figure:
    with drawing(1) as (figures, (axes,)):
        for run in runs:
            points = [point for point in run.curve if point["split"] == "validation"]
            known = [(p["step"], p["loss"]) for p in points if p.get("loss") is not None]
            if known:
                axes.plot(*zip(*known, strict=True), color=COLOURS[0], alpha=0.6, marker="o")
        axes.set_xlabel(say("step", "步"))
        axes.set_ylabel(say("loss of validation", "验证损失"))
        svg = svg_of(figures)
    return Figure(svg, say("The loss on validation, of each seed.", "各种子的验证损失。"))


def _answers(runs: Sequence[Evidence], lines: Sequence[Sequence[Line]], say: Say) -> list[Section]:
    """How often all seeds answer alike, and where they do not; none where nothing is answered."""
    key = next((name for name in ANSWERS if name in lines[0][0]), None)
    if key is None or isinstance(lines[0][0][key], float):
        return []
    alike = []  # of each example, how many seeds give the answer that is given most
    for answers in zip(*lines, strict=True):
        written = [json.dumps(line[key], sort_keys=True) for line in answers]
        alike.append(max(map(written.count, written)))
    shares = np.array(alike) / len(runs)
    places = [place for place in np.argsort(shares, kind="stable").tolist() if shares[place] < 1]
    text = say(
        f"All seeds give the same answer to {1 - len(places) / len(alike):.1%} of the examples."
        f" On the other {len(places):,} it depends on the seed. Those that it depends on most:",
        f"所有种子在 {1 - len(places) / len(alike):.1%} 的样本上回答相同。"
        f"其余 {len(places):,} 个取决于种子，其中最不一致的是：",
    )
    blocks: list[Block] = [Paragraph(text)]
    task = shared_task(runs)
    for place in places[:MOST_SHOWN]:
        differing = {json.dumps(of_run[place][key]): of_run[place] for of_run in lines}
        blocks += [task.shown(line, say).cut(LONGEST) for line in differing.values()]
    facts = {
        "examples": len(alike),
        "agreed": float(np.mean(shares == 1)),
        "differing": [lines[0][place]["id"] for place in places],
    }
    return [Section("agreement", say("Agreement", "一致性"), facts, blocks)]
