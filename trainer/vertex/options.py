"""The flags of `python -m trainer.vertex` that are not settings of the run."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from typing import Any

import pydantic
from pydantic import Field

from trainer.errors import ConfigError, shown_value
from trainer.settings import flags, plain_yaml, schema
from trainer.settings.one_line_yaml import as_yaml
from trainer.settings.setting import Settings
from trainer.settings.types_in_words import describe_type

USAGE = """python -m trainer.vertex --config=FILE --project=PROJECT --region=REGION
                         --bucket=gs://BUCKET --accelerator=NAME[:COUNT] [--SECTION.KEY=VALUE ...]
Submits the run as a custom job of Vertex AI, after checking all that can be checked from here.
--dry_run prints the request.
"""
NAME = re.compile(r"[a-z][a-z0-9-]{0,62}")
RESERVED = ("inputs", "packages", "served", "preflight")
PROJECT = re.compile(r"[a-z][a-z0-9.:-]{4,}")


class Options(schema.Section):
    """Where and how a run is submitted; each is a flag."""

    config: str | None = Field(None, description="the run's YAML file")
    project: str = Field(description="the Google Cloud project; default: GOOGLE_CLOUD_PROJECT")
    region: str = Field("us-central1", description="where the job runs")
    bucket: str = Field(
        description=(
            "gs://BUCKET[/FOLDER] that gets the config, the inputs of this machine and the job_dir"
        )
    )
    accelerator: str = Field(
        "cpu",
        description=(
            "cpu, or NAME:COUNT of the machine: l4:2, a100:8, h100:8, tpu-v3:8, tpu-v5e:8, ...; for"
            " TPUs COUNT is chips (v5e) or cores (v2, v3) of the whole slice"
        ),
    )
    machine_type: str | None = Field(
        None, description="null: the smallest that has the accelerators"
    )
    workers: int = Field(1, ge=1, description="machines; more than one train together")
    spot: bool = Field(
        False, description="on spare capacity: cheaper, stopped and started again at any time"
    )
    flex_start: bool = Field(
        False,
        description=(
            "queued until capacity is there for all of it, then without interruption; L4, A100,"
            " H100 and H200"
        ),
    )
    image: str | None = Field(
        None,
        description=(
            "container; null: the one that cloudbuild.yaml pushes to"
            " REGION-docker.pkg.dev/PROJECT/podtune"
        ),
    )
    package: bool = Field(
        False,
        description="as a Python package in one of Vertex AI's own containers, instead of an image",
    )
    executor_image: str | None = Field(
        None, description="with package: which container; null: the newest in accelerators.yaml"
    )
    service_account: str | None = Field(
        None, description="as whom the job runs; null: Vertex AI's own agent"
    )
    tensorboard: str | None = Field(
        None,
        description=(
            "projects/…/locations/…/tensorboards/ID that shows the logs meanwhile; needs"
            " service_account"
        ),
    )
    network: str | None = Field(
        None, description="projects/NUMBER/global/networks/NAME to peer with"
    )
    name: str | None = Field(
        None, description="of the job and its folder; null: the config's name and the time"
    )
    disk_gb: int = Field(200, ge=100, le=64000, description="of each machine's boot disk")
    timeout_hours: float = Field(168, gt=0, description="after which the job is stopped")
    max_wait_hours: float | None = Field(
        None, gt=0, description="with flex_start: for capacity; null: a day"
    )
    price_per_hour: float | None = Field(
        None, gt=0, description="of one machine, in any currency: tells the cost before it is paid"
    )
    check: bool = Field(True, description="check cloud, data and plan before anything is sent")
    plan: bool = Field(
        True, description="with check: make the run's plan here, and for a TPU compile its steps"
    )
    dry_run: bool = Field(
        False,
        description=(
            "print the request, as gcloud ai custom-jobs create --config takes it, and send nothing"
        ),
    )
    wait: bool = Field(False, description="until the job has ended; the exit code tells how")
    tune: str | None = Field(
        None, description="search: SETTING:LOW..HIGH[:log] or SETTING:A|B|C, separated by commas"
    )
    trials: int = Field(20, ge=1, description="of the search")
    parallel: int = Field(4, ge=1, description="trials at once")
    goal: str | None = Field(
        None, description="maximize:validation.METRIC or minimize:validation.METRIC"
    )
    deploy: str | None = Field(
        None,
        description=(
            "upload this SavedModel (gs://… or a job_dir) to the Model Registry and serve it,"
            " instead of training"
        ),
    )
    endpoint: str | None = Field(
        None, description="with deploy: an endpoint's number; null: a new one; none: upload only"
    )
    serving_image: str | None = Field(
        None,
        description=(
            "with deploy: TensorFlow Serving in a registry of Google's; null: the copy that"
            " cloudbuild.yaml makes"
        ),
    )
    replicas: int = Field(1, ge=1, description="with deploy: machines that serve at least")
    max_replicas: int | None = Field(
        None, ge=1, description="with deploy: at most, under load; null: as many as replicas"
    )

    @pydantic.field_validator("*")
    @classmethod
    def _printable(cls, value: Any) -> Any:
        if isinstance(value, str) and not value.isprintable():
            raise ValueError("has a character that cannot be printed")
        return value

    @pydantic.field_validator("bucket")
    @classmethod
    def _bucket(cls, value: str) -> str:
        if not re.fullmatch(r"gs://[a-z0-9][a-z0-9._-]{1,220}(/.*)?", value):
            raise ValueError("expected gs://BUCKET or gs://BUCKET/FOLDER")
        return value.rstrip("/")

    @pydantic.field_validator("project")
    @classmethod
    def _project(cls, value: str) -> str:
        if not PROJECT.fullmatch(value):
            raise ValueError("expected a project's id, such as my-project-1")
        return value

    @pydantic.field_validator("name")
    @classmethod
    def _name(cls, value: str | None) -> str | None:
        if value is not None and not NAME.fullmatch(value):
            raise ValueError("expected at most 63 of a-z, 0-9 and -, beginning with a letter")
        if value in RESERVED:
            raise ValueError(
                f"the bucket's folders {', '.join(RESERVED)} are for all jobs. Take another name"
            )
        return value


def own_flags() -> list[flags.Flag]:
    """A flag for each option."""
    found = []
    for name, field in Options.model_fields.items():
        given = None if field.is_required() else field.default
        default = given if given is None or isinstance(given, str) else as_yaml(given)
        found.append(
            flags.Flag(
                name,
                default,
                field.description or "",
                describe_type(field),
                field.annotation is bool,
            )
        )
    return [*found, flags.HELP]


def parse(argv: Sequence[str]) -> tuple[Options | None, Settings]:
    """The options and the settings of a command line; no options where help is asked for.

    Raises:
        ConfigError: lists every problem, each with the value met and what is allowed.
    """
    given, settings = flags.parse_flags(list(argv), own_flags())
    if given.pop("help") in (True, "true"):
        return None, settings
    values = {name: _value(name, text) for name, text in given.items() if text is not None}
    values.setdefault("project", os.environ.get("GOOGLE_CLOUD_PROJECT", ""))
    # As of a shell's variable that is not set: --deploy= would submit a training run.
    problems = [
        f"--{name}: no value. Expected {describe_type(Options.model_fields[name])}; leave it"
        " out for the default."
        for name, text in given.items()
        if text == ""
    ]
    if problems:
        raise ConfigError("\n".join(problems))
    try:
        options = Options.model_validate(
            {name: value for name, value in values.items() if value != ""}
        )
    except pydantic.ValidationError as error:
        problems = list(dict.fromkeys(_problem(detail, values) for detail in error.errors()))
    else:
        defaults = {flag.name: flag.default for flag in own_flags()}
        problems = _contradictions(
            options,
            [
                *(name for name, text in given.items() if text != defaults[name]),
                *(".".join(name) for name in settings),
            ],
        )
    if problems:
        raise ConfigError("\n".join(problems))
    return options, settings


def _value(name: str, text: Any) -> Any:
    accepts = describe_type(Options.model_fields[name])
    if not isinstance(text, str) or not any(
        word in accepts for word in ("integer", "number", "true")
    ):
        return text
    if not text:
        return text
    try:
        return plain_yaml.parse(text, Options.model_fields[name].annotation)
    except plain_yaml.YamlProblemError:
        return text


def _problem(detail: Mapping[str, Any], values: Mapping[str, Any]) -> str:
    name = str(detail["loc"][0])
    field = Options.model_fields[name]
    if detail["type"] == "missing":
        return f"--{name}: missing. Expected {field.description}."
    said = (
        detail["ctx"]["error"]
        if detail["type"] == "value_error"
        else f"expected {describe_type(field)}"
    )
    return f"--{name}: {said}. Received {shown_value(values.get(name))}."


def _contradictions(options: Options, given: Sequence[str]) -> list[str]:
    found = []
    if options.deploy is not None:
        applies = (
            "project",
            "region",
            "bucket",
            "accelerator",
            "machine_type",
            "spot",
            "service_account",
            "name",
            "dry_run",
            "deploy",
            "endpoint",
            "serving_image",
            "replicas",
            "max_replicas",
        )
        found += [
            f"--{name}: not with --deploy, which takes {', '.join(applies)}."
            for name in given
            if name not in applies
        ]
        if options.max_replicas and options.max_replicas < options.replicas:
            found.append(
                f"--max_replicas: expected at least --replicas={options.replicas}. Received"
                f" {options.max_replicas}."
            )
    else:
        found += [
            f"--{name}: only with --deploy."
            for name in given
            if name in ("endpoint", "serving_image", "replicas", "max_replicas")
        ]
    if options.deploy is None and options.config is None:
        found.append("--config: missing. Expected a YAML file; configs/ has examples.")
    if options.image and options.package:
        found.append("--package: give an image or package, not both.")
    if options.spot and options.flex_start:
        found.append("--flex_start: give spot or flex_start, not both.")
    if options.max_wait_hours and not options.flex_start:
        found.append("--max_wait_hours: only with --flex_start.")
    if options.executor_image and not options.package:
        found.append("--executor_image: only with --package. A container of your own is --image.")
    if options.tensorboard and not options.service_account:
        found.append(
            "--service_account: missing. --tensorboard needs one, with the roles storage.admin and"
            " aiplatform.user: Vertex AI's own agent may not write there."
        )
    if options.tensorboard and not re.fullmatch(
        r"projects/[^/]+/locations/[^/]+/tensorboards/\d+", options.tensorboard
    ):
        found.append(
            "--tensorboard: expected projects/PROJECT/locations/REGION/tensorboards/ID. Received"
            f" {shown_value(options.tensorboard)}."
        )
    if options.tune and not options.goal:
        found.append(
            "--goal: missing. A search needs what it is for, such as"
            " --goal=maximize:validation.accuracy."
        )
    if options.goal and not options.tune:
        found.append(
            "--tune: missing. --goal is for a search, such as"
            " --tune=train.learning_rate:1e-5..1e-4:log."
        )
    if not options.tune:
        found += [
            f"--{name}: only with --tune." for name in given if name in ("trials", "parallel")
        ]
    if options.tune and options.parallel > options.trials:
        found.append(
            f"--parallel: expected at most --trials={options.trials}. Received {options.parallel}."
        )
    return found
