"""Embeddings of which few rows have ever had a gradient.

The moments of all others are zero, so that Adam leaves them where they are: it need not read them.
A vocabulary of 250,000 words has several thousand in a run's texts.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import tensorflow as tf

from trainer.run.replica_copies import local, new_variable
from trainer.run.update_rules import Slots, WeightStep

SMALLEST = 1 << 22  # values of an embedding; to update smaller ones whole takes a few milliseconds
# (step, weight, slots) -> what is subtracted from the weight, and the new slots; see `Rule`
RowUpdate = Callable[[WeightStep, tf.Tensor, Slots], tuple[tf.Tensor, Slots]]
BLOCK = 1024  # rows; their number is rounded up to this, so that few are compiled


class RowGradient(NamedTuple):
    """The gradient of all rows that ever had one.

    Attributes:
        rows: (A,) int64, ascending.
        values: (P, E) float32, of these rows and then zeros; P is a multiple of BLOCK.
    """

    rows: tf.Tensor
    values: tf.Tensor

    def move(
        self,
        weight: tf.Variable,
        slots: Mapping[str, tf.Variable],
        step: WeightStep,
        update: RowUpdate,
        kept: tf.Tensor,
    ) -> None:
        """Updates these rows of a weight and of its slots.

        Args:
            weight: (V, E).
            slots: what the optimizer remembers of it, (V, E) each.
            step: whose gradient is that of the rows, clipped.
            update: of an optimizer.
            kept: () float32, what decay leaves of the whole weight.
        """
        count = tf.size(self.rows)
        missing = tf.shape(self.values)[0] - count
        padded = tf.pad(self.rows, [[0, missing]])  # what is computed of row 0 there is left out
        old_slots = {slot: tf.gather(own, padded) for slot, own in slots.items()}
        # One pass, whose product is changed in place. A variable that is scattered into would be
        # copied whenever all of it is read, as at every step.
        old = weight.read_value()
        decayed = old * kept
        old_rows = tf.gather(old, padded) * kept
        change, new_slots = update(step, old_rows, old_slots)
        rows = tf.cast(self.rows, tf.int32)
        weight.assign(tf.raw_ops.InplaceSub(x=decayed, i=rows, v=change[:count]))
        for slot, own in slots.items():
            own.scatter_update(tf.IndexedSlices(new_slots[slot][:count], self.rows))


class TouchedRows:
    """Which rows of an embedding ever had a gradient; make it under the strategy's scope.

    Args:
        rows: V, how many the embedding has.
        name: of its variable.
    """

    def __init__(self, rows: int, name: str) -> None:
        self._touched = new_variable(tf.zeros([rows], tf.bool), name)

    def note(self, slots: Mapping[str, tf.Variable]) -> None:
        """Finds out by what the optimizer remembers, such as a checkpoint has restored.

        Args:
            slots: of the embedding, (V, E) each.
        """
        any_slot = [tf.reduce_any(slot.read_value() != 0, axis=1) for slot in slots.values()]
        local(self._touched).assign(tf.reduce_any(tf.stack(any_slot), axis=0))

    def gradient(self, slices: tf.IndexedSlices) -> RowGradient:
        """The rows of a step are noted, and what they have several times is summed.

        Args:
            slices: the gradient of a lookup; (T, E) values.
        """
        indices = tf.cast(slices.indices, tf.int64)
        is_touched = tf.ones_like(indices, tf.bool)
        touched = local(self._touched)
        touched.scatter_update(tf.IndexedSlices(is_touched, indices))
        rows = tf.reshape(tf.where(touched.read_value()), [-1])
        place = tf.searchsorted(rows, indices)
        blocks = (tf.size(rows) + BLOCK - 1) // BLOCK
        values = tf.cast(slices.values, tf.float32)
        return RowGradient(rows, tf.math.unsorted_segment_sum(values, place, blocks * BLOCK))


def may_be_sparse(shape: Sequence[int]) -> bool:
    """Whether a weight is large enough for its rows to be told apart."""
    return len(shape) == 2 and math.prod(shape) >= SMALLEST


def tensor_of(gradient: tf.Tensor | RowGradient) -> tf.Tensor:
    """All that is not zero of a gradient."""
    return gradient.values if isinstance(gradient, RowGradient) else gradient
