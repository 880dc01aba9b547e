"""The raw inputs of an answer, for people."""

from __future__ import annotations

from trainer.report.evidence import Line

BETWEEN = " ‖ "


def text_of(line: Line) -> str:
    """The texts of an example, one after the other."""
    texts = [value for value in line.get("inputs", {}).values() if isinstance(value, str)]
    return BETWEEN.join(texts)
