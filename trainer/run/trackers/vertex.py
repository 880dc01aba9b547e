"""Vertex AI Experiments: https://cloud.google.com/vertex-ai/docs/experiments.

In a job on Vertex AI its own project, region and service account hold; elsewhere
GOOGLE_CLOUD_PROJECT, GOOGLE_CLOUD_REGION and the application-default credentials.
"""

from __future__ import annotations

import logging
import math
import os
import re
import secrets
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from trainer.console import on_vertex
from trainer.errors import ConfigError, shown_value
from trainer.files import gcs
from trainer.run.trackers import require_package
from trainer.run.trackers.tracker import Ending, Point, Status, TrackedRun
from trainer.settings.schema import LogSettings

if TYPE_CHECKING:  # an optional package
    from google.cloud import aiplatform
    from google.protobuf import timestamp_pb2

PACKAGE = "google.cloud.aiplatform"
PROJECTS = ("GOOGLE_CLOUD_PROJECT", on_vertex.PROJECT)
EXPERIMENT, RUN = "AIP_EXPERIMENT_NAME", "AIP_EXPERIMENT_RUN_NAME"
STATUS = {Status.FINISHED: "COMPLETE", Status.FAILED: "FAILED", Status.STOPPED: "CANCELLED"}
EXPERIMENT_NAME = re.compile("[a-z0-9][a-z0-9-]{0,62}")
LONGEST_RUN_NAME = 48  # behind the experiment's, 121 characters in all


def require(settings: LogSettings) -> None:
    """See the package."""
    require_package("vertex", PACKAGE)
    if not _project():
        raise ConfigError(
            "log.trackers: vertex needs a project of Google Cloud. A job on Vertex AI has one;"
            " elsewhere set GOOGLE_CLOUD_PROJECT, and GOOGLE_CLOUD_REGION."
        )
    if settings.experiment and not EXPERIMENT_NAME.fullmatch(settings.experiment):
        raise ConfigError(
            "log.experiment: Vertex AI takes a-z, 0-9 and -, 63 characters at most, a letter or"
            f" digit first. Received {shown_value(settings.experiment)}."
        )


def _project() -> str | None:
    """The project, by its name or its number."""
    return next((os.environ[name] for name in PROJECTS if os.environ.get(name)), None)


def open_tracker() -> VertexTracker:
    """See the package."""
    return VertexTracker()


class VertexTracker:
    """A run of an experiment; where that has a TensorBoard instance, its curves are there too."""

    _run: aiplatform.ExperimentRun
    _has_curves: bool

    def __init__(self) -> None:
        from google.cloud import aiplatform

        _be_quiet()
        aiplatform.init(
            project=_project(),
            credentials=gcs.client()._credentials,
            api_endpoint=(os.environ.get(on_vertex.ENDPOINT) or "").rstrip("/") or None,
            api_transport="rest",
        )

    def start(self, run: TrackedRun, run_id: str | None) -> str:
        """See `Tracker`."""
        from google.cloud import aiplatform

        name = run.experiment or os.environ.get(EXPERIMENT) or "podtune"
        experiment = aiplatform.Experiment.get_or_create(name)
        self._has_curves = experiment.backing_tensorboard_resource_name is not None
        # of which a job that the SDK submits gets the whole name
        given = os.environ.get(RUN, "").removeprefix(f"{experiment.resource_name}-")
        wanted = run_id or given
        known = wanted and aiplatform.ExperimentRun.get(wanted, experiment=experiment)
        if known:
            self._run = known
            self._set_state("RUNNING")
        else:
            self._run = aiplatform.ExperimentRun.create(
                wanted or unique_name(run.name), experiment=experiment
            )
        self._run.log_params({**run.settings, **run.tags})
        return str(self._run.name)

    def _set_state(self, state: str) -> None:
        from google.cloud import aiplatform

        self._run.update_state(aiplatform.gapic.Execution.State[state])

    def log(self, points: Sequence[Point]) -> None:
        """See `Tracker`."""
        newest: dict[str, float] = {}
        for point in points:
            values = _finite(point.values)
            newest.update(values)
            if self._has_curves:
                self._run.log_time_series_metrics(values, point.step, _timestamp(point.time))
        self._run.log_metrics(newest)

    def finish(self, ending: Ending) -> None:
        """See `Tracker`; an experiment keeps no files."""
        if ending.results:
            self._run.log_metrics(_finite(ending.results))
        self._set_state(STATUS[ending.status])


def _be_quiet() -> None:
    """Lets the package's loggers, of which each has its level, say what is wrong alone."""
    for name in list(logging.root.manager.loggerDict):
        if name.startswith(PACKAGE):
            logging.getLogger(name).setLevel(logging.WARNING)


def _timestamp(seconds: float) -> timestamp_pb2.Timestamp:
    from google.protobuf import timestamp_pb2

    whole, part = divmod(seconds, 1)
    return timestamp_pb2.Timestamp(seconds=int(whole), nanos=int(part * 1e9))


def _finite(values: Mapping[str, float]) -> dict[str, float]:
    """Those that JSON has."""
    return {name: value for name, value in values.items() if math.isfinite(value)}


def unique_name(name: str) -> str:
    """A name as Vertex AI takes one, which no other run has."""
    plain = re.sub("[^a-z0-9]+", "-", name.lower()).strip("-") or "run"
    return f"{plain[:LONGEST_RUN_NAME].rstrip('-')}-{secrets.token_hex(4)}"
