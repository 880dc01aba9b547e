"""What simple methods reach on the same examples."""

from __future__ import annotations

from trainer.report.evidence import Evidence
from trainer.report.intervals import LOWER_IS_BETTER
from trainer.report.page import Cell, Paragraph, Section, Table
from trainer.report.say import Say

NAMES = {
    "majority": ("always the most frequent", "总是最常见的标签"),
    "mean": ("always the mean", "总是平均值"),
    "bag_of_words": ("TF-IDF, logistic regression", "TF-IDF 加逻辑回归"),
    "frequent_tag": ("each token's most frequent tag", "每个词元最常见的标签"),
    "bigram": ("pairs of tokens", "二元语法"),
}


def baselines(evidence: Evidence, metric: str, say: Say) -> Section | None:
    """The section; None where no baseline was scored.

    Args:
        evidence: of the run.
        metric: the main one.
        say: see `speaker`.
    """
    split = evidence.judged_split
    found = {
        name: scores
        for name, scores in evidence.baselines.items()
        if metric in scores.get(split, {})
    }
    own = evidence.results.get(split) or {}
    if not found or metric not in own:
        return None
    metrics = [metric, *(name for name in own if name != metric)]
    rows: list[list[Cell]] = [
        [say("this model", "本模型"), *(own.get(name) for name in metrics), None]
    ]
    for name, scores in found.items():
        shown = say(*NAMES.get(name, (name, name)))
        rows.append([shown, *(scores[split].get(each) for each in metrics), scores["seconds"]])
    columns = [say("method", "方法"), *metrics, say("seconds", "秒")]
    title = say("Simple methods on the same examples", "同一数据上的简单方法")
    values = {name: scores[split][metric] for name, scores in found.items()}
    lower = metric in LOWER_IS_BETTER
    best = min(values, key=values.__getitem__) if lower else max(values, key=values.__getitem__)
    is_ahead = own[metric] < values[best] if lower else own[metric] > values[best]
    shown = say(*NAMES.get(best, (best, best)))
    if is_ahead:
        text = say(
            f"The best of them ({shown}) reaches {values[best]:.4f}; the model is ahead by"
            f" {abs(own[metric] - values[best]):.4f}.",
            f"其中最好的（{shown}）为 {values[best]:.4f}；模型领先"
            f" {abs(own[metric] - values[best]):.4f}。",
        )
    else:
        text = say(
            f"One of them ({shown}) reaches {values[best]:.4f}: the model is no better than that.",
            f"其中一个（{shown}）达到 {values[best]:.4f}：模型并不比它好。",
        )
    paragraph = Paragraph(text, "good" if is_ahead else "bad")
    return Section("baselines", title, found, [paragraph, Table(title, columns, rows)])
