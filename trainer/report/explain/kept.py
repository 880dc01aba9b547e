"""The explanations of a report, kept in explanations.json: of some answers, wrong and right."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from trainer.files.json_file import JsonObject
from trainer.report.evidence import Line
from trainer.report.explain.texts import explain
from trainer.run.kept_model import KeptModel


def chosen(lines: Sequence[Line], count: int) -> list[int]:
    """Which answers are explained: half of them the surest mistakes, the others spread.

    Args:
        lines: of a split.
        count: how many.
    """
    wrong: list[int] = []
    right: list[int] = []
    for place, line in enumerate(lines):
        (right if line["gold"] == line["answer"] else wrong).append(place)
    wrong.sort(key=lambda place: -(lines[place]["loss"] or 0))
    worst = wrong[: count // 2]
    spread = np.linspace(0, len(right) - 1, min(count - len(worst), len(right))).astype(int)
    return [*worst, *(right[place] for place in np.unique(spread).tolist())]


def explanations(kept: KeptModel, lines: Sequence[Line], count: int) -> list[JsonObject]:
    """Explanations of some answers, as explanations.json has them.

    Args:
        kept: the model.
        lines: of a split.
        count: how many.
    """
    shown = [lines[place] for place in chosen(lines, count)]
    texts = [_texts(line["inputs"]) for line in shown]
    return [
        {"split": line["split"], "id": line["id"], "origin": line["origin"], "gold": line["gold"]}
        | found.as_json()
        for line, found in zip(shown, explain(kept, texts), strict=True)
    ]


def _texts(inputs: Mapping[str, object]) -> tuple[str, ...]:
    return tuple(map(str, inputs.values()))
