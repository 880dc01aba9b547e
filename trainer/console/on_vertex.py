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
from typing import Any, NamedTuple

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
SOURCES = {"jsonl": "managed_dataset", "csv": "csv"}  # AIP_DATA_FORMAT -> data.source
JOB_VARIABLES = ("CLOUD_ML_JOB_ID", "CLOUD_ML_PROJECT_ID", *FOLDERS.values())
TRIAL = "CLOUD_ML_TRIAL_ID"
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
            if found := json.loads(os.environ.get(name) or "{}").get("task", {}).get("trial"):
                return str(found)
    return None


def folders() -> Folders:
    """Those that the AIP_* variables name; the job_dir is the folder that holds the model."""
    named = {
        kind: os.environ.get(variable, "").rstrip("/") or None for kind, variable in FOLDERS.items()
    }
    above = [
        parent
        for value in named.values()
        if value and (parent := value.rpartition("/")[0]) and not parent.endswith(":/")
    ]
    return Folders(above[0] if above else None, **named)


def data_settings() -> Settings:
    """data.source, .train, .validation and .test of the managed dataset that the job was given;
    nothing without one.

    Raises:
        ConfigError: it is in BigQuery, or of a format that is not known.
    """
    if not os.environ.get(DATA["train"]):
        return {}
    found: Settings = {}
    for split, variable in DATA.items():
        if value := os.environ.get(variable):
            if not value.startswith(SCHEME):
                raise ConfigError(
                    f"{variable}: expected gs://…, as of a dataset of text. Received"
                    f" {shown_value(value)}. A table of BigQuery is exported first: bq extract"
                    " --destination_format NEWLINE_DELIMITED_JSON TABLE gs://BUCKET/data-*.jsonl,"
                    " then --data.train=gs://BUCKET/data-*.jsonl"
                )
            found["data", split] = Setting(value, variable)
    kind = os.environ.get("AIP_DATA_FORMAT", "jsonl")
    if kind not in SOURCES:
        raise ConfigError(
            f"AIP_DATA_FORMAT: expected one of {', '.join(SOURCES)}. Received {shown_value(kind)}."
        )
    return {("data", "source"): Setting(SOURCES[kind], "AIP_DATA_FORMAT"), **found}


class TrialMetrics:
    """The file through which a hyperparameter trial reports; the platform reads it while the job
    runs. Outside trials nothing is written.
    """

    def __init__(self) -> None:
        self._file = (
            pathlib.Path(os.environ.get(METRIC_FILE) or DEFAULT_METRIC_FILE) if trial() else None
        )
        self._entries: deque[dict[str, Any]] = deque()

    def report(self, split: str, metrics: Mapping[str, float], step: int) -> None:
        """Adds an entry for each metric, named like validation.accuracy."""
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
        temporary.write_text(
            "".join(json.dumps(entry) + "\n" for entry in self._entries), encoding="utf-8"
        )
        os.replace(temporary, self._file)


def log_entry(message: str, *, severity: str = "INFO", **fields: Any) -> str:
    """A line of JSON that Cloud Logging takes apart: severity, message and labels that can be
    searched for.

    Source: https://cloud.google.com/logging/docs/structured-logging.
    """
    known = {"severity": severity, "message": message, **({"trial": trial()} if trial() else {})}
    return json.dumps(
        {**known, **{name: value for name, value in fields.items() if value is not None}},
        ensure_ascii=False,
    )
