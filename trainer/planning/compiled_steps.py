"""One step of the plan, compiled: the memory and the time that it takes, or why it does not."""

from __future__ import annotations

import dataclasses
import math
import re
import time

from trainer.planning.generations import Generation
from trainer.planning.lowering import LoweringError, Shape, StepLowering
from trainer.planning.tpu_compiler import SHOWN_ERROR, Compilation, TpuCompiler

# What the compiler says of memory that does not suffice: what is needed, and what there is.
OVERFLOW = re.compile(
    r"(?:Used |temporaries \()([\d.]+)([KMGT]?)(?: of |\) exceeds available HBM"
    r" \()([\d.]+)([KMGT]?)"
)
NO_SENTENCE = re.compile(
    r"(@|at |File |#\d|\d+\. Size|Operator:|Shape:|Unpadded|XLA label|Allocation type|=+$)"
)
OPERATION_NAME = re.compile(r'op_name="([^"]*)"')


@dataclasses.dataclass(frozen=True)
class StepCost:
    """What a step takes on a TPU.

    Attributes:
        hbm_share: of a replica's memory.
        bytes: that are moved.
        seconds_at_best: by the published peaks.
    """

    hbm_needed_bytes: int
    hbm_share: float
    flops: float
    bytes: float
    seconds_at_best: float


@dataclasses.dataclass(frozen=True)
class CompiledStep:
    """A step in one shape, and what compiling it gave.

    Attributes:
        step: "train" or "evaluate".
        examples: of all micro-batches.
        steps: of the plan's sample, how many have that shape.
        cost: None where it does not compile, or this machine's XLA compiled it.
        overflow_share: of a replica's memory, above 1; None where it fits, or that is not known.
        compile_s: None where it does not compile.
        error: why it does not; None where it does.
    """

    step: str
    rows: int
    row_length: int
    examples: int
    micro_batches: int
    steps: int
    cost: StepCost | None = None
    overflow_share: float | None = None
    compile_s: float | None = None
    error: str | None = None

    @property
    def hbm_share(self) -> float | None:
        """The share of a replica's memory that it needs, as far as that is known."""
        return self.cost.hbm_share if self.cost else self.overflow_share

    def as_json(self) -> dict[str, object]:
        """As plan.json has it: what is not known is left out."""
        facts: dict[str, object] = {
            "step": self.step,
            "rows": self.rows,
            "row_length": self.row_length,
            "examples": self.examples,
            "micro_batches": self.micro_batches,
            "steps": self.steps,
        }
        if self.cost:
            facts |= dataclasses.asdict(self.cost)
        known_of_result = {
            "hbm_share": self.hbm_share,
            "compile_s": self.compile_s,
            "error": self.error,
        }
        return facts | {name: fact for name, fact in known_of_result.items() if fact is not None}


def check_here(lowering: StepLowering, shape: Shape, *, training: bool) -> CompiledStep:
    """Compiles one step by the XLA of this machine, which tells neither memory nor cost.

    Args:
        lowering: of the run's steps.
        shape: of the step.
        training: a training step; else one of an evaluation.
    """
    step = _not_compiled(shape, training=training)
    start = time.monotonic()
    try:
        lowering.lower(shape, training=training, compile_here=True)
    except LoweringError as error:
        return dataclasses.replace(step, error=readable(str(error)))
    return dataclasses.replace(step, compile_s=round(time.monotonic() - start, 1))


def check_step(
    lowering: StepLowering,
    compiler: TpuCompiler,
    generation: Generation,
    shape: Shape,
    *,
    training: bool,
) -> CompiledStep:
    """Compiles one step for a TPU.

    Args:
        lowering: of the run's steps.
        compiler: of the generation.
        generation: whose memory and peaks count.
        shape: of the step.
        training: a training step; else one of an evaluation.
    """
    step = _not_compiled(shape, training=training)
    try:
        compilation = compiler.compile(lowering.lower(shape, training=training))
    except LoweringError as error:
        reason = f"TensorFlow cannot lower it: {error}"
        return dataclasses.replace(step, error=readable(reason))
    if compilation.error is not None:
        share = _overflow_share(compilation.error)
        return dataclasses.replace(step, overflow_share=share, error=readable(compilation.error))
    if training and shape.micro_batches > 1:
        compilation = _with_all_micro_batches(compilation, lowering, compiler, shape)
    cost = _cost(compilation, generation)
    return dataclasses.replace(step, cost=cost, compile_s=compilation.seconds)


def _cost(compilation: Compilation, generation: Generation) -> StepCost:
    needed = compilation.needed_bytes()
    seconds_of_products = compilation.flops / generation.peak_flops
    seconds_of_moving = compilation.bytes / generation.bytes_per_s
    return StepCost(
        hbm_needed_bytes=needed,
        hbm_share=needed / generation.hbm_bytes,
        flops=compilation.flops,
        bytes=compilation.bytes,
        seconds_at_best=max(seconds_of_products, seconds_of_moving),
    )


def _not_compiled(shape: Shape, *, training: bool) -> CompiledStep:
    return CompiledStep(
        step="train" if training else "evaluate",
        rows=shape.rows,
        row_length=shape.row_length,
        examples=shape.slots * shape.micro_batches,
        micro_batches=shape.micro_batches,
        steps=shape.steps,
    )


def _with_all_micro_batches(
    compilation: Compilation, lowering: StepLowering, compiler: TpuCompiler, shape: Shape
) -> Compilation:
    """With the cost of all micro-batches: the compiler counts the body of a loop once."""
    lone = dataclasses.replace(shape, micro_batches=1)
    once = compiler.compile(lowering.lower(lone, training=True, update=False))
    more = shape.micro_batches - 1 if once.error is None else math.nan
    return dataclasses.replace(
        compilation,
        flops=compilation.flops + more * once.flops,
        bytes=compilation.bytes + more * once.bytes,
    )


def _overflow_share(error: str) -> float | None:
    """The share of the memory that is needed, where the compiler says it."""
    overflow = OVERFLOW.search(error)
    if overflow is None:
        return None
    needed, needed_unit, available, available_unit = overflow.groups()
    return _bytes(needed, needed_unit) / _bytes(available, available_unit)


def _bytes(number: str, unit: str) -> float:
    return float(number) * 1024 ** " KMGT".index(unit or " ")


def readable(error: str) -> str:
    """The compiler's words without its stack traces."""
    lines = [line.strip() for line in error.splitlines()]
    sentences = [line for line in lines if line and not NO_SENTENCE.match(line)]
    text = " ".join(sentences)
    operation = OPERATION_NAME.search(error)
    if operation and operation[1] not in text:
        text = f"{text} in {operation[1]}"
    return text[:SHOWN_ERROR]
