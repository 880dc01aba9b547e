"""A hash table of constant keys in the graph: gathers only, so that nothing must be initialised
where a model is served.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf

_SLOTS_PER_KEY = 2.5  # over both tables
# odd; the products' upper bits are decided by all bits of the key
_MULTIPLIERS = (0x1E3779B97F4A7C15, 0x42B2AE3D27D4EB4F)
_SHIFT = 31
_TURNS = 500  # of moving keys about, before the tables are taken to be too small


def pair_key(first: Any, second: Any) -> Any:
    """The key of two numbers below 2^31."""
    return first << 32 | second


def pair_keys(first: tf.Tensor, second: tf.Tensor) -> tf.Tensor:
    """`pair_key` in the graph: (n,) integers each -> (n,) int64."""
    return tf.bitwise.bitwise_or(
        tf.bitwise.left_shift(tf.cast(first, tf.int64), 32), tf.cast(second, tf.int64)
    )


class IntegerTable:
    """Finds int64 keys, none negative, among those it was made of.

    Source: Pagh and Rodler 2004, cuckoo hashing: a key is in one of two slots.
    """

    def __init__(self, keys: np.ndarray) -> None:
        """Takes (n,) int64 keys, each once."""
        bits = max(4, int(np.ceil(np.log2(max(len(keys), 1) * _SLOTS_PER_KEY / 2))))
        numbers = None
        while numbers is None:
            numbers = _place(keys, bits)
            bits += 1
        self._mask = (1 << (bits - 1)) - 1
        table = np.full(len(numbers), -1, np.int64)
        table[numbers >= 0] = keys[numbers[numbers >= 0]]
        self._keys = tf.constant(table)
        self._numbers = tf.constant(numbers)

    def find(self, keys: tf.Tensor) -> tf.Tensor:
        """(n,) int64 -> (n,) int32, the number of each key among those of the table; -1 where it is
        none of them.
        """
        first, second = (
            tf.bitwise.bitwise_and(
                tf.bitwise.right_shift(keys * tf.constant(multiplier, tf.int64), _SHIFT), self._mask
            )
            for multiplier in _MULTIPLIERS
        )
        second += self._mask + 1
        slot = tf.where(tf.gather(self._keys, first) == keys, first, second)
        return tf.where(tf.gather(self._keys, slot) == keys, tf.gather(self._numbers, slot), -1)


def _place(keys: np.ndarray, bits: int) -> np.ndarray | None:
    """(2 * 2^bits,) int32, the number of the key in each slot of both tables, -1 where it is empty;
    None if there is no room.
    """
    size = 1 << bits
    with np.errstate(over="ignore"):
        slots = np.stack(
            [(keys * np.int64(multiplier) >> _SHIFT) & (size - 1) for multiplier in _MULTIPLIERS]
        ) + np.array([[0], [size]])
    numbers = np.full(2 * size, -1, np.int32)
    taken, firsts = np.unique(slots[0], return_index=True)
    numbers[taken] = firsts
    left = np.ones(len(keys), bool)
    left[firsts] = False
    of_first, of_second = slots.tolist()
    for number in np.flatnonzero(left).tolist():
        slot = of_second[number]
        for _ in range(_TURNS):
            number, numbers[slot] = int(numbers[slot]), number
            if number < 0:
                break
            slot = of_first[number] if slot >= size else of_second[number]
        else:
            return None
    return numbers
