"""--mode=export: the kept model as export.format says."""

from __future__ import annotations

from trainer.console.display import Display, print_result
from trainer.errors import ConfigError
from trainer.files import mirror
from trainer.report.gate import (
    NOT_EXPORTED,
    OTHERS_SAY,
    is_kept_from_export,
    missed_by,
    require_met,
)
from trainer.run.assembly import make_parts, start_strategy
from trainer.run.job import Job
from trainer.run.kept_model import load_kept
from trainer.run.prepared_data import prepare_data
from trainer.run.workers import stop_when_a_worker_is_lost
from trainer.serve.export import export_kept
from trainer.serve.targets import require_export_target, writes_in_job_dir
from trainer.settings.resolve import Resolved


def export(resolved: Resolved, job: Job, display: Display) -> None:
    """Exports the kept model, and says where it is.

    Args:
        resolved: the config with its origins.
        job: that was trained.
        display: says what is done.
    Raises:
        ConfigError: export.format is none, or the export would destroy something.
        JobDirError: what the model needs is missing or damaged.
        UnmetError: the run is not as good as the config asks.
    """
    config = resolved.config
    if config.export.format == "none":
        raise ConfigError(
            "export.format: the job was trained with none, which writes nothing. Set"
            " --export.format=savedmodel or --export.format=huggingface."
        )
    require_export_target(config, job)
    job.require_trained()
    with stop_when_a_worker_is_lost():
        strategy = start_strategy(config, job, display)
        if writes_in_job_dir(config, job):
            job.hold("export")
        parts = make_parts(config, display)
        # a SavedModel is proved by texts
        prepared = prepare_data(parts) if config.export.format == "savedmodel" else None
        kept = load_kept(parts, job, strategy, prepared)
        missed = missed_by(kept, job.read_results()) if config.export.only_if_met else []
        if is_kept_from_export(kept, missed):
            require_met(missed or OTHERS_SAY, NOT_EXPORTED)
        folder = export_kept(kept, prepared, results={})
        kept.leave_together()
    if folder is not None and job.writes:
        print_result(f"model: {mirror.shown(folder)}")
