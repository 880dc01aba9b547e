"""What another threshold would give: answering only where the model is sure, one label more or less
often, and what mistakes of two kinds cost.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from trainer.files.json_file import JsonObject
from trainer.report.figures import COLOURS, INK, drawing, svg_of, thinned
from trainer.report.page import Block, Figure, Paragraph, Table
from trainer.report.say import Say

if TYPE_CHECKING:  # it takes half a second
    from matplotlib.axes import Axes

SHARES = (1.0, 0.95, 0.9, 0.8, 0.6)  # of the examples that are answered
# how much a missed example of the label costs, where one that is taken for it costs 1
COSTS = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0)
PARTS = 101  # of the axis of a cost curve


class Counts(NamedTuple):
    """What each threshold gives, from the lowest to one above all scores.

    Attributes:
        thresholds: (T,) the label is given from there.
        right, given: (T,) examples.
        gold, others: examples that have the label, and that do not.
    """

    thresholds: np.ndarray
    right: np.ndarray
    given: np.ndarray
    gold: int
    others: int

    @property
    def precision(self) -> np.ndarray:
        """(T,); 1 where nothing is given."""
        return np.where(self.given, self.right / np.maximum(self.given, 1), 1.0)

    @property
    def recall(self) -> np.ndarray:
        """(T,)."""
        return self.right / max(self.gold, 1)

    @property
    def f1(self) -> np.ndarray:
        """(T,)."""
        return 2 * self.right / np.maximum(self.given + self.gold, 1)

    def cost(self, of_missed: float) -> np.ndarray:
        """(T,) an example, where one that is wrongly given costs 1.

        Args:
            of_missed: what a missed one costs.
        """
        missed = self.gold - self.right
        wrongly_given = self.given - self.right
        return (of_missed * missed + wrongly_given) / (self.gold + self.others)

    def at(self, threshold: float) -> int:
        """The place of the counts that a threshold gives."""
        return int(np.searchsorted(self.thresholds, threshold))


def counts_of(gold: np.ndarray, scores: np.ndarray) -> Counts:
    """The counts at every threshold that makes a difference.

    Args:
        gold: (n,) bool.
        scores: (n,) in [0, 1].
    """
    order = np.argsort(scores, kind="stable")
    thresholds, first = np.unique(scores[order], return_index=True)
    is_gold = gold[order]
    below = np.concatenate([[0], np.cumsum(is_gold)])
    total = int(is_gold.sum())
    starts = np.append(first, len(scores))  # one more: nothing is given
    return Counts(
        np.append(thresholds, np.inf),
        total - below[starts],
        len(scores) - starts,
        total,
        len(scores) - total,
    )


def sureness(sure: np.ndarray, right: np.ndarray, say: Say) -> tuple[JsonObject, list[Block]]:
    """How often answers are right where those that are least sure are left to people.

    Args:
        sure: (n,) the probability of each answer.
        right: (n,) bool.
        say: see `speaker`.
    Source: El-Yaniv and Wiener 2010, risk and coverage.
    """
    order = np.argsort(-sure, kind="stable")
    sorted_sure = sure[order]
    accuracy = np.cumsum(right[order]) / np.arange(1, len(sure) + 1)
    rows = []
    for share in SHARES:
        last = max(0, round(share * len(sure)) - 1)
        rows.append((float(share), float(accuracy[last]), float(sorted_sure[last])))
    caption = say(
        "Answering only where the model is sure, and leaving the rest to people",
        "只在有把握时回答，其余交给人工",
    )
    columns = [
        say("share answered", "回答比例"),
        say("right of these", "其中正确"),
        say("sure, at least", "最低把握"),
    ]
    facts = [dict(zip(("answered", "right", "sure"), row, strict=True)) for row in rows]
    return {"selective": facts}, [Table(caption, columns, rows)]


def of_label(
    name: str,
    counts: Counts,
    validation: Counts | None,
    say: Say,
) -> tuple[JsonObject, list[Block]]:
    """What thresholds of one label of two give: chosen on validation, counted on the judged split.

    Args:
        name: of the label.
        counts: of the judged split.
        validation: of that split; None: the thresholds are chosen on the judged one, which is said.
        say: see `speaker`.
    """
    chosen_on = counts if validation is None else validation
    best = float(chosen_on.thresholds[int(chosen_on.f1.argmax())])
    f1 = float(counts.f1[counts.at(best)])
    now = float(counts.f1[counts.at(0.5)])
    where = say("this split itself", "本数据集自身") if validation is None else "validation"
    text = say(
        f"The label {name} is given from a probability of 0.5, with an F1 of {now:.4f}. By {where},"
        f" the best threshold would be {best:.3f}; its F1 here is {f1:.4f}.",
        f"概率达到 0.5 即判为 {name}，F1 为 {now:.4f}。按 {where} 选出的最佳阈值为 {best:.3f}，"
        f"这里的 F1 为 {f1:.4f}。",
    )
    costs = [_cost_row(of_missed, counts, chosen_on) for of_missed in COSTS]
    caption = say(
        f"Where a missed {name} costs more or less than one that is none: the best threshold, and"
        " what an example costs on average",
        f"漏判与误判 {name} 的代价不同时：最佳阈值，以及每个样本的平均代价",
    )
    columns = [
        say("a missed one costs", "漏判代价"),
        say("threshold", "阈值"),
        say("cost with it", "用该阈值的代价"),
        say("cost with 0.5", "阈值 0.5 的代价"),
    ]
    facts = {
        "label": name,
        "f1_threshold": best,
        "f1_with_it": f1,
        "f1_with_0.5": now,
        "costs": [
            dict(zip(("missed", "threshold", "cost", "cost_with_0.5"), row, strict=True))
            for row in costs
        ],
    }
    return facts, [Paragraph(text), _figure(name, counts, say), Table(caption, columns, costs)]


def _cost_row(
    of_missed: float, counts: Counts, chosen_on: Counts
) -> tuple[float, float, float, float]:
    threshold = chosen_on.thresholds[int(chosen_on.cost(of_missed).argmin())]
    cost = counts.cost(of_missed)
    # one above all scores: the label is never given
    shown = float(min(threshold, 1.0))
    return of_missed, shown, float(cost[counts.at(threshold)]), float(cost[counts.at(0.5)])


def _figure(name: str, counts: Counts, say: Say) -> Figure:
    """Precision, recall and F1 by threshold; and the cost curve."""
    with drawing(2) as (figures, (left, right)):
        _draw_by_threshold(left, counts, say)
        weight = np.linspace(0, 1, PARTS)
        best, now = cost_curve(counts, weight)
        right.plot(weight, np.minimum(weight, 1 - weight), color=INK, linewidth=0.8, linestyle=":")
        right.plot(weight, now, color=COLOURS[1], label=say("threshold 0.5", "阈值 0.5"))
        right.plot(weight, best, color=COLOURS[0], label=say("best threshold", "最佳阈值"))
        right.set(xlim=(0, 1), ylim=(0, 0.52))
        right.set_xlabel(say("weight of missed ones", "漏判的权重"))
        right.set_ylabel(say("expected cost", "期望代价"))
        right.legend(fontsize=8)
        svg = svg_of(figures)
    caption = say(
        f"First: how well {name} is found, by threshold. Second: what mistakes cost, by how much"
        " missed ones weigh; dotted: without a model.",
        f"第一幅：不同阈值下找出 {name} 的效果。第二幅：漏判权重不同时的代价；虚线：不用模型。",
    )
    return Figure(svg, caption)


def _draw_by_threshold(axes: Axes, counts: Counts, say: Say) -> None:
    """Precision, recall and F1."""
    shown = np.minimum(counts.thresholds, 1.0)
    for label, values, colour in zip(
        (say("precision", "精确率"), say("recall", "召回率"), "F1"),
        (counts.precision, counts.recall, counts.f1),
        COLOURS,
        strict=False,
    ):
        axes.plot(*thinned(shown, values), color=colour, label=label)
    axes.set(xlim=(0, 1), ylim=(0, 1.02))
    axes.set_xlabel(say("threshold", "阈值"))
    axes.legend(fontsize=8, loc="lower left")


def cost_curve(counts: Counts, weight: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(P,) each: the normalised expected cost of the best threshold, and of 0.5.

    Args:
        counts: of the label.
        weight: (P,) in [0, 1], of missed examples, their share and their cost in one.
    Source: Drummond and Holte 2006.
    """
    missed = 1 - counts.recall
    wrongly_given = (counts.given - counts.right) / max(counts.others, 1)
    costs = np.outer(missed, weight) + np.outer(wrongly_given, 1 - weight)
    best: np.ndarray = costs.min(axis=0)
    return best, costs[counts.at(0.5)]


def _between(counts: Counts, place: int) -> float:
    """A threshold that a setting may have, which tells a score from the next lower one."""
    lower = counts.thresholds[max(place - 1, 0)]
    middle = (min(counts.thresholds[place], 1.0) + lower) / 2
    return float(np.clip(np.round(middle, 3), 0.001, 0.999))


def of_all_labels(
    threshold: float, counts: Counts, validation: Counts | None, say: Say
) -> tuple[JsonObject, list[Block]]:
    """What one threshold for all labels gives, where an example may have several.

    Args:
        threshold: of the run.
        counts: of all labels of all examples of the judged split.
        validation: of that split; None: there is none to choose by.
        say: see `speaker`.
    """
    now = float(counts.f1[counts.at(threshold)])
    facts: JsonObject = {"threshold": threshold, "f1_micro": now}
    text = say(
        f"With the run's threshold, {threshold:g}, micro F1 is {now:.4f}.",
        f"用本次运行的阈值 {threshold:g}，micro F1 为 {now:.4f}。",
    )
    if validation is not None:
        best = _between(validation, int(validation.f1.argmax()))
        found = float(counts.f1[counts.at(best)])
        facts |= {"best_threshold": best, "best_f1_micro": found}
        text += say(
            f" Validation would choose {best:.3f}, which gives {found:.4f} here:"
            f" --head.threshold={best:.3f}.",
            f"验证集会选 {best:.3f}，这里为 {found:.4f}：--head.threshold={best:.3f}。",
        )
    with drawing() as (figures, (axes,)):
        _draw_by_threshold(axes, counts, say)
        svg = svg_of(figures)
    caption = say("All labels together, by threshold.", "所有标签合并，按阈值。")
    return facts, [Paragraph(text), Figure(svg, caption)]
