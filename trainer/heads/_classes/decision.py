"""What a head that classifies answers: the one rule, of serving and of evaluation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

import numpy as np

from trainer.files.mapped import blocks
from trainer.heads.contract import Calibration, Results
from trainer.lazy import tf

if TYPE_CHECKING:
    from trainer.data.store import TokenStore


class Decision(Protocol):
    """What is learnt and answered by logits: what each head.kind has a class of.

    Attributes:
        names: (C,) of the labels; empty where a number is answered.
        temperature: by which logits are divided before they are probabilities.
    """

    names: Sequence[str]
    temperature: float = 1.0

    def weights(self, weight: tf.Tensor, label: tf.Tensor) -> tf.Tensor:
        """What the loss of each example weighs, (E,) float32.

        Args:
            weight: (E,) float32, of the batch.
            label: (E, …), of the batch.
        """
        return weight

    def losses(self, logits: tf.Tensor, label: tf.Tensor) -> tf.Tensor:
        """The loss of each example, (E,) float32.

        Args:
            logits: (E, C) float32.
            label: (E, …).
        """
        ...

    def decide(self, logits: tf.Tensor) -> tf.Tensor:
        """(B, C) float32 logits -> what is decided, (B, …)."""
        ...

    def answers(self, logits: tf.Tensor) -> dict[str, tf.Tensor]:
        """(B, C) float32 logits -> what the SavedModel answers, (B, …)."""
        ...

    def decode(self, answers: Results, row: int) -> dict[str, object]:
        """One of the answers as JSON."""
        ...

    def calibration(self, results: Results, store: TokenStore) -> Calibration:
        """See `Calibrates.calibration`; empty where there is nothing to decide."""
        return {}

    def calibrated(self, calibration: Calibration) -> Decision:
        """See `Calibrates.calibrated`."""
        return self

    def ambiguous(self, answers: Results, tolerance: float) -> dict[str, np.ndarray]:
        """See `Graph.ambiguous`."""
        return {}


def decided(decision: Decision, logits: np.ndarray) -> np.ndarray:
    """What is decided of a whole split, (n, …), a block at a time.

    Args:
        decision: the rule.
        logits: (n, C), on the host.
    """
    with tf.device("CPU:0"):  # where the results are
        parts = [
            decision.decide(tf.constant(block, tf.float32)).numpy() for block in blocks(logits)
        ]
    return np.concatenate(parts)


def probability_of(answers: Results, names: Sequence[str], row: int) -> dict[str, float]:
    """The probability of each label, of one of the answers.

    Args:
        answers: with `probabilities` (B, C).
        names: (C,) of the labels.
        row: which one.
    """
    probabilities = answers["probabilities"][row].tolist()
    return dict(zip(names, probabilities, strict=True))
