"""Labels that may be wrong, by confident learning (cleanlab)."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from trainer.lazy import quiet_imports
from trainer.report.evidence import Line


class Suspect(NamedTuple):
    """A label that may be wrong.

    Attributes:
        split, id, origin: of the example.
        gold: the label that it has.
        suggested: the one that the model is surest of.
        quality: of the label, from 0 to 1: the lower, the more it is doubted.
    """

    split: str
    id: int
    origin: str
    gold: str
    suggested: str
    quality: float


def find_suspects(splits: Mapping[str, Sequence[Line]]) -> list[Suspect]:
    """The doubtful labels of splits that the model was not trained on, the most doubtful first.

    Args:
        splits: of answers with one label each; others have none.
    Source: Northcutt et al. 2021, confident learning.
    """
    suspects = [
        suspect
        for split, lines in splits.items()
        if "probabilities" in lines[0] and isinstance(lines[0]["gold"], str)
        for suspect in _of_split(split, lines)
    ]
    return sorted(suspects, key=lambda suspect: suspect.quality)


def _of_split(split: str, lines: Sequence[Line]) -> list[Suspect]:
    with quiet_imports():
        from cleanlab.filter import find_label_issues
        from cleanlab.rank import get_label_quality_scores

    known = list(lines[0]["probabilities"])
    judged = [line for line in lines if line["gold"] in known]
    gold = np.array([known.index(line["gold"]) for line in judged])
    if len(set(gold.tolist())) < 2:
        return []
    probabilities = np.array([list(line["probabilities"].values()) for line in judged])
    probabilities /= probabilities.sum(axis=1, keepdims=True)
    quality = get_label_quality_scores(gold, probabilities)
    is_suspect = find_label_issues(gold, probabilities, n_jobs=1)
    return [
        Suspect(
            split,
            judged[place]["id"],
            judged[place]["origin"],
            judged[place]["gold"],
            known[int(probabilities[place].argmax())],
            round(float(quality[place]), 6),
        )
        for place in np.flatnonzero(is_suspect).tolist()
    ]


def as_lines(suspects: Sequence[Suspect]) -> str:
    """As suspects.jsonl has them."""
    lines = [json.dumps(suspect._asdict(), ensure_ascii=False) for suspect in suspects]
    return "".join(f"{line}\n" for line in lines)
