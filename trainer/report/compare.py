"""Several runs on the same examples: which is better, how surely, where they differ."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence

import numpy as np

from trainer.report.evidence import Evidence, Line
from trainer.report.figures import COLOURS, bars, drawing, svg_of
from trainer.report.intervals import Measure
from trainer.report.page import Block, Cell, Figure, Paragraph, Section, Table
from trainer.report.paired import (
    Paired,
    best_of,
    paired,
    require_same_examples,
    shared_split,
    shared_task,
)
from trainer.report.say import Say
from trainer.report.tasks import Task

MOST_FLIPS = 10  # that are shown of each direction
LONGEST = 600  # characters of a text


def compare(runs: Sequence[Evidence], say: Say) -> list[Section]:
    """The sections of a comparison.

    Args:
        runs: two or more, each by another name.
        say: see `speaker`.
    Raises:
        ConfigError: they are not of one task, or not on the same examples.
    """
    split = shared_split(runs)
    lines = [run.splits[split] for run in runs]
    require_same_examples(runs, lines, split)
    task = shared_task(runs)
    measures = [task.measures(of_run)[0] for of_run in lines]
    best = best_of(measures)
    goodness = [task.goodness(of_run) for of_run in lines]
    pairs = [
        paired(runs[other].name, measures[best], measures[other], goodness[best], goodness[other])
        for other in range(len(runs))
        if other != best
    ]
    return [
        _verdict(runs, measures, best, pairs, split, say),
        _settings(runs, say),
        _flips(runs, lines, goodness, best, task, say),
    ]


def _verdict(
    runs: Sequence[Evidence],
    measures: Sequence[Measure],
    best: int,
    pairs: Sequence[Paired],
    split: str,
    say: Say,
) -> Section:
    blocks: list[Block] = []
    name = runs[best].name
    count = len(runs[best].splits[split])
    blocks.append(
        Paragraph(
            say(
                f"{name} is best: {measures[best].name} {measures[best].value:.4f} on {count:,}"
                f" examples of {split}.",
                f"{name} 最好：在 {split} 的 {count:,} 个样本上，{measures[best].name} 为"
                f" {measures[best].value:.4f}。",
            ),
            "verdict",
        )
    )
    blocks += [_sentence(pair, say) for pair in pairs]
    rows = [_cost_row(run, measure) for run, measure in zip(runs, measures, strict=True)]
    columns = [
        say("run", "运行"),
        measures[0].name,
        say("95 % interval", "95% 区间"),
        say("steps", "步数"),
        say("training, s", "训练，秒"),
        say("tokens/s", "词元/秒"),
    ]
    blocks.append(Table(say("Score and cost", "得分与代价"), columns, rows))
    blocks.append(_figure(runs, measures, say))
    facts = {
        "split": split,
        "metric": measures[best].name,
        "best": name,
        "runs": {run.name: m.value for run, m in zip(runs, measures, strict=True)},
        "pairs": [{**pair._asdict(), "interval": list(pair.interval)} for pair in pairs],
    }
    return Section("verdict", say("Verdict", "结论"), facts, blocks)


def _sentence(pair: Paired, say: Say) -> Paragraph:
    low, high = pair.interval
    is_sure = low > 0 or high < 0
    text = say(
        f"Ahead of {pair.name} by {abs(pair.difference):.4f} (95 % interval of the difference"
        f" {low:.4f} to {high:.4f}): {'more than chance' if is_sure else 'may be chance'}.",
        f"与 {pair.name} 相差 {abs(pair.difference):.4f}（差值的 95% 区间 {low:.4f} 到"
        f" {high:.4f}）：{'超出偶然' if is_sure else '可能只是偶然'}。",
    )
    if pair.p_value is not None:
        text += say(
            f" Only the first is wholly right in {pair.only_best:,} examples, only the second in"
            f" {pair.only_other:,} (McNemar p = {pair.p_value:.3g}).",
            f"只有前者完全答对的有 {pair.only_best:,} 个，只有后者的有 {pair.only_other:,} 个"
            f"（McNemar p = {pair.p_value:.3g}）。",
        )
    return Paragraph(text)


def _cost_row(run: Evidence, measure: Measure) -> list[Cell]:
    low, high = measure.interval()
    timeline = run.results.get("timeline") or {}
    throughput = run.results.get("throughput") or {}
    return [
        run.name,
        measure.value,
        f"{low:.4f} – {high:.4f}",
        run.plan.get("steps"),
        timeline.get("train_s"),
        throughput.get("real_tokens_per_s"),
    ]


def _figure(runs: Sequence[Evidence], measures: Sequence[Measure], say: Say) -> Figure:
    values = np.array([measure.value for measure in measures])
    intervals = np.array([measure.interval() for measure in measures])
    with drawing(2, height=max(2.4, 0.4 * len(runs) + 1)) as (figures, (left, right)):
        bars(left, [run.name for run in runs], values.tolist(), np.abs(intervals.T - values))
        left.set_xlabel(measures[0].name)
        for run, colour in zip(runs, itertools.cycle(COLOURS), strict=False):
            points = [point for point in run.curve if point["split"] == "validation"]
            known = [(p["step"], p["loss"]) for p in points if p.get("loss") is not None]
            if known:
                right.plot(*zip(*known, strict=True), label=run.name, color=colour, marker="o")
        right.set_xlabel(say("step", "步"))
        right.set_ylabel(say("loss of validation", "验证损失"))
        right.legend(fontsize=8)
        svg = svg_of(figures)
    caption = say(
        "The runs' scores with 95 % intervals, and their loss on validation.",
        "各次运行的得分（95% 区间）与验证损失。",
    )
    return Figure(svg, caption)


def _settings(runs: Sequence[Evidence], say: Say) -> Section:
    """What the runs were set to do differently."""
    flat = [_flat(run.config) for run in runs]
    names = sorted(set().union(*flat))
    rows = []
    for name in names:
        values = [str(of_run.get(name)) for of_run in flat]
        if len(set(values)) > 1:
            rows.append([name, *values])
    facts = {row[0]: dict(zip([run.name for run in runs], row[1:], strict=True)) for row in rows}
    title = say("Settings that differ", "不同的设置")
    if not rows:
        text = say("All settings are the same.", "所有设置都相同。")
        return Section("settings", title, {}, [Paragraph(text)])
    columns = [say("setting", "设置"), *(run.name for run in runs)]
    return Section("settings", title, facts, [Table(title, columns, rows)])


def _flat(config: Mapping[str, Mapping[str, object]]) -> dict[str, object]:
    return {
        f"{section}.{key}": value
        for section, keys in config.items()
        for key, value in keys.items()
        if section not in ("export", "log", "report")
    }


def _flips(
    runs: Sequence[Evidence],
    lines: Sequence[Sequence[Line]],
    goodness: Sequence[np.ndarray],
    best: int,
    task: Task,
    say: Say,
) -> Section:
    """Examples that one run has right and another has not."""
    title = say("Examples that differ", "结果不同的样本")
    blocks: list[Block] = []
    facts: dict[str, object] = {}
    for other in range(len(runs)):
        if other == best or not len(goodness[other]):
            continue
        gain = goodness[best] - goodness[other]
        for winner, loser, order in (
            (best, other, np.argsort(-gain, kind="stable")),
            (other, best, np.argsort(gain, kind="stable")),
        ):
            sign = 1 if winner == best else -1
            places = [place for place in order.tolist() if sign * gain[place] > 0]
            names = runs[winner].name, runs[loser].name
            facts[f"{names[0]} over {names[1]}"] = [lines[best][place]["id"] for place in places]
            text = say(
                f"{names[0]} is better than {names[1]} on {len(places):,} examples; by"
                f" {names[1]}, they were:",
                f"{names[0]} 在 {len(places):,} 个样本上比 {names[1]} 好；{names[1]} 的回答是：",
            )
            blocks.append(Paragraph(text))
            shown = [lines[loser][place] for place in places[:MOST_FLIPS]]
            blocks += [task.shown(line, say).cut(LONGEST) for line in shown]
    if not blocks:
        blocks.append(Paragraph(say("There are none.", "没有。")))
    return Section("flips", title, facts, blocks)
