"""--mode=report: the evidence report of a run, made again of what the run has left."""

from __future__ import annotations

from trainer.console.display import Display, print_result
from trainer.files import mirror
from trainer.report.gate import require_met
from trainer.report.make import write_report
from trainer.run.job import Job
from trainer.run.job_files import REPORT_PAGE
from trainer.settings.resolve import Resolved


def report(resolved: Resolved, job: Job, display: Display) -> None:
    """Writes report.html and report.json.

    Args:
        resolved: the config with its origins.
        job: that was trained and evaluated.
        display: not needed.
    Raises:
        ConfigError, JobDirError: there is no run, or it keeps no answers.
        UnmetError: the run is not as good as the config asks.
    """
    job.require_trained()
    job.hold("report")
    settings = resolved.config.report
    made = write_report(job, settings)
    print_result(f"report: {mirror.shown(job.folder / REPORT_PAGE)}")
    require_met(made.unmet if settings.fail else [])
