"""Whether a run's own steps compile and fit, before they are paid for.

The training and evaluation steps of the config are lowered by TensorFlow for every shape of the
plan. The TPU's own compiler compiles them, or this machine's XLA. What one replica computes is
compiled: the sum over the replicas is not in the estimates.
"""

from __future__ import annotations

import dataclasses
import pathlib
import tempfile
from collections.abc import Callable, Sequence
from typing import TypeAlias

import tensorflow as tf

from trainer.errors import ConfigError
from trainer.planning.batch_search import LargestBatch, largest_batch
from trainer.planning.compiled_steps import CompiledStep, check_here, check_step
from trainer.planning.facts import Plan
from trainer.planning.generations import GENERATIONS
from trainer.planning.lowering import Shape, StepLowering, shapes_of
from trainer.planning.planned_run import PlannedRun
from trainer.planning.tpu_compiler import tpu_compiler
from trainer.run.assembly import build_model
from trainer.run.optimization import Optimizer
from trainer.run.schedule import make_schedule

Say: TypeAlias = Callable[[str], None]
ShapesToCompile: TypeAlias = Sequence[tuple[Shape, bool]]  # with whether it is of training


@dataclasses.dataclass(frozen=True)
class TimeEstimate:
    """The shortest times that the published peaks allow.

    Attributes:
        cost_per_epoch: None where no price is given.
    """

    step_s: float
    real_tokens_per_s: int
    epoch_s: float
    cost_per_epoch: float | None


@dataclasses.dataclass(frozen=True)
class CompiledPlan:
    """What compiling the plan's shapes gave.

    Attributes:
        tpu: the generation; None for the XLA of this machine.
        note: what to know of the generation.
        shapes: one item a shape and step.
        largest: the largest micro-batch that fits; None where none does, or that is not known.
        estimate: None where a step does not compile, or the peaks are not known.
    """

    tpu: str | None
    note: str
    shapes: list[CompiledStep]
    largest: LargestBatch | None = None
    estimate: TimeEstimate | None = None

    def as_json(self) -> dict[str, object]:
        """As plan.json has it."""
        facts: dict[str, object] = {
            "tpu": self.tpu,
            "note": self.note,
            "shapes": [step.as_json() for step in self.shapes],
            "largest": self.largest and dataclasses.asdict(self.largest),
        }
        if self.tpu:
            facts["estimate"] = self.estimate and dataclasses.asdict(self.estimate)
        return facts


def compile_plan(run: PlannedRun, plan: Plan) -> CompiledPlan:
    """Compiles the steps in every shape of the plan, as plan.tpu or plan.xla asks.

    Args:
        run: that is planned.
        plan: its facts.
    Raises:
        ConfigError: plan.tpu needs packages that are not installed.
    """
    config = run.parts.config
    say = run.parts.display.line
    say("building the model")
    training = shapes_of(run.training_layouts(), config.train.micro_batches)
    evaluation = shapes_of(run.evaluation_layouts(), micro_batches=1)
    shapes = [(shape, True) for shape in training]
    shapes += [(shape, False) for shape in evaluation]
    with tempfile.TemporaryDirectory() as folder:
        lowering = _make_lowering(run, pathlib.Path(folder))
        if config.plan.tpu is None:
            return _compile_here(lowering, shapes, say)
        compiled = _compile_for_tpu(config.plan.tpu, lowering, shapes, say)
    estimate = _estimate(compiled, run, plan)
    return dataclasses.replace(compiled, estimate=estimate)


def _make_lowering(run: PlannedRun, folder: pathlib.Path) -> StepLowering:
    settings = run.parts.config.train
    strategy = tf.distribute.OneDeviceStrategy("CPU:0")
    model = build_model(run.parts, strategy, run.prepared.vocabulary)
    schedule = make_schedule(settings, run.steps)
    optimizer = Optimizer(settings, schedule, model.trainable())
    return StepLowering(model, optimizer, run.store, folder)


def _compile_here(lowering: StepLowering, shapes: ShapesToCompile, say: Say) -> CompiledPlan:
    """By this machine's XLA."""
    steps = []
    for shape, training in shapes:
        _announce("this machine", shape, training, say)
        steps.append(check_here(lowering, shape, training=training))
    return CompiledPlan(None, "", steps)


def _compile_for_tpu(
    generation_name: str, lowering: StepLowering, shapes: ShapesToCompile, say: Say
) -> CompiledPlan:
    """By the TPU's compiler; the largest batch is searched too."""
    generation = GENERATIONS[generation_name]
    steps = []
    with tpu_compiler(generation) as compiler:
        for shape, training in shapes:
            _announce(generation_name, shape, training, say)
            steps.append(check_step(lowering, compiler, generation, shape, training=training))
        first, _ = shapes[0]
        largest = largest_batch(lowering, compiler, generation, first, steps[0], say=say)
    return CompiledPlan(generation_name, generation.note, steps, largest)


def _announce(target: str, shape: Shape, training: bool, say: Say) -> None:
    step = "train" if training else "evaluate"
    say(f"compiling for {target}: {step}, {shape.described()}")


def _estimate(compiled: CompiledPlan, run: PlannedRun, plan: Plan) -> TimeEstimate | None:
    """The mean of the training steps' shortest times, as often as the plan has each."""
    settings = run.parts.config.plan
    weighted_s = 0.0
    steps = 0
    for step in compiled.shapes:
        if step.step != "train":
            continue
        if step.cost is None:
            return None
        weighted_s += step.cost.seconds_at_best * step.steps
        steps += step.steps
    step_s = weighted_s / steps
    epoch_s = step_s * (plan.steps_per_epoch or plan.steps)
    cost = None
    if settings.price_per_chip_hour is not None:
        generation = GENERATIONS[str(compiled.tpu)]
        chips = run.replicas / generation.replicas_per_chip
        cost = epoch_s / 3600 * chips * settings.price_per_chip_hour
    return TimeEstimate(
        step_s=step_s,
        real_tokens_per_s=round(plan.train.tokens_per_step / step_s),
        epoch_s=epoch_s,
        cost_per_epoch=cost,
    )


def require_compiled(compiled: CompiledPlan) -> None:
    """Raises ConfigError where a step does not compile or fit."""
    failed = [step for step in compiled.shapes if step.error is not None]
    if not failed:
        return
    first = failed[0]
    remedy = "The operation that is named cannot run there."
    if compiled.largest:
        remedy = (
            f"{compiled.largest.rows:,} rows of {compiled.largest.row_length} tokens fit: lower"
            " --train.global_batch_size or raise --train.micro_batches or the number of replicas."
        )
    raise ConfigError(
        f"plan: {len(failed)} of {len(compiled.shapes)} steps do not compile for"
        f" {compiled.tpu or 'XLA on this machine'}; the first is {first.step},"
        f" {first.micro_batches} x {first.rows} rows of {first.row_length} tokens:"
        f" {first.error}\n{remedy}"
    )
