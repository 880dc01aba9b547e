"""What simple methods reach on the same examples."""

from __future__ import annotations

from trainer.files.json_file import JsonObject
from trainer.report.evidence import Evidence
from trainer.report.intervals import LOWER_IS_BETTER, Interval
from trainer.report.page import Block, Cell, Paragraph, Section, Table
from trainer.report.say import Say

NAMES = {
    "majority": ("always the most frequent", "总是最常见的标签"),
    "mean": ("always the mean", "总是平均值"),
    "bag_of_words": ("TF-IDF, logistic regression", "TF-IDF 加逻辑回归"),
    "frequent_tag": ("each token's most frequent tag", "每个词元最常见的标签"),
    "bigram": ("pairs of tokens", "二元语法"),
}


def baselines(
    evidence: Evidence, metric: str, interval: Interval | None, say: Say
) -> Section | None:
    """The section; None where no baseline was scored.

    Args:
        evidence: of the run.
        metric: the main one.
        interval: of the model's own figure, if it has one.
        say: see `speaker`.
    """
    found = _scored(evidence, metric)
    if not found:
        return None
    split = evidence.judged_split
    own = evidence.results[split]
    metrics = [metric, *(name for name in own if name != metric)]
    rows: list[list[Cell]] = [
        [say("this model", "本模型"), *(own.get(name) for name in metrics), None]
    ]
    for name, scores in found.items():
        shown = say(*NAMES.get(name, (name, name)))
        rows.append([shown, *(scores[split].get(each) for each in metrics), scores["seconds"]])
    columns = [say("method", "方法"), *metrics, say("seconds", "秒")]
    title = say("Simple methods on the same examples", "同一数据上的简单方法")
    blocks = best_of_them(evidence, metric, interval, say)
    return Section("baselines", title, found, [*blocks, Table(title, columns, rows)])


def best_of_them(
    evidence: Evidence, metric: str, interval: Interval | None, say: Say
) -> list[Block]:
    """A sentence on the best baseline, and whether the model is ahead; none where there is none.

    Args:
        evidence: of the run.
        metric: the main one.
        interval: of the model's own figure, if it has one.
        say: see `speaker`.
    """
    split = evidence.judged_split
    values = {name: of[split][metric] for name, of in _scored(evidence, metric).items()}
    if not values:
        return []
    lower = metric in LOWER_IS_BETTER
    best = (min if lower else max)(values, key=values.__getitem__)
    own, value = evidence.results[split][metric], values[best]
    shown = say(*NAMES.get(best, (best, best)))
    ahead = value - own if lower else own - value
    if interval is not None and interval.low <= value <= interval.high:
        text = say(
            f"The best simple method ({shown}) reaches {value:.4f}, which is within that interval:"
            " the model may be no better.",
            f"最好的简单方法（{shown}）为 {value:.4f}，落在该区间内：模型未必更好。",
        )
        return [Paragraph(text, "note")]
    if ahead > 0:
        text = say(
            f"The best simple method ({shown}) reaches {value:.4f}; the model is ahead by"
            f" {ahead:.4f}.",
            f"最好的简单方法（{shown}）为 {value:.4f}；模型领先 {ahead:.4f}。",
        )
        return [Paragraph(text, "good")]
    text = say(
        f"A simple method ({shown}) reaches {value:.4f}: the model is no better than that.",
        f"简单方法（{shown}）达到 {value:.4f}：模型并不比它好。",
    )
    return [Paragraph(text, "bad")]


def _scored(evidence: Evidence, metric: str) -> JsonObject:
    """The baselines that have the metric, where the model has it too."""
    split = evidence.judged_split
    if metric not in (evidence.results.get(split) or {}):
        return {}
    return {
        name: scores
        for name, scores in evidence.baselines.items()
        if metric in scores.get(split, {})
    }
