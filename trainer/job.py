"""The job_dir: what a run writes, and whether it is ours to write."""

from __future__ import annotations

import contextlib
import json
import math
import os
import pathlib
import shutil
from collections.abc import Callable
from typing import Any, NamedTuple

import yaml

from trainer import job_files, mirror, ownership
from trainer.data.ledger import Ledger
from trainer.data.prepare import Prepared, load
from trainer.errors import ConfigError, JobDirError
from trainer.job_files import Copies
from trainer.job_lock import JobLock
from trainer.resolve import Resolved
from trainer.storage import atomic_write, probe_writable, writable_path, write_json, write_text

# What may differ when a job goes on: it changes neither the numbers nor what is prepared.
FREE = ("distribution.strategy", "distribution.replicas", "distribution.collectives", "distribution.tpu", "distribution.tpu_wait_minutes",
        "train.micro_batches", "export.format", "export.directory", "export.version", "export.check_examples", "data.cache_dir", "train.steps_per_call",
        "train.keep_checkpoints", "train.checkpoint_every_steps", "train.evaluation_batch_size")

SHARED_PREPARATION = ".prepared"  # in the job_dir, for the other workers


class Job:
    """The files of one job_dir.

    Args:
        folder: the job_dir, a path or gs://.
        model, checkpoints, logs: where these are, if not in folders of that name in the job_dir.

    Attributes:
        folder: the job_dir on this machine; what stands there for Cloud Storage is brought and published by trainer.mirror. So are the others.
        writes: whether this process writes them; on several workers the chief does.
    """

    def __init__(self, folder: str | os.PathLike[str], *, model: str | None = None, checkpoints: str | None = None, logs: str | None = None) -> None:
        self.folder, self.writes = writable_path(folder), True
        self._lock: JobLock | None = None
        self._copies: Copies | None = None
        self.config_file = self.folder / "config.yaml"
        self.metrics_file = self.folder / "metrics.jsonl"
        self.checkpoints = writable_path(checkpoints) if checkpoints else self.folder / "checkpoints"
        self.model = writable_path(model) if model else self.folder / "model"
        self.logs = writable_path(logs) if logs else self.folder / "logs"

    def hold(self, work: str) -> None:
        """Takes the job_dir for this process until `release`; of several workers the chief does.

        Args:
            work: what it is for, such as "train".
        Raises:
            JobDirError: not writable, not ours, or another process is at work there.
        """
        if not self.writes or self._lock is not None:
            return
        mirror.bring(self.folder, nested=False)
        probe_writable(self.folder)
        job_files.require_own(self.folder, self.checkpoints, self.logs)
        try:
            self._lock = JobLock(self.folder, work)
        except OSError as error:
            raise JobDirError(f"--job_dir={mirror.shown(self.folder)}: its lock cannot be taken: {error.strerror}. "
                              "Give a --job_dir that you may write to.") from None
        job_files.mark(self.folder)

    def release(self) -> None:
        """Lets other processes have the job_dir."""
        if self._lock is not None:
            self._lock.release()
            self._lock = None

    def claim(self, resolved: Resolved) -> None:
        """Takes the folder and writes config.yaml, or finds that it goes on with the same config.

        Raises:
            JobDirError: not writable, in use, not ours, or it belongs to another config.
        """
        if not self.writes:
            return
        self.hold("train")
        mirror.bring(self.folder, nested=False)
        mirror.bring(self.logs)
        for folder in {self.folder, self.checkpoints.parent, self.model.parent, self.logs.parent}:
            probe_writable(folder)
        finished = (self.folder / "results.json").exists()
        if self.config_file.exists() and (finished or self._has_checkpoints()):  # a run that ended before its first one has nothing to lose
            self._refuse_other(resolved)
        write_text(self.config_file, resolved.to_yaml())

    def _has_checkpoints(self) -> bool:
        mirror.bring(self.checkpoints, names=("state.json",))
        return any(self.checkpoints.glob("step_*/state.json"))

    def _refuse_other(self, resolved: Resolved) -> None:
        before = yaml.safe_load(self.config_file.read_text(encoding="utf-8"))
        now = yaml.safe_load(resolved.to_yaml())
        differences = [f"  {section}.{key}: {before.get(section, {}).get(key)!r} there, {now.get(section, {}).get(key)!r} here"
                       for section in {**before, **now} for key in {**before.get(section, {}), **now.get(section, {})}
                       if f"{section}.{key}" not in FREE and before.get(section, {}).get(key) != now.get(section, {}).get(key)]
        if differences:
            raise JobDirError(f"--job_dir={self.folder} belongs to a run with another config:\n" + "\n".join(differences) +
                              f"\nTo go on with that run: --config={self.config_file}. To start this one: another --job_dir, or remove the folder.")

    def require_trained(self) -> None:
        """Brings what a training run left in the job_dir. Raises ConfigError where there was none."""
        mirror.bring(self.folder, nested=False)
        if not self.config_file.exists():
            raise ConfigError(f"--job_dir={self.folder}: no config.yaml there. Expected the job_dir of a training run.")

    def mark(self, wait: Callable[[], None]) -> str:
        """What only those read that see the same folder: the chief writes it, then all `wait`, then all read."""
        file = self.folder / ".started"
        if self.writes:
            write_text(file, os.urandom(8).hex())
        wait()
        if not self.writes:
            mirror.bring(file)
        try:
            return file.read_text(encoding="utf-8")
        except OSError:
            return "not there"

    def write_preparation(self, prepared: Prepared) -> None:
        """Keeps the ledger, and what the head learnt from train (the label names), for predict and export.

        Raises:
            JobDirError: there are checkpoints, of other data.
        """
        if not self.writes:
            return
        digest, file = prepared.digest(), self.folder / ".data"
        if file.exists() and file.read_text(encoding="utf-8") != digest and self._has_checkpoints():
            raise JobDirError(f"--job_dir={self.folder} belongs to a run on other data: the files, their texts or their labels have changed since it began. "
                              "To go on with that run, put the data back. To start anew: another --job_dir, or remove the folder.")
        write_text(file, digest)
        self.write_ledger(prepared.ledger)
        write_json(self.folder / "vocabulary.json", prepared.vocabulary)

    def write_ledger(self, ledger: Ledger) -> None:
        """Keeps what was changed or lost."""
        write_json(self.folder / "ledger.json", ledger.entries)

    def share(self, prepare: Callable[[], Prepared]) -> Prepared:
        """What `prepare` returns, published for the other workers."""
        prepared, folder = prepare(), self.folder / SHARED_PREPARATION
        shutil.rmtree(folder, ignore_errors=True)  # of this machine's copy of the bucket
        shutil.copytree(prepared.folder, folder, copy_function=os.link)
        ownership.mark(folder)
        ownership.publish(folder, last=("ledger.json",))
        return prepared

    def shared(self) -> Prepared:
        """What the chief has prepared."""
        mirror.bring(self.folder / SHARED_PREPARATION)
        return load(self.folder / SHARED_PREPARATION, reused=True)

    def publish_progress(self, metrics_bytes: int) -> None:
        """Publishes the metrics up to there, and the logs; both are written to meanwhile."""
        mirror.publish_beginning(self.metrics_file, metrics_bytes)
        mirror.add(self.logs)

    def copy_files(self, *, metrics: pathlib.Path | None = None) -> None:
        """Keeps what the small files hold now, for `look_after`; with `metrics`, which is written no more, that one too."""
        if not self.writes:
            return
        self._copies = Copies(self.folder)
        if metrics is not None:
            self._copies.add(metrics.name, metrics.read_bytes())

    def look_after(self, metrics: MetricsFile | None = None, *, last: bool = False) -> Loss:
        """Looks whether the job_dir is still there, and writes anew what someone has removed of its small files.

        Args:
            last: of a bucket, look now; else it is known from the last sign of life.
        Raises:
            JobDirError: another process has it now.
        """
        if not self.writes or self._lock is None or self._copies is None:
            return Loss()
        whole = self._lock.require(ask=last)
        restored = self._copies.restore(ask=not whole)
        if metrics is not None and metrics.restore():
            restored.append(self.metrics_file.name)
        return Loss(not whole and bool(restored), tuple(restored))

    def is_of(self, prepared: Prepared) -> bool:
        """Whether this is the data that the job was trained and evaluated on."""
        file = self.folder / ".data"
        return file.exists() and file.read_text(encoding="utf-8") == prepared.digest()

    def read_vocabulary(self) -> dict[str, Any]:
        """What the head learnt from train."""
        file = self.folder / "vocabulary.json"
        if not file.exists():
            raise JobDirError(f"{file}: missing. Train first: --mode=train --job_dir={self.folder}.")
        return json.loads(file.read_text(encoding="utf-8"))


class Loss(NamedTuple):
    """What was removed from a job_dir while a run was going on, and is written anew.

    Attributes:
        whole: whether the folder was removed, with all that was in it.
        files: the names of the small files.
    """

    whole: bool = False
    files: tuple[str, ...] = ()


class MetricsFile:
    """metrics.jsonl: one object a log point; holds only numbers that a repeated run gives again."""

    def __init__(self, file: pathlib.Path, keep_bytes: int) -> None:
        """Opens the file and cuts off what was written after the checkpoint that the run goes on from."""
        file.touch()
        self._path = file
        self._file = file.open("r+b")
        self._file.truncate(min(keep_bytes, file.stat().st_size))
        self._file.seek(0, 2)

    def write(self, step: int, split: str, values: dict[str, float]) -> None:
        """Appends one object."""
        clean = {name: value if math.isfinite(value) else None for name, value in values.items()}
        self._file.write(json.dumps({"step": step, "split": split, **clean}).encode() + b"\n")
        self._file.flush()

    def restore(self) -> bool:
        """Writes the file anew where it was removed or replaced since it was opened; whether it was."""
        with contextlib.suppress(FileNotFoundError):
            if os.path.samestat(self._path.stat(), os.fstat(self._file.fileno())):
                return False
        self._file.seek(0)
        with atomic_write(self._path, "wb") as file:
            shutil.copyfileobj(self._file, file)  # which is there for as long as it is open
        self._file.close()
        self._file = self._path.open("r+b")
        self._file.seek(0, 2)
        return True

    def bytes(self) -> int:
        """The file's length."""
        return self._file.tell()

    def close(self) -> None:
        """Closes the file."""
        self._file.close()
