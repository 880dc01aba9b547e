"""What is known of each answer, for predictions.jsonl: probabilities as JSON has them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from trainer.files.mapped import blocks

DIGITS = 9  # of a probability, more than float32 tells apart


def logit_blocks(logits: np.ndarray) -> Iterator[tuple[int, np.ndarray]]:
    """Some examples at a time: the number of the first, and their logits in float64."""
    first = 0
    for block in blocks(logits):
        yield first, block.astype(np.float64)
        first += len(block)


def by_name(probabilities: np.ndarray, names: Sequence[str]) -> dict[str, float]:
    """(C,) probabilities under the names of their labels, in digits that matter."""
    rounded = [float(f"{value:.{DIGITS}g}") for value in probabilities.tolist()]
    return dict(zip(names, rounded, strict=True))
