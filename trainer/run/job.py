"""The job_dir: what a run writes, and whether it is ours to write."""

from __future__ import annotations

import json
import os
import pathlib
import shutil
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from trainer.data.ledger import Ledger
from trainer.data.prepare import Prepared, load
from trainer.errors import ConfigError, JobDirError, UserError, shown_name, shown_value
from trainer.files import mirror, ownership
from trainer.files.checksums import DamagedError, reason
from trainer.files.noted_files import NotedFiles
from trainer.files.writing import json_text, probe_writable, writable_path, write_text
from trainer.run import job_files
from trainer.run.job_files import Copies
from trainer.run.job_lock import JobLock
from trainer.run.metrics_file import MetricsFile
from trainer.settings.resolve import Resolved, resolve

# What may differ when a job goes on: it changes neither the numbers nor what is prepared.
FREE = (
    "distribution.strategy",
    "distribution.replicas",
    "distribution.collectives",
    "distribution.tpu",
    "distribution.tpu_wait_minutes",
    "train.micro_batches",
    "export.format",
    "export.directory",
    "export.version",
    "export.check_examples",
    "data.cache_dir",
    "train.steps_per_call",
    "train.keep_checkpoints",
    "train.checkpoint_every_steps",
    "train.evaluation_batch_size",
)

DATA_FILE = ".data"  # the digest of the data
VOCABULARY_FILE, LEDGER_FILE, CALIBRATION_FILE, RESULTS_FILE = (
    "vocabulary.json",
    "ledger.json",
    "calibration.json",
    "results.json",
)
SHARED_PREPARATION = ".prepared"  # in the job_dir, for the other workers


class Job:
    """The files of one job_dir.

    Args:
        folder: the job_dir, a path or gs://.
        model, checkpoints, logs: where these are, if not in folders of that name in the job_dir.

    Attributes:
        folder: the job_dir on this machine; what stands there for Cloud Storage is brought and
            published by trainer.files.mirror. So are the others.
        writes: whether this process writes them; on several workers the chief does.
    """

    def __init__(
        self,
        folder: str | os.PathLike[str],
        *,
        model: str | None = None,
        checkpoints: str | None = None,
        logs: str | None = None,
    ) -> None:
        self.folder = writable_path(folder)
        self.writes = True
        self._lock: JobLock | None = None
        self._copies: Copies | None = None
        self.config_file = self.folder / "config.yaml"
        self.metrics_file = self.folder / "metrics.jsonl"
        self.checkpoints = (
            writable_path(checkpoints) if checkpoints else self.folder / "checkpoints"
        )
        self.model = writable_path(model) if model else self.folder / "model"
        self.logs = writable_path(logs) if logs else self.folder / "logs"
        self.files = NotedFiles(self.folder)

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
            self._lock = JobLock.take(self.folder, work)
        except OSError as error:
            raise JobDirError(
                f"--job_dir={mirror.shown(self.folder)}: its lock cannot be taken:"
                f" {error.strerror}. Give a --job_dir that you may write to."
            ) from None
        job_files.mark(self.folder)

    def release(self) -> None:
        """Lets other processes have the job_dir."""
        if self._lock is not None:
            self._lock.release()
            self._lock = None

    def claim(self, resolved: Resolved) -> list[str]:
        """Takes the folder and writes config.yaml, or finds that it goes on with the same config.

        Returns:
            what is damaged, a line each; training writes it anew.
        Raises:
            JobDirError: not writable, in use, not ours, or it belongs to another config.
        """
        if not self.writes:
            return []
        self.hold("train")
        mirror.bring(self.folder, nested=False)
        mirror.bring(self.logs)
        for folder in {self.folder, self.checkpoints.parent, self.model.parent, self.logs.parent}:
            probe_writable(folder)
        damaged = []
        finished = (self.folder / RESULTS_FILE).exists() and self.config_file.exists()
        # a run that ended before its first one has nothing to lose
        if finished or self._has_checkpoints():
            self._refuse_other(resolved)
            damaged = [
                f"{line} It is written anew." for line in [*self.damaged(), *self._changed_config()]
            ]
        self.files.note_config(resolved.config.model_dump())
        write_text(self.config_file, resolved.to_yaml())
        return damaged

    def damaged(self) -> list[str]:
        """What is damaged, a line each."""
        if problem := self.files.problem():
            return [f"{problem} The files of the job_dir cannot be verified."]
        return [str(error) for error in self.files.changed()]

    def _changed_config(self) -> list[str]:
        begun = self.files.known_config()
        there = read_values(self.config_file)
        as_begun = begun is None or (
            there is not None and not differing(begun, there, "then", "now")
        )
        return (
            []
            if as_begun
            else [f"{self.config_file} is missing, or was changed since the run began."]
        )

    def _has_checkpoints(self) -> bool:
        mirror.bring(self.checkpoints, names=("state.json",))
        return any(self.checkpoints.glob("step_*/state.json"))

    def _refuse_other(self, resolved: Resolved) -> None:
        begun = self.files.known_config()
        now = resolved.config.model_dump()
        there = read_values(self.config_file)
        if begun is None and there is None:
            raise JobDirError(
                f"{self.config_file}: missing or damaged, and there are checkpoints: nothing says"
                " with which config that run was begun. Put back a copy of the file. To start"
                " anew: another --job_dir, or remove the folder."
            )
        differences = differing(begun or there, now, "there", "here")
        if not differences:
            return
        if (
            begun is not None
            and there is not None
            and (edited := differing(begun, there, "when the run began", "now"))
        ):
            raise JobDirError(
                f"{self.config_file} was changed since its run began:\n"
                + "\n".join(edited)
                + "\nTo go on with that run, put those values back. To train with the new ones:"
                " --config with a copy of the file, and another --job_dir."
            )
        raise JobDirError(
            f"--job_dir={self.folder} belongs to a run with another config:\n"
            + "\n".join(differences)
            + f"\nTo go on with that run: --config={self.config_file}. To start this one: another"
            " --job_dir, or remove the folder."
        )

    def require_trained(self) -> None:
        """Brings what a training run left in the job_dir.

        Raises:
            ConfigError: there was none.
            JobDirError: its config was changed since, or a file that the model needs is damaged.
        """
        mirror.bring(self.folder, nested=False)
        if not self.config_file.exists():
            raise ConfigError(
                f"--job_dir={self.folder}: no config.yaml there. Expected the job_dir of a training"
                " run."
            )
        begun = self.files.known_config()
        there = read_values(self.config_file)
        if (
            begun is not None
            and there is not None
            and (edited := differing(begun, there, "when the run began", "now"))
        ):
            raise JobDirError(
                f"{self.config_file} was changed since its run began:\n"
                + "\n".join(edited)
                + "\nPut those values back. To use others, give them as flags, such as"
                " --train.evaluation_batch_size=8."
            )
        self.read_vocabulary()  # before anything costly
        self.read_calibration()

    def mark(self, wait: Callable[[], None]) -> str:
        """What only those read that see the same folder: the chief writes it, then all `wait`, then
        all read.
        """
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
        """Keeps the ledger, and what the head learnt from train (the label names), for predict and
        export.

        Raises:
            JobDirError: there are checkpoints, of other data.
        """
        if not self.writes:
            return
        digest = prepared.digest()
        known = (self.folder / DATA_FILE).exists() or not self.files.problem()
        if known and not self.files.is_noted(DATA_FILE, digest) and self._has_checkpoints():
            raise JobDirError(
                f"--job_dir={self.folder} belongs to a run on other data: the files, their texts or"
                " their labels have changed since it began. To go on with that run, put the data"
                " back. To start anew: another --job_dir, or remove the folder."
            )
        written = {LEDGER_FILE: prepared.ledger.entries, VOCABULARY_FILE: prepared.vocabulary}
        self.files.write(
            {DATA_FILE: digest, **{name: json_text(value) for name, value in written.items()}}
        )

    def write_ledger(self, ledger: Ledger) -> None:
        """Keeps what was changed or lost."""
        self.write_json(LEDGER_FILE, ledger.entries)

    def write_json(self, name: str, value: Mapping[str, Any]) -> None:
        """Writes a file of the job_dir, and notes what it is."""
        self.files.write({name: json_text(value)})

    def share(self, prepare: Callable[[], Prepared]) -> Prepared:
        """What `prepare` returns, published for the other workers."""
        prepared = prepare()
        folder = self.folder / SHARED_PREPARATION
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
        """Keeps what the small files hold now, for `look_after`; with `metrics`, which is written
        no more, that one too.
        """
        if not self.writes:
            return
        self._copies = Copies(self.folder)
        if metrics is not None:
            self._copies.add(metrics.name, metrics.read_bytes())

    def look_after(self, metrics: MetricsFile | None = None, *, last: bool = False) -> Loss:
        """Looks whether the job_dir is still there, and writes anew what someone has removed of its
        small files.

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
        return self.files.is_noted(DATA_FILE, prepared.digest())

    def read_vocabulary(self) -> dict[str, Any]:
        """What the head learnt from train."""
        vocabulary = self._read_json(VOCABULARY_FILE, self._written_by_training())
        if vocabulary is None:
            raise JobDirError(
                f"{self.folder / VOCABULARY_FILE}: missing. Train first: --mode=train"
                f" --job_dir={self.folder}."
            )
        return vocabulary

    def read_calibration(self) -> dict[str, Any] | None:
        """What validation has decided, such as a threshold; None where it decides nothing."""
        return self._read_json(CALIBRATION_FILE, self._written_by_training())

    def read_results(self) -> dict[str, Any]:
        """What is known of how good the model is; empty where nothing is."""
        if not (self.folder / RESULTS_FILE).exists():
            return {}
        return (
            self._read_json(
                RESULTS_FILE,
                "Put back a copy of it, or remove it: evaluation then writes it anew, without the"
                " times of training.",
            )
            or {}
        )

    def _written_by_training(self) -> str:
        return (
            "Put back a copy of it, or let the training, which goes on where it ended, write it"
            f" anew: --mode=train --config={self.config_file} --job_dir={self.folder}"
        )

    def _read_json(self, name: str, remedy: str) -> dict[str, Any] | None:
        try:
            text = self.files.read(name)
            return None if text is None else json.loads(text)
        except DamagedError as error:
            raise JobDirError(f"{error} {remedy}") from None
        except ValueError as error:  # only where no checksum tells
            raise JobDirError(
                f"{self.folder / name} is damaged ({reason(error)}). {remedy}"
            ) from None


class Loss(NamedTuple):
    """What was removed from a job_dir while a run was going on, and is written anew.

    Attributes:
        whole: whether the folder was removed, with all that was in it.
        files: the names of the small files.
    """

    whole: bool = False
    files: tuple[str, ...] = ()


def read_values(config_file: pathlib.Path) -> dict[str, dict[str, Any]] | None:
    """The values of a config.yaml by section and key; None where it is not there, or is none."""
    try:
        return resolve(config_file, {}).config.model_dump()
    except UserError:
        return None


def differing(
    one: Mapping[str, Any], other: Mapping[str, Any], called: str, other_called: str
) -> list[str]:
    """The settings that may not differ when a job goes on, and do; a line each."""
    # as JSON, in which one of them was kept, has them
    one, other = (json.loads(json_text(values)) for values in (one, other))
    keys = [
        (section, key)
        for section in {**one, **other}
        for key in {**one.get(section, {}), **other.get(section, {})}
    ]
    values = [
        (f"{section}.{key}", one.get(section, {}).get(key), other.get(section, {}).get(key))
        for section, key in keys
    ]
    return [
        f"  {shown_name(key)}: {shown_value(value)} {called}, {shown_value(another)} {other_called}"
        for key, value, another in values
        if key not in FREE and value != another
    ]
