"""Checkpoints: weights, optimizer and the run's state, complete or invisible.

`checkpoints/step_00000200/` is complete once `state.json` is there: it is written last, in one rename, and names every
other file with its size and checksum.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import pathlib
import shutil
from collections.abc import Callable

import tensorflow as tf

from trainer.errors import JobDirError
from trainer.storage import write_json


@dataclasses.dataclass
class RunState:
    """What the loop knows besides the weights. The position in the data is a function of `step`.

    Attributes:
        step: optimizer steps done.
        metrics_bytes: length of metrics.jsonl at this moment; what a killed run wrote after it is cut off.
        loss_sum, weight: of the steps since the last log line.
        best_value, best_step: of the best evaluation so far.
        evaluations_without_improvement, stopped_early: for early stopping.
        examples, real_tokens: trained so far, without each process's first step, which compiles.
        timeline: seconds by phase, over all processes so far.
    """

    step: int = 0
    metrics_bytes: int = 0
    loss_sum: float = 0.0
    weight: float = 0.0
    best_value: float | None = None
    best_step: int | None = None
    evaluations_without_improvement: int = 0
    stopped_early: bool = False
    examples: int = 0
    real_tokens: int = 0
    timeline: dict[str, float] = dataclasses.field(default_factory=dict)


class Checkpoints:
    """The checkpoints of one job_dir.

    Args:
        folder: job_dir/checkpoints.
        keep: the newest N stay, and the best.
        warn: called with a line about a checkpoint that is passed over.
        variables: what is saved: groups of variables by name, such as model={"head/output/kernel": …}. Explicit, as what
            TensorFlow finds inside Keras objects depends on how they are written, and some it finds twice.
    """

    def __init__(self, folder: pathlib.Path, *, keep: int, warn: Callable[[str], None], **variables: dict[str, tf.Variable]) -> None:
        self.folder, self.keep, self.warn = folder, keep, warn
        self._checkpoint = tf.train.Checkpoint(**variables)

    def path(self, step: int) -> pathlib.Path:
        """The folder of the checkpoint of a step."""
        return self.folder / f"step_{step:08d}"

    def complete(self) -> list[int]:
        """The steps with a complete checkpoint, oldest first."""
        return sorted(int(path.parent.name.removeprefix("step_")) for path in self.folder.glob("step_*/state.json"))

    def save(self, state: RunState) -> pathlib.Path:
        """Writes a checkpoint, then removes those that need not be kept.

        Raises:
            JobDirError: the disk is full or cannot be written; the half-written checkpoint is removed.
        """
        path = self.path(state.step)
        if (path / "state.json").exists():
            (path / "state.json").unlink()
        shutil.rmtree(path, ignore_errors=True)
        try:
            path.mkdir(parents=True)
            self._checkpoint.write(str(path / "weights"))
            files = {file.name: [file.stat().st_size, _digest(file)] for file in sorted(path.iterdir())}
            write_json(path / "state.json", {**dataclasses.asdict(state), "files": files})
        except (OSError, tf.errors.OpError) as error:
            shutil.rmtree(path, ignore_errors=True)
            raise JobDirError(f"{path}: the checkpoint could not be written: {error}. Free some space or give another --job_dir; "
                              f"the last complete checkpoint is {self.last_name()}.") from None
        self._prune(state)
        return path

    def last_name(self) -> str:
        """The newest complete checkpoint, for messages."""
        steps = self.complete()
        return str(self.path(steps[-1])) if steps else "none"

    def restore_latest(self) -> RunState | None:
        """Restores the newest intact checkpoint; None where there is none. A damaged one is passed over with a warning."""
        for step in reversed(self.complete()):
            try:
                return self.restore(step)
            except JobDirError as error:
                self.warn(f"{error} Trying the one before.")
        return None

    def restore(self, step: int) -> RunState:
        """Restores the checkpoint of a step.

        Raises:
            JobDirError: it is damaged.
        """
        path = self.path(step)
        if damage := self._damage(path):
            raise JobDirError(f"{path}: the checkpoint is damaged ({damage}). Put back a copy of it, or train again in another --job_dir.")
        status = self._checkpoint.read(str(path / "weights"))
        status.assert_existing_objects_matched()
        status.expect_partial()  # a model alone is read from a checkpoint that has the optimizer too
        values = json.loads((path / "state.json").read_text(encoding="utf-8"))
        return RunState(**{field.name: values[field.name] for field in dataclasses.fields(RunState) if field.name in values})

    def _damage(self, path: pathlib.Path) -> str | None:
        try:
            files = json.loads((path / "state.json").read_text(encoding="utf-8"))["files"]
        except (OSError, ValueError, KeyError) as error:
            return f"state.json: {error}"
        for name, (size, digest) in files.items():
            file = path / name
            if not file.exists():
                return f"{name} is missing"
            if file.stat().st_size != size:
                return f"{name} has {file.stat().st_size:,} bytes instead of {size:,}"
            if _digest(file) != digest:
                return f"{name} has another checksum"
        return None

    def _prune(self, state: RunState) -> None:
        # Later steps are damaged ones that the run went on before; counted, they would push out what it has just saved.
        kept = {*[step for step in self.complete() if step <= state.step][-self.keep:], state.best_step}
        for path in self.folder.glob("step_*"):
            step = int(path.name.removeprefix("step_"))
            if step not in kept:
                (path / "state.json").unlink(missing_ok=True)  # invisible first, then gone
                shutil.rmtree(path, ignore_errors=True)


def _digest(file: pathlib.Path) -> str:
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "blake2b").hexdigest() if hasattr(hashlib, "file_digest") else hashlib.blake2b(opened.read()).hexdigest()
