"""--mode=train: prepares the data, trains, evaluates and exports."""

from __future__ import annotations

import contextlib

from trainer.console.display import Display, print_result
from trainer.console.stopping import StopSignal
from trainer.console.timeline import Timeline
from trainer.data.prepare import Prepared
from trainer.machine.allocator import release_memory
from trainer.modes.conclusion import Conclusion, conclude
from trainer.planning.plan import plan_training
from trainer.report.gate import (
    NOT_EXPORTED,
    OTHERS_SAY,
    require_known_labels,
    require_met,
    require_readable,
)
from trainer.report.make import report_at_end
from trainer.run.agreements import require_same_folder
from trainer.run.assembly import announce_origin, make_parts, start_model
from trainer.run.job import Job
from trainer.run.lanes import share_cores
from trainer.run.precision import settle_precision
from trainer.run.preparation import connect_workers, prepare_training
from trainer.run.start_training import start_training
from trainer.run.trackers.track import track
from trainer.run.training import TrainingInputs
from trainer.run.workers import stop_when_a_worker_is_lost
from trainer.serve.targets import require_export_target
from trainer.settings.resolve import Resolved


def train(
    resolved: Resolved, job: Job, display: Display, stop: StopSignal, timeline: Timeline
) -> None:
    """Trains from the newest checkpoint on; on several workers each calls it, in step.

    Args:
        resolved: the config with its origins.
        job: gets what the run writes.
        display: says what is done.
        stop: whether the process was told to stop.
        timeline: where the time goes.
    Raises:
        UnmetError: the run is not as good as the config asks.
    """
    with contextlib.ExitStack() as tracked:
        with stop_when_a_worker_is_lost():
            concluded, prepared = _train(resolved, job, display, stop, timeline, tracked)
        if job.writes:
            print_result(concluded.results.summary())
            report_at_end(concluded.kept, prepared)
    if not concluded.is_exported:
        require_met(concluded.missed or OTHERS_SAY, NOT_EXPORTED)
    if resolved.config.report.fail:
        require_met(concluded.missed)


def _train(
    resolved: Resolved,
    job: Job,
    display: Display,
    stop: StopSignal,
    timeline: Timeline,
    tracked: contextlib.ExitStack,
) -> tuple[Conclusion, Prepared]:
    """Trains, evaluates and exports; the trackers are open until `tracked` closes them."""
    config = resolved.config
    lanes = share_cores(config)
    strategy = connect_workers(config, job, display, stop)
    resolved = settle_precision(resolved, job, strategy, display)
    config = resolved.config
    parts = make_parts(config, display)
    for line in job.claim(resolved):
        display.warn(line)
    require_export_target(config, job)
    require_readable(config, parts.head.reader)
    require_same_folder(strategy, job)
    trackers = tracked.enter_context(track(config, job, display))
    timeline.enter("prepare_s")
    prepared = prepare_training(parts, strategy, job)
    require_known_labels(config, parts.head.reader, prepared.vocabulary)
    plan_training(parts, prepared, strategy, job)
    timeline.enter("startup_s")
    model, origin = start_model(parts, strategy, prepared.vocabulary)
    release_memory()  # which preparing and loading took
    inputs = TrainingInputs(parts, prepared, strategy, model, job, stop, timeline, lanes, trackers)
    run = start_training(inputs)
    if not run.state.step:  # else a checkpoint has replaced what the weights started from
        announce_origin(parts, origin)
    run.train()
    concluded = conclude(run, parts, prepared)
    trackers.results = concluded.results
    return concluded, prepared
