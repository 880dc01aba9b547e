"""What comes of a call of the compiled training function."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from trainer.data.stream import Place

Shape = tuple[int, int]  # (rows, row length) of a micro-batch


class StepRow(NamedTuple):
    """What the compiled function says of one optimizer step, summed over the replicas.

    Attributes:
        loss_sums: of the weighted losses, by objective.
        weights: what each of them is divided by.
        gradient_norm: of the loss, before clipping.
        stop: above 0 where a host was told to stop.
        input_wait_s: seconds until the step's examples were there.
    """

    loss_sums: tuple[float, ...]
    weights: tuple[float, ...]
    gradient_norm: float
    stop: float
    input_wait_s: float

    @staticmethod
    def width(objectives: int) -> int:
        """How many numbers a row of the compiled function has."""
        return 2 * objectives + 3

    @classmethod
    def of(cls, numbers: Sequence[float]) -> StepRow:
        """The row that such numbers are: the sums, the weights, and the three others."""
        *by_objective, gradient_norm, stop, input_wait_s = numbers
        middle = len(by_objective) // 2
        loss_sums = tuple(by_objective[:middle])
        weights = tuple(by_objective[middle:])
        return cls(loss_sums, weights, gradient_norm, stop, input_wait_s)

    @property
    def loss(self) -> float:
        """The sum of the objectives' means."""
        pairs = zip(self.loss_sums, self.weights, strict=True)
        return sum(mean(loss_sum, weight) for loss_sum, weight in pairs)


def mean(loss_sum: float, weight: float) -> float:
    """Of weighted losses; 0 where nothing has weight."""
    return loss_sum / max(weight, 1e-12)


@dataclasses.dataclass(frozen=True)
class LaidOutStep:
    """The examples of one optimizer step.

    Attributes:
        shape: of its rows.
        lengths: (n,) tokens of each example.
        place: where its block begins, where train is streamed.
    """

    shape: Shape
    lengths: np.ndarray
    place: Place | None


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What comes of one call, which makes one step or several.

    Attributes:
        rows: one a step.
        laid_out: the examples of each step.
        seconds: that the call took.
    """

    rows: list[StepRow]
    laid_out: list[LaidOutStep]
    seconds: float

    @property
    def stop(self) -> bool:
        """Whether a host was told to stop before the last step: all learn it in the same step."""
        return self.rows[-1].stop > 0

    @property
    def shapes(self) -> set[Shape]:
        """The shapes that the steps had."""
        return {step.shape for step in self.laid_out}
