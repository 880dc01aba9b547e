"""Which shapes were compiled for the steps, and which of them the plan did not foretell."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from trainer.run.outcome import Shape
from trainer.run.step_layouts import PLANNED_STATIC_STEPS


class CompiledShapes:
    """The shapes that were compiled so far.

    Args:
        planned: those of the steps that the plan lays out; None where shapes are not static, so
            that only the first call compiles.
        warn: called with a line about a shape that is not among them.
    """

    def __init__(self, planned: Iterable[Shape] | None, warn: Callable[[str], None]) -> None:
        self._expected = None if planned is None else set(planned)
        self._compiled: set[Shape] = set()
        self._warn = warn

    @property
    def nothing_yet(self) -> bool:
        """Whether the next call is the first one."""
        return not self._compiled

    def add(self, shapes: set[Shape]) -> bool:
        """Notes the shapes of a call; whether the call compiled."""
        compiled = self.nothing_yet
        if self._expected is not None:
            compiled = compiled or not shapes <= self._compiled
            self._warn_of_unexpected(shapes, self._expected)
        self._compiled |= shapes
        return compiled

    def _warn_of_unexpected(self, shapes: set[Shape], expected: set[Shape]) -> None:
        for rows, row_length in shapes - expected:
            expected.add((rows, row_length))
            self._warn(
                f"compiled a shape that the first {PLANNED_STATIC_STEPS:,} steps, which the plan"
                f" lays out, do not have: {rows} rows of {row_length} tokens; {len(expected)}"
                " shapes by now"
            )
