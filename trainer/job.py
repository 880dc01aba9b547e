"""The job_dir: what a run writes, and whether it is ours to write."""

from __future__ import annotations

import json
import math
import os
import pathlib
import shutil
from collections.abc import Callable
from typing import Any

import yaml

from trainer import mirror, ownership
from trainer.data.ledger import Ledger
from trainer.data.prepare import Prepared, load
from trainer.errors import ConfigError, JobDirError
from trainer.resolve import Resolved
from trainer.storage import probe_writable, writable_path, write_json, write_text

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
        self.config_file = self.folder / "config.yaml"
        self.metrics_file = self.folder / "metrics.jsonl"
        self.checkpoints = writable_path(checkpoints) if checkpoints else self.folder / "checkpoints"
        self.model = writable_path(model) if model else self.folder / "model"
        self.logs = writable_path(logs) if logs else self.folder / "logs"

    def claim(self, resolved: Resolved) -> None:
        """Makes the folder and writes config.yaml, or finds that it goes on with the same config.

        Raises:
            JobDirError: not writable, or it belongs to another config.
        """
        if not self.writes:
            return
        mirror.bring(self.folder, nested=False)
        mirror.bring(self.logs)
        for folder in {self.folder, self.checkpoints.parent, self.model.parent, self.logs.parent}:
            probe_writable(folder)
        if self.config_file.exists() and self._has_checkpoints():  # a run that ended before its first one has nothing to lose
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


class MetricsFile:
    """metrics.jsonl: one object a log point; holds only numbers that a repeated run gives again."""

    def __init__(self, file: pathlib.Path, keep_bytes: int) -> None:
        """Opens the file and cuts off what was written after the checkpoint that the run goes on from."""
        file.touch()
        self._file = file.open("r+b")
        self._file.truncate(min(keep_bytes, file.stat().st_size))
        self._file.seek(0, 2)

    def write(self, step: int, split: str, values: dict[str, float]) -> None:
        """Appends one object."""
        clean = {name: value if math.isfinite(value) else None for name, value in values.items()}
        self._file.write(json.dumps({"step": step, "split": split, **clean}).encode() + b"\n")
        self._file.flush()

    def bytes(self) -> int:
        """The file's length."""
        return self._file.tell()

    def close(self) -> None:
        """Closes the file."""
        self._file.close()
