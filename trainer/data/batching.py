"""The epoch plan: which examples form optimizer step k, and where each stands in the step's rows.

Both are pure functions of (lengths, seed, step): no state to save, the same for any number of
replicas and any restart.
"""

from __future__ import annotations

import bisect
import dataclasses
import functools
import math
from collections.abc import Sequence
from typing import Any

import numpy as np

STATIC_LENGTHS = (32, 64, 128, 256, 512, 1024, 2048)
# rows are this multiple long: vector registers like it, and it bounds the number of shapes
LENGTH_MULTIPLE = 8


@dataclasses.dataclass(frozen=True)
class TrainingPlan:
    """Which examples each optimizer step takes.

    Args:
        examples: how many train has.
        global_batch_size: examples per step; the last step of an epoch has the rest.
        seed: of the shuffling.
    """

    examples: int
    global_batch_size: int
    seed: int

    @property
    def steps_per_epoch(self) -> int:
        """Optimizer steps that see every example once."""
        return -(-self.examples // self.global_batch_size)

    def indices(self, step: int) -> np.ndarray:
        """(examples of the step,) int32 or int64: the examples of optimizer step `step`, counted
        from 0 over all epochs.
        """
        epoch, place = divmod(step, self.steps_per_epoch)
        order = _epoch_order(self.examples, self.seed, epoch)
        return order[place * self.global_batch_size : (place + 1) * self.global_batch_size]


@functools.lru_cache(maxsize=2)
def _epoch_order(examples: int, seed: int, epoch: int) -> np.ndarray:
    # half as large, and shuffled alike
    order = np.arange(examples, dtype=np.int32 if examples < 2**31 else np.int64)
    np.random.Generator(np.random.Philox(np.random.SeedSequence([seed, epoch]))).shuffle(order)
    return order


def evaluation_batches(lengths: np.ndarray, batch_size: int) -> list[np.ndarray]:
    """Every example once, longest first, so that neighbours are alike and the largest batch comes
    first.
    """
    order = np.argsort(-lengths.astype(np.int64), kind="stable")
    return [order[start : start + batch_size] for start in range(0, len(order), batch_size)]


@dataclasses.dataclass(frozen=True)
class Layout:
    """Where the examples of one step stand.

    K shards (replicas x micro-batches) of R rows and E examples each.

    Attributes:
        row_length: L, tokens of a row.
        rows: R, rows of a shard.
        index: (K, E) int64, the example in its split; -1 fills up.
        row: (K, E) int32, its row within the shard.
        start: (K, E) int32, its first token within the row.
        length: (K, E) int32, its tokens.
        step: the optimizer step, for what is drawn anew at each; -1 in evaluation.
        store: that the examples are of, where train is streamed; None: the split's.
    """

    row_length: int
    rows: int
    index: np.ndarray
    row: np.ndarray
    start: np.ndarray
    length: np.ndarray
    step: int = -1
    store: Any = None


def lay_out(
    indices: np.ndarray,
    lengths: np.ndarray,
    *,
    batching: str,
    seq_len: int,
    shards: int = 1,
    capacity: int,
    longest: int | None = None,
    rows_at_least: int = 1,
) -> Layout:
    """Places the examples of one step into rows.

    Args:
        indices: (n,) examples of the step, n <= capacity.
        lengths: (n,) their tokens, each <= seq_len.
        batching: fixed (one a row, seq_len long), bucketed (one a row, as long as the longest) or
            packed (several a row).
        shards: K; examples are dealt to them evenly, by length.
        capacity: examples of a full step, so that a short one has the same shape.
        longest: tokens of the longest example of the whole split: choose among few shapes, for XLA.
            None: any shape will do.
        rows_at_least: of a shard, where shapes should be few.
    """
    if len(indices) > capacity:
        raise ValueError(f"expected at most {capacity} examples. Received {len(indices)}.")
    slots = -(-capacity // shards)  # E
    dealt = _deal(lengths, shards)
    index = np.full((shards, slots), -1, np.int64)
    row, start, length = np.zeros((3, shards, slots), np.int32)
    for shard, members in enumerate(dealt):
        index[shard, : len(members)] = indices[members]
        length[shard, : len(members)] = lengths[members]
    if batching == "packed":
        row_length, packed = (
            _cheapest(lengths, dealt, seq_len)
            if longest is None
            else _packed(lengths, dealt, _static_length(longest, seq_len))
        )
        for shard, (rows_of, starts_of) in enumerate(packed):
            row[shard, : len(rows_of)], start[shard, : len(starts_of)] = rows_of, starts_of
        rows = max(1, *(int(rows_of.max(initial=-1)) + 1 for rows_of, _ in packed))
        rows = rows if longest is None else min(max(_round_rows(rows, slots), rows_at_least), slots)
    else:
        row_length = (
            seq_len
            if batching == "fixed"
            else _bucket(int(lengths.max(initial=1)), seq_len, longest is not None)
        )
        rows = slots if longest is not None or batching == "fixed" else max(map(len, dealt))
        row[:] = np.minimum(np.arange(slots, dtype=np.int32), rows - 1)
    return Layout(row_length, rows, index, row, start, length)


def _deal(lengths: np.ndarray, shards: int) -> list[np.ndarray]:
    """Deals the examples to the shards so that each gets as many and about as many tokens; keeps
    the order within a shard.
    """
    if shards == 1:
        return [np.arange(len(lengths))]
    order = np.argsort(-lengths.astype(np.int64), kind="stable")
    turn = np.arange(len(order)) % (2 * shards)
    shard = np.minimum(turn, 2 * shards - 1 - turn)  # there and back: 0 1 2 2 1 0
    return [np.sort(order[shard == k]) for k in range(shards)]


def _bucket(longest: int, seq_len: int, static_shapes: bool) -> int:
    return (
        _static_length(longest, seq_len)
        if static_shapes
        else min(seq_len, -(-longest // LENGTH_MULTIPLE) * LENGTH_MULTIPLE)
    )


def _static_length(longest: int, seq_len: int) -> int:
    return next((length for length in STATIC_LENGTHS if longest <= length < seq_len), seq_len)


def _round_rows(rows: int, slots: int) -> int:
    step = max(1, slots // 8)
    return -(-rows // step) * step


def _packed(lengths: np.ndarray, dealt: Sequence[np.ndarray], row_length: int) -> tuple[int, list]:
    return row_length, [pack(lengths[members], row_length) for members in dealt]


def _cheapest(lengths: np.ndarray, dealt: Sequence[np.ndarray], seq_len: int) -> tuple[int, list]:
    """Packs with every candidate row length and keeps the one with the fewest operations.

    The cost of a token is constant but for attention, which grows with the row: (1 + L / 2048) is
    about right for hidden sizes from 384 to 768 (12 H^2 against 2 H L multiply-adds).
    """
    longest = _bucket(int(lengths.max(initial=1)), seq_len, False)
    lowest_cost = math.inf
    best: tuple[int, list] = (longest, [])
    total = int(lengths.sum())
    for row_length in range(longest, seq_len + 1, 2 * LENGTH_MULTIPLE) or [longest]:
        if total * (1 + row_length / 2048) >= lowest_cost:
            break  # even without any padding it would cost more
        _, packed = _packed(lengths, dealt, row_length)
        rows = max(int(rows_of.max(initial=-1)) + 1 for rows_of, _ in packed)
        cost = rows * len(dealt) * row_length * (1 + row_length / 2048)
        if cost < lowest_cost:
            lowest_cost = cost
            best = (row_length, packed)
    return best


def pack(lengths: np.ndarray, row_length: int) -> tuple[np.ndarray, np.ndarray]:
    """Packs examples into rows, longest first, each into the fullest row that has room (best fit
    decreasing).

    Args:
        lengths: (n,) tokens, each <= row_length.
    Returns:
        row (n,) int32 and start (n,) int32 of each example.
    Source: Johnson 1973: at most 11/9 of the optimal number of rows, plus one.
    """
    row, start = np.zeros((2, len(lengths)), np.int32)
    # tokens in each and minus its number, sorted: of rows as full the first is taken
    rows: list[tuple[int, int]] = []
    for example in np.argsort(-lengths.astype(np.int64), kind="stable").tolist():
        length = int(lengths[example])
        place = bisect.bisect_right(rows, (row_length - length, 0)) - 1
        filled, number = rows.pop(place) if place >= 0 else (0, -len(rows))
        row[example], start[example] = -number, filled
        bisect.insort(rows, (filled + length, number))
    return row, start
