"""Checkpoints: weights, optimizer and the run's state, complete or invisible.

`checkpoints/step_00000200/` is complete once `state.json` is there: it is written last, in one
rename, after every other file is on the disk. It has the length and the checksum of each, and a
checksum of its own.
"""

from __future__ import annotations

import contextlib
import dataclasses
import pathlib
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor

import tensorflow as tf

from trainer.errors import JobDirError
from trainer.files import gcs, mirror
from trainer.files.checksums import (
    DamagedError,
    Fingerprint,
    fingerprint,
    read_sealed,
    sync,
    verify,
    write_sealed,
)
from trainer.run import checkpoint_folder
from trainer.run.checkpoint_folder import STATE_FILE, step_of
from trainer.run.checkpoint_tensors import current_values, read_values, write_values
from trainer.run.run_state import RunState

Files = Mapping[str, Fingerprint]  # by name
BeforeVisible = Callable[[RunState], None]


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

    Attributes:
        saved: the state that was last saved, as it was then.
    """

    def __init__(
        self,
        folder: pathlib.Path,
        *,
        keep: int,
        warn: Callable[[str], None],
        variables: Mapping[str, tf.Variable],
        writes: bool = True,
    ) -> None:
        self.folder = folder
        self.keep = keep
        self.warn = warn
        self.variables = dict(variables)
        self.writes = writes
        self.saved: RunState | None = None
        self._thread = ThreadPoolExecutor(1, "checkpoint")
        self._written: Future[None] | None = None
        self._unpublished: gcs.UnavailableError | None = None
        # the step whose values this process last read or wrote, and their files
        self._on_disk: tuple[int, Files] | None = None

    def path(self, step: int) -> pathlib.Path:
        """The folder of the checkpoint of a step."""
        return checkpoint_folder.folder_of(self.folder, step)

    def complete(self) -> list[int]:
        """The steps with a complete checkpoint, oldest first."""
        try:
            state_files = list(self.folder.glob(f"step_*/{STATE_FILE}"))
        except FileNotFoundError:  # the folder was removed while it was read
            return []
        steps = [step_of(file.parent) for file in state_files]
        return sorted(step for step in steps if step is not None)

    def last_name(self) -> str:
        """The newest complete checkpoint, for messages."""
        steps = self.complete()
        return str(self.path(steps[-1])) if steps else "none"

    def save(self, state: RunState, before_visible: BeforeVisible = lambda state: None) -> None:
        """Takes the values as they are now.

        A thread writes them, then removes the checkpoints that need not be kept.

        Args:
            state: of the run now.
            before_visible: called by the thread with the state when the weights are written, before
                the checkpoint counts as complete.
        Raises:
            JobDirError: see `wait`, which is called first.
        """
        if not self.writes:
            return
        self.wait()
        values = current_values(self.variables)
        self.saved = dataclasses.replace(state, timeline=dict(state.timeline))
        self._written = self._thread.submit(self._write, self.saved, values, before_visible)

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

    def _write(
        self, state: RunState, values: Mapping[str, tf.Tensor], before_visible: BeforeVisible
    ) -> None:
        path = self.path(state.step)
        try:
            if self._on_disk is not None and self._on_disk[0] == state.step:
                # the values are those: only what is known beside them has changed
                self._make_visible(state, self._on_disk[1], before_visible)
                return
            files = self._write_weights(path, values)
            self._make_visible(state, files, before_visible)
            self._on_disk = state.step, files
        except gcs.UnavailableError as error:
            checkpoint_folder.remove_here(path)  # what the bucket does not have does not count
            self._unpublished = error
            self.warn(f"{error} Training goes on, and the next checkpoint is tried.")
            return
        except (OSError, tf.errors.OpError, JobDirError) as error:
            checkpoint_folder.remove_here(path)
            raise JobDirError(
                f"{path}: the checkpoint could not be written: {error}. Free some space or give"
                f" another --job_dir; the last complete checkpoint is {self.last_name()}."
            ) from None
        self._unpublished = None
        with contextlib.suppress(FileNotFoundError):  # the folder is removed: nothing to prune
            self._prune(state)

    def _write_weights(self, path: pathlib.Path, values: Mapping[str, tf.Tensor]) -> Files:
        checkpoint_folder.remove(path)
        path.mkdir(parents=True, exist_ok=True)
        written = write_values(path, values)
        files = {file.name: fingerprint(file) for file in written}
        sync([*written, path, path.parent])
        mirror.add(path)
        return files

    def _make_visible(self, state: RunState, files: Files, before_visible: BeforeVisible) -> None:
        before_visible(state)
        content = {**dataclasses.asdict(state), "files": files}
        write_sealed(self.path(state.step) / STATE_FILE, content)

    def restore_latest(self) -> RunState | None:
        """Restores the newest intact checkpoint; None where there never was one.

        A damaged one is passed over with a warning.

        Raises:
            JobDirError: there are checkpoints, and none is intact.
        """
        mirror.bring(self.folder, names=(STATE_FILE,))
        steps = self.complete()
        self._warn_of_incomplete(steps)
        for step in reversed(steps):
            try:
                return self.restore(step)
            except JobDirError as error:
                if step == steps[0]:
                    raise
                self.warn(f"{error} Trying the one before.")
        return None

    def _warn_of_incomplete(self, complete: list[int]) -> None:
        for path in mirror.folders(self.folder):
            step = step_of(path)
            if step is not None and step not in complete:
                self.warn(
                    f"{path} has no {STATE_FILE}: it was not written to its end, or has lost it,"
                    " and is passed over."
                )

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
            values = read_values(path, self.variables)
        except DamagedError as error:
            raise JobDirError(
                f"{path}: the checkpoint is damaged ({error.path.name}: {error.said}). "
                "Put back a copy of it, or train again in another --job_dir."
            ) from None
        for name, variable in self.variables.items():
            variable.assign(values[name])
        self._on_disk = step, files
        return state

    def _read_state(self, step: int) -> tuple[RunState, Files]:
        content = read_sealed(self.path(step) / STATE_FILE)
        files = content.pop("files")  # name -> [bytes, checksum]
        fingerprints = {name: Fingerprint(*file) for name, file in files.items()}
        return RunState.from_json(content), fingerprints

    def known_metrics(self) -> dict[int, Fingerprint]:
        """What metrics.jsonl was at each checkpoint whose state can be read, oldest first."""
        metrics = {}
        for step in self.complete():
            with contextlib.suppress(DamagedError):
                state, _ = self._read_state(step)
                metrics[step] = state.metrics
        return metrics

    def _prune(self, state: RunState) -> None:
        # Later steps are damaged ones that the run went on before; counted, they would push out
        # what it has just saved.
        earlier = [step for step in self.complete() if step <= state.step]
        kept = {*earlier[-self.keep :], state.best_step}
        for path in mirror.folders(self.folder):
            step = step_of(path)
            if step is None or step in kept or checkpoint_folder.has_foreign_files(path):
                continue
            checkpoint_folder.remove(path)
