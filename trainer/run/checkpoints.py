"""Checkpoints: weights, optimizer and the run's state, complete or invisible.

`checkpoints/step_00000200/` is complete once `state.json` is there: it is written last, in one
rename, after every other file is on the disk. It has the length and the checksum of each, and a
checksum of its own.
"""

from __future__ import annotations

import contextlib
import dataclasses
import fnmatch
import math
import pathlib
import re
import shutil
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import tensorflow as tf

from trainer.errors import JobDirError
from trainer.files import gcs, mirror
from trainer.files.checksums import (
    DamagedError,
    Fingerprint,
    fingerprint,
    read_sealed,
    reason,
    sync,
    verify,
    write_sealed,
)

STATE_FILE = "state.json"

# What a checkpoint's folder holds, also while it is written.
OURS = (STATE_FILE, ".state.json.*", "weights.index", "weights.data-*", "weights_temp*", ".*.part")


@dataclasses.dataclass
class RunState:
    """What the loop knows besides the weights. The position in stored data is a function of `step`.

    Attributes:
        step: optimizer steps done.
        settled: whether what was due after that step is done: its log lines, its evaluation.
        metrics_bytes: length of metrics.jsonl at this moment; what a killed run wrote after it is
            cut off.
        metrics_crc32c: the checksum of so much of it.
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
    metrics_crc32c: int = 0
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

    @property
    def metrics(self) -> Fingerprint:
        """Of metrics.jsonl at this moment."""
        return Fingerprint(self.metrics_bytes, self.metrics_crc32c)


class Checkpoints:
    """The checkpoints of one job_dir.

    They are written by a thread: `save` only takes the values, `wait` sees them written.

    Args:
        folder: job_dir/checkpoints.
        keep: the newest N stay, and the best.
        warn: called with a line about a checkpoint that is passed over.
        variables: what is saved, by name. Explicit, as what TensorFlow finds inside Keras objects
            depends on how they are written, and some it finds twice.
        writes: whether this process saves; on several workers the chief does, all restore.
        before_visible: called with the state of a checkpoint whose weights are written, before it
            counts as complete.
    """

    def __init__(
        self,
        folder: pathlib.Path,
        *,
        keep: int,
        warn: Callable[[str], None],
        variables: Mapping[str, tf.Variable],
        writes: bool = True,
        before_visible: Callable[[RunState], None] = lambda state: None,
    ) -> None:
        self.folder = folder
        self.keep = keep
        self.warn = warn
        self.variables = dict(variables)
        self.writes = writes
        self._before_visible = before_visible
        self._thread = ThreadPoolExecutor(1, "checkpoint")
        self._written: Future[None] | None = None
        self.saved: RunState | None = None  # the last one, as it was
        self._unpublished: gcs.UnavailableError | None = None
        # the step whose values this process last read or wrote, and their files
        self._on_disk: tuple[int, dict[str, Fingerprint]] | None = None

    def path(self, step: int) -> pathlib.Path:
        """The folder of the checkpoint of a step."""
        return self.folder / f"step_{step:08d}"

    def complete(self) -> list[int]:
        """The steps with a complete checkpoint, oldest first."""
        return sorted(
            step
            for path in self.folder.glob(f"step_*/{STATE_FILE}")
            if (step := _step_of(path.parent)) is not None
        )

    def save(self, state: RunState) -> None:
        """Takes the values as they are now; a thread writes them, then removes the checkpoints that
        need not be kept.

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
            JobDirError: the disk is full or cannot be written; the half-written checkpoint is
                removed.
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
            # the values are those: only what is known beside them has changed
            if self._on_disk and self._on_disk[0] == state.step:
                self._make_visible(state, self._on_disk[1])
                return
            self._remove(path)
            path.mkdir(parents=True, exist_ok=True)
            with tf.device("CPU:0"):
                tf.raw_ops.SaveV2(
                    prefix=str(path / "weights"),
                    tensor_names=list(values),
                    shape_and_slices=[""] * len(values),
                    tensors=list(values.values()),
                )
            written = sorted(path.glob("weights.*"))
            files = {file.name: fingerprint(file) for file in written}
            sync([*written, path, path.parent])
            mirror.add(path)
            self._make_visible(state, files)
            self._on_disk = state.step, files
        except gcs.UnavailableError as error:
            _remove_here(path)  # what the bucket does not have does not count
            self._unpublished = error
            self.warn(f"{error} Training goes on, and the next checkpoint is tried.")
            return
        except (OSError, tf.errors.OpError, JobDirError) as error:
            _remove_here(path)
            raise JobDirError(
                f"{path}: the checkpoint could not be written: {error}. Free some space or give"
                f" another --job_dir; the last complete checkpoint is {self.last_name()}."
            ) from None
        self._unpublished = None
        self._prune(state)

    def _make_visible(self, state: RunState, files: Mapping[str, Fingerprint]) -> None:
        self._before_visible(state)
        write_sealed(
            self.path(state.step) / STATE_FILE, {**dataclasses.asdict(state), "files": files}
        )

    def last_name(self) -> str:
        """The newest complete checkpoint, for messages."""
        steps = self.complete()
        return str(self.path(steps[-1])) if steps else "none"

    def restore_latest(self) -> RunState | None:
        """Restores the newest intact checkpoint; None where there never was one.

        A damaged one is passed over with a warning.

        Raises:
            JobDirError: there are checkpoints, and none is intact.
        """
        mirror.bring(self.folder, names=(STATE_FILE,))
        steps = self.complete()
        for path in mirror.folders(self.folder):
            if (step := _step_of(path)) is not None and step not in steps:
                self.warn(
                    f"{path} has no {STATE_FILE}: it was not written to its end, or has lost it,"
                    " and is passed over."
                )
        for number, step in enumerate(reversed(steps), 1):
            try:
                return self.restore(step)
            except JobDirError as error:
                if number == len(steps):
                    raise
                self.warn(f"{error} Trying the one before.")
        return None

    def restore(self, step: int) -> RunState:
        """Restores the checkpoint of a step: all of it, or nothing.

        Raises:
            JobDirError: it is damaged.
        """
        path = self.path(step)
        mirror.bring(path)
        try:
            state, files = self._read_state(step)
            for name, expected in files.items():
                verify(path / name, expected)
            values = self._read_values(path)
        except DamagedError as error:
            raise JobDirError(
                f"{path}: the checkpoint is damaged ({error.path.name}: {error.said}). "
                "Put back a copy of it, or train again in another --job_dir."
            ) from None
        for name, variable in self.variables.items():
            variable.assign(values[name])
        self._on_disk = step, files
        return state

    def _read_state(self, step: int) -> tuple[RunState, dict[str, Fingerprint]]:
        content = read_sealed(self.path(step) / STATE_FILE)
        if content["gradient_norm"] is None:  # JSON has no NaN
            content["gradient_norm"] = math.nan
        files = {name: Fingerprint(*found) for name, found in content.pop("files").items()}
        return (
            RunState(
                **{
                    field.name: content[field.name]
                    for field in dataclasses.fields(RunState)
                    if field.name in content
                }
            ),
            files,
        )

    def _read_values(self, path: pathlib.Path) -> dict[str, Any]:
        try:
            reader = tf.train.load_checkpoint(str(path / "weights"))
            values = {name: reader.get_tensor(name) for name in self.variables}
        except (OSError, ValueError, KeyError, tf.errors.OpError, RuntimeError) as error:
            raise DamagedError(path / "weights", reason(error)) from None
        if wrong := [
            name
            for name, variable in self.variables.items()
            if tuple(values[name].shape) != tuple(variable.shape)
        ]:
            raise DamagedError(path / "weights", f"{wrong[0]} has another shape than the model's")
        return values

    def known_metrics(self) -> dict[int, Fingerprint]:
        """What metrics.jsonl was at each complete checkpoint whose state can be read,
        oldest first.
        """
        found = {}
        for step in self.complete():
            with contextlib.suppress(DamagedError):
                found[step] = self._read_state(step)[0].metrics
        return found

    def _prune(self, state: RunState) -> None:
        # Later steps are damaged ones that the run went on before; counted, they would push out
        # what it has just saved.
        kept = {
            *[step for step in self.complete() if step <= state.step][-self.keep :],
            state.best_step,
        }
        for path in mirror.folders(self.folder):
            step = _step_of(path)
            if step is not None and step not in kept and not _foreign(mirror.names(path)):
                self._remove(path)

    def _remove(self, path: pathlib.Path) -> None:
        """Invisible first, then gone; what someone has put there stays."""
        mirror.remove(path, first=(STATE_FILE,), but=_foreign(mirror.names(path)))


def _step_of(folder: pathlib.Path) -> int | None:
    """The step that a checkpoint's folder is of; None for any other folder, such as a copy."""
    found = re.fullmatch(r"step_(\d{8,})", folder.name)
    return int(found[1]) if found else None


def _foreign(names: Iterable[str]) -> set[str]:
    """Of the names in a checkpoint's folder those that are none of ours, such as notes."""
    return {
        name for name in names if not any(fnmatch.fnmatchcase(name, pattern) for pattern in OURS)
    }


def _remove_here(path: pathlib.Path) -> None:
    """Removes what was half written, on this machine only; what someone has put there stays."""
    names = mirror.names_here(path)
    for name in names - _foreign(names):
        (path / name).unlink(missing_ok=True)
    if not _foreign(names):
        shutil.rmtree(path, ignore_errors=True)


def _value(variable: Any) -> tf.Tensor:
    """The value now, in the host's memory.

    On a CPU it is no copy: TensorFlow writes elsewhere while a value is held.
    """
    if isinstance(variable, tf.distribute.DistributedValues):
        variable = variable.values[0]  # the copies are equal
    with tf.device("CPU:0"):
        return tf.identity(variable.read_value())
