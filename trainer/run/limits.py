"""What a run may ask for, by its data and by this machine's memory; refused before it costs."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from typing import Protocol

from trainer.errors import ConfigError, shown_name
from trainer.machine.hardware import memory_bytes
from trainer.settings.schema import TrainSettings

MOST_STEPS = 2**31 - 1  # the optimizer counts them in 32 bits
TYPING_ERROR = 100  # times the examples of train: so large a batch is none that is meant
SAMPLE_BATCH = 1_000_000  # of a plan for another machine
SMALL_BATCH = 1024  # which a handful of examples may be tried with
MEMORY_WORDS = re.compile("OOM|memory|allocat", re.IGNORECASE)  # else a disk is full
# of the estimate of what is kept for the backward pass: the least, where XLA saves some
KEPT_SHARE = 0.5


def require_sizes(
    settings: TrainSettings, examples: int, replicas: int, *, of_a_sample: bool = False
) -> list[str]:
    """Checks the sizes of a step against the data.

    Args:
        examples: of train, or of the first block of its stream.
        replicas: that share a step.
        of_a_sample: a plan for another machine is often made from a part of the data.

    Returns:
        warnings.

    Raises:
        ConfigError: a step is far larger than the data.
    """
    batch = settings.global_batch_size
    shards = replicas * settings.micro_batches
    if batch > max(SAMPLE_BATCH if of_a_sample else SMALL_BATCH, TYPING_ERROR * examples):
        raise ConfigError(
            f"train.global_batch_size: expected at most {examples:,}, the examples of train, of"
            f" which a step can take no more. Received {batch:,}."
        )
    warnings = []
    if batch > examples:
        warnings.append(
            f"train.global_batch_size is {batch:,}, and train has {examples:,} examples: "
            "each step takes them all"
        )
    if shards > batch:
        warnings.append(
            f"train.global_batch_size is {batch:,}, and a step has {shards:,} parts ({replicas:,}"
            f" replicas x {settings.micro_batches:,} micro-batches): some have no example"
        )
    return warnings


def require_steps(settings: TrainSettings, steps: int) -> int:
    """The steps of a run, where they can be counted. Raises ConfigError."""
    if steps > MOST_STEPS:
        raise ConfigError(
            f"train.epochs: expected at most {MOST_STEPS:,} optimizer steps. Received"
            f" {settings.epochs:g} epochs, which are {steps:.3g} steps."
        )
    return steps


class MemoryEstimate(Protocol):
    """The plan's estimate, in MB; of one replica, unless said."""

    @property
    def weights_mb(self) -> int:
        """Of the weights."""

    @property
    def activations_mb(self) -> int:
        """Of what a training step keeps for the backward pass."""

    @property
    def total_mb(self) -> int:
        """Of a training step."""

    @property
    def evaluation_mb(self) -> int | None:
        """Of the largest batch of an evaluation, if there is one."""

    @property
    def machine_mb(self) -> int | None:
        """What this process may use, where the system says it."""


def require_memory(estimate: MemoryEstimate, replicas: int) -> list[str]:
    """Checks the plan's estimate against this machine's memory, where steps run on the CPU.

    Args:
        estimate: as the plan has it.
        replicas: of this machine, which share its memory.
    Returns:
        warnings.
    Raises:
        ConfigError: even the least that is needed is more than there is.
    """
    machine_mb = estimate.machine_mb
    evaluation_mb = estimate.evaluation_mb
    activations_mb = estimate.activations_mb
    if machine_mb is None:
        return []
    least_mb = replicas * (estimate.weights_mb + KEPT_SHARE * activations_mb)
    if least_mb > machine_mb:
        raise ConfigError(
            f"a training step needs at least {_gigabytes(least_mb)}, and this machine has"
            f" {_gigabytes(machine_mb)} (activations {_gigabytes(activations_mb)} a"
            " replica). Raise --train.micro_batches, or lower --train.global_batch_size or"
            " --data.seq_len."
        )
    if evaluation_mb is not None and evaluation_mb > machine_mb:
        raise ConfigError(
            f"a batch of an evaluation needs at least {_gigabytes(evaluation_mb)}, and this machine"
            f" has {_gigabytes(machine_mb)}. Lower --train.evaluation_batch_size or --data.seq_len."
        )
    total_mb = replicas * estimate.total_mb
    if total_mb <= machine_mb:
        return []
    return [
        f"a training step needs about {_gigabytes(total_mb)} by the plan's estimate, and this"
        f" machine has {_gigabytes(machine_mb)}: it may be stopped for want of memory."
        " --train.micro_batches saves some"
    ]


def machine_memory_mb() -> int | None:
    """The memory that this process may use, in MB; None where the system does not say."""
    memory = memory_bytes()
    return None if memory is None else round(memory / 1e6)


def _gigabytes(megabytes: float) -> str:
    return f"{megabytes / 1000:,.1f} GB"


@contextlib.contextmanager
def exhausted_memory_is_told() -> Iterator[None]:
    """Inside, memory that cannot be had, of the machine or of a GPU, is a ConfigError."""
    try:
        yield
    except Exception as error:
        if not _is_of_memory(error):
            raise
        first_line = (str(error).strip() or "no more said").splitlines()[0]
        raise ConfigError(
            f"there is not enough memory: {shown_name(first_line, 200)}. Raise"
            " --train.micro_batches, or lower "
            "--train.global_batch_size, --train.evaluation_batch_size or --data.seq_len."
        ) from error


def _is_of_memory(error: Exception) -> bool:
    if isinstance(error, MemoryError):
        return True
    # TensorFlow's class by its name, as this module is read before TensorFlow is imported.
    if type(error).__name__ != "ResourceExhaustedError":
        return False
    return MEMORY_WORDS.search(str(error)) is not None
