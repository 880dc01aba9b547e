"""Searches the largest micro-batch that fits a TPU's memory."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable

from trainer.planning.compiled_steps import CompiledStep, check_step
from trainer.planning.generations import Generation
from trainer.planning.lowering import Shape, StepLowering
from trainer.planning.tpu_compiler import TpuCompiler

SEARCH_STEPS = 12  # compilations, at most
SEARCHED_TOKENS = 2**18  # of a micro-batch, at most: larger ones bring nothing
# shares of the memory: what the search looks for, and with what it is content
AIM, ENOUGH = 0.97, 0.9
FIRST_FACTOR, LARGEST_FACTOR = 8, 64  # by which rows grow from one guess to the next


@dataclasses.dataclass(frozen=True)
class LargestBatch:
    """The most rows of a micro-batch that fit."""

    rows: int
    row_length: int
    examples: int
    hbm_share: float


@dataclasses.dataclass
class _Search:
    """What is known: the share of the memory that each number of rows takes, infinite where it
    does not compile; that `low` rows fit, and that `high` rows do not, if any is known not to.
    """

    shares: dict[int, float]
    low: int
    high: int | None

    def learn(self, rows: int, share: float) -> None:
        """Takes in what was compiled."""
        self.shares[rows] = share
        if share <= 1:
            self.low = rows
        else:
            self.high = rows

    def is_over(self, most_rows: int) -> bool:
        """Whether another compilation would tell nothing more, or enough is known."""
        if len(self.shares) >= SEARCH_STEPS or self.low >= most_rows:
            return True
        if self.high is not None and self.high - self.low <= 1:
            return True
        return self.low > 0 and self.shares[self.low] >= ENOUGH


def largest_batch(
    lowering: StepLowering,
    compiler: TpuCompiler,
    generation: Generation,
    shape: Shape,
    first: CompiledStep,
    *,
    say: Callable[[str], None],
) -> LargestBatch | None:
    """The most rows of a micro-batch that fit, up to SEARCHED_TOKENS; None where none does.

    Memory grows about linearly with the rows, which says where to look. Only what was compiled is
    believed. The search ends at nine tenths of the memory.

    Args:
        lowering: of the run's steps.
        compiler: of the generation.
        generation: whose memory counts.
        shape: that the search begins with.
        first: what compiling that shape gave.
        say: called with a line after each compilation.
    """
    search = _Search({}, 0, None)
    search.learn(shape.rows, _share(first))
    row_length = shape.row_length
    most_rows = max(search.low, SEARCHED_TOKENS // row_length)
    while not search.is_over(most_rows):
        guess = _guess(search.shares, search.low, search.high)
        rows = min(guess, most_rows)
        step = check_step(lowering, compiler, generation, shape.scaled(rows), training=True)
        share = _share(step)
        search.learn(rows, share)
        say(
            f"searching the largest batch: {rows:,} rows of {row_length} tokens take"
            f" {share:.0%} of the memory"
        )
    if not search.low:
        return None
    return LargestBatch(
        rows=search.low,
        row_length=row_length,
        examples=shape.scaled(search.low).slots,
        hbm_share=search.shares[search.low],
    )


def _share(step: CompiledStep) -> float:
    return math.inf if step.hbm_share is None else step.hbm_share


def _guess(shares: dict[int, float], low: int, high: int | None) -> int:
    """The next number of rows to compile.

    It is where memory ends on the line through the two known points that are nearest to full.

    Args:
        shares: of the memory, by rows; infinite where it is not known.
        low: rows that fit.
        high: rows that do not fit; None where all fit so far.
    """
    known = [(rows, share) for rows, share in shares.items() if share < math.inf]
    nearest = sorted(known, key=_distance_to_full)[:2]
    if len(nearest) == 2:
        full = _rows_at(AIM, *sorted(nearest))
        if high is None:
            full = min(full, LARGEST_FACTOR * low)
            return max(low + 1, full)
        if low < full < high:
            return full
    if high is None:
        return FIRST_FACTOR * low
    return max(1, (low + high) // 2)


def _distance_to_full(point: tuple[int, float]) -> float:
    _, share = point
    return abs(share - 1)


def _rows_at(share: float, fewer: tuple[int, float], more: tuple[int, float]) -> int:
    """The rows at which the line through two points has that share of the memory."""
    rows, share_of_fewer = fewer
    more_rows, share_of_more = more
    slope = (share_of_more - share_of_fewer) / (more_rows - rows)
    if slope <= 0:
        return FIRST_FACTOR * more_rows
    return int(rows + (share - share_of_fewer) / slope)
