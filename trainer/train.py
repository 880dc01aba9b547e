"""The story of a training run."""

from __future__ import annotations

from trainer.assembly import build_model, make_parts, prepare_data
from trainer.display import Display, print_result
from trainer.finish import finish
from trainer.job import Job
from trainer.loop import Training
from trainer.plan import describe
from trainer.resolve import Resolved
from trainer.stopping import StopSignal
from trainer.storage import write_json
from trainer.timeline import Timeline


def train(resolved: Resolved, job: Job, display: Display, stop: StopSignal, timeline: Timeline) -> None:
    """Prepares, trains from the newest checkpoint on, evaluates and exports."""
    config = resolved.config
    parts = make_parts(config, display)
    job.claim(resolved)
    timeline.enter("prepare_s")
    prepared = prepare_data(parts)
    job.write_preparation(prepared)
    write_json(job.folder / "plan.json", describe(parts, prepared))
    timeline.enter("startup_s")
    strategy, model = build_model(parts, prepared.vocabulary)
    run = Training(config, job, display, stop, timeline, prepared, strategy, model, parts.head)
    run.resume()
    run.train()
    results = finish(parts, job, prepared, run)
    print_result(results.summary())
