"""The machines of Vertex AI, from accelerators.yaml, and which of them a submission asks for."""

from __future__ import annotations

import datetime
import functools
import pathlib
import re
from typing import Literal, NamedTuple

import pydantic
import yaml

from trainer.errors import ConfigError, shown_value
from trainer.settings.suggestions import suggest
from trainer.vertex.options import Options

TABLE = pathlib.Path(__file__).with_name("accelerators.yaml")
DEFAULT_DISK = "pd-ssd"
FLEX_START_HOURS = 168


class Slice(pydantic.BaseModel, extra="forbid"):
    """A TPU slice: one machine of Vertex AI's, whatever number of hosts it has."""

    machine: str
    topology: str | None = None
    replicas: int
    hosts: int


class Accelerator(pydantic.BaseModel, extra="forbid"):
    """A row of the table; see there."""

    kind: Literal["cpu", "gpu", "tpu"]
    type: str | None = None
    generation: str | None = None
    memory_gb: float | None = None
    machines: dict[int, list[str]] = {}
    slices: dict[int, Slice] = {}
    environment: dict[str, str] = {}
    regions: list[str] | None = None
    pod_regions: list[str] | None = None
    flex_start: bool = False
    bfloat16: bool = True
    disk: str = DEFAULT_DISK
    refused: str | None = None


class Executor(pydantic.BaseModel, extra="forbid"):
    """A container of Vertex AI's own."""

    uri: str
    tensorflow: str
    python: str
    kind: Literal["cpu", "gpu", "tpu"]
    available_until: datetime.date


class Table(pydantic.BaseModel, extra="forbid"):
    """The whole file."""

    regions: list[str]
    accelerators: dict[str, Accelerator]
    executors: list[Executor]


class Machine(NamedTuple):
    """What is asked for: one of `workers` equal machines.

    Attributes:
        replicas: of the whole job.
        hosts: that run one process each in a TPU slice, which counts as one machine.
        memory_gb: of one replica; None where there is no accelerator.
        generation: of a TPU.
        environment: variables that its runtime needs.
    """

    kind: str
    machine_type: str
    accelerator_type: str | None
    accelerator_count: int | None
    topology: str | None
    replicas: int
    hosts: int
    memory_gb: float | None
    generation: str | None
    disk_type: str
    executor_image: str
    environment: dict[str, str]
    bfloat16: bool


@functools.cache
def table() -> Table:
    """accelerators.yaml."""
    return Table.model_validate(yaml.safe_load(TABLE.read_text(encoding="utf-8")))


def choose(options: Options) -> Machine:
    """The machine that the options ask for.

    Raises:
        ConfigError: lists every problem: an unknown accelerator, a count or region it does not come
            in, TPUs with several workers, …
    """
    name, _, count_text = options.accelerator.lower().partition(":")
    rows = table().accelerators
    if name not in rows:
        raise ConfigError(
            f"--accelerator: expected one of {', '.join(rows)}, with a count such as l4:2. Received"
            f" {shown_value(options.accelerator)}.{suggest(name, list(rows))}"
        )
    row = rows[name]
    if row.refused:
        others = ", ".join(
            other for other, found in rows.items() if found.kind == "tpu" and not found.refused
        )
        raise ConfigError(
            f"--accelerator: {name} cannot be used: {row.refused}. Choose one of {others}, or a"
            " GPU."
        )
    problems = _region_problems(options, name, row)
    counts = row.slices or row.machines
    count = int(count_text) if count_text.isdigit() else (min(counts) if not count_text else -1)
    if row.kind == "cpu" and count_text not in ("", "1"):
        problems.append(
            f"--accelerator: cpu has no count. Received {shown_value(options.accelerator)}. For a"
            " larger machine: --machine_type; for several: --workers."
        )
        count = 1
    if count not in counts:
        unit = "" if row.kind == "gpu" else " chips" if name == "tpu-v5e" else " cores"
        problems.append(
            f"--accelerator: {name} comes in {', '.join(map(str, counts))}{unit}. Received"
            f" {shown_value(options.accelerator)}."
        )
        count = min(counts)
    machine = (
        _slice(row, count, options, problems)
        if row.slices
        else _machine(row, count, options, problems)
    )
    problems += _rule_problems(options, name, row, machine)
    if problems:
        raise ConfigError("\n".join(problems))
    return machine


def _region_problems(options: Options, name: str, row: Accelerator) -> list[str]:
    known = table().regions
    if options.region not in known:
        near = suggest(options.region, known)
        return [
            f"--region: Vertex AI does not train in {shown_value(options.region)}.{near} See"
            f" accelerators.yaml for all {len(known)}."
        ]
    if row.regions and options.region not in row.regions:
        return [
            f"--region: {name} is offered for training in {', '.join(row.regions)}. Received"
            f" {shown_value(options.region)}."
        ]
    return []


def _machine(row: Accelerator, count: int, options: Options, problems: list[str]) -> Machine:
    types = row.machines[count]
    if options.machine_type and options.machine_type not in types:
        problems.append(
            f"--machine_type: expected one of {', '.join(types)} for"
            f" --accelerator={options.accelerator}. Received"
            f" {shown_value(options.machine_type)}.{suggest(options.machine_type, types)}"
        )
    each = count if row.kind == "gpu" else 1
    return Machine(
        row.kind,
        options.machine_type or types[0],
        row.type,
        count if row.type else None,
        None,
        each * options.workers,
        options.workers,
        row.memory_gb,
        None,
        row.disk,
        _executor(options, row.kind),
        row.environment,
        row.bfloat16,
    )


def _slice(row: Accelerator, count: int, options: Options, problems: list[str]) -> Machine:
    found = row.slices[count]
    if options.machine_type and options.machine_type != found.machine:
        shape = f", topology {found.topology}" if found.topology else ""
        problems.append(
            f"--machine_type: --accelerator={options.accelerator} is {found.machine}{shape}. "
            f"Received {shown_value(options.machine_type)}. Leave it out."
        )
    if found.hosts > 1 and row.pod_regions and options.region not in row.pod_regions:
        problems.append(
            f"--region: slices of several hosts are offered in {', '.join(row.pod_regions)}."
            f" Received {shown_value(options.region)}."
        )
    return Machine(
        row.kind,
        found.machine,
        row.type,
        count if row.type else None,
        found.topology,
        found.replicas,
        found.hosts,
        row.memory_gb,
        row.generation,
        row.disk,
        _executor(options, row.kind),
        row.environment,
        row.bfloat16,
    )


def _executor(options: Options, kind: str) -> str:
    continent = re.match(r"(europe|asia)", options.region)
    found = next(executor for executor in table().executors if executor.kind == kind)
    return options.executor_image or found.uri.replace(
        "us-", f"{continent[1] if continent else 'us'}-", 1
    )


def _rule_problems(options: Options, name: str, row: Accelerator, machine: Machine) -> list[str]:
    found = []
    if row.kind == "tpu" and options.workers > 1:
        larger = [size for size in row.slices if size > min(row.slices)]
        found.append(
            f"--workers: a TPU job has one worker, whatever its hosts. Received {options.workers}."
            " For more chips take a larger slice:"
            f" --accelerator={name}:{larger[0] if larger else min(row.slices)}"
        )
    if row.kind == "tpu" and machine.hosts > 1 and options.spot:
        found.append(
            f"--spot: not for TPU slices of several hosts. --accelerator={options.accelerator} has"
            f" {machine.hosts}. Leave it out, or take a slice of one host."
        )
    if row.kind == "tpu" and options.tune:
        found.append(
            "--tune: Vertex AI's hyperparameter tuning does not run on TPUs. Search on a GPU, and"
            " train on the TPU with what it found."
        )
    if row.kind != "cpu" and options.package:
        newest = next(executor for executor in table().executors if executor.kind == row.kind)
        found.append(
            f"--package: Vertex AI's newest container for a {row.kind.upper()} has TensorFlow"
            f" {newest.tensorflow}, whose libraries do not serve the one that the package brings."
            " Leave --package out, so that the job runs in the image of docker/, or give an"
            " --image."
        )
    if options.flex_start and not row.flex_start:
        able = ", ".join(other for other, known in table().accelerators.items() if known.flex_start)
        found.append(
            f"--flex_start: only for {able}. Received --accelerator={options.accelerator}."
        )
    if options.flex_start and options.timeout_hours > FLEX_START_HOURS:
        found.append(
            f"--timeout_hours: at most {FLEX_START_HOURS} with --flex_start. Received"
            f" {options.timeout_hours:g}."
        )
    return found


def executor_problem(machine: Machine, today: datetime.date) -> str | None:
    """What is wrong with running a package in the container that was chosen; None where nothing is
    known to be.
    """
    name = machine.executor_image.partition("-")[2]
    known = next(
        (executor for executor in table().executors if executor.uri.partition("-")[2] == name), None
    )
    if known is None or today <= known.available_until:
        return None
    return (
        f"{machine.executor_image} is no longer offered since {known.available_until}: Vertex AI"
        " may refuse it. Leave --package out, so that the job runs in the image of docker/, or"
        " name a newer container with --executor_image."
    )
