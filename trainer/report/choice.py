"""Which of several pretrained models to take, and what more data would bring."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from trainer.files.json_file import JsonObject
from trainer.report.evidence import Evidence
from trainer.report.figures import COLOURS, drawing, svg_of
from trainer.report.intervals import LOWER_IS_BETTER, Measure, percentiles
from trainer.report.page import Block, Cell, Figure, Paragraph, Section, Table
from trainer.report.paired import Paired, paired, require_same_examples, shared_task
from trainer.report.say import Say

SPLIT = "validation"


class Trial(NamedTuple):
    """A model trained on a part of train.

    Attributes:
        name: of the model.
        part: of train.
        evidence: of the run.
    """

    name: str
    part: float
    evidence: Evidence

    @property
    def examples(self) -> int:
        """Of train, that it learnt from."""
        return int(self.evidence.plan["splits"]["train"]["examples"])

    @property
    def seconds(self) -> float:
        """From the start to the end of the run."""
        return float(sum(self.evidence.results["timeline"].values()))

    @property
    def measure(self) -> Measure:
        """The main figure, on validation."""
        return shared_task([self.evidence]).measures(self.evidence.splits[SPLIT])[0]


def rank(trials: Sequence[Trial]) -> list[str]:
    """The names of trials on the same part, best first; of equals the quicker."""
    sign = 1 if trials[0].measure.name in LOWER_IS_BETTER else -1
    order = sorted(trials, key=lambda trial: (sign * trial.measure.value, trial.seconds))
    return [trial.name for trial in order]


def choice(trials: Sequence[Trial], say: Say) -> list[Section]:
    """The sections of the page.

    Args:
        trials: in the order in which they were made; those of the last part are compared.
        say: see `speaker`.
    Raises:
        ConfigError: they are not on the same examples.
    """
    last = trials[-1].part
    finalists = [trial for trial in trials if trial.part == last]
    best = next(trial for trial in finalists if trial.name == rank(finalists)[0])
    return [_verdict(best, trials, say), _curves(best, trials, say)]


def _verdict(best: Trial, trials: Sequence[Trial], say: Say) -> Section:
    low, high = best.measure.interval()
    metric, value = best.measure.name, best.measure.value
    text = say(
        f"Take {best.name}: {metric} {value:.4f} on validation (95 %: {low:.4f} to {high:.4f}),"
        f" trained on {best.examples:,} examples in {best.seconds:,.0f} s.",
        f"选择 {best.name}：验证集 {metric} 为 {value:.4f}（95% 区间 {low:.4f} 到 {high:.4f}），"
        f"用 {best.examples:,} 个样本训练，耗时 {best.seconds:,.0f} 秒。",
    )
    pairs = _pairs(best, trials)
    blocks: list[Block] = [Paragraph(text, "verdict")]
    blocks += [_sentence(pair, part, say) for part, pair in pairs]
    columns = [
        say("model", "模型"),
        say("part of train", "训练集比例"),
        say("examples", "样本数"),
        metric,
        say("95 % interval", "95% 区间"),
        say("seconds", "秒"),
        say("weights, MB", "权重，MB"),
    ]
    blocks.append(Table(say("All trainings", "全部训练"), columns, [_row(each) for each in trials]))
    facts = _facts(best, pairs, trials)
    return Section("verdict", say("Verdict", "结论"), facts, blocks)


def _facts(
    best: Trial, pairs: Sequence[tuple[float, Paired]], trials: Sequence[Trial]
) -> JsonObject:
    """The same as JSON."""
    return {
        "best": best.name,
        "metric": best.measure.name,
        "value": best.measure.value,
        "interval": list(best.measure.interval()),
        "examples": best.examples,
        "pairs": [
            {"part": part, **pair._asdict(), "interval": list(pair.interval)}
            for part, pair in pairs
        ],
        "trials": [
            {
                "name": each.name,
                "part": each.part,
                "examples": each.examples,
                "value": each.measure.value,
                "seconds": each.seconds,
            }
            for each in trials
        ],
    }


def _row(trial: Trial) -> list[Cell]:
    low, high = trial.measure.interval()
    return [
        trial.name,
        trial.part,
        trial.examples,
        trial.measure.value,
        f"{low:.4f} – {high:.4f}",
        round(trial.seconds, 1),
        (trial.evidence.plan.get("memory") or {}).get("weights_mb"),
    ]


def _pairs(best: Trial, trials: Sequence[Trial]) -> list[tuple[float, Paired]]:
    """The best model beside each other one, on the largest part that both have seen."""
    pairs = []
    own = {trial.part: trial for trial in trials if trial.name == best.name}
    others = {trial.name: trial for trial in trials if trial.name != best.name}  # the last of each
    for other in others.values():
        mine = own[other.part]
        lines = [each.evidence.splits[SPLIT] for each in (mine, other)]
        require_same_examples([mine.evidence, other.evidence], lines, SPLIT)
        task = shared_task([mine.evidence, other.evidence])
        goodness = [task.goodness(of_trial) for of_trial in lines]
        pairs.append((other.part, paired(other.name, mine.measure, other.measure, *goodness)))
    return pairs


def _sentence(pair: Paired, part: float, say: Say) -> Paragraph:
    low, high = pair.interval
    is_sure = not low <= 0 <= high
    return Paragraph(
        say(
            f"On {part:.0%} of train it is {'ahead of' if pair.is_better else 'not ahead of'}"
            f" {pair.name}, by {pair.difference:+.4f} (95 %: {low:+.4f} to {high:+.4f}):"
            f" {'more than chance' if is_sure else 'may be chance'}.",
            f"用 {part:.0%} 的训练集时，与 {pair.name} 的差值为 {pair.difference:+.4f}"
            f"（95%：{low:+.4f} 到 {high:+.4f}）：{'超出偶然' if is_sure else '可能只是偶然'}。",
        )
    )


def _curves(best: Trial, trials: Sequence[Trial], say: Say) -> Section:
    """The score by how much data, and what the last doubling brought."""
    names = list(dict.fromkeys(trial.name for trial in trials))
    metric = best.measure.name
    with drawing() as (figures, (axes,)):
        for name, colour in zip(names, itertools.cycle(COLOURS), strict=False):
            own = [trial for trial in trials if trial.name == name]
            examples = [trial.examples for trial in own]
            values = np.array([trial.measure.value for trial in own])
            ends = np.array([trial.measure.interval() for trial in own]).T
            errors = np.abs(ends - values)
            axes.errorbar(examples, values, errors, marker="o", color=colour, label=name)
        axes.set_xscale("log")
        seen = sorted({trial.examples for trial in trials})
        axes.set_xticks(seen, [f"{examples:,}" for examples in seen], minor=False)
        axes.set_xticks([], minor=True)
        axes.set_xlabel(say("examples of train", "训练样本数"))
        axes.set_ylabel(metric)
        axes.legend(fontsize=8)
        svg = svg_of(figures)
    own = [trial for trial in trials if trial.name == best.name]
    gains = [_gain(before, after) for before, after in itertools.pairwise(own)]
    blocks: list[Block] = [_gain_said(best.name, metric, gains[-1], say)] if gains else []
    caption = say(
        "The score on validation by how much data was learnt from, with 95 % intervals.",
        "不同训练样本数下的验证集得分，误差线为 95% 区间。",
    )
    title = say("What more data brings", "更多数据的作用")
    return Section("data", title, {"gains": gains}, [*blocks, Figure(svg, caption)])


def _gain(before: Trial, after: Trial) -> JsonObject:
    """What more data brought, with the interval of the paired bootstrap."""
    differences = after.measure.resampled() - before.measure.resampled()
    return {
        "from": before.examples,
        "to": after.examples,
        "gain": after.measure.value - before.measure.value,
        "interval": list(percentiles(differences)),
    }


def _gain_said(name: str, metric: str, last: JsonObject, say: Say) -> Paragraph:
    """What the last doubling of the data brought."""
    before, after, gain = last["from"], last["to"], last["gain"]
    low, high = last["interval"]
    text = say(
        f"From {before:,} to {after:,} examples, {metric} of {name} went by {gain:+.4f} (95 %:"
        f" {low:+.4f} to {high:+.4f}).",
        f"样本从 {before:,} 增加到 {after:,} 时，{name} 的 {metric} 变化 {gain:+.4f}"
        f"（95%：{low:+.4f} 到 {high:+.4f}）。",
    )
    if low <= 0 <= high:
        text += say(
            " That may be chance: more of such data may bring nothing.",
            "这可能只是偶然：更多同类数据未必有用。",
        )
    else:
        text += say(
            " As a rule, twice as much data again changes it by less than that.",
            "一般来说，再翻一倍数据带来的变化会更小。",
        )
    return Paragraph(text)
