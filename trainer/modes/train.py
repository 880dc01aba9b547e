"""The story of a training run."""

from __future__ import annotations

import tensorflow as tf

from trainer.console.display import Display, print_result
from trainer.console.stopping import StopSignal
from trainer.console.timeline import Timeline
from trainer.machine.allocator import release_memory
from trainer.modes.finish import finish
from trainer.planning.plan import describe, require_memory
from trainer.run.assembly import (
    announce_origin,
    make_parts,
    prepare_data,
    require_best_metric,
    show_examples,
    start_model,
    start_strategy,
)
from trainer.run.distribution import SHARED, hosts, require_agreement, stop_when_a_worker_is_lost
from trainer.run.job import Job
from trainer.run.loop import Training
from trainer.serve.targets import require_export_target
from trainer.settings.resolve import Resolved


def train(
    resolved: Resolved, job: Job, display: Display, stop: StopSignal, timeline: Timeline
) -> None:
    """Prepares, trains from the newest checkpoint on, evaluates and exports; on several workers
    each calls it, in step.
    """
    with stop_when_a_worker_is_lost():
        # connecting to workers blocks, and nothing is there yet to save; TensorFlow takes SIGTERM
        # over as it connects
        with stop.silent():
            strategy = start_strategy(resolved.config, job, display)
        stop.watch_for_preemption()
        _train(resolved, strategy, job, display, stop, timeline)


def _train(
    resolved: Resolved,
    strategy: tf.distribute.Strategy,
    job: Job,
    display: Display,
    stop: StopSignal,
    timeline: Timeline,
) -> None:
    config = resolved.config
    require_agreement(
        strategy,
        "the config",
        config.model_dump_json(exclude={"data": {"cache_dir"}}),
        "Start all with the same config and flags.",
    )
    parts = make_parts(config, display)
    for line in job.claim(resolved):
        display.warn(line)
    require_export_target(config, job)
    if hosts(strategy) > 1:
        require_agreement(
            strategy,
            "the job_dir",
            job.mark(lambda: require_agreement(strategy, "the start", "", "")),
            SHARED,
        )
    timeline.enter("prepare_s")
    prepared = prepare_data(parts, strategy, job)
    show_examples(parts, prepared)
    require_best_metric(parts, prepared)
    digest = prepared.digest() + (parts.stream.fingerprint if parts.stream else "")
    require_agreement(
        strategy,
        "the prepared data",
        digest,
        "All workers must read the same files with the same config.",
    )
    job.write_preparation(prepared)
    plan = describe(parts, prepared, replicas=strategy.num_replicas_in_sync)
    if job.writes:
        job.write_json("plan.json", plan)
    require_memory(plan, strategy, display)
    timeline.enter("startup_s")
    model, origin = start_model(parts, strategy, prepared.vocabulary)
    release_memory()  # which preparing and loading took
    run = Training(
        config, job, display, stop, timeline, prepared, strategy, model, parts.head, parts.stream
    )
    run.resume()
    if not run.state.step:  # else a checkpoint has replaced what the weights started from
        announce_origin(parts, origin)
    run.train()
    results = finish(parts, job, prepared, run)
    if job.writes:
        print_result(results.summary())
