"""Where and how a run is submitted: the options that are not settings of the run.

Which of them go together is in option_rules.py, and how they are read in command_line.py.
"""

from __future__ import annotations

import re

import pydantic
from pydantic import Field

from trainer.settings import schema

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
    def _printable(cls, value: object) -> object:
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
