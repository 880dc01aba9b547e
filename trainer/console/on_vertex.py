"""What Vertex AI tells a job through its environment, and what a job tells Vertex AI.

Source: https://cloud.google.com/vertex-ai/docs/training/code-requirements, …/using-managed-datasets
and …/using-hyperparameter-tuning.
"""

from __future__ import annotations

import contextlib
import json
import os
import pathlib
import time
from collections import deque
from collections.abc import Mapping
from typing import NamedTuple

from trainer.errors import ConfigError, shown_value
from trainer.files.mirror import SCHEME
from trainer.settings.setting import Setting, Settings

FOLDERS = {
    "model": "AIP_MODEL_DIR",
    "checkpoints": "AIP_CHECKPOINT_DIR",
    "logs": "AIP_TENSORBOARD_LOG_DIR",
}
DATA = {
    "train": "AIP_TRAINING_DATA_URI",
    "validation": "AIP_VALIDATION_DATA_URI",
    "test": "AIP_TEST_DATA_URI",
}
DATA_FORMAT = "AIP_DATA_FORMAT"
SOURCES = {"jsonl": "managed_dataset", "csv": "csv"}  # data format -> data.source
JOB_ID = "CLOUD_ML_JOB_ID"
PROJECT = "CLOUD_ML_PROJECT_ID"
JOB_VARIABLES = (JOB_ID, PROJECT, *FOLDERS.values())
TRIAL = "CLOUD_ML_TRIAL_ID"
# for another address of the API than Google's; gcloud follows it too
ENDPOINT = "CLOUDSDK_API_ENDPOINT_OVERRIDES_AIPLATFORM"
METRIC_FILE = "CLOUD_ML_HP_METRIC_FILE"
DEFAULT_METRIC_FILE = "/tmp/hypertune/output.metrics"
KEPT_ENTRIES = 100  # of each metric in the file


class Folders(NamedTuple):
    """Where a job keeps things; None where the environment says nothing."""

    job_dir: str | None = None
    model: str | None = None
    checkpoints: str | None = None
    logs: str | None = None


def is_job() -> bool:
    """Whether this process is a job on Vertex AI."""
    return any(os.environ.get(name) for name in JOB_VARIABLES)


def trial() -> str | None:
    """The number of the hyperparameter trial that this job is."""
    if os.environ.get(TRIAL):
        return os.environ[TRIAL]
    for name in ("CLUSTER_SPEC", "TF_CONFIG"):
        with contextlib.suppress(ValueError, AttributeError, TypeError, RecursionError):
            cluster = json.loads(os.environ.get(name) or "{}")
            if number := cluster.get("task", {}).get("trial"):
                return str(number)
    return None


def folders() -> Folders:
    """Those that the AIP_* variables name; the job_dir is the folder that holds the model."""
    named = {
        kind: os.environ.get(variable, "").rstrip("/") or None for kind, variable in FOLDERS.items()
    }
    parents = [folder.rpartition("/")[0] for folder in named.values() if folder]
    # a bucket itself has no folder above it
    usable = [parent for parent in parents if parent and not parent.endswith(":/")]
    return Folders(usable[0] if usable else None, **named)


def data_settings() -> Settings:
    """The settings of the managed dataset that the job was given; none without one.

    These are data.source, data.train, data.validation and data.test.

    Raises:
        ConfigError: it is in BigQuery, or of a format that is not known.
    """
    if not os.environ.get(DATA["train"]):
        return {}
    splits = {
        ("data", split): Setting(_dataset_url(variable), variable)
        for split, variable in DATA.items()
        if os.environ.get(variable)
    }
    data_format = os.environ.get(DATA_FORMAT, "jsonl")
    if data_format not in SOURCES:
        raise ConfigError(
            f"{DATA_FORMAT}: expected one of {', '.join(SOURCES)}. Received"
            f" {shown_value(data_format)}."
        )
    return {("data", "source"): Setting(SOURCES[data_format], DATA_FORMAT), **splits}


def _dataset_url(variable: str) -> str:
    url = os.environ[variable]
    if not url.startswith(SCHEME):
        raise ConfigError(
            f"{variable}: expected gs://…, as of a dataset of text. Received"
            f" {shown_value(url)}. A table of BigQuery is exported first: bq extract"
            " --destination_format NEWLINE_DELIMITED_JSON TABLE gs://BUCKET/data-*.jsonl,"
            " then --data.train=gs://BUCKET/data-*.jsonl"
        )
    return url


class TrialMetrics:
    """The file through which a hyperparameter trial reports.

    The platform reads it while the job runs. Outside trials nothing is written.
    """

    def __init__(self) -> None:
        self._file: pathlib.Path | None = None
        if trial():
            self._file = pathlib.Path(os.environ.get(METRIC_FILE) or DEFAULT_METRIC_FILE)
        self._entries: deque[Mapping[str, object]] = deque()

    def report(self, split: str, metrics: Mapping[str, float], step: int) -> None:
        """Adds an entry for each metric, named like validation.accuracy.

        Args:
            split: that was evaluated.
            metrics: name -> value.
            step: the optimizer step after which it was.
        """
        if self._file is None:
            return
        now = time.time()
        # Numbers as text, as Google's own package for this writes them.
        self._entries.extend(
            {
                "timestamp": now,
                "trial": trial(),
                f"{split}.{name}": str(float(value)),
                "global_step": str(step),
                "checkpoint_path": "",
            }
            for name, value in metrics.items()
        )
        while len(self._entries) > KEPT_ENTRIES * max(1, len(metrics)):
            self._entries.popleft()
        self._file.parent.mkdir(parents=True, exist_ok=True)
        temporary = self._file.with_name(f".{self._file.name}.tmp")
        lines = [json.dumps(entry) + "\n" for entry in self._entries]
        temporary.write_text("".join(lines), encoding="utf-8")
        os.replace(temporary, self._file)


def log_entry(
    message: str, fields: Mapping[str, object] | None = None, *, severity: str = "INFO"
) -> str:
    """A line of JSON that Cloud Logging takes apart.

    Args:
        message: for people.
        fields: that can be searched for, such as the step; one that is None is left out.
        severity: one of Cloud Logging's.

    Source: https://cloud.google.com/logging/docs/structured-logging.
    """
    entry: dict[str, object] = {"severity": severity, "message": message}
    if number := trial():
        entry["trial"] = number
    entry.update((name, value) for name, value in (fields or {}).items() if value is not None)
    return json.dumps(entry, ensure_ascii=False)
