"""The steps of a config as XLA modules: what one replica computes, for every shape of the plan.

The sum over the replicas is not part of a module.
"""

from __future__ import annotations

import dataclasses
import pathlib
from collections import Counter
from collections.abc import Callable, Sequence

import numpy as np
import tensorflow as tf
from tensorflow.compiler.xla.service.hlo_pb2 import HloModuleProto
from tensorflow.compiler.xla.xla_data_pb2 import PrimitiveType, ShapeProto

from trainer.data.batching import Layout
from trainer.data.pipeline import fill
from trainer.data.store import TokenStore
from trainer.run.model import Model
from trainer.run.optimization import Optimizer
from trainer.run.replica_calls import Columns, micro_batch
from trainer.run.steps import StepGradients


class LoweringError(Exception):
    """TensorFlow could not express a step for XLA; the message names the operation."""


@dataclasses.dataclass(frozen=True)
class Shape:
    """What is compiled once: R rows of L tokens with E examples, in M micro-batches.

    Attributes:
        steps: of the plan's sample, how many have it.
    """

    rows: int
    row_length: int
    slots: int
    micro_batches: int = 1
    steps: int = 0

    def described(self) -> str:
        """As messages have it: "2 x 16 rows of 64 tokens"."""
        return f"{self.micro_batches} x {self.rows} rows of {self.row_length} tokens"

    def scaled(self, rows: int) -> Shape:
        """With other rows, and as many more or fewer examples."""
        slots = max(1, round(self.slots * rows / self.rows))
        return dataclasses.replace(self, rows=rows, slots=slots)


def shapes_of(layouts: Sequence[Layout], micro_batches: int) -> list[Shape]:
    """The shapes of some steps, the commonest first.

    Args:
        layouts: of the steps.
        micro_batches: of each step.
    """
    counts: Counter[Shape] = Counter()
    for layout in layouts:
        slots = layout.index.shape[1]
        shape = Shape(layout.rows, layout.row_length, slots, micro_batches)
        counts[shape] += 1
    shapes = []
    for shape, count in counts.most_common():
        shapes.append(dataclasses.replace(shape, steps=count))
    return shapes


@dataclasses.dataclass(frozen=True)
class StepLowering:
    """Writes the steps of a run as modules; weights and optimizer are their arguments.

    Attributes:
        model: of the run.
        optimizer: of the run.
        store: train, whose columns say what a batch has.
        folder: gets the modules.
    """

    model: Model
    optimizer: Optimizer
    store: TokenStore
    folder: pathlib.Path

    def lower(
        self, shape: Shape, *, training: bool, update: bool = True, compile_here: bool = False
    ) -> pathlib.Path:
        """Writes the module of one step.

        Args:
            shape: of the step.
            training: a training step; else one of an evaluation.
            update: of a training step, take in the update; without it only the gradients are
                computed.
            compile_here: compile it for this machine too.
        Raises:
            LoweringError: an operation cannot be compiled, or a size would be known only at run
                time.
        """
        step = self._training_step(shape, update) if training else self._evaluation_step
        compiled = tf.function(step, jit_compile=True, autograph=False)
        try:
            lowered = compiled.experimental_get_compiler_ir(self._empty_batch(shape))
            module = lowered(stage="hlo_serialized")
            if compile_here:
                lowered(stage="optimized_hlo")
        except (tf.errors.OpError, ValueError, TypeError, NotImplementedError) as error:
            raise LoweringError(str(error)) from None
        _require_static(module)
        kind = "evaluate"
        if training:
            kind = "train" if update else "gradients"
        size = f"{shape.micro_batches}x{shape.rows}x{shape.row_length}"
        file = self.folder / f"{kind}_{size}.hlo"
        file.write_bytes(module)
        return file

    def _empty_batch(self, shape: Shape) -> Columns:
        """A batch of that shape without any example: (M, …)."""
        places = (shape.micro_batches, shape.slots)
        empty = Layout(
            row_length=shape.row_length,
            rows=shape.rows,
            index=np.full(places, -1, np.int64),
            row=np.zeros(places, np.int32),
            start=np.zeros(places, np.int32),
            length=np.zeros(places, np.int32),
        )
        columns = fill(self.store, empty, range(shape.micro_batches))
        return {name: tf.constant(values) for name, values in columns.items()}

    def _evaluation_step(self, columns: Columns) -> dict[str, tf.Tensor]:
        return self.model.results(micro_batch(columns, 0))

    def _training_step(self, shape: Shape, update: bool) -> Callable[[Columns], tf.Tensor]:
        optimizer = self.optimizer
        step_gradients = StepGradients(self.model, optimizer, shape.micro_batches)

        def step(columns: Columns) -> tf.Tensor:
            number = tf.cast(optimizer.step.read_value(), tf.int32)
            run_seed = tf.constant(optimizer.settings.seed)
            seed = tf.stack([run_seed, number])
            weights = step_gradients.weights(columns)
            gradients, sums = step_gradients.gradients(columns, seed, tf.constant(0), weights)
            if not update:
                return [*gradients, sums]
            with tf.name_scope("update"):
                norm = optimizer.apply(gradients)
            return tf.concat([sums, weights, [norm]], 0)

        return step


def _require_static(module: bytes) -> None:
    """Raises LoweringError where a size would be known only at run time, with its place."""
    for computation in HloModuleProto.FromString(module).computations:
        for instruction in computation.instructions:
            dynamic = next(filter(_is_dynamic, _arrays(instruction.shape)), None)
            if dynamic is None:
                continue
            name = instruction.metadata.op_name
            place = f" in {name}" if name else ""
            raise LoweringError(
                f"a size that is known only at run time: {_described(dynamic)}{place}"
            )


def _arrays(shape: ShapeProto) -> list[ShapeProto]:
    """The arrays of a tuple, or the one that a shape is."""
    if not shape.tuple_shapes:
        return [shape]
    return [array for part in shape.tuple_shapes for array in _arrays(part)]


def _is_dynamic(array: ShapeProto) -> bool:
    return any(array.is_dynamic_dimension)


def _described(array: ShapeProto) -> str:
    """As XLA writes it: f32[<=32,8]."""
    sizes = []
    for size, is_dynamic in zip(array.dimensions, array.is_dynamic_dimension, strict=True):
        sizes.append(f"<={size}" if is_dynamic else str(size))
    return f"{PrimitiveType.Name(array.element_type).lower()}[{','.join(sizes)}]"
