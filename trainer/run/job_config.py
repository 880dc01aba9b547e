"""Whether a job goes on with the config that it was begun with."""

from __future__ import annotations

import json
import pathlib
from collections.abc import Mapping

from trainer.errors import JobDirError, UserError, shown_name, shown_value
from trainer.files.writing import json_text
from trainer.settings.resolve import resolve
from trainer.settings.schema import Config
from trainer.settings.validation import defaults_of, was_unused

# What may differ when a job goes on: it changes neither the numbers nor what is prepared.
FREE_SETTINGS = (
    "distribution.strategy",
    "distribution.replicas",
    "distribution.collectives",
    "distribution.tpu",
    "distribution.tpu_wait_minutes",
    "train.micro_batches",
    "train.lanes",
    "export.format",
    "export.directory",
    "export.version",
    "export.check_examples",
    "export.only_if_met",
    "export.batch_invariant",
    "data.cache_dir",
    "train.steps_per_call",
    "train.keep_checkpoints",
    "train.checkpoint_every_steps",
    "train.evaluation_batch_size",
    "log.trackers",
    "log.experiment",
    "log.profile_steps",
    "report.predictions",
    "report.write",
    "report.language",
    "report.baselines",
    "report.near_duplicates",
    "report.explained",
    "report.probed",
    "report.perturbed",
    "report.attacked",
    "report.require",
    "report.against",
    "report.behaviour",
    "report.fail",
)
Values = Mapping[str, Mapping[str, object]]  # section -> key -> value


def read_values(config_file: pathlib.Path) -> Values | None:
    """The values of a config.yaml; None where it is not there, or is no config."""
    try:
        return resolve(config_file, {}).config.model_dump()
    except UserError:
        return None


def require_same(
    job_dir: pathlib.Path, config_file: pathlib.Path, begun: Values | None, now: Values
) -> None:
    """Refuses to go on with another config than the run was begun with.

    Args:
        job_dir: of the run.
        config_file: there.
        begun: the values that the run was begun with, where that is known.
        now: the values to go on with.
    Raises:
        JobDirError: names the settings that differ.
    """
    written = read_values(config_file)
    expected = written if begun is None else begun
    if expected is None:
        raise JobDirError(
            f"{config_file}: missing or damaged, and there are checkpoints: nothing says"
            " with which config that run was begun. Put back a copy of the file. To start"
            " anew: another --job_dir, or remove the folder."
        )
    differences = _differences(expected, now, "there", "here")
    if not differences:
        return
    remedy = (
        "To go on with that run, put those values back. To train with the new ones:"
        " --config with a copy of the file, and another --job_dir."
    )
    require_unedited(config_file, begun, remedy)
    raise JobDirError(
        f"--job_dir={job_dir} belongs to a run with another config:\n"
        + "\n".join(differences)
        + f"\nTo go on with that run: --config={config_file}. To start this one: another"
        " --job_dir, or remove the folder."
    )


def require_unedited(config_file: pathlib.Path, begun: Values | None, remedy: str) -> None:
    """Refuses a config.yaml that was changed since its run began.

    Args:
        config_file: of the run.
        begun: the values that the run was begun with, where that is known.
        remedy: what to do.
    Raises:
        JobDirError: names the settings that differ.
    """
    written = read_values(config_file)
    if begun is None or written is None:
        return
    edited = _differences(begun, written, "when the run began", "now")
    if edited:
        lines = "\n".join(edited)
        raise JobDirError(f"{config_file} was changed since its run began:\n{lines}\n{remedy}")


def is_as_begun(config_file: pathlib.Path, begun: Values | None) -> bool:
    """Whether a config.yaml has the values that the run was begun with, as far as is known."""
    if begun is None:
        return True
    written = read_values(config_file)
    return written is not None and not _differences(begun, written, "then", "now")


def _differences(one: Values, other: Values, called: str, other_called: str) -> list[str]:
    """The settings that may not differ when a job goes on, and do; a line each."""
    values = _by_setting(one)
    other_values = _by_setting(other)
    return [
        f"  {shown_name(setting)}: {shown_value(values.get(setting))} {called},"
        f" {shown_value(other_values.get(setting))} {other_called}"
        for setting in {**values, **other_values}
        if setting not in FREE_SETTINGS and values.get(setting) != other_values.get(setting)
    ]


def _by_setting(values: Values) -> dict[str, object]:
    """The values by their dotted names, and as JSON has them, in which some were kept.

    A setting that there was not yet when they were written had its default.
    """
    whole = {
        section: {**defaults_of(section, values.get(section, {})), **values.get(section, {})}
        for section in Config.model_fields
    }
    as_json: dict[str, dict[str, object]] = json.loads(json_text(whole))
    return {
        f"{section}.{key}": value
        for section, settings in as_json.items()
        for key, value in settings.items()
        if not was_unused(section, settings, key)
    }
