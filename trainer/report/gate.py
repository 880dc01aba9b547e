"""What the config asks of a run: checked before it is trained, and before it is exported."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from trainer.data.reader import Reader, Vocabulary
from trainer.errors import UnmetError
from trainer.files.json_file import JsonObject
from trainer.report.behaviour.suite import (
    BehaviouralTest,
    read_suite,
    require_askable,
    require_labels,
)
from trainer.report.evidence import Evidence, judged_of, read_evidence
from trainer.report.files import write_facts
from trainer.report.parts.verdict import requirements
from trainer.run.job import Job
from trainer.run.job_files import BEHAVIOUR
from trainer.settings.schema import Config, ReportSettings

OTHERS_SAY = ("the chief says what",)
NOT_EXPORTED = " The model is not exported, as export.only_if_met asks; all else is written."

if TYPE_CHECKING:  # which imports TensorFlow
    from trainer.run.kept_model import KeptModel


def require_readable(config: Config, reader: Reader) -> None:
    """Refuses what the end of a run would stumble over, before anything costly.

    Args:
        config: of the run.
        reader: of its head.
    Raises:
        ConfigError, JobDirError: `report.against` is no run, or `report.behaviour` no tests.
    """
    read_earlier(config.report)
    require_askable(_suite(config, reader), config.head)


def require_known_labels(config: Config, reader: Reader, vocabulary: Vocabulary) -> None:
    """Refuses behavioural tests of labels that train does not have.

    Args:
        config: of the run.
        reader: of its head.
        vocabulary: what train taught.
    Raises:
        ConfigError: names the test and the label.
    """
    if config.head.has_classes:
        require_labels(_suite(config, reader), vocabulary["labels"])


def _suite(config: Config, reader: Reader) -> list[BehaviouralTest]:
    """The tests of `report.behaviour`; none where it names no file."""
    if config.report.behaviour is None:
        return []
    return read_suite(config.report.behaviour, [item.name for item in reader.inputs])


def read_earlier(settings: ReportSettings) -> Evidence | None:
    """The run that `report.against` names.

    Raises:
        ConfigError, JobDirError: there is none, or it keeps no answers.
    """
    if settings.against is None:
        return None
    return read_evidence(Job(settings.against), key="report.against")


def unmet(
    settings: ReportSettings,
    metrics: Mapping[str, float],
    behaviour: Mapping[str, JsonObject],
) -> list[str]:
    """What the config asks and the run does not reach, in words.

    Args:
        settings: of the report.
        metrics: of the judged split.
        behaviour: of behaviour.json, by test.
    """
    said = [each.said for each in requirements(metrics, settings.require) if not each.is_met]
    for name, test in behaviour.items():
        if not test["is_met"]:
            said.append(
                f"behavioural test {name}: {test['passed']} of {test['cases']} cases pass, wanted"
                f" {test['at_least']:.0%}"
            )
    return said


def require_met(said: Sequence[str], consequence: str = "") -> None:
    """Raises UnmetError where something is not reached.

    Args:
        said: of `unmet`.
        consequence: what does not happen for it, as a sentence.
    """
    if said:
        raise UnmetError(f"what report asks for is not met: {'; '.join(said)}.{consequence}")


def missed_by(kept: KeptModel, results: Mapping[str, object]) -> list[str]:
    """What the config asks of a model and it does not reach; writes behaviour.json.

    Args:
        kept: the model.
        results: as results.json has them.
    Raises:
        ConfigError: a behavioural test cannot be asked.
    """
    job, config = kept.job, kept.parts.config
    found = _behaviour(kept)
    if job.writes and (found or job.told(BEHAVIOUR)):
        write_facts(job.folder / BEHAVIOUR, found)
    metrics = results.get(judged_of(results)) or {}
    assert isinstance(metrics, Mapping)  # as results.json has it
    return unmet(config.report, metrics, found)


def is_kept_from_export(kept: KeptModel, missed: Sequence[str]) -> bool:
    """Whether a model is not exported as it misses what the config asks; the chief decides.

    Args:
        kept: the model.
        missed: what it does not reach.
    """
    settings = kept.parts.config.export
    if not settings.only_if_met or settings.format == "none":
        return False
    from trainer.run.workers import of_chief  # which imports TensorFlow

    return of_chief(kept.strategy, decision=bool(missed))


def _behaviour(kept: KeptModel) -> JsonObject:
    """What the model answers to the tests of `report.behaviour`; empty where there are none."""
    from trainer.report.behaviour.ask import try_tests

    tests = _suite(kept.parts.config, kept.parts.head.reader)
    return try_tests(kept, tests) if tests else {}
