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
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from trainer.console.display import Display
from trainer.errors import ConfigError
from trainer.files import gcs, mirror
from trainer.settings.resolve import Resolved
from trainer.vertex import accelerators, inputs
from trainer.vertex.accelerators import Machine
from trainer.vertex.options import Options
from trainer.vertex.service import Service

MULTI_REGIONS = {"US": "us-", "EU": "europe-", "ASIA": "asia-"}
MEMORY_SHARE = 0.9  # of an accelerator's memory, that a plan's estimate may fill


class Check(NamedTuple):
    """One line of the table."""

    name: str
    passed: bool
    said: str


def check(
    options: Options,
    machine: Machine,
    resolved: Resolved,
    remote: Resolved,
    service: Service,
    places: Mapping[inputs.Input, str],
    display: Display,
) -> None:
    """Checks everything and shows the table.

    Raises:
        ConfigError: lists what failed.
    """
    display.line("checking the bucket, the data, Vertex AI and the plan")
    steps: dict[str, Callable[[], str]] = {
        "machine": lambda: _machine(options, machine),
        "bucket": lambda: _bucket(options),
        "data": lambda: _data(remote, places),
        "Vertex AI": lambda: _service(service),
        **({"container": lambda: _container(machine)} if options.package else {}),
        **({"plan": lambda: _plan(options, machine, resolved)} if options.plan else {}),
        "cost": lambda: _cost(options),
    }
    found: list[Check] = []
    for name, step in steps.items():
        if name == "plan" and not all(one.passed for one in found if one.name == "data"):
            continue  # it would only say so again
        found.append(_tried(name, step))
    display.table(
        "Preflight",
        [(f"{'ok' if one.passed else 'FAILED':6} {one.name}", one.said) for one in found],
    )
    if failed := [one for one in found if not one.passed]:
        raise ConfigError(
            "\n".join(one.said for one in failed)
            + "\nNothing was sent. To send it unchecked: --nocheck"
        )


def _tried(name: str, step: Callable[[], str]) -> Check:
    try:
        return Check(name, True, step())
    except ConfigError as error:
        return Check(name, False, mirror.shown(str(error)))


def _machine(options: Options, machine: Machine) -> str:
    shape = f", topology {machine.topology}" if machine.topology else ""
    number = f"{options.workers} x " if options.workers > 1 else ""
    return (
        f"{number}{machine.machine_type}{shape} in {options.region}: {machine.replicas}"
        f" replica{'s' if machine.replicas > 1 else ''}"
    )


def _bucket(options: Options) -> str:
    """Exists, lies in the region, and can be written, replaced and removed from."""
    bucket = gcs.parse(options.bucket, key="--bucket")[0]
    location = gcs.location(options.bucket, key="--bucket")
    makes = (
        f"gcloud storage buckets create gs://{bucket}-{options.region} --location={options.region}"
        f" --project={options.project}"
    )
    if location is not None and location.lower() != options.region:
        within = options.region.startswith(MULTI_REGIONS.get(location, "-"))
        if not within or options.tensorboard:
            why = (
                "TensorBoard needs one of the region itself"
                if within
                else "every step would cross regions, which is slow and is paid for"
            )
            take = (
                f"Take --region={location.lower()}, or make one there"
                if location.lower() in accelerators.table().regions
                else "Make one there"
            )
            raise ConfigError(
                f"--bucket: gs://{bucket} lies in {location}, the job in {options.region}: {why}."
                f" {take}: {makes}"
            )
    mirror.probe(mirror.local(f"{options.bucket}/preflight"))
    return (
        f"gs://{bucket} in {location.lower() if location else 'a place that it does not tell'}:"
        " written, replaced, removed"
    )


def _data(remote: Resolved, places: Mapping[inputs.Input, str]) -> str:
    """What is in Cloud Storage is there; what is here will be uploaded."""
    config = remote.config
    uploads = sum(found.total_bytes() for found in places)
    inputs.check_remote(config, uploaded=set(places.values()))
    elsewhere = ["the Hugging Face hub"] if config.backbone.weights.startswith("hf://") else []
    elsewhere += (
        ["TensorFlow Datasets"]
        if config.data.source == "tfds" and not config.data.tfds_data_dir
        else []
    )
    fetched = f"; the job fetches from {' and '.join(elsewhere)}" if elsewhere else ""
    return f"found; {uploads / 1e6:,.1f} MB of this machine go to the bucket{fetched}"


def _service(service: Service) -> str:
    service.require_access()
    return f"{service.project} in {service.region} answers to {gcs.identity()}"


def _container(machine: Machine) -> str:
    if problem := accelerators.executor_problem(machine, datetime.date.today()):
        raise ConfigError(f"--package: {problem}")
    return machine.executor_image


def _plan(options: Options, machine: Machine, resolved: Resolved) -> str:
    """The run's own plan, made by a process beside this one: for a TPU its steps are compiled."""
    flags = [
        f"--plan.replicas={machine.replicas}",
        *([f"--plan.tpu={machine.generation}"] if machine.generation else []),
    ]
    with tempfile.TemporaryDirectory() as folder:
        file = pathlib.Path(folder, "config.yaml")
        file.write_text(resolved.to_yaml(), encoding="utf-8")
        run = subprocess.run(
            [
                sys.executable,
                "-m",
                "trainer.task",
                "--mode=plan",
                f"--config={file}",
                f"--job_dir={folder}",
                *flags,
            ],
            capture_output=True,
            text=True,
            check=False,
        )
        written = pathlib.Path(folder, "plan.json")
        plan = json.loads(written.read_text(encoding="utf-8")) if written.exists() else {}
    if run.returncode:
        said = (
            run.stderr[run.stderr.rfind("error: ") + len("error: ") :]
            if "error: " in run.stderr
            else run.stderr[-1000:]
        )
        raise ConfigError(said.strip().replace(str(file), options.config or "the config"))
    return _memory(options, machine, plan)


def _memory(options: Options, machine: Machine, plan: Mapping[str, Any]) -> str:
    needed = plan["memory"]["total_mb"] / 1000
    if machine.generation:
        share = max(
            shape["hbm_share"] for shape in plan["compiled"]["shapes"] if "hbm_share" in shape
        )
        return (
            f"{plan['steps']:,} steps; every one compiles for TPU {machine.generation} and takes at"
            f" most {share:.0%} of its memory"
        )
    if machine.memory_gb and needed > MEMORY_SHARE * machine.memory_gb:
        raise ConfigError(
            f"plan: a replica needs about {needed:.1f} GB, and {options.accelerator} has"
            f" {machine.memory_gb:g} GB. Raise --train.micro_batches, lower"
            " --train.global_batch_size or --data.seq_len, or take a larger --accelerator."
        )
    of = f" of {machine.memory_gb:g} GB" if machine.memory_gb else ""
    return f"{plan['steps']:,} steps, about {needed:.1f} GB{of} a replica (an estimate)"


def _cost(options: Options) -> str:
    if options.price_per_hour is None:
        return "no --price_per_hour was given"
    hourly = options.price_per_hour * options.workers * (options.parallel if options.tune else 1)
    hours = options.timeout_hours * (-(-options.trials // options.parallel) if options.tune else 1)
    return (
        f"{hourly:,.2f} an hour; at most {hourly * hours:,.2f}, where all runs end by"
        f" --timeout_hours={options.timeout_hours:g}"
    )
