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
from typing import Any, NamedTuple

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
        start = place * self.global_batch_size
        return order[start : start + self.global_batch_size]


@functools.lru_cache(maxsize=2)
def _epoch_order(examples: int, seed: int, epoch: int) -> np.ndarray:
    # half as large, and shuffled alike
    dtype = np.int32 if examples < 2**31 else np.int64
    order = np.arange(examples, dtype=dtype)
    seeds = np.random.SeedSequence([seed, epoch])
    bits = np.random.Philox(seeds)
    np.random.Generator(bits).shuffle(order)
    return order


def evaluation_batches(lengths: np.ndarray, batch_size: int) -> list[np.ndarray]:
    """Every example once, longest first, so that neighbours are alike and the largest batch comes
    first.
    """
    order = _longest_first(lengths)
    batches = []
    for start in range(0, len(order), batch_size):
        batches.append(order[start : start + batch_size])
    return batches


def _longest_first(lengths: np.ndarray) -> np.ndarray:
    # stable, so that every host has the same order
    return np.argsort(-lengths.astype(np.int64), kind="stable")


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
    shard_lengths = [lengths[members] for members in dealt]
    if batching == "packed":
        packing = _pack_shards(shard_lengths, seq_len, longest)
        row_length = packing.row_length
        rows = max(1, packing.rows)
        if longest is not None:
            rows = max(_round_rows(rows, slots), rows_at_least)
            rows = min(rows, slots)
        row = _in_slots([of_rows for of_rows, _ in packing.shards], slots)
        start = _in_slots([starts for _, starts in packing.shards], slots)
    else:
        row_length = seq_len
        if batching == "bucketed":
            row_length = _bucket(shard_lengths, seq_len, longest is not None)
        rows = slots
        if batching == "bucketed" and longest is None:
            rows = max(map(len, dealt))
        one_a_row = np.arange(slots, dtype=np.int32)
        row = np.tile(np.minimum(one_a_row, rows - 1), (shards, 1))
        start = np.zeros((shards, slots), np.int32)
    return Layout(
        row_length,
        rows,
        index=_in_slots([indices[members] for members in dealt], slots, -1, np.int64),
        row=row,
        start=start,
        length=_in_slots(shard_lengths, slots),
    )


def _in_slots(
    of_shards: Sequence[np.ndarray],
    slots: int,
    empty: int = 0,
    dtype: type[np.signedinteger] = np.int32,
) -> np.ndarray:
    """(K, E): what each shard's examples have, and `empty` behind them."""
    filled = np.full((len(of_shards), slots), empty, dtype)
    for shard, of_examples in enumerate(of_shards):
        filled[shard, : len(of_examples)] = of_examples
    return filled


def _deal(lengths: np.ndarray, shards: int) -> list[np.ndarray]:
    """Deals the examples to the shards so that each gets as many and about as many tokens; keeps
    the order within a shard.
    """
    if shards == 1:
        return [np.arange(len(lengths))]
    order = _longest_first(lengths)
    turn = np.arange(len(order)) % (2 * shards)
    turn_back = 2 * shards - 1 - turn
    shard_of = np.minimum(turn, turn_back)  # there and back: 0 1 2 2 1 0
    dealt = []
    for shard in range(shards):
        members = order[shard_of == shard]
        dealt.append(np.sort(members))
    return dealt


def _bucket(shard_lengths: Sequence[np.ndarray], seq_len: int, static_shapes: bool) -> int:
    longest = max(int(lengths.max(initial=1)) for lengths in shard_lengths)
    if static_shapes:
        return _static_length(longest, seq_len)
    multiples = -(-longest // LENGTH_MULTIPLE)
    return min(seq_len, multiples * LENGTH_MULTIPLE)


def _static_length(longest: int, seq_len: int) -> int:
    for length in STATIC_LENGTHS:
        if longest <= length < seq_len:
            return length
    return seq_len


class _Packing(NamedTuple):
    """How each shard's examples are packed: what `pack` returns for it.

    Attributes:
        row_length: tokens of a row.
        shards: the row and the start of each shard's examples.
    """

    row_length: int
    shards: list[tuple[np.ndarray, np.ndarray]]

    @property
    def rows(self) -> int:
        """Rows of the shard that needs the most."""
        return max(int(rows_of.max(initial=-1)) + 1 for rows_of, _ in self.shards)


def _pack_shards(
    shard_lengths: Sequence[np.ndarray], seq_len: int, longest: int | None
) -> _Packing:
    if longest is None:
        return _cheapest(shard_lengths, seq_len)
    return _packed(shard_lengths, _static_length(longest, seq_len))


def _round_rows(rows: int, slots: int) -> int:
    step = max(1, slots // 8)
    return -(-rows // step) * step


def _packed(shard_lengths: Sequence[np.ndarray], row_length: int) -> _Packing:
    shards = [pack(lengths, row_length) for lengths in shard_lengths]
    return _Packing(row_length, shards)


def _cheapest(shard_lengths: Sequence[np.ndarray], seq_len: int) -> _Packing:
    """Packs with every candidate row length and keeps the one with the fewest operations.

    The cost of a token is constant but for attention, which grows with the row: (1 + L / 2048) is
    about right for hidden sizes from 384 to 768 (12 H^2 against 2 H L multiply-adds).
    """
    shortest = _bucket(shard_lengths, seq_len, False)
    candidates = range(shortest, seq_len + 1, 2 * LENGTH_MULTIPLE)
    lowest_cost = math.inf
    best = _Packing(shortest, [])
    total = sum(int(lengths.sum()) for lengths in shard_lengths)
    for row_length in candidates or [shortest]:
        token_cost = 1 + row_length / 2048
        if total * token_cost >= lowest_cost:
            break  # even without any padding it would cost more
        packing = _packed(shard_lengths, row_length)
        tokens = packing.rows * len(shard_lengths) * row_length
        cost = tokens * token_cost
        if cost < lowest_cost:
            lowest_cost = cost
            best = packing
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
    row = np.zeros(len(lengths), np.int32)
    start = np.zeros(len(lengths), np.int32)
    # tokens in each and minus its number, sorted: of rows as full the first is taken
    rows: list[tuple[int, int]] = []
    for example in _longest_first(lengths).tolist():
        length = int(lengths[example])
        fullest = (row_length - length, 0)
        place = bisect.bisect_right(rows, fullest) - 1
        if place >= 0:
            filled, number = rows.pop(place)
        else:
            filled = 0
            number = -len(rows)
        row[example] = -number
        start[example] = filled
        bisect.insort(rows, (filled + length, number))
    return row, start
