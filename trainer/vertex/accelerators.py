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
from trainer.machine import xla
from trainer.settings.suggestions import suggest
from trainer.vertex.options import Options

TABLE = pathlib.Path(__file__).with_name("accelerators.yaml")
DEFAULT_DISK = "pd-ssd"
FLEX_START_HOURS = 168
COUNTED_TPU_PARTS = {"tpu-v5e": " chips"}  # of the others, cores


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
    capability: tuple[int, int] | None = None
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
        xla_obstacle: why XLA does not compile for it in our own image; None where it does.
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
    xla_obstacle: str | None


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
    row = _row(name, options)
    problems = _region_problems(options, name, row)
    count, count_problems = _count(name, count_text, row, options)
    problems += count_problems
    if row.slices:
        machine = _slice_machine(row, count, options)
        problems += _slice_problems(row, row.slices[count], options)
        problems += _tpu_problems(options, name, row, machine, count)
    else:
        machine = _plain_machine(row, count, options)
        problems += _machine_type_problems(row.machines[count], options)
    problems += _rule_problems(options, name, row, machine)
    if problems:
        raise ConfigError("\n".join(problems))
    return machine


def _row(name: str, options: Options) -> Accelerator:
    """The accelerator's row. Raises ConfigError where there is none, or it cannot be used."""
    rows = table().accelerators
    if name not in rows:
        raise ConfigError(
            f"--accelerator: expected one of {', '.join(rows)}, with a count such as l4:2. Received"
            f" {shown_value(options.accelerator)}.{suggest(name, list(rows))}"
        )
    row = rows[name]
    if row.refused:
        same = [other for other, known in rows.items() if known.kind == row.kind]
        able = [other for other in same if not rows[other].refused]
        instead = {"tpu": ", or a GPU", "gpu": ", or a TPU"}.get(row.kind, "")
        raise ConfigError(
            f"--accelerator: {name} cannot be used: {row.refused}. Choose one of"
            f" {', '.join(able)}{instead}."
        )
    return row


def _count(name: str, count_text: str, row: Accelerator, options: Options) -> tuple[int, list[str]]:
    """How many accelerators are asked for; where that is none of theirs, the least, and why."""
    counts = row.slices or row.machines
    least = min(counts)
    shown = shown_value(options.accelerator)
    if row.kind == "cpu" and count_text not in ("", "1"):
        return least, [
            f"--accelerator: cpu has no count. Received {shown}. For a larger machine:"
            " --machine_type; for several: --workers."
        ]
    if not count_text:
        return least, []
    if count_text.isdecimal() and int(count_text) in counts:
        return int(count_text), []
    unit = "" if row.kind == "gpu" else COUNTED_TPU_PARTS.get(name, " cores")
    known = ", ".join(map(str, counts))
    return least, [f"--accelerator: {name} comes in {known}{unit}. Received {shown}."]


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


def _plain_machine(row: Accelerator, count: int, options: Options) -> Machine:
    """A machine without accelerators, or with some GPUs."""
    each = count if row.kind == "gpu" else 1
    return Machine(
        kind=row.kind,
        machine_type=options.machine_type or row.machines[count][0],
        accelerator_type=row.type,
        accelerator_count=count if row.type else None,
        topology=None,
        replicas=each * options.workers,
        hosts=options.workers,
        memory_gb=row.memory_gb,
        generation=None,
        disk_type=row.disk,
        executor_image=_executor(options, row.kind),
        environment=row.environment,
        bfloat16=row.bfloat16,
        xla_obstacle=_xla_obstacle(options, row),
    )


def _xla_obstacle(options: Options, row: Accelerator) -> str | None:
    """Of an image of the user's own nothing is known."""
    if row.capability is None or options.image:
        return None
    return xla.obstacle([xla.Gpu(options.accelerator, row.capability)], xla.RELEASED)


def _machine_type_problems(machine_types: list[str], options: Options) -> list[str]:
    if not options.machine_type or options.machine_type in machine_types:
        return []
    return [
        f"--machine_type: expected one of {', '.join(machine_types)} for"
        f" --accelerator={options.accelerator}. Received"
        f" {shown_value(options.machine_type)}.{suggest(options.machine_type, machine_types)}"
    ]


def _slice_machine(row: Accelerator, count: int, options: Options) -> Machine:
    """A TPU slice."""
    tpu_slice = row.slices[count]
    return Machine(
        kind=row.kind,
        machine_type=tpu_slice.machine,
        accelerator_type=row.type,
        accelerator_count=count if row.type else None,
        topology=tpu_slice.topology,
        replicas=tpu_slice.replicas,
        hosts=tpu_slice.hosts,
        memory_gb=row.memory_gb,
        generation=row.generation,
        disk_type=row.disk,
        executor_image=_executor(options, row.kind),
        environment=row.environment,
        bfloat16=row.bfloat16,
        xla_obstacle=None,
    )


def _slice_problems(row: Accelerator, tpu_slice: Slice, options: Options) -> list[str]:
    problems = []
    if options.machine_type and options.machine_type != tpu_slice.machine:
        shape = f", topology {tpu_slice.topology}" if tpu_slice.topology else ""
        problems.append(
            f"--machine_type: --accelerator={options.accelerator} is {tpu_slice.machine}{shape}."
            f" Received {shown_value(options.machine_type)}. Leave it out."
        )
    if tpu_slice.hosts > 1 and row.pod_regions and options.region not in row.pod_regions:
        problems.append(
            f"--region: slices of several hosts are offered in {', '.join(row.pod_regions)}."
            f" Received {shown_value(options.region)}."
        )
    return problems


def _executor(options: Options, kind: str) -> str:
    """The container for a package, from the registry of the region's continent."""
    if options.executor_image:
        return options.executor_image
    continent = re.match(r"(europe|asia)", options.region)
    newest = _newest_executor(kind)
    return newest.uri.replace("us-", f"{continent[1] if continent else 'us'}-", 1)


def _newest_executor(kind: str) -> Executor:
    return next(executor for executor in table().executors if executor.kind == kind)


def _rule_problems(options: Options, name: str, row: Accelerator, machine: Machine) -> list[str]:
    """What the kind of machine does not allow."""
    problems = []
    if row.kind != "cpu" and options.package:
        newest = _newest_executor(row.kind)
        problems.append(
            f"--package: Vertex AI's newest container for a {row.kind.upper()} has TensorFlow"
            f" {newest.tensorflow}, whose libraries do not serve the one that the package brings."
            " Leave --package out, so that the job runs in the image of docker/, or give an"
            " --image."
        )
    if options.flex_start and not row.flex_start:
        able = [other for other, known in table().accelerators.items() if known.flex_start]
        problems.append(
            f"--flex_start: only for {', '.join(able)}. Received"
            f" --accelerator={options.accelerator}."
        )
    if options.flex_start and options.timeout_hours > FLEX_START_HOURS:
        problems.append(
            f"--timeout_hours: at most {FLEX_START_HOURS} with --flex_start. Received"
            f" {options.timeout_hours:g}."
        )
    return problems


def _tpu_problems(
    options: Options, name: str, row: Accelerator, machine: Machine, count: int
) -> list[str]:
    problems = []
    if options.workers > 1:
        larger = next((size for size in sorted(row.slices) if size > count), None)
        remedy = (
            f"For more chips take a larger slice: --accelerator={name}:{larger}"
            if larger
            else "This slice is the largest. Leave --workers out."
        )
        problems.append(
            f"--workers: a TPU job has one worker, whatever its hosts. Received {options.workers}."
            f" {remedy}"
        )
    if machine.hosts > 1 and options.spot:
        problems.append(
            f"--spot: not for TPU slices of several hosts. --accelerator={options.accelerator} has"
            f" {machine.hosts}. Leave it out, or take a slice of one host."
        )
    if options.tune:
        problems.append(
            "--tune: Vertex AI's hyperparameter tuning does not run on TPUs. Search on a GPU, and"
            " train on the TPU with what it found."
        )
    return problems


def executor_problem(machine: Machine, today: datetime.date) -> str | None:
    """What is wrong with running a package in the chosen container; None where nothing is known.

    Args:
        machine: has the container.
        today: by which it must still be offered.
    """
    name = machine.executor_image.partition("-")[2]
    same = (executor for executor in table().executors if executor.uri.partition("-")[2] == name)
    known = next(same, None)
    if known is None or today <= known.available_until:
        return None
    return (
        f"{machine.executor_image} is no longer offered since {known.available_until}: Vertex AI"
        " may refuse it. Leave --package out, so that the job runs in the image of docker/, or"
        " name a newer container with --executor_image."
    )
