"""--mode=evaluate: the metrics of the kept model, anew."""

from __future__ import annotations

from trainer.console.display import Display, print_result
from trainer.report.gate import missed_by, require_met, require_readable
from trainer.report.make import report_at_end
from trainer.run.assembly import make_parts, start_strategy
from trainer.run.job import Job
from trainer.run.job_files import OTHER_PREDICTIONS
from trainer.run.kept_model import load_kept
from trainer.run.kept_scores import REPORTED_SPLITS, score
from trainer.run.predictions_file import write_predictions
from trainer.run.prepared_data import prepare_data
from trainer.run.results import Results, write_results
from trainer.run.trackers.track import track
from trainer.run.workers import stop_when_a_worker_is_lost
from trainer.settings.resolve import Resolved

OTHER_RESULTS_FILE = "results_other_data.json"


def evaluate(resolved: Resolved, job: Job, display: Display) -> None:
    """Evaluates on validation and test; on other data than the job's they are not its results.

    Args:
        resolved: the config with its origins.
        job: that was trained.
        display: says what is done.
    Raises:
        ConfigError, JobDirError: there is no trained model, or what it needs is damaged.
        UnmetError: the run is not as good as the config asks.
    """
    job.require_trained()
    job.read_results()  # before anything costly
    config = resolved.config
    with stop_when_a_worker_is_lost():
        strategy = start_strategy(config, job, display)
        job.hold("evaluate")
        parts = make_parts(config, display)
        require_readable(config, parts.head.reader)
        prepared = prepare_data(parts)
        kept = load_kept(parts, job, strategy, prepared)
        evaluated = score(kept, prepared)
        scores = {**evaluated.as_json(), "step": kept.step}
        is_own_data = job.is_of(prepared)
        if is_own_data:
            results = write_results(job, {**job.read_results(), **scores})
            write_predictions(kept, prepared.splits, evaluated)
        else:
            other_data = config.data.model_dump(include=set(REPORTED_SPLITS))
            results = Results({**scores, "data": other_data})
            if job.writes:
                job.write_json(OTHER_RESULTS_FILE, results.values)
                write_predictions(kept, prepared.splits, evaluated, OTHER_PREDICTIONS)
        kept.leave_together()
    if job.writes:
        job.files.settle()
        print_result(results.summary())
    if not is_own_data:
        return
    with track(config, job, display) as trackers:
        trackers.results = results
        missed = missed_by(kept, results.values)
        report_at_end(kept, prepared)
    if config.report.fail:
        require_met(missed)
