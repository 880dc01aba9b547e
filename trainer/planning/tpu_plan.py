"""Whether a run's own steps compile and fit on a TPU generation, before it is paid for.

The training and evaluation steps of the config are lowered by TensorFlow for every shape of the
plan and compiled by the TPU's own compiler, in a process beside this one
(trainer/planning/tpu_compile.py).
What one replica computes is compiled: the sum over the replicas is not part of it, and its time is
not in the estimates.
"""

from __future__ import annotations

import dataclasses
import importlib.util
import json
import math
import pathlib
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import tensorflow as tf

from trainer.data.batching import Layout
from trainer.data.pipeline import fill
from trainer.data.store import TokenStore
from trainer.errors import ConfigError
from trainer.planning import tpu_compile
from trainer.run.model import Model
from trainer.run.optimization import Optimizer
from trainer.run.steps import make_gradients

SHOWN_ERROR = 600
SEARCH_STEPS = 12  # compilations of the search for the largest batch, at most
OVERFLOW = re.compile(
    r"(?:Used |temporaries \()([\d.]+)([KMGT]?)(?: of |\) exceeds available HBM"
    r" \()([\d.]+)([KMGT]?)"
)
SEARCHED_TOKENS = 2**18  # of a micro-batch, at most: larger ones bring nothing
# shares of the memory: what the search looks for, and with what it is content
AIM, ENOUGH = 0.97, 0.9


@dataclasses.dataclass(frozen=True)
class Generation:
    """One TPU generation; a replica is a core on v2 and v3, a chip on the others.

    Attributes:
        topology: a small slice of it, as libtpu names it.
        hbm_bytes, peak_flops, bytes_per_s: of a replica; peak is of bfloat16 products, the
            bandwidth of its memory.
        replicas_per_chip: what a price per chip is divided by.
        note: what to know before choosing it.

    Source: Google Cloud's TPU system architecture pages, per chip.
    """

    topology: str
    hbm_bytes: float
    peak_flops: float
    bytes_per_s: float
    replicas_per_chip: int = 1
    note: str = ""


GENERATIONS: dict[str, Generation] = {
    "v2": Generation("v2:2x2", 8 * 2**30, 46e12 / 2, 700e9 / 2, 2),
    "v3": Generation("v3:2x2", 16 * 2**30, 123e12 / 2, 900e9 / 2, 2),
    "v4": Generation("v4:2x2x1", 32 * 2**30, 275e12, 1228e9),
    "v5e": Generation("v5e:2x2", 16 * 2**30, 197e12, 819e9),
    "v5p": Generation("v5p:2x2x1", 95 * 2**30, 459e12, 2765e9),
    "v6e": Generation(
        "v6e:2x2", 32 * 2**30, 918e12, 1640e9, note="Vertex AI does not offer TensorFlow on v6e"
    ),
}


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

    def tokens(self) -> int:
        """Of a replica's step, padding included."""
        return self.micro_batches * self.rows * self.row_length


def shapes_of(layouts: Sequence[Layout], micro_batches: int) -> list[Shape]:
    """The shapes of some steps, the commonest first."""
    counts: dict[Shape, int] = {}
    for layout in layouts:
        shape = Shape(layout.rows, layout.row_length, layout.index.shape[1], micro_batches)
        counts[shape] = counts.get(shape, 0) + 1
    return [
        dataclasses.replace(shape, steps=count)
        for shape, count in sorted(counts.items(), key=lambda item: -item[1])
    ]


class StepLowering:
    """The steps of a config as XLA modules: what a replica computes, weights and optimizer as
    arguments.
    """

    def __init__(
        self, model: Model, head: Any, optimizer: Optimizer, store: TokenStore, folder: pathlib.Path
    ) -> None:
        self.model = model
        self.head = head
        self.optimizer = optimizer
        self.store = store
        self.folder = folder

    def lower(
        self, shape: Shape, *, training: bool, update: bool = True, compile_here: bool = False
    ) -> pathlib.Path:
        """Writes the module of one step.

        Args:
            update: of a training step, take in the update; without it only the gradients are
                computed.
            compile_here: compile it for this machine too.
        Raises:
            LoweringError: an operation cannot be compiled, or a size would be known only at run
                time.
        """
        batch = self._batch(shape)
        step = self._training(shape.micro_batches, update) if training else self._evaluation
        try:
            lowered = tf.function(
                step, jit_compile=True, autograph=False
            ).experimental_get_compiler_ir(batch)
            text = lowered(stage="hlo")
            module = lowered(stage="hlo_serialized")
            if compile_here:
                lowered(stage="optimized_hlo")
        except (tf.errors.OpError, ValueError, TypeError, NotImplementedError) as error:
            raise LoweringError(str(error)) from None
        if dynamic := re.search(r"[a-z]+\d*\[[^\]]*<=[^\]]*\]", text):
            line = next(line for line in text.splitlines() if dynamic[0] in line)
            place = re.search(r'op_name="([^"]*)"', line)
            raise LoweringError(
                "a size that is known only at run time:"
                f" {dynamic[0]}{f' in {place[1]}' if place else ''}"
            )
        step = "evaluate"
        if training:
            step = "train" if update else "gradients"
        shown = f"{shape.micro_batches}x{shape.rows}x{shape.row_length}"
        file = self.folder / f"{step}_{shown}.hlo"
        file.write_bytes(module)
        return file

    def _batch(self, shape: Shape) -> dict[str, tf.Tensor]:
        empty = Layout(
            shape.row_length,
            shape.rows,
            *(
                np.full((shape.micro_batches, shape.slots), value, kind)
                for value, kind in ((-1, np.int64), (0, np.int32), (0, np.int32))
            ),
        )
        return {
            name: tf.constant(values)
            for name, values in fill(self.store, empty, range(shape.micro_batches)).items()
        }

    def _evaluation(self, batch: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        return self.model.results({name: value[0] for name, value in batch.items()})

    def _training(self, micro_batches: int, update: bool) -> Callable[..., Any]:
        gradients_of = make_gradients(self.model, self.head, self.optimizer, micro_batches)

        def step(batch: dict[str, tf.Tensor]) -> tf.Tensor:
            seed = tf.stack(
                [
                    tf.constant(self.optimizer.settings.seed),
                    tf.cast(self.optimizer.step.read_value(), tf.int32),
                ]
            )
            gradients, sums = gradients_of(batch, seed, tf.constant(0))
            if not update:
                return [*gradients, sums]
            with tf.name_scope("update"):
                norm = self.optimizer.apply(gradients, sums[1])
            return tf.concat([sums, [norm]], 0)

        return step


class LoweringError(Exception):
    """TensorFlow could not express a step for XLA; the message names the operation and where it
    stands.
    """


class TpuCompiler:
    """The process that compiles; it is started when it is first needed,
    and again where it ended.
    """

    def __init__(self, topology: str, errors: pathlib.Path) -> None:
        self._topology = topology
        self._errors = errors
        self._process: subprocess.Popen[str] | None = None

    def compile(self, module: pathlib.Path) -> dict[str, Any]:
        """What tpu_compile.py answers; {"error": …} too where the compiler aborts its process, as
        it does on what it never thought of.
        """
        if self._process is None:
            with self._errors.open("w") as stderr:
                self._process = subprocess.Popen(
                    [sys.executable, tpu_compile.__file__, self._topology],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=stderr,
                    text=True,
                    encoding="utf-8",
                )
        try:
            self._process.stdin.write(f"{module}\n")
            self._process.stdin.flush()
            line = self._process.stdout.readline()
        except BrokenPipeError:
            line = ""
        if line:
            return json.loads(line)
        self.close()
        said = self._errors.read_text(encoding="utf-8", errors="replace").strip()
        return {"error": f"the compiler ended: {said[-SHOWN_ERROR:]}", "seconds": 0.0}

    def close(self) -> None:
        """Ends the process."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None


@contextmanager
def tpu_compiler(generation: Generation) -> Iterator[TpuCompiler]:
    """The TPU's compiler, in a process of its own.

    Raises:
        ConfigError: jax or libtpu is not installed.
    """
    missing = [name for name in ("jax", "libtpu") if importlib.util.find_spec(name) is None]
    if missing:
        raise ConfigError(
            f"plan.tpu: needs {' and '.join(missing)}, which this Python has not. Install them: pip"
            " install jax libtpu (Python 3.11 or newer), or leave plan.tpu out."
        )
    with tempfile.TemporaryDirectory() as folder:
        compiler = TpuCompiler(generation.topology, pathlib.Path(folder, "stderr"))
        try:
            yield compiler
        finally:
            compiler.close()


def check(
    lowering: StepLowering,
    generation_name: str | None,
    training: Sequence[Shape],
    evaluation: Sequence[Shape],
    *,
    say: Callable[[str], None],
) -> dict[str, Any]:
    """Compiles every shape for a generation, and searches the largest batch that fits.

    Args:
        generation_name: a row of GENERATIONS; None: this machine's XLA, which tells neither memory
            nor cost.
        training, evaluation: the shapes of each step.
        say: called with a line before each compilation.
    Returns:
        {"tpu", "note", "shapes": [one object a shape and step], "largest": {"rows", "row_length",
        "examples"} or None}.
    """
    shapes = [(shape, True) for shape in training] + [(shape, False) for shape in evaluation]

    def announce(shape: Shape, *, training: bool) -> None:
        step = "train" if training else "evaluate"
        say(
            f"compiling for {generation_name or 'this machine'}: {step}, {shape.micro_batches} x"
            f" {shape.rows} rows of {shape.row_length} tokens"
        )

    if generation_name is None:
        checked = [
            announce(shape, training=trains) or check_here(lowering, shape, training=trains)
            for shape, trains in shapes
        ]
        return {"tpu": None, "note": "", "shapes": checked, "largest": None}
    generation, checked = GENERATIONS[generation_name], []
    with tpu_compiler(generation) as compiler:
        for shape, trains in shapes:
            announce(shape, training=trains)
            checked.append(check_shape(lowering, compiler, generation, shape, training=trains))
        largest = largest_batch(lowering, compiler, generation, training[0], checked[0], say=say)
    return {"tpu": generation_name, "note": generation.note, "shapes": checked, "largest": largest}


def check_here(lowering: StepLowering, shape: Shape, *, training: bool) -> dict[str, Any]:
    """One shape, compiled by the XLA of this machine."""
    start = time.monotonic()
    try:
        lowering.lower(shape, training=training, compile_here=True)
    except LoweringError as error:
        return {**_facts(shape, training=training), "error": readable(str(error))}
    return {**_facts(shape, training=training), "compile_s": round(time.monotonic() - start, 1)}


def estimate(
    checked: dict[str, Any],
    *,
    real_tokens_per_step: float,
    steps_per_epoch: int,
    replicas: int,
    price: float | None,
) -> dict[str, Any] | None:
    """The shortest time that the published peaks allow, over the shapes as often as the plan has
    them; None where one does not compile.

    Args:
        price: of a chip an hour.
    """
    shapes = [shape for shape in checked["shapes"] if shape["step"] == "train"]
    if any("seconds_at_best" not in shape for shape in shapes):
        return None
    seconds = sum(shape["seconds_at_best"] * shape["steps"] for shape in shapes) / sum(
        shape["steps"] for shape in shapes
    )
    chips = replicas / GENERATIONS[checked["tpu"]].replicas_per_chip
    return {
        "step_s": seconds,
        "real_tokens_per_s": round(real_tokens_per_step / seconds),
        "epoch_s": seconds * steps_per_epoch,
        "cost_per_epoch": (
            None if price is None else seconds * steps_per_epoch / 3600 * chips * price
        ),
    }


def _facts(shape: Shape, *, training: bool) -> dict[str, Any]:
    return {
        "step": "train" if training else "evaluate",
        "rows": shape.rows,
        "row_length": shape.row_length,
        "examples": shape.slots * shape.micro_batches,
        "micro_batches": shape.micro_batches,
        "steps": shape.steps,
    }


def check_shape(
    lowering: StepLowering,
    compiler: TpuCompiler,
    generation: Generation,
    shape: Shape,
    *,
    training: bool,
) -> dict[str, Any]:
    """One shape: the compiler's error, or memory, operations and the shortest time that the
    published peaks allow.
    """
    facts = _facts(shape, training=training)
    try:
        answer = compiler.compile(lowering.lower(shape, training=training))
    except LoweringError as error:
        answer = {"error": f"TensorFlow cannot lower it: {error}"}
    if "error" in answer:
        over = OVERFLOW.search(answer["error"])
        share = {"hbm_share": _bytes(*over.group(1, 2)) / _bytes(*over.group(3, 4))} if over else {}
        return {**facts, **share, "error": readable(answer["error"])}
    if training and shape.micro_batches > 1:
        # The compiler counts the body of a loop once.
        once = compiler.compile(
            lowering.lower(dataclasses.replace(shape, micro_batches=1), training=True, update=False)
        )
        answer |= {
            name: answer[name] + (shape.micro_batches - 1) * once.get(name, math.nan)
            for name in ("flops", "bytes")
        }
    memory = answer["memory"]
    needed = (
        memory["argument"]
        + memory["output"]
        - memory["alias"]
        + memory["temporary"]
        + memory["code"]
    )
    seconds = max(answer["flops"] / generation.peak_flops, answer["bytes"] / generation.bytes_per_s)
    return {
        **facts,
        "hbm_needed_bytes": needed,
        "hbm_share": needed / generation.hbm_bytes,
        "flops": answer["flops"],
        "bytes": answer["bytes"],
        "seconds_at_best": seconds,
        "compile_s": answer["seconds"],
    }


def _bytes(number: str, unit: str) -> float:
    return float(number) * 1024 ** " KMGT".index(unit or " ")


def readable(error: str) -> str:
    """The compiler's words without its stack traces."""
    lines = [line.strip() for line in error.splitlines() if line.strip()]
    kept = [
        line
        for line in lines
        if not re.match(
            r"(@|at |File |#\d|\d+\. Size|Operator:|Shape:|Unpadded|XLA label|Allocation type|=+$)",
            line,
        )
    ]
    named = re.findall(r'op_name="([^"]*)"', error)[:1]
    return " ".join(
        [*kept, *(f"in {name}" for name in named if not any(name in line for line in kept))]
    )[:SHOWN_ERROR]


def largest_batch(
    lowering: StepLowering,
    compiler: TpuCompiler,
    generation: Generation,
    shape: Shape,
    first: dict[str, Any],
    *,
    say: Callable[[str], None],
) -> dict[str, Any] | None:
    """The most rows of a micro-batch that fit, up to SEARCHED_TOKENS, each compiled; None where one
    row does not fit.

    Memory grows about linearly with the rows, which says where to look; only what was compiled is
    believed. The search ends at nine tenths of the memory.
    """
    # infinite where it does not compile
    shares: dict[int, float] = {shape.rows: first.get("hbm_share", math.inf)}
    low, high = (shape.rows, None) if shares[shape.rows] <= 1 else (0, shape.rows)
    most = max(low, SEARCHED_TOKENS // shape.row_length)
    while (
        len(shares) < SEARCH_STEPS
        and low < most
        and (high is None or high - low > 1)
        and not (low and shares[low] >= ENOUGH)
    ):
        rows = min(_guess(shares, low, high), most)
        shares[rows] = check_shape(
            lowering, compiler, generation, _scaled(shape, rows), training=True
        ).get("hbm_share", math.inf)
        say(
            f"searching the largest batch: {rows:,} rows of {shape.row_length} tokens take"
            f" {shares[rows]:.0%} of the memory"
        )
        low, high = (rows, high) if shares[rows] <= 1 else (low, rows)
    return (
        {
            "rows": low,
            "row_length": shape.row_length,
            "examples": _scaled(shape, low).slots,
            "hbm_share": shares[low],
        }
        if low
        else None
    )


def _guess(shares: dict[int, float], low: int, high: int | None) -> int:
    """The next number of rows to compile: where the line through the two known ones nearest to full
    says that memory ends.
    """
    known = sorted(
        sorted(
            ((rows, share) for rows, share in shares.items() if share < math.inf),
            key=lambda item: abs(item[1] - 1),
        )[:2]
    )
    if len(known) < 2:
        return 8 * low if high is None else max(1, (low + high) // 2)
    (small, first), (large, second) = known
    slope = (second - first) / (large - small)
    guess = int(small + (AIM - first) / slope) if slope > 0 else 8 * large
    if high is None:
        return max(low + 1, min(guess, 64 * low))
    return guess if low < guess < high else (low + high) // 2


def _scaled(shape: Shape, rows: int) -> Shape:
    return dataclasses.replace(
        shape, rows=rows, slots=max(1, round(shape.slots * rows / shape.rows))
    )
