"""The trackers of one run, from its start to its end."""

from __future__ import annotations

import contextlib
import os
import pathlib
import time
from collections.abc import Iterator, Mapping, Sequence

import trainer
from trainer.console import on_vertex
from trainer.console.display import Display
from trainer.console.stopping import EXIT_CODES
from trainer.files import mirror
from trainer.run.chosen_settings import chosen_settings
from trainer.run.job import LEDGER_FILE, RESULTS_FILE, Job
from trainer.run.job_files import REPORT_PAGE
from trainer.run.results import Results
from trainer.run.trackers.feed import Feed
from trainer.run.trackers.notes import Notes
from trainer.run.trackers.tracker import Ending, Status, TrackedRun
from trainer.settings.schema import Config

END_SECONDS = 30.0  # that a run waits for its trackers at most, at its end
STOP_SECONDS = 5.0  # and after a signal
KEPT_EXTRA = 1000  # log lines


class Trackers:
    """What a run logs to; nothing where the process does not write.

    Attributes:
        results: of the run, once there are any.
    """

    def __init__(
        self,
        feeds: Sequence[Feed] = (),
        extra: dict[tuple[str, int], Mapping[str, float]] | None = None,
    ) -> None:
        self._feeds = feeds
        self._extra = {} if extra is None else extra
        self.results: Results | None = None

    def may_read(self, size: int) -> None:
        """See `Feed`."""
        for feed in self._feeds:
            feed.may_read(size)

    def add(self, step: int, split: str, values: Mapping[str, float]) -> None:
        """Keeps what metrics.jsonl will not have of a log line; call it before that has the line.

        Args:
            step: of the optimizer.
            split: train or validation.
            values: by name.
        """
        if not self._feeds:
            return
        self._extra[split, step] = values
        if len(self._extra) > KEPT_EXTRA:
            del self._extra[next(iter(self._extra))]

    def end(self, ending: Ending, seconds: float) -> list[str]:
        """Has each be told the end; the names of those that are not done in so many seconds.

        For one that has not begun the run by then, as its package is still being imported, nobody
        waits to see a mistake in the data.
        """
        is_finished = ending.status is Status.FINISHED
        awaited = [feed for feed in self._feeds if is_finished or feed.is_open]
        for feed in self._feeds:
            feed.end(ending)
        deadline = time.monotonic() + seconds
        return [feed.name for feed in awaited if not feed.wait_until(deadline)]


@contextlib.contextmanager
def track(config: Config, job: Job, display: Display) -> Iterator[Trackers]:
    """Inside, the trackers of the config follow the run; at the end they are told how it ended.

    Args:
        config: of the run.
        job: whose metrics.jsonl they follow; on several workers only the chief's.
        display: says what is wrong with a tracker, which never ends a run.
    """
    trackers = _started(config, job, display) if job.writes else Trackers()
    status, seconds = Status.FAILED, END_SECONDS
    try:
        yield trackers
        status = Status.FINISHED
    except SystemExit as stopped:
        if stopped.code in EXIT_CODES.values():
            status, seconds = Status.STOPPED, STOP_SECONDS
        raise
    finally:
        for name in trackers.end(_ending(status, trackers.results, job), seconds):
            display.warn(
                f"{name}: not done {seconds:.0f} seconds after the end. What it misses it is told"
                " when the run is started again, or evaluated."
            )


def _started(config: Config, job: Job, display: Display) -> Trackers:
    run = TrackedRun(
        name=run_name(mirror.shown(job.folder)),
        experiment=config.log.experiment,
        config=config.model_dump(exclude={"log"}),
        settings=chosen_settings(config),
        tags=_tags(job),
    )
    notes = Notes(job.folder)
    extra: dict[tuple[str, int], Mapping[str, float]] = {}
    feeds = [
        Feed(name, run, job.metrics_file, extra, notes, display.warn)
        for name in dict.fromkeys(config.log.trackers)
    ]
    for feed in feeds:
        feed.start()
    return Trackers(feeds, extra)


def run_name(job_dir: str) -> str:
    """The last part of a job_dir; of a trial, which is a number, behind that of the search."""
    path = pathlib.PurePosixPath(job_dir)
    is_trial = path.name.isdecimal() and path.parent.name
    return f"{path.parent.name}-{path.name}" if is_trial else path.name or "run"


def _tags(job: Job) -> dict[str, str]:
    """Where the run is from."""
    known = {
        "podtune": trainer.__version__,
        "job_dir": mirror.shown(job.folder),
        "vertex_job": os.environ.get(on_vertex.JOB_ID),
        "trial": on_vertex.trial(),
    }
    return {name: value for name, value in known.items() if value}


def _ending(status: Status, results: Results | None, job: Job) -> Ending:
    names = (job.config_file.name, RESULTS_FILE, LEDGER_FILE, REPORT_PAGE)
    return Ending(
        status=status,
        step=results.step if results else 0,
        results=results.numbers() if results else {},
        files=[job.folder / name for name in names if (job.folder / name).is_file()],
    )
