"""Checkpoints: weights, optimizer and the run's state, complete or invisible.

`checkpoints/step_00000200/` is complete once `state.json` is there: it is written last, in one rename, and names every
other file with its size. The values have checksums of their own, which TensorFlow compares as it reads.
"""

from __future__ import annotations

import dataclasses
import fnmatch
import json
import math
import pathlib
import re
import shutil
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import tensorflow as tf

from trainer import gcs, mirror
from trainer.errors import JobDirError
from trainer.storage import write_json

# What a checkpoint's folder holds, also while it is written.
OURS = ("state.json", ".state.json.*", "weights.index", "weights.data-*", "weights_temp*", ".*.part")


@dataclasses.dataclass
class RunState:
    """What the loop knows besides the weights. The position in stored data is a function of `step`.

    Attributes:
        step: optimizer steps done.
        settled: whether what was due after that step is done: its log lines, its evaluation.
        metrics_bytes: length of metrics.jsonl at this moment; what a killed run wrote after it is cut off.
        loss_sum, weight: of the steps since the last log line.
        gradient_norm: of the last step.
        best_value, best_step: of the best evaluation so far.
        evaluations_without_improvement, stopped_early: for early stopping.
        examples, real_tokens, model_flops: trained so far, without the calls that compiled.
        stream: where train is streamed, where in it the run is.
        timeline: seconds by phase, over all processes so far.
    """

    step: int = 0
    settled: bool = True
    metrics_bytes: int = 0
    loss_sum: float = 0.0
    weight: float = 0.0
    gradient_norm: float = 0.0
    best_value: float | None = None
    best_step: int | None = None
    evaluations_without_improvement: int = 0
    stopped_early: bool = False
    examples: int = 0
    real_tokens: int = 0
    model_flops: float = 0.0
    stream: dict[str, Any] | None = None
    timeline: dict[str, float] = dataclasses.field(default_factory=dict)


class Checkpoints:
    """The checkpoints of one job_dir. They are written by a thread: `save` only takes the values, `wait` sees them written.

    Args:
        folder: job_dir/checkpoints.
        keep: the newest N stay, and the best.
        warn: called with a line about a checkpoint that is passed over.
        variables: what is saved, by name. Explicit, as what TensorFlow finds inside Keras objects depends on how they are
            written, and some it finds twice.
        writes: whether this process saves; on several workers the chief does, all restore.
        before_visible: called with the state of a checkpoint whose weights are written, before it counts as complete.
    """

    def __init__(self, folder: pathlib.Path, *, keep: int, warn: Callable[[str], None], variables: Mapping[str, tf.Variable], writes: bool = True,
                 before_visible: Callable[[RunState], None] = lambda state: None) -> None:
        self.folder, self.keep, self.warn, self.variables, self.writes = folder, keep, warn, dict(variables), writes
        self._before_visible = before_visible
        self._thread = ThreadPoolExecutor(1, "checkpoint")
        self._written: Future[None] | None = None
        self.saved: RunState | None = None  # the last one, as it was
        self._unpublished: gcs.UnavailableError | None = None
        self._on_disk: int | None = None  # the step whose values this process last read or wrote

    def path(self, step: int) -> pathlib.Path:
        """The folder of the checkpoint of a step."""
        return self.folder / f"step_{step:08d}"

    def complete(self) -> list[int]:
        """The steps with a complete checkpoint, oldest first."""
        return sorted(step for path in self.folder.glob("step_*/state.json") if (step := _step_of(path.parent)) is not None)

    def save(self, state: RunState) -> None:
        """Takes the values as they are now; a thread writes them, then removes the checkpoints that need not be kept.

        Raises:
            JobDirError: see `wait`, which is called first.
        """
        if not self.writes:
            return
        self.wait()
        values = {name: _value(variable) for name, variable in self.variables.items()}
        self.saved = dataclasses.replace(state, timeline=dict(state.timeline))
        self._written = self._thread.submit(self._write, self.saved, values)

    def wait(self, *, last: bool = False) -> None:
        """Until the last save is on disk, and in the bucket where there is one.

        Args:
            last: nothing is saved after it.
        Raises:
            JobDirError: the disk is full or cannot be written; the half-written checkpoint is removed.
            UnavailableError: it is the last, and Cloud Storage did not answer.
        """
        if self._written is not None:
            written, self._written = self._written, None
            written.result()
        if last and self._unpublished is not None:
            raise self._unpublished

    def forget(self) -> None:
        """What this process wrote may be gone: the next save writes all."""
        self._on_disk = None

    def _write(self, state: RunState, values: dict[str, tf.Tensor]) -> None:
        path = self.path(state.step)
        try:
            if self._on_disk == state.step:  # the values are those: only what is known beside them has changed
                files = json.loads((path / "state.json").read_text(encoding="utf-8"))["files"]
                self._before_visible(state)
                write_json(path / "state.json", {**dataclasses.asdict(state), "files": files})
                return
            self._remove(path)
            path.mkdir(parents=True, exist_ok=True)
            with tf.device("CPU:0"):
                tf.raw_ops.SaveV2(prefix=str(path / "weights"), tensor_names=list(values), shape_and_slices=[""] * len(values), tensors=list(values.values()))
            sizes = {file.name: file.stat().st_size for file in sorted(path.glob("weights.*"))}
            mirror.add(path)
            self._before_visible(state)
            write_json(path / "state.json", {**dataclasses.asdict(state), "files": sizes})
            self._on_disk = state.step
        except gcs.UnavailableError as error:
            _remove_here(path)  # what the bucket does not have does not count
            self._unpublished = error
            self.warn(f"{error} Training goes on, and the next checkpoint is tried.")
            return
        except (OSError, tf.errors.OpError, JobDirError) as error:
            _remove_here(path)
            raise JobDirError(f"{path}: the checkpoint could not be written: {error}. Free some space or give another --job_dir; "
                              f"the last complete checkpoint is {self.last_name()}.") from None
        self._unpublished = None
        self._prune(state)

    def last_name(self) -> str:
        """The newest complete checkpoint, for messages."""
        steps = self.complete()
        return str(self.path(steps[-1])) if steps else "none"

    def restore_latest(self) -> RunState | None:
        """Restores the newest intact checkpoint; None where there is none. A damaged one is passed over with a warning."""
        mirror.bring(self.folder, names=("state.json",))
        for step in reversed(self.complete()):
            try:
                return self.restore(step)
            except JobDirError as error:
                self.warn(f"{error} Trying the one before.")
        return None

    def restore(self, step: int) -> RunState:
        """Restores the checkpoint of a step: all of it, or nothing.

        Raises:
            JobDirError: it is damaged.
        """
        path, reading = self.path(step), "state.json"
        mirror.bring(path)
        try:
            content = json.loads((path / "state.json").read_text(encoding="utf-8"))
            for name, size in content["files"].items():
                reading = name
                if (found := (path / name).stat().st_size) != size:
                    raise ValueError(f"{found:,} bytes instead of {size:,}")
            reading = "weights"
            reader = tf.train.load_checkpoint(str(path / "weights"))
            values = {name: reader.get_tensor(name) for name in self.variables}
            if wrong := [name for name, variable in self.variables.items() if tuple(values[name].shape) != tuple(variable.shape)]:
                raise ValueError(f"{wrong[0]} has another shape than the model's")
        except (OSError, ValueError, KeyError, tf.errors.OpError, RuntimeError) as error:
            said = " ".join(str(error).split())[:300]
            raise JobDirError(f"{path}: the checkpoint is damaged ({reading}: {said}). Put back a copy of it, or train again in another --job_dir.") from None
        for name, variable in self.variables.items():
            variable.assign(values[name])
        self._on_disk = step
        content = {name: math.nan if value is None and name == "gradient_norm" else value for name, value in content.items()}
        return RunState(**{field.name: content[field.name] for field in dataclasses.fields(RunState) if field.name in content})

    def _prune(self, state: RunState) -> None:
        # Later steps are damaged ones that the run went on before; counted, they would push out what it has just saved.
        kept = {*[step for step in self.complete() if step <= state.step][-self.keep:], state.best_step}
        for path in mirror.folders(self.folder):
            step = _step_of(path)
            if step is not None and step not in kept and not _foreign(mirror.names(path)):
                self._remove(path)

    def _remove(self, path: pathlib.Path) -> None:
        """Invisible first, then gone; what someone has put there stays."""
        mirror.remove(path, first=("state.json",), but=_foreign(mirror.names(path)))


def _step_of(folder: pathlib.Path) -> int | None:
    """The step that a checkpoint's folder is of; None for any other folder, such as a copy."""
    found = re.fullmatch(r"step_(\d{8,})", folder.name)
    return int(found[1]) if found else None


def _foreign(names: Iterable[str]) -> set[str]:
    """Of the names in a checkpoint's folder those that are none of ours, such as notes."""
    return {name for name in names if not any(fnmatch.fnmatchcase(name, pattern) for pattern in OURS)}


def _remove_here(path: pathlib.Path) -> None:
    """Removes what was half written, on this machine only; what someone has put there stays."""
    names = mirror.names_here(path)
    for name in names - _foreign(names):
        (path / name).unlink(missing_ok=True)
    if not _foreign(names):
        shutil.rmtree(path, ignore_errors=True)


def _value(variable: Any) -> tf.Tensor:
    """The value now, in the host's memory. On a CPU it is no copy: TensorFlow writes elsewhere while a value is held."""
    if isinstance(variable, tf.distribute.DistributedValues):
        variable = variable.values[0]  # the copies are equal
    with tf.device("CPU:0"):
        return tf.identity(variable.read_value())
