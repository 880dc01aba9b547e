"""Which label is taken for which."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from trainer.files.json_file import JsonObject
from trainer.report.figures import INK, drawing, shortened, svg_of
from trainer.report.page import Block, Figure, Table
from trainer.report.say import Say

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MOST_DRAWN = 20  # labels
MOST_PAIRS = 20


def confusion_blocks(
    gold: np.ndarray, answer: np.ndarray, names: Sequence[str], say: Say
) -> tuple[JsonObject, list[Block]]:
    """The facts and blocks of a confusion matrix: drawn where labels are few, and its worst pairs.

    Args:
        gold, answer: (n,) places among the names.
        names: of the labels.
        say: see `speaker`.
    """
    matrix = np.zeros((len(names), len(names)), np.int64)
    np.add.at(matrix, (gold, answer), 1)
    facts = {"labels": list(names), "confusion": matrix.tolist()}
    pairs = _pairs(matrix, names)
    blocks: list[Block] = []
    if len(names) <= MOST_DRAWN:
        blocks.append(_figure(matrix, names, say))
    if pairs:
        caption = say("What is taken for what most often", "最常见的混淆")
        columns = [
            say("labelled", "标注"),
            say("answered", "预测"),
            say("examples", "样本数"),
            say("of the label", "占该标签"),
        ]
        blocks.append(Table(caption, columns, pairs))
    return facts, blocks


def _pairs(matrix: np.ndarray, names: Sequence[str]) -> list[tuple[str, str, int, float]]:
    """The most frequent mistakes."""
    wrong = matrix.copy()
    np.fill_diagonal(wrong, 0)
    order = np.argsort(-wrong, axis=None, kind="stable")[:MOST_PAIRS]
    of_label = np.maximum(matrix.sum(axis=1), 1)
    pairs = []
    for gold, answer in zip(*np.unravel_index(order, wrong.shape), strict=True):
        count = int(wrong[gold, answer])
        if count:
            share = float(count / of_label[gold])
            pairs.append((names[gold], names[answer], count, share))
    return pairs


def _figure(matrix: np.ndarray, names: Sequence[str], say: Say) -> Figure:
    with drawing(height=height_of(names)) as (figures, (axes,)):
        draw_confusion(axes, matrix, names, say("answered", "预测"), say("labelled", "标注"))
        svg = svg_of(figures)
    caption = say(
        "Confusion: how many examples of each label got which answer; the colour is their share.",
        "混淆矩阵：每个标注得到各种预测的样本数；颜色深浅表示占比。",
    )
    return Figure(svg, caption)


def height_of(names: Sequence[str]) -> float:
    """Of a confusion matrix of these labels, in inches."""
    return max(2.6, 0.36 * len(names) + 1.4)


def draw_confusion(
    axes: Axes, matrix: np.ndarray, names: Sequence[str], answered: str, labelled: str
) -> None:
    """The matrix, in shares of each label.

    Args:
        axes: to draw on.
        matrix: (C, C), a row a label, a column an answer.
        names: (C,) of the labels.
        answered, labelled: what stands beside the axes.
    """
    shares = matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
    size = len(names)
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1, alpha=0.8, aspect="auto")
    for row, column in np.ndindex(size, size):
        if matrix[row, column]:
            ink = "white" if shares[row, column] > 0.6 else INK
            text = f"{matrix[row, column]:,}"
            axes.text(column, row, text, ha="center", va="center", color=ink)
    shown = list(map(shortened, names))
    axes.set_xticks(range(size), shown, rotation=0 if size <= 4 else 90)
    axes.set_yticks(range(size), shown)
    axes.set_xlabel(answered)
    axes.set_ylabel(labelled)
