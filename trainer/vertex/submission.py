"""A run that is to become a job: what is decided before anything is sent."""

from __future__ import annotations

import dataclasses
import os
import pathlib
from collections.abc import Mapping

from trainer.errors import ConfigError, shown_value
from trainer.files import mirror
from trainer.files.storage import config_file
from trainer.machine import xla
from trainer.settings.resolve import Resolved, resolve
from trainer.settings.schema import Config
from trainer.settings.setting import Setting, Settings
from trainer.vertex import accelerators, inputs, request, search
from trainer.vertex.accelerators import Machine
from trainer.vertex.inputs import Input
from trainer.vertex.options import Options
from trainer.vertex.request import Json
from trainer.vertex.service import as_message

# The strategies that a job of one machine may have, by the machine's kind.
STRATEGIES = {
    "tpu": ("auto", "tpu"),
    "gpu": ("auto", "mirrored", "one_device"),
    "cpu": ("auto", "mirrored", "one_device"),
}
STRATEGIES_OF_WORKERS = ("auto", "multi_worker")


@dataclasses.dataclass(frozen=True)
class Submission:
    """A run that is to become a job.

    Attributes:
        config: as it runs here.
        remote: the same as it runs there, with its inputs in the bucket.
        study: of a search; None for one run.
        places: the URL that each input of this machine will have.
        name: of the job.
        folder: URL of its job_dir.
    """

    options: Options
    machine: Machine
    config: Resolved
    remote: Resolved
    study: Json | None
    places: Mapping[Input, str]
    name: str
    folder: str

    @property
    def kind(self) -> str:
        """Of the job, as the API names it."""
        return "HyperparameterTuningJob" if self.study else "CustomJob"

    @property
    def config_url(self) -> str:
        """Where the job reads its config."""
        return f"{self.folder}/submitted.yaml"

    def job(self, package_url: str | None) -> Json:
        """The request.

        Args:
            package_url: of the package that it runs; None where it runs a container.
        Raises:
            ValueError: the API does not know something of it.
        """
        spec = request.job_spec(
            self.options,
            self.machine,
            folder=self.folder,
            config=self.config_url,
            package=package_url,
        )
        job = request.custom_job(self.name, spec)
        if self.study:
            job = request.tuning_job(self.name, spec, self.study, self.options)
        as_message(self.kind, job)
        return job


def prepare(options: Options, config: str, overrides: Settings, now: str) -> Submission:
    """Checks all that needs no cloud.

    Args:
        options: where and how.
        config: the run's YAML file.
        overrides: settings that were given as flags.
        now: the time, for the name of a job that has none.
    Raises:
        ConfigError: lists what is wrong with the options or the config.
    """
    file = config_file(os.path.expanduser(config))
    resolved = resolve(file, overrides)
    mirror.use_cache(resolved.config.data.cache_dir)
    machine = accelerators.choose(options)
    _require_fit(options, machine, resolved.config)
    study = None
    if options.tune and options.goal:
        study = search.study_spec(options.tune, options.goal, resolved.config)
    places = inputs.place(inputs.find(resolved.config), options.bucket)
    remote = resolve(file, overrides | inputs.settings(places) | _for_the_job(resolved))
    stem = pathlib.PurePath(config).stem
    name = options.name or request.default_name(stem, now)
    return Submission(
        options=options,
        machine=machine,
        config=resolved,
        remote=remote,
        study=study,
        places=places,
        name=name,
        folder=f"{options.bucket}/{name}",
    )


def _for_the_job(resolved: Resolved) -> Settings:
    """Without folders of this machine, which a job's would lose with it.

    So the job exports into its job_dir.
    """
    config = resolved.config
    folders = {
        ("data", "cache_dir"): config.data.cache_dir,
        ("export", "directory"): config.export.directory,
    }
    return {
        setting: Setting(None, "trainer.vertex")
        for setting, path in folders.items()
        if path and not path.startswith(mirror.SCHEME)
    }


def _require_fit(options: Options, machine: Machine, config: Config) -> None:
    """Raises ConfigError for settings that the job would refuse once its machines are paid for."""
    problems = []
    against = config.report.against
    if against is not None and not against.startswith(mirror.SCHEME):
        problems.append(
            f"report.against: the job cannot read {shown_value(against)}, a folder of this machine."
            " Give the run's gs:// URL, or --report.against=null."
        )
    precision = config.train.precision
    if precision == "mixed_bfloat16" and machine.kind == "gpu" and not machine.bfloat16:
        problems.append(
            f"train.precision: {options.accelerator} has no bfloat16. Received 'mixed_bfloat16'."
            " Set --train.precision=mixed_float16."
        )
    if precision == "mixed_float16" and machine.kind == "tpu":
        problems.append(
            "train.precision: a TPU computes in bfloat16. Received 'mixed_float16'. Set"
            " --train.precision=mixed_bfloat16."
        )
    if message := xla.refusal(config.train.xla, machine.xla_obstacle):
        problems.append(message)
    strategy = config.distribution.strategy
    able = STRATEGIES_OF_WORKERS if options.workers > 1 else STRATEGIES[machine.kind]
    if strategy not in able:
        problems.append(
            f"distribution.strategy: expected {' or '.join(able)} on {options.workers} x"
            f" {options.accelerator}. Received {strategy!r}."
        )
    if problems:
        raise ConfigError("\n".join(problems))
