"""precision, recall and F1 of each label, as a table."""

from __future__ import annotations

from collections.abc import Mapping

from trainer.report.page import Cell, Table
from trainer.report.say import Say


def label_table(scores: Mapping[str, Mapping[str, float]], say: Say) -> Table:
    """Of labels with `precision`, `recall`, `f1` and `support`."""
    columns = [
        say("label", "标签"),
        say("precision", "精确率"),
        say("recall", "召回率"),
        "F1",
        say("examples", "样本数"),
    ]
    rows: list[list[Cell]] = [[name, *of_label.values()] for name, of_label in scores.items()]
    return Table(say("Each label", "各标签"), columns, rows)
