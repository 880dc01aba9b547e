"""Makes the report of a run: report.html, report.json and suspects.jsonl."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from trainer.data.prepare import Prepared
from trainer.errors import UnmetError, shown_value
from trainer.files import mirror
from trainer.files.writing import write_text
from trainer.report.baselines import score_baselines
from trainer.report.evidence import Evidence, read_evidence
from trainer.report.files import require_ours, write_facts, write_page
from trainer.report.page import Section
from trainer.report.parts.baselines import baselines
from trainer.report.parts.failures import failures
from trainer.report.parts.learning import learning
from trainer.report.parts.robustness import robustness
from trainer.report.parts.setup import setup
from trainer.report.parts.verdict import Requirement, requirements, verdict
from trainer.report.parts.why import why
from trainer.report.say import speaker
from trainer.report.suspects import Suspect, as_lines, find_suspects
from trainer.report.tasks import task_of
from trainer.run.job import Job
from trainer.run.job_files import (
    BASELINES,
    EXPLANATIONS,
    PREDICTIONS,
    REPORT_JSON,
    REPORT_PAGE,
    ROBUSTNESS,
    SUSPECTS,
)
from trainer.settings.schema import ReportSettings

if TYPE_CHECKING:  # which imports TensorFlow
    from trainer.run.kept_model import KeptModel


EXPLAINED = ("classification",)  # heads


class Report(NamedTuple):
    """A report that was made.

    Attributes:
        title: of its page.
        sections: in their order.
        unmet: what the config asks for and the run does not reach.
        suspects: labels that may be wrong.
    """

    title: str
    sections: list[Section]
    unmet: list[Requirement]
    suspects: list[Suspect]


def make_report(evidence: Evidence, settings: ReportSettings) -> Report:
    """What is to be said of a run.

    Args:
        evidence: of the run.
        settings: of the report.
    """
    say = speaker(settings.language)
    task = task_of(evidence)
    measures = task.measures(evidence.lines) if task else []
    asked = requirements(evidence, settings.require)
    suspects = find_suspects(evidence.splits)
    main = measures[0].name if measures else "loss"
    sections = [
        verdict(evidence, measures, asked, say),
        setup(evidence, say),
        learning(evidence, main, say),
    ]
    if task:
        compared = baselines(evidence, main, say)
        sections += [compared] if compared else []
        sections += task.sections(evidence, say)
        sections.append(failures(evidence, task, suspects, say))
        reasons = [why(evidence.explanations, say), robustness(evidence.robustness, say)]
        sections += filter(None, reasons)
    head = evidence.config["head"]["name"]
    title = f"{evidence.name}: {head}"
    return Report(title, sections, [each for each in asked if not each.is_met], suspects)


def report_at_end(kept: KeptModel, prepared: Prepared) -> None:
    """Writes the report of a run that has just been evaluated, unless the config says no.

    A run that is complete does not fail for a report that cannot be made.

    Args:
        kept: the model of the run.
        prepared: the data.
    Raises:
        UnmetError: the run is not as good as the config asks.
    """
    job, display = kept.job, kept.parts.display
    settings = kept.parts.config.report
    predictions = job.folder / PREDICTIONS
    is_asked = job.writes and settings.write and settings.predictions
    if not is_asked or not predictions.exists() or not predictions.stat().st_size:
        return
    try:
        _keep_what_takes_the_model(kept, prepared)
        made = write_report(job, settings)
    except Exception as error:
        display.warn(
            f"the report could not be made: {shown_value(str(error))}. All else of the run is"
            f" complete. To see why: podtune report {mirror.shown(job.folder)}"
        )
        return
    display.line(f"report: {mirror.shown(job.folder / REPORT_PAGE)}")
    require_met(made, settings)


def _keep_what_takes_the_model(kept: KeptModel, prepared: Prepared) -> None:
    """Writes what the report says of more than the answers, so that it can be made again."""
    job, parts = kept.job, kept.parts
    settings = parts.config.report
    if settings.baselines and not parts.stream and not job.told(BASELINES):
        scorer = kept.evaluator.scorer
        head = parts.config.head
        found = score_baselines(head, scorer, prepared.splits, prepared.vocabulary)
        write_facts(job.folder / BASELINES, found)
    if settings.explained and parts.config.head.name in EXPLAINED:
        from trainer.report.explain.kept import explanations

        lines = read_evidence(job).lines
        examples = explanations(kept, lines, settings.explained)
        write_facts(job.folder / EXPLANATIONS, {"examples": examples})
    if settings.perturbed and getattr(parts.config.head, "kind", "") == "single_label":
        from trainer.report.robustness.flips import flips

        found = flips(kept, read_evidence(job).lines, settings.perturbed)
        write_facts(job.folder / ROBUSTNESS, found)


def require_met(report: Report, settings: ReportSettings) -> None:
    """Raises UnmetError where the run is not as good as the config asks, and it says to fail."""
    if settings.fail and report.unmet:
        said = [
            f"{each.metric} {'is not there' if each.found is None else f'{each.found:.4f}'}, wanted"
            f" {each.wanted:g}"
            for each in report.unmet
        ]
        raise UnmetError(f"report.require is not met: {'; '.join(said)}.")


def write_report(job: Job, settings: ReportSettings) -> Report:
    """Makes the report of a job, and writes it.

    Args:
        job: that was trained and evaluated.
        settings: of the report.
    Raises:
        ConfigError, JobDirError: what it is made of is missing or damaged, or another's file is
            in its place.
    """
    path = job.folder / REPORT_PAGE
    for file in (path, job.folder / REPORT_JSON):
        require_ours(file, "--job_dir")
    report = make_report(read_evidence(job), settings)
    write_page(path, report.title, report.sections, settings.language)
    if report.suspects:
        write_text(job.folder / SUSPECTS, as_lines(report.suspects))
    return report
