"""What is checked before a job is sent: the cloud, the data, the plan.

Each failure comes with its remedy, all at once.
"""

from __future__ import annotations

import datetime
import json
import pathlib
import subprocess
import sys
import tempfile
from collections.abc import Callable
from typing import NamedTuple, TypedDict

from trainer.console.display import Display
from trainer.errors import ConfigError
from trainer.files import gcs, mirror
from trainer.settings.resolve import Resolved
from trainer.sources.tfds import Settings as TfdsSettings
from trainer.vertex import accelerators, inputs
from trainer.vertex.accelerators import Machine
from trainer.vertex.options import Options
from trainer.vertex.service import Service
from trainer.vertex.submission import Submission

MULTI_REGIONS = {"US": "us-", "EU": "europe-", "ASIA": "asia-"}
MEMORY_SHARE = 0.9  # of an accelerator's memory, that a plan's estimate may fill
SHOWN_ERROR = 1000  # characters of what the plan's process wrote


class Check(NamedTuple):
    """One line of the table."""

    name: str
    passed: bool
    finding: str


class PlannedStep(TypedDict, total=False):
    """Of a compiled step in plan.json, what is read here."""

    hbm_share: float


class CompiledSteps(TypedDict):
    """Of what was compiled, in plan.json, what is read here."""

    shapes: list[PlannedStep]


class Plan(TypedDict, total=False):
    """Of plan.json, what is read here."""

    steps: int
    memory: dict[str, int]
    compiled: CompiledSteps


def check(submission: Submission, service: Service, display: Display) -> None:
    """Checks everything and shows the table.

    Args:
        submission: that is to be sent.
        service: that it is sent to.
        display: shows the table.
    Raises:
        ConfigError: lists what failed.
    """
    display.line("checking the bucket, the data, Vertex AI and the plan")
    checks: list[Check] = []
    for name, step in _steps(submission, service).items():
        data_failed = any(check.name == "data" and not check.passed for check in checks)
        if name == "plan" and data_failed:
            continue  # it would only say so again
        checks.append(_tried(name, step))
    rows = [
        (f"{'ok' if check.passed else 'FAILED':6} {check.name}", check.finding) for check in checks
    ]
    display.table("Preflight", rows)
    failures = [check.finding for check in checks if not check.passed]
    if failures:
        message = "\n".join(failures)
        raise ConfigError(f"{message}\nNothing was sent. To send it unchecked: --nocheck")


def _steps(submission: Submission, service: Service) -> dict[str, Callable[[], str]]:
    """The checks by name; each returns what it found, or raises ConfigError."""
    options, machine = submission.options, submission.machine
    steps: dict[str, Callable[[], str]] = {
        "machine": lambda: _machine(options, machine),
        "bucket": lambda: _bucket(options),
        "data": lambda: _data(submission),
        "Vertex AI": lambda: _service(service),
    }
    if options.package:
        steps["container"] = lambda: _container(machine)
    if options.plan:
        steps["plan"] = lambda: _plan(options, machine, submission.config)
    steps["cost"] = lambda: _cost(options)
    return steps


def _tried(name: str, step: Callable[[], str]) -> Check:
    try:
        return Check(name, True, step())
    except ConfigError as error:
        return Check(name, False, mirror.shown(str(error)))


def _machine(options: Options, machine: Machine) -> str:
    shape = f", topology {machine.topology}" if machine.topology else ""
    number = f"{options.workers} x " if options.workers > 1 else ""
    plural = "s" if machine.replicas > 1 else ""
    without_xla = f"; without XLA: {machine.xla_obstacle}" if machine.xla_obstacle else ""
    return (
        f"{number}{machine.machine_type}{shape} in {options.region}: {machine.replicas}"
        f" replica{plural}{without_xla}"
    )


def _bucket(options: Options) -> str:
    """Exists, lies in the region, and can be written, replaced and removed from."""
    bucket = gcs.parse(options.bucket, key="--bucket")[0]
    location = gcs.location(options.bucket, key="--bucket")
    if location is not None and location.lower() != options.region:
        _require_region(options, bucket, location)
    mirror.probe(mirror.local(f"{options.bucket}/preflight"))
    place = location.lower() if location else "a place that it does not tell"
    return f"gs://{bucket} in {place}: written, replaced, removed"


def _require_region(options: Options, bucket: str, location: str) -> None:
    """Raises ConfigError unless the bucket's location is one around the region, and will do."""
    is_around = options.region.startswith(MULTI_REGIONS.get(location, "-"))
    if is_around and not options.tensorboard:
        return
    reason = (
        "TensorBoard needs one of the region itself"
        if is_around
        else "every step would cross regions, which is slow and is paid for"
    )
    remedy = "Make one there"
    if location.lower() in accelerators.table().regions:
        remedy = f"Take --region={location.lower()}, or make one there"
    raise ConfigError(
        f"--bucket: gs://{bucket} lies in {location}, the job in {options.region}: {reason}."
        f" {remedy}: gcloud storage buckets create gs://{bucket}-{options.region}"
        f" --location={options.region} --project={options.project}"
    )


def _data(submission: Submission) -> str:
    """What is in Cloud Storage is there; what is here will be uploaded."""
    config = submission.remote.config
    places = submission.places
    inputs.check_remote(config, uploaded=set(places.values()))
    upload_bytes = sum(local.total_bytes() for local in places)
    elsewhere = []
    if config.backbone.weights.startswith("hf://"):
        elsewhere.append("the Hugging Face hub")
    if isinstance(config.data, TfdsSettings) and not config.data.tfds_data_dir:
        elsewhere.append("TensorFlow Datasets")
    fetched = f"; the job fetches from {' and '.join(elsewhere)}" if elsewhere else ""
    return f"found; {upload_bytes / 1e6:,.1f} MB of this machine go to the bucket{fetched}"


def _service(service: Service) -> str:
    service.require_access()
    return f"{service.project} in {service.region} answers to {gcs.identity()}"


def _container(machine: Machine) -> str:
    if problem := accelerators.executor_problem(machine, datetime.date.today()):
        raise ConfigError(f"--package: {problem}")
    return machine.executor_image


def _plan(options: Options, machine: Machine, resolved: Resolved) -> str:
    """The run's own plan, made by a process beside this one: for a TPU its steps are compiled."""
    with tempfile.TemporaryDirectory() as folder:
        file = pathlib.Path(folder, "config.yaml")
        file.write_text(resolved.to_yaml(), encoding="utf-8")
        run = _run_plan(file, machine)
        if run.returncode:
            error = run.stderr[-SHOWN_ERROR:]
            if "error: " in run.stderr:
                error = run.stderr.rpartition("error: ")[2]
            shown_config = options.config or "the config"
            raise ConfigError(error.strip().replace(str(file), shown_config))
        plan: Plan = json.loads(pathlib.Path(folder, "plan.json").read_text(encoding="utf-8"))
    return _memory(options, machine, plan)


def _run_plan(config: pathlib.Path, machine: Machine) -> subprocess.CompletedProcess[str]:
    """Runs --mode=plan for the machine; plan.json comes beside the config."""
    command = [
        sys.executable,
        "-m",
        "trainer.task",
        "--mode=plan",
        f"--config={config}",
        f"--job_dir={config.parent}",
        f"--plan.replicas={machine.replicas}",
    ]
    if machine.generation:
        command.append(f"--plan.tpu={machine.generation}")
    return subprocess.run(command, capture_output=True, text=True, check=False)


def _memory(options: Options, machine: Machine, plan: Plan) -> str:
    """What the plan says of memory. Raises ConfigError where the estimate is too much."""
    if machine.generation:
        shapes = plan["compiled"]["shapes"]
        share = max(shape["hbm_share"] for shape in shapes if "hbm_share" in shape)
        return (
            f"{plan['steps']:,} steps; every one compiles for TPU {machine.generation} and takes at"
            f" most {share:.0%} of its memory"
        )
    needed_gb = plan["memory"]["total_mb"] / 1000
    if machine.memory_gb and needed_gb > MEMORY_SHARE * machine.memory_gb:
        raise ConfigError(
            f"plan: a replica needs about {needed_gb:.1f} GB, and {options.accelerator} has"
            f" {machine.memory_gb:g} GB. Raise --train.micro_batches, lower"
            " --train.global_batch_size or --data.seq_len, or take a larger --accelerator."
        )
    available = f" of {machine.memory_gb:g} GB" if machine.memory_gb else ""
    return f"{plan['steps']:,} steps, about {needed_gb:.1f} GB{available} a replica (an estimate)"


def _cost(options: Options) -> str:
    if options.price_per_hour is None:
        return "no --price_per_hour was given"
    hourly = options.price_per_hour * options.workers
    hours = options.timeout_hours
    if options.tune:
        rounds = -(-options.trials // options.parallel)
        hourly *= options.parallel
        hours *= rounds
    return (
        f"{hourly:,.2f} an hour; at most {hourly * hours:,.2f}, where all runs end by"
        f" --timeout_hours={options.timeout_hours:g}"
    )
