"""results.json: how good the kept model is, where the time went, and where the model is."""

from __future__ import annotations

import dataclasses
import pathlib
from collections.abc import Mapping, Sequence

import tensorflow as tf

from trainer.console.display import Display
from trainer.console.timeline import Timeline
from trainer.errors import JobDirError
from trainer.files import mirror
from trainer.machine.hardware import Machine, this_machine
from trainer.run.job import RESULTS_FILE, Job
from trainer.run.job_files import Removal
from trainer.run.kept_scores import REPORTED_SPLITS
from trainer.run.run_state import RunState
from trainer.run.throughput import peak_flops

NUMBERS = (*REPORTED_SPLITS, "timeline", "throughput")
LEAST_SECONDS = 1e-9  # which a time is divided by


@dataclasses.dataclass(frozen=True)
class Results:
    """What results.json holds."""

    values: Mapping[str, object]

    @property
    def step(self) -> int:
        """Of the kept model."""
        step = self.values.get("step")
        return step if isinstance(step, int) else 0

    def numbers(self, parts: Sequence[str] = NUMBERS) -> dict[str, float]:
        """Its numbers, named like results/test/accuracy.

        Args:
            parts: of the file, whose numbers are meant.
        """
        numbers = {}
        for part in parts:
            values = self.values.get(part)
            for name, value in values.items() if isinstance(values, Mapping) else ():
                numbers[f"results/{part}/{name}"] = float(value)
        return numbers

    def summary(self) -> str:
        """A line a split, and where the model is."""
        lines = []
        for split in REPORTED_SPLITS:
            metrics = self.values.get(split)
            if isinstance(metrics, Mapping):
                shown = "  ".join(f"{name} {value:.4f}" for name, value in metrics.items())
                lines.append(f"{split}: {shown}")
        if "model" in self.values:
            lines.append(f"model: {self.values['model']}")
        return "\n".join(lines)


def write_results(
    job: Job, values: Mapping[str, object], model: pathlib.Path | None = None
) -> Results:
    """Writes results.json, where this process writes.

    Args:
        job: whose results they are.
        values: metrics by split and all else.
        model: the folder of the export, if there is one.
    """
    if model is not None:
        values = {**values, "model": mirror.shown(model)}
    if job.writes:
        job.write_json(RESULTS_FILE, values)
    return Results(values)


@dataclasses.dataclass(frozen=True)
class Throughput:
    """How fast a run trained, without compilation, evaluation and checkpoints."""

    examples_per_s: float
    real_tokens_per_s: float
    model_flops_utilisation: float
    measured_peak_gflops: float


@dataclasses.dataclass(frozen=True)
class Expense:
    """What a run took: seconds by phase, how fast it was, and the machine."""

    timeline: dict[str, float]
    throughput: Throughput
    machine: Machine

    def as_json(self) -> dict[str, object]:
        """The parts of results.json that they are."""
        return dataclasses.asdict(self)

    def show(self, display: Display) -> None:
        """Shows it as a table."""
        rows = timeline_rows(self.timeline, self.throughput)
        display.table("Timeline", [*rows, ("machine", str(self.machine))])


def measure_expense(
    state: RunState,
    timeline: Timeline,
    strategy: tf.distribute.Strategy,
    precision: str,
    *,
    lanes: int = 1,
    earlier: Mapping[str, object],
) -> Expense:
    """Measures what a run took; also what a matrix product reaches here, which takes a second.

    That is the most that was ever reached: while something else runs, it is less.

    Args:
        state: the counts of what was trained.
        timeline: of all processes of the run so far.
        strategy: whose devices are measured.
        precision: of the run's arithmetic.
        lanes: of the backbone.
        earlier: results.json, where the run has ended before.
    """
    trained_s = timeline.seconds("train_s") + timeline.seconds("input_wait_s")
    trained_s = max(trained_s, LEAST_SECONDS)
    machine = this_machine()
    peak = max(peak_flops(strategy, precision, lanes=lanes), _earlier_peak(earlier, machine))
    throughput = Throughput(
        examples_per_s=round(state.examples / trained_s, 2),
        real_tokens_per_s=round(state.real_tokens / trained_s, 1),
        model_flops_utilisation=round(state.model_flops / trained_s / peak, 4),
        measured_peak_gflops=round(peak / 1e9, 1),
    )
    return Expense(timeline.as_dict(), throughput, machine)


def _earlier_peak(earlier: Mapping[str, object], machine: Machine) -> float:
    """FLOP/s that this machine reached when the run ended before; 0 where it did not."""
    throughput = earlier.get("throughput")
    if earlier.get("machine") != dataclasses.asdict(machine) or not isinstance(throughput, dict):
        return 0.0
    return 1e9 * float(throughput["measured_peak_gflops"])


def timeline_rows(timeline: Mapping[str, float], throughput: Throughput) -> list[tuple[str, str]]:
    """Where the time went, for people: a row a phase, then the throughput."""
    total = max(sum(timeline.values()), LEAST_SECONDS)
    rows = [
        (phase.removesuffix("_s").replace("_", " "), f"{spent:8.1f} s  {spent / total:4.0%}")
        for phase, spent in timeline.items()
    ]
    speed = (
        f"{throughput.real_tokens_per_s:,.0f} real tokens/s,"
        f" {throughput.model_flops_utilisation:.1%} of the"
        f" {throughput.measured_peak_gflops:,.0f} GFLOP/s that a matrix product reaches here"
    )
    return [*rows, ("throughput", speed)]


def require_whole(job: Job, removal: Removal, model: pathlib.Path | None) -> None:
    """Raises JobDirError where the job_dir was removed after the last step.

    Args:
        job: whose folder it is.
        removal: what was removed, and is written anew.
        model: the folder of the export, if there is one.
    """
    if not removal.whole:
        return
    exported = " and the export" if model is not None and model.exists() else ""
    raise JobDirError(
        f"--job_dir={mirror.shown(job.folder)} was removed while the run was going on. Written"
        f" anew: {', '.join(removal.files)}, results.json{exported}. Lost: what else was there,"
        " such as the checkpoints and logs."
    )
