"""ROC and precision-recall curves: one label against the rest, all together, and their means."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from trainer.report.figures import COLOURS, INK, drawing, shortened, svg_of, thinned
from trainer.report.page import Cell, Figure, Paragraph, Section, Table
from trainer.report.say import Say

AREAS = ("auc_roc", "average_precision")
MOST_DRAWN = 5  # labels, beside the micro mean


def section(
    title: str, gold: np.ndarray, scores: np.ndarray, names: Sequence[str], say: Say
) -> Section:
    """The areas under the curves as a table, and the curves.

    Args:
        title: of the section.
        gold: (n, C) bool.
        scores: (n, C), higher where the label is likelier.
        names: (C,).
        say: see `speaker`.
    """
    counts = gold.sum(axis=0)
    split_by = (counts > 0) & (counts < len(gold))  # else there is no curve
    if not split_by.any():
        text = say(
            "No label has examples with it and without it: there are no curves.",
            "没有任何标签同时有正例和反例，因此没有曲线。",
        )
        return Section("curves", title, {}, [Paragraph(text, "note")])
    drawn = np.flatnonzero(split_by).tolist()
    of_labels = {names[label]: _areas(gold[:, label], scores[:, label]) for label in drawn}
    macro = np.mean(list(of_labels.values()), axis=0).tolist()
    micro = _areas(gold.ravel(), scores.ravel())
    facts = {
        figure: {
            "macro": macro[place],
            "micro": micro[place],
            "per_label": {name: areas[place] for name, areas in of_labels.items()},
        }
        for place, figure in enumerate(AREAS)
    }
    rows: list[Sequence[Cell]] = [
        (names[label], *of_labels[names[label]], int(counts[label])) for label in drawn
    ]
    rows.append((say("mean of the labels (macro)", "各标签平均（macro）"), *macro, None))
    rows.append((say("all together (micro)", "合并计算（micro）"), *micro, None))
    caption = say("Area under the curves, one label against the rest", "曲线下面积，一对其余")
    columns = [
        say("label", "标签"),
        "ROC AUC",
        say("average precision", "平均精确率"),
        say("examples", "样本数"),
    ]
    figure = _figure(gold, scores, names, split_by, say)
    return Section("curves", title, facts, [Table(caption, columns, rows), figure])


def _areas(gold: np.ndarray, scores: np.ndarray) -> tuple[float, float]:
    """See AREAS, of (n,) bool and scores."""
    from sklearn.metrics import average_precision_score, roc_auc_score

    return float(roc_auc_score(gold, scores)), float(average_precision_score(gold, scores))


def _figure(
    gold: np.ndarray,
    scores: np.ndarray,
    names: Sequence[str],
    split_by: np.ndarray,
    say: Say,
) -> Figure:
    from sklearn.metrics import precision_recall_curve, roc_curve

    by_count = np.argsort(-gold.sum(axis=0) * split_by, kind="stable")
    drawn = [label for label in by_count[:MOST_DRAWN].tolist() if split_by[label]]
    if gold.shape[1] == 2:
        drawn = drawn[:1]  # the other one is its mirror
    with drawing(2) as (figures, (left, right)):
        curves = [(names[label], gold[:, label], scores[:, label]) for label in drawn]
        if len(drawn) > 1:
            curves.append((say("all together", "合并"), gold.ravel(), scores.ravel()))
        for (name, is_gold, score), colour in zip(curves, COLOURS, strict=False):
            false, true, _ = roc_curve(is_gold, score)
            left.plot(*thinned(false, true), color=colour, label=shortened(name))
            precision, recall, _ = precision_recall_curve(is_gold, score)
            right.plot(*thinned(recall, precision), color=colour)
        left.plot([0, 1], [0, 1], color=INK, linewidth=0.8, linestyle=":")
        left.set_xlabel(say("false positives", "假正率"))
        left.set_ylabel(say("true positives", "真正率"))
        left.legend(fontsize=8, loc="lower right")
        right.set_xlabel(say("recall", "召回率"))
        right.set_ylabel(say("precision", "精确率"))
        for axes in (left, right):
            axes.set(xlim=(-0.01, 1.01), ylim=(-0.01, 1.02))
        svg = svg_of(figures)
    caption = say(
        "Left: ROC. Right: precision and recall. The most frequent labels, each against the rest.",
        "左：ROC 曲线。右：精确率-召回率曲线。只画最常见的标签，每个对其余。",
    )
    return Figure(svg, caption)
