"""A hash table of constant keys in the graph.

It is made of gathers only, so that nothing must be initialised where a model is served.
"""

from __future__ import annotations

from typing import TypeVar

import numpy as np
import tensorflow as tf

_SLOTS_PER_KEY = 2.5  # over both tables
# odd; the products' upper bits are decided by all bits of the key
_MULTIPLIERS = (0x1E3779B97F4A7C15, 0x42B2AE3D27D4EB4F)
_SHIFT = 31
_TURNS = 500  # of moving keys about, before the tables are taken to be too small
_Integers = TypeVar("_Integers", int, np.ndarray)


def pair_key(first: _Integers, second: _Integers) -> _Integers:
    """The key of two numbers below 2^31, or of each two of two int64 arrays."""
    return first << 32 | second


def pair_keys(first: tf.Tensor, second: tf.Tensor) -> tf.Tensor:
    """`pair_key` in the graph: (n,) integers each -> (n,) int64."""
    upper = tf.cast(first, tf.int64)
    lower = tf.cast(second, tf.int64)
    return tf.bitwise.left_shift(upper, 32) | lower


class IntegerTable:
    """Finds int64 keys, none negative, among those it was made of.

    Source: Pagh and Rodler 2004, cuckoo hashing: a key is in one of two slots.
    """

    def __init__(self, keys: np.ndarray) -> None:
        """Takes (n,) int64 keys, each once."""
        slots_per_table = max(len(keys), 1) * _SLOTS_PER_KEY / 2
        bits = int(np.ceil(np.log2(slots_per_table)))
        bits = max(4, bits)
        numbers = _place(keys, bits)
        while numbers is None:
            bits += 1
            numbers = _place(keys, bits)
        taken = numbers >= 0
        table = np.full(len(numbers), -1, np.int64)
        key_of_slot = numbers[taken]
        table[taken] = keys[key_of_slot]
        self._mask = (1 << bits) - 1
        self._keys = tf.constant(table)
        self._numbers = tf.constant(numbers)

    def find(self, keys: tf.Tensor) -> tf.Tensor:
        """(n,) int64 -> (n,) int32, the number of each key among the table's; -1: none of them."""
        first = self._hash(keys, _MULTIPLIERS[0])
        second_table = self._mask + 1
        second = second_table + self._hash(keys, _MULTIPLIERS[1])
        is_first = tf.gather(self._keys, first) == keys
        slot = tf.where(is_first, first, second)
        is_there = tf.gather(self._keys, slot) == keys
        number = tf.gather(self._numbers, slot)
        return tf.where(is_there, number, -1)

    def _hash(self, keys: tf.Tensor, multiplier: int) -> tf.Tensor:
        """(n,) int64 -> (n,) int64, the slot of each key in the table of one multiplier."""
        product = keys * tf.constant(multiplier, tf.int64)
        upper_bits = tf.bitwise.right_shift(product, _SHIFT)
        return upper_bits & self._mask


def _place(keys: np.ndarray, bits: int) -> np.ndarray | None:
    """Gives each key one of its two slots.

    Args:
        keys: (n,) int64.
        bits: of a slot's number: each of the two tables has 2^bits slots.
    Returns:
        (2 * 2^bits,) int32, the number of the key in each slot, -1 where it is empty; None if there
        is no room.
    """
    size = 1 << bits
    slots_of_keys = []
    for multiplier in _MULTIPLIERS:
        with np.errstate(over="ignore"):
            product = keys * np.int64(multiplier)
        slots_of_keys.append(product >> _SHIFT & (size - 1))
    first_slots, second_slots = slots_of_keys
    second_slots += size
    numbers = np.full(2 * size, -1, np.int32)
    taken, firsts = np.unique(first_slots, return_index=True)
    numbers[taken] = firsts
    homeless = np.ones(len(keys), bool)
    homeless[firsts] = False
    slots = (first_slots.tolist(), second_slots.tolist())
    for number in np.flatnonzero(homeless).tolist():
        if not _move_in(number, numbers, slots):
            return None
    return numbers


def _move_in(number: int, numbers: np.ndarray, slots: tuple[list[int], list[int]]) -> bool:
    """Puts a key into its second slot, the key that was there into its other slot, and so on.

    Args:
        number: of the key.
        numbers: (slots,) int32, which key has each slot; changed in place.
        slots: of each key, in the first and in the second table.
    Returns:
        Whether each found a slot.
    """
    first_slots, second_slots = slots
    second_table = len(numbers) // 2
    slot = second_slots[number]
    for _ in range(_TURNS):
        driven_out = int(numbers[slot])
        numbers[slot] = number
        if driven_out < 0:
            return True
        number = driven_out
        slot = first_slots[number] if slot >= second_table else second_slots[number]
    return False
