"""The contract of a tracker, and what it is told."""

from __future__ import annotations

import dataclasses
import enum
import pathlib
from collections.abc import Mapping, Sequence
from typing import NamedTuple, Protocol

from trainer.run.chosen_settings import Plain


class Point(NamedTuple):
    """What was measured after a step.

    Attributes:
        step: optimizer steps done.
        values: by name, such as validation/accuracy.
        time: when it was read, in seconds since 1970; the same each time it is sent.
    """

    step: int
    values: Mapping[str, float]
    time: float


@dataclasses.dataclass(frozen=True)
class TrackedRun:
    """What a tracker shows of a run besides its figures.

    Attributes:
        name: of the run, for people; not unique.
        experiment: that it belongs to; None: what the tracker's own variable says.
        config: the whole config, by section.
        settings: those that say most, by their dotted names.
        tags: where the run is from.
    """

    name: str
    experiment: str | None
    config: Mapping[str, Mapping[str, object]]
    settings: Mapping[str, Plain]
    tags: Mapping[str, str]


class Status(enum.Enum):
    """How a run ended; one that was stopped may go on."""

    FINISHED = "finished"
    FAILED = "failed"
    STOPPED = "stopped"


@dataclasses.dataclass(frozen=True)
class Ending:
    """The end of a run.

    Attributes:
        status: how it ended.
        step: of the kept model; 0 where there is none.
        results: of that model, by name, such as results/test/accuracy; empty without one.
        files: the small files of the job_dir, to keep with the run where there is a place.
    """

    status: Status
    step: int
    results: Mapping[str, float]
    files: Sequence[pathlib.Path]


class Tracker(Protocol):
    """Logs one run. Each method may take long, and may fail with any exception."""

    def start(self, run: TrackedRun, run_id: str | None) -> str:
        """Goes on with the run of an id, or begins one.

        Args:
            run: what to show of it.
            run_id: by which the tracker knows it; None: it does not.
        Returns:
            the id; another one where the tracker has lost that run.
        """

    def log(self, points: Sequence[Point]) -> None:
        """Adds what was measured, in the order of the steps; all there will be of each of them."""

    def finish(self, ending: Ending) -> None:
        """Adds the results, and marks the run as ended."""
