"""The job_dir: what a run writes there, and what it finds there again."""

from __future__ import annotations

import contextlib
import json
import os
import pathlib
import shutil
from collections.abc import Callable, Mapping

from trainer.data.ledger import Ledger
from trainer.data.prepare import Prepared, load
from trainer.data.reader import Reader
from trainer.errors import ConfigError, JobDirError
from trainer.files import mirror, ownership
from trainer.files.checksums import DamagedError, reason
from trainer.files.json_file import JsonObject
from trainer.files.noted_files import NotedFiles
from trainer.files.writing import json_text, probe_writable, writable_path, write_text
from trainer.run import job_config, job_files
from trainer.run.job_files import Copies, Removal
from trainer.run.job_lock import JobLock
from trainer.run.metrics_file import MetricsFile
from trainer.settings.resolve import Resolved

DATA_FILE = ".data"  # the digest of the data
VOCABULARY_FILE = "vocabulary.json"
LEDGER_FILE = "ledger.json"
PLAN_FILE = "plan.json"
CALIBRATION_FILE = "calibration.json"
RESULTS_FILE = "results.json"
STARTED_FILE = ".started"  # of the last start on several workers
SHARED_PREPARATION = ".prepared"  # for the other workers


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
        self.checkpoints = self._folder_of("checkpoints", checkpoints)
        self.model = self._folder_of("model", model)
        self.logs = self._folder_of("logs", logs)
        self.files = NotedFiles(self.folder)

    def _folder_of(self, name: str, elsewhere: str | None) -> pathlib.Path:
        return writable_path(elsewhere) if elsewhere else self.folder / name

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

    def settled(self, resolved: Resolved) -> Resolved:
        """The config with what it leaves open as the job was begun with, where it was begun."""
        if resolved.config.train.precision != "auto":
            return resolved
        mirror.bring(self.folder, nested=False)
        begun = job_config.read_values(self.config_file)
        if begun is None:
            return resolved
        precision = begun["train"]["precision"]
        return resolved.with_value("train", "precision", precision, "as the job was begun")

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
        config = resolved.config.model_dump()
        damaged = []
        # a run that ended before its first checkpoint has nothing to lose
        if self._is_finished() or self._has_checkpoints():
            begun = self.files.known_config()
            job_config.require_same(self.folder, self.config_file, begun, config)
            damaged = [*self.damaged(), *self._changed_config()]
        self.files.note_config(config)
        write_text(self.config_file, resolved.to_yaml())
        return [f"{line} It is written anew." for line in damaged]

    def _is_finished(self) -> bool:
        return (self.folder / RESULTS_FILE).exists() and self.config_file.exists()

    def _has_checkpoints(self) -> bool:
        mirror.bring(self.checkpoints, names=("state.json",))
        return any(self.checkpoints.glob("step_*/state.json"))

    def damaged(self) -> list[str]:
        """What is damaged, a line each."""
        problem = self.files.problem()
        if problem is not None:
            return [f"{problem} The files of the job_dir cannot be verified."]
        return [str(error) for error in self.files.changed()]

    def _changed_config(self) -> list[str]:
        if job_config.is_as_begun(self.config_file, self.files.known_config()):
            return []
        return [f"{self.config_file} is missing, or was changed since the run began."]

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
        job_config.require_unedited(
            self.config_file,
            self.files.known_config(),
            "Put those values back. To use others, give them as flags, such as"
            " --train.evaluation_batch_size=8.",
        )
        self.read_vocabulary()  # before anything costly
        self.read_calibration()

    def mark(self, wait: Callable[[], None]) -> str:
        """What only those read that see the same folder.

        Args:
            wait: called between the chief's writing and the others' reading, until all call it.
        """
        file = self.folder / STARTED_FILE
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
        """Keeps the ledger, and what the head learnt from train, for predict and export.

        Raises:
            JobDirError: there are checkpoints, of other data.
        """
        if not self.writes:
            return
        digest = prepared.digest()
        is_known = (self.folder / DATA_FILE).exists() or not self.files.problem()
        if is_known and not self.files.is_noted(DATA_FILE, digest) and self._has_checkpoints():
            raise JobDirError(
                f"--job_dir={self.folder} belongs to a run on other data: the files, their texts or"
                " their labels have changed since it began. To go on with that run, put the data"
                " back. To start anew: another --job_dir, or remove the folder."
            )
        contents = {
            DATA_FILE: digest,
            LEDGER_FILE: json_text(prepared.ledger.entries),
            VOCABULARY_FILE: json_text(prepared.vocabulary),
        }
        self.files.write(contents)

    def write_ledger(self, ledger: Ledger) -> None:
        """Keeps what was changed or lost."""
        self.write_json(LEDGER_FILE, ledger.entries)

    def write_json(self, name: str, value: Mapping[str, object]) -> None:
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

    def shared(self, reader: Reader) -> Prepared:
        """What the chief has prepared, by the same reader."""
        mirror.bring(self.folder / SHARED_PREPARATION)
        return load(self.folder / SHARED_PREPARATION, reader.losses_of_data, reused=True)

    def publish_progress(self, metrics_bytes: int) -> None:
        """Publishes the metrics up to there, and the logs; both are written to meanwhile."""
        mirror.publish_beginning(self.metrics_file, metrics_bytes)
        mirror.add(self.logs)

    def copy_files(self, *, metrics: pathlib.Path | None = None) -> None:
        """Keeps what the small files hold now, for `look_after`.

        Args:
            metrics: metrics.jsonl, when it is written no more.
        """
        if not self.writes:
            return
        self._copies = Copies(self.folder)
        if metrics is not None:
            self._copies.add(metrics.name, metrics.read_bytes())

    def look_after(self, metrics: MetricsFile | None = None, *, last: bool = False) -> Removal:
        """Looks whether the job_dir is still there.

        Of its small files it writes anew what someone has removed.

        Args:
            metrics: metrics.jsonl, while it is written.
            last: of a bucket, look now; else it is known from the last sign of life.
        Raises:
            JobDirError: another process has it now.
        """
        if not self.writes or self._lock is None or self._copies is None:
            return Removal()
        is_there = self._lock.require(ask=last)
        restored = self._copies.restore(ask=not is_there)
        if metrics is not None and metrics.restore():
            restored.append(self.metrics_file.name)
        return Removal(whole=not is_there and bool(restored), files=tuple(restored))

    def is_of(self, prepared: Prepared) -> bool:
        """Whether this is the data that the job was trained and evaluated on."""
        return self.files.is_noted(DATA_FILE, prepared.digest())

    def read_vocabulary(self) -> dict[str, object]:
        """What the head learnt from train.

        Raises:
            JobDirError: it is damaged or missing.
        """
        vocabulary = self._read_json(VOCABULARY_FILE, self._written_by_training())
        if vocabulary is None:
            raise JobDirError(
                f"{self.folder / VOCABULARY_FILE}: missing. Train first: --mode=train"
                f" --job_dir={self.folder}."
            )
        return vocabulary

    def read_calibration(self) -> dict[str, float]:
        """What validation has decided, such as a threshold; empty where it decides nothing."""
        decided = self._read_json(CALIBRATION_FILE, self._written_by_training()) or {}
        return {name: value for name, value in decided.items() if isinstance(value, (int, float))}

    def read_results(self) -> dict[str, object]:
        """What is known of how good the model is; empty where nothing is."""
        if not (self.folder / RESULTS_FILE).exists():
            return {}
        remedy = (
            "Put back a copy of it, or remove it: evaluation then writes it anew, without the"
            " times of training."
        )
        return self._read_json(RESULTS_FILE, remedy) or {}

    def told(self, name: str) -> JsonObject:
        """What a file says; {} where it is missing or damaged, which who needs it tells."""
        with contextlib.suppress(DamagedError, ValueError):
            content = json.loads(self.files.read(name) or "{}")
            return dict(content) if isinstance(content, dict) else {}
        return {}

    def _written_by_training(self) -> str:
        return (
            "Put back a copy of it, or let the training, which goes on where it ended, write it"
            f" anew: --mode=train --config={self.config_file} --job_dir={self.folder}"
        )

    def _read_json(self, name: str, remedy: str) -> dict[str, object] | None:
        try:
            content = self.files.read(name)
            return None if content is None else json.loads(content)
        except DamagedError as error:
            raise JobDirError(f"{error} {remedy}") from None
        except ValueError as error:  # only where no checksum tells
            raise JobDirError(
                f"{self.folder / name} is damaged ({reason(error)}). {remedy}"
            ) from None
