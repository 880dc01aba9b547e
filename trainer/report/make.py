"""Makes the report of a run: report.html, report.json and suspects.jsonl."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, NamedTuple

from trainer.console.display import Display
from trainer.data.prepare import Prepared
from trainer.data.reader import RowKind
from trainer.errors import shown_value
from trainer.files import mirror
from trainer.files.json_file import JsonObject
from trainer.files.writing import write_text
from trainer.heads.contract import Calibrates
from trainer.report.baselines import score_baselines
from trainer.report.evidence import Evidence, read_evidence
from trainer.report.files import require_ours, write_facts, write_page
from trainer.report.gate import read_earlier, unmet
from trainer.report.near_duplicates import near_duplicates
from trainer.report.page import Section
from trainer.report.parts.baselines import baselines
from trainer.report.parts.behaviour import behaviour
from trainer.report.parts.failures import failures
from trainer.report.parts.learning import learning
from trainer.report.parts.probe import probe_section
from trainer.report.parts.robustness import robustness
from trainer.report.parts.setup import setup
from trainer.report.parts.verdict import earlier_of, requirements, verdict
from trainer.report.parts.why import why
from trainer.report.say import speaker
from trainer.report.suspects import Suspect, as_lines, find_suspects
from trainer.report.tasks import task_of
from trainer.run.job import Job
from trainer.run.job_files import (
    BASELINES,
    EXPLANATIONS,
    NEAR_DUPLICATES,
    POSITIONS,
    PREDICTIONS,
    PROBE,
    REPORT_JSON,
    REPORT_PAGE,
    ROBUSTNESS,
    SUSPECTS,
)
from trainer.settings.schema import ReportSettings

if TYPE_CHECKING:  # which imports TensorFlow
    from trainer.run.kept_model import KeptModel


class Report(NamedTuple):
    """A report that was made.

    Attributes:
        title: of its page.
        sections: in their order.
        unmet: what the config asks for and the run does not reach, in words.
        suspects: labels that may be wrong.
    """

    title: str
    sections: list[Section]
    unmet: list[str]
    suspects: list[Suspect]


def make_report(
    evidence: Evidence, settings: ReportSettings, earlier: Evidence | None = None
) -> Report:
    """What is to be said of a run.

    Args:
        evidence: of the run.
        settings: of the report.
        earlier: of the run that it is set beside, if any.
    """
    say = speaker(settings.language)
    task = task_of(evidence)
    measures = task.measures(evidence.lines) if task else []
    metrics = evidence.results.get(evidence.judged_split) or {}
    asked = requirements(metrics, settings.require)
    suspects = find_suspects(evidence.splits)
    main = measures[0].name if measures else "loss"
    sections = [
        verdict(evidence, measures, asked, earlier_of(evidence, earlier) if earlier else None, say),
        setup(evidence, say),
        learning(evidence, main, say),
    ]
    if task:
        interval = measures[0].interval() if measures else None
        compared = baselines(evidence, main, interval, say)
        sections += [compared] if compared else []
        sections += task.sections(evidence, say)
        sections.append(failures(evidence, task, suspects, say))
        kept = [
            why(evidence.explanations, say),
            probe_section(evidence.probe, say),
            robustness(evidence.robustness, say),
            behaviour(evidence.behaviour, say),
        ]
        sections += filter(None, kept)
    head = evidence.config["head"]["name"]
    title = f"{evidence.name}: {head}"
    missed = unmet(settings, metrics, evidence.behaviour)
    return Report(title, sections, missed, suspects)


def report_at_end(kept: KeptModel, prepared: Prepared) -> None:
    """Writes the report of a run that has just been evaluated, unless the config says no.

    A run that is complete does not fail for a report that cannot be made.

    Args:
        kept: the model of the run.
        prepared: the data.
    """
    job, display = kept.job, kept.parts.display
    settings = kept.parts.config.report
    predictions = job.folder / PREDICTIONS
    is_asked = job.writes and settings.write and settings.predictions
    if not is_asked or not predictions.exists() or not predictions.stat().st_size:
        return
    display.line("making the report, for which the model is asked once more")
    evidence = None
    with _told("the report", display):
        evidence = read_evidence(job)
    for part, keep in KEPT_PARTS.items() if evidence else ():
        with _told(part, display):
            keep(kept, prepared, evidence)
    with _told("the report", display):
        write_report(job, settings)
        display.line(f"report: {mirror.shown(job.folder / REPORT_PAGE)}")


@contextlib.contextmanager
def _told(what: str, display: Display) -> Iterator[None]:
    """Says what could not be made, and why, in place of an error."""
    try:
        yield
    except Exception as error:
        display.warn(
            f"{what} could not be made: {shown_value(str(error))}. All else of the run is complete."
        )


def _keep_baselines(kept: KeptModel, prepared: Prepared, evidence: Evidence) -> None:
    """Writes baselines.json, where it is not there."""
    parts, file = kept.parts, kept.job.folder / BASELINES
    if parts.config.report.baselines and not parts.stream and not kept.job.told(BASELINES):
        graph = kept.model.graph
        if isinstance(graph, Calibrates):  # what validation decides is of the model alone
            graph = graph.calibrated({"temperature": 1.0})
        scorer = parts.head.scorer(graph)
        found = score_baselines(parts.config.head, scorer, prepared.splits, prepared.vocabulary)
        write_facts(file, found)


def _keep_near_duplicates(kept: KeptModel, prepared: Prepared, evidence: Evidence) -> None:
    """Writes near_duplicates.json, where it is not there."""
    parts, job = kept.parts, kept.job
    is_one_text = parts.head.reader.rows is not RowKind.RECUT
    if parts.config.report.near_duplicates and is_one_text and not job.told(NEAR_DUPLICATES):
        write_facts(job.folder / NEAR_DUPLICATES, near_duplicates(prepared.splits))


def _keep_explanations(kept: KeptModel, prepared: Prepared, evidence: Evidence) -> None:
    """Writes explanations.json."""
    from trainer.report.explain.kept import explanations
    from trainer.report.explain.texts import can_explain

    count = kept.parts.config.report.explained
    if count and can_explain(kept):
        examples = explanations(kept, evidence, count)
        write_facts(kept.job.folder / EXPLANATIONS, {"examples": examples})


def _keep_probe(kept: KeptModel, prepared: Prepared, evidence: Evidence) -> None:
    """Writes probe.json."""
    from trainer.report.explain.probe import probe

    config = kept.parts.config
    if not config.report.probed or kept.parts.stream:
        return
    kind = getattr(config.head, "kind", config.head.name)
    splits = prepared.splits
    judged = splits[evidence.judged_split]
    found = probe(kept, kind, splits["train"], judged, config.report.probed)
    if found is not None:
        write_facts(kept.job.folder / PROBE, found)


def _keep_positions(kept: KeptModel, prepared: Prepared, evidence: Evidence) -> None:
    """Writes loss_by_position.json, of a language model that writes."""
    if kept.parts.config.head.name == "causal_lm":
        from trainer.report.positions import loss_by_position

        found = loss_by_position(kept.model, prepared.splits[evidence.judged_split])
        write_facts(kept.job.folder / POSITIONS, found)


def _keep_pictures(kept: KeptModel, prepared: Prepared, evidence: Evidence) -> None:
    """Writes to TensorBoard's logs."""
    from trainer.report.tensorboard import write_pictures

    write_pictures(kept.job, evidence, kept.step)


def _keep_robustness(kept: KeptModel, prepared: Prepared, evidence: Evidence) -> None:
    """Writes robustness.json."""
    settings = kept.parts.config.report
    if getattr(kept.parts.config.head, "kind", "") != "single_label":
        return
    from trainer.report.robustness.attack import attack
    from trainer.report.robustness.flips import answerer, flips, short_enough, some_of

    lines = evidence.lines
    names, probabilities = list(lines[0]["probabilities"]), answerer(kept)
    found: JsonObject = {}
    if settings.perturbed:
        found |= flips(lines, settings.perturbed, names, probabilities)
    if settings.attacked:
        victims = short_enough(some_of(lines, settings.attacked))
        attacked = attack(victims, names, probabilities)
        found |= {"attack": attacked} if attacked else {}
    if found:
        write_facts(kept.job.folder / ROBUSTNESS, found)


# What takes the model, and is kept, so that the report can be made again without it.
KEPT_PARTS: Mapping[str, Callable[[KeptModel, Prepared, Evidence], None]] = {
    "the baselines": _keep_baselines,
    "the search for near duplicates": _keep_near_duplicates,
    "the explanations": _keep_explanations,
    "the probe of the layers": _keep_probe,
    "the trial of other spellings": _keep_robustness,
    "the loss by position": _keep_positions,
    "TensorBoard's pictures": _keep_pictures,
}


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
    report = make_report(read_evidence(job), settings, read_earlier(settings))
    write_page(path, report.title, report.sections, settings.language)
    if report.suspects:
        write_text(job.folder / SUSPECTS, as_lines(report.suspects))
    return report
