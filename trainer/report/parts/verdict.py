"""The first sentence: how good the run is, how sure that is, and whether that is enough."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Literal

from trainer.errors import ConfigError
from trainer.files.json_file import JsonObject
from trainer.report.evidence import Evidence
from trainer.report.intervals import LOWER_IS_BETTER, Interval, Measure
from trainer.report.page import Block, Paragraph, Section, Table
from trainer.report.paired import (
    Paired,
    paired,
    require_same_examples,
    shared_split,
    shared_task,
)
from trainer.report.parts.baselines import best_of_them
from trainer.report.say import Say


@dataclasses.dataclass(frozen=True)
class Requirement:
    """What the config asks of a metric.

    Attributes:
        metric: its name.
        wanted: at least, or at most where lower is better.
        found: on the judged split; None: it has no such metric.
    """

    metric: str
    wanted: float
    found: float | None

    @property
    def is_met(self) -> bool:
        """Whether the metric is as good as that."""
        if self.found is None:
            return False
        if self.metric in LOWER_IS_BETTER:
            return self.found <= self.wanted
        return self.found >= self.wanted

    @property
    def said(self) -> str:
        """What is there, and what is wanted, in words."""
        found = "is not there" if self.found is None else f"{self.found:.4f}"
        return f"{self.metric} {found}, wanted {self.wanted:g}"


def requirements(metrics: Mapping[str, float], wanted: Mapping[str, float]) -> list[Requirement]:
    """What `report.require` asks of the metrics of the judged split."""
    return [Requirement(name, value, metrics.get(name)) for name, value in wanted.items()]


@dataclasses.dataclass(frozen=True)
class Earlier:
    """How the run compares with an earlier one.

    Attributes:
        name: of that run.
        paired: on the same examples; None: it was judged on others.
        value: its main figure, on its own examples; None where it is of another task.
        reason: why the two cannot be compared, if so.
    """

    name: str
    paired: Paired | None
    value: float | None
    reason: str = ""


def earlier_of(evidence: Evidence, earlier: Evidence) -> Earlier:
    """Sets a run beside an earlier one.

    Args:
        evidence: of the run.
        earlier: of the other one.
    """
    runs = [evidence, earlier]
    try:
        split, task = shared_split(runs), shared_task(runs)
    except ConfigError as error:
        return Earlier(earlier.name, None, None, str(error))
    lines = [run.splits[split] for run in runs]
    measure, before = (task.measures(of_run)[0] for of_run in lines)
    try:
        require_same_examples(runs, lines, split)
    except ConfigError:
        return Earlier(earlier.name, None, before.value)
    goodness = [task.goodness(of_run) for of_run in lines]
    return Earlier(earlier.name, paired(earlier.name, measure, before, *goodness), before.value)


def verdict(
    evidence: Evidence,
    measures: Sequence[Measure],
    asked: Sequence[Requirement],
    earlier: Earlier | None,
    say: Say,
) -> Section:
    """The section.

    Args:
        evidence: of the run.
        measures: with an interval, the main one first; none of a head that is not ours.
        asked: what the config asks.
        earlier: beside which the run is set, if any.
        say: see `speaker`.
    """
    intervals = {measure.name: measure.interval() for measure in measures}
    blocks: list[Block] = []
    if measures:
        blocks.append(_sentence(evidence, measures[0], intervals[measures[0].name], say))
    blocks += [_requirement(each, say) for each in asked]
    blocks += [_beside(earlier, say)] if earlier else []
    baseline = _majority(evidence)
    blocks += _beside_simple_methods(evidence, intervals, baseline, say)
    blocks.append(_metrics_table(evidence, intervals, say))
    facts = {
        "split": evidence.judged_split,
        "examples": len(evidence.lines),
        "metrics": {split: evidence.results.get(split) for split in evidence.splits},
        "intervals": {name: list(interval) for name, interval in intervals.items()},
        "required": [{**dataclasses.asdict(each), "is_met": each.is_met} for each in asked],
    }
    if earlier is not None:
        facts["against"] = _facts(earlier)
    if baseline is not None:
        facts["majority"] = {"label": baseline[0], "accuracy": baseline[1]}
    return Section("verdict", say("Verdict", "结论"), facts, blocks)


def _sentence(evidence: Evidence, measure: Measure, interval: Interval, say: Say) -> Paragraph:
    split, count = evidence.judged_split, len(evidence.lines)
    low, high = interval
    return Paragraph(
        say(
            f"On {count:,} examples of {split}, {measure.name} is {measure.value:.4f}; on other"
            f" draws of as many it would lie between {low:.4f} and {high:.4f} (95 %).",
            f"在 {split} 的 {count:,} 个样本上，{measure.name} 为 {measure.value:.4f}；"
            f"95% 区间为 {low:.4f} 到 {high:.4f}。",
        ),
        "verdict",
    )


def _requirement(each: Requirement, say: Say) -> Paragraph:
    if each.found is None:
        text = say(
            f"report.require asks for {each.metric}, which the run does not have.",
            f"report.require 要求 {each.metric}，而这次运行没有该指标。",
        )
        return Paragraph(text, "bad")
    wanted, found = f"{each.wanted:g}", f"{each.found:.4f}"
    if each.is_met:
        text = say(
            f"Met: {each.metric} {found}, wanted {wanted}.",
            f"达标：{each.metric} {found}，要求 {wanted}。",
        )
        return Paragraph(text, "good")
    text = say(
        f"Not met: {each.metric} {found}, wanted {wanted}.",
        f"未达标：{each.metric} {found}，要求 {wanted}。",
    )
    return Paragraph(text, "bad")


def _beside(earlier: Earlier, say: Say) -> Paragraph:
    """Whether the run is better than an earlier one."""
    pair, name = earlier.paired, earlier.name
    if earlier.reason:
        return Paragraph(f"{name}: {earlier.reason}", "note")
    if pair is None:
        text = say(
            f"{name} reached {earlier.value:.4f}, on other examples: the two cannot be compared.",
            f"{name} 为 {earlier.value:.4f}，但样本不同，无法比较。",
        )
        return Paragraph(text, "note")
    low, high = pair.interval
    kind: Literal["note", "good", "bad"]
    if low <= 0 <= high:
        how, kind = say("may be chance", "可能只是偶然"), "note"
    elif pair.is_better:
        how, kind = say("better, more than chance", "更好，超出偶然"), "good"
    else:
        how, kind = say("worse, more than chance", "更差，超出偶然"), "bad"
    text = say(
        f"{name} reached {earlier.value:.4f}; the difference is {pair.difference:+.4f} (95 %:"
        f" {low:+.4f} to {high:+.4f}): {how}.",
        f"{name} 为 {earlier.value:.4f}；差值 {pair.difference:+.4f}（95%：{low:+.4f} 到"
        f" {high:+.4f}）：{how}。",
    )
    return Paragraph(text, kind)


def _facts(earlier: Earlier) -> JsonObject:
    pair = earlier.paired
    if pair is None:
        return {"name": earlier.name, "value": earlier.value, "reason": earlier.reason}
    return {**pair._asdict(), "interval": list(pair.interval), "value": earlier.value}


def _beside_simple_methods(
    evidence: Evidence,
    intervals: Mapping[str, Interval],
    majority: tuple[str, float] | None,
    say: Say,
) -> list[Block]:
    """The best baseline; where none was scored, always the most frequent label."""
    compared = []
    for main, interval in list(intervals.items())[:1]:
        compared = best_of_them(evidence, main, interval, say)
    if compared or majority is None:
        return compared
    label, accuracy = majority
    text = say(
        f"Always answering {label}, the most frequent label of train, would reach an accuracy of"
        f" {accuracy:.4f}.",
        f"若总是回答训练集中最常见的标签 {label}，准确率为 {accuracy:.4f}。",
    )
    return [Paragraph(text)]


def _majority(evidence: Evidence) -> tuple[str, float] | None:
    """The most frequent label of train, and the accuracy of always answering it."""
    first = evidence.lines[0]
    counts = evidence.plan.get("label_counts", {}).get("train")
    if not counts or not isinstance(first.get("gold"), str) or "probabilities" not in first:
        return None
    label = Counter(counts).most_common(1)[0][0]
    right = sum(line["gold"] == label for line in evidence.lines)
    return label, right / len(evidence.lines)


def _metrics_table(evidence: Evidence, intervals: Mapping[str, Interval], say: Say) -> Table:
    splits = list(evidence.splits)
    names: dict[str, None] = {}
    for split in splits:
        names |= dict.fromkeys(evidence.results.get(split) or {})
    rows = []
    for name in names:
        values = [(evidence.results.get(split) or {}).get(name) for split in splits]
        interval = intervals.get(name)
        shown = "" if interval is None else f"{interval.low:.4f} – {interval.high:.4f}"
        rows.append((name, *values, shown))
    columns = [
        say("metric", "指标"),
        *splits,
        say(f"95 % interval, {evidence.judged_split}", f"95% 区间，{evidence.judged_split}"),
    ]
    return Table(say("All metrics", "全部指标"), columns, rows)
