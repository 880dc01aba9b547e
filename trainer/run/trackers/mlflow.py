"""MLflow: https://mlflow.org.

MLFLOW_TRACKING_URI and MLflow's other variables hold; without one, the store is ./mlflow.db.
"""

from __future__ import annotations

import itertools
import os
import time
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, TypeVar

from trainer.run.trackers import require_package
from trainer.run.trackers.reasons import without_credentials
from trainer.run.trackers.tracker import Ending, Point, Status, TrackedRun
from trainer.settings.schema import LogSettings

if TYPE_CHECKING:  # an optional package
    from mlflow.entities import Metric, Run

Entity = TypeVar("Entity")
LONGEST_VALUE = 6000  # characters of a parameter
PARAMS_AT_ONCE = 100  # that the server takes
METRICS_AT_ONCE = 1000
STATUS = {Status.FINISHED: "FINISHED", Status.FAILED: "FAILED", Status.STOPPED: "KILLED"}
# Its own are patient for minutes; here what fails is tried again at the end of the run.
DEFAULTS = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2", "MLFLOW_LOGGING_LEVEL": "WARNING"}


def require(settings: LogSettings) -> None:
    """See the package."""
    require_package("mlflow", "mlflow")


def open_tracker() -> MlflowTracker:
    """See the package."""
    for name, value in DEFAULTS.items():
        os.environ.setdefault(name, value)
    return MlflowTracker()


class MlflowTracker:
    """A run of MLflow; the one that `mlflow.start_run` has made active, if any, is left alone."""

    def __init__(self) -> None:
        from mlflow import MlflowClient

        self._client = MlflowClient()
        self._run_id = ""

    def start(self, run: TrackedRun, run_id: str | None) -> str:
        """See `Tracker`."""
        known = self._known(run_id or os.environ.get("MLFLOW_RUN_ID"))
        if known is None:
            known = self._new(run)
        else:
            self._client.update_run(known.info.run_id, status="RUNNING")
        self._run_id = str(known.info.run_id)
        self._log_params(run, known)
        return self._run_id

    def _known(self, run_id: str | None) -> Run | None:
        """The run of an id, unless the store has none, or it was removed."""
        from mlflow.exceptions import MlflowException

        if not run_id:
            return None
        try:
            run = self._client.get_run(run_id)
        except MlflowException as error:
            if error.error_code == "RESOURCE_DOES_NOT_EXIST":
                return None
            raise
        return run if run.info.lifecycle_stage == "active" else None

    def _new(self, run: TrackedRun) -> Run:
        from mlflow.tracking.context.registry import resolve_tags

        tags = resolve_tags(dict(run.tags))  # and who runs which commit of which repository
        return self._client.create_run(
            self._experiment(run.experiment),
            run_name=os.environ.get("MLFLOW_RUN_NAME") or run.name,
            tags={name: without_credentials(value) for name, value in tags.items()},
        )

    def _experiment(self, wanted: str | None) -> str:
        """The id of the experiment, which is made where there is none."""
        own = os.environ.get("MLFLOW_EXPERIMENT_ID")
        if wanted is None and own:
            return own
        name = wanted or os.environ.get("MLFLOW_EXPERIMENT_NAME") or "podtune"
        experiment = self._client.get_experiment_by_name(name)
        if experiment is None:
            return str(self._client.create_experiment(name))
        return str(experiment.experiment_id)

    def _log_params(self, run: TrackedRun, known: Run) -> None:
        """Those that it does not have yet; MLflow refuses to change one."""
        from mlflow.entities import Param

        params = [
            Param(name, str(value)[:LONGEST_VALUE])
            for name, value in run.settings.items()
            if name not in known.data.params
        ]
        for batch in _batches(params, PARAMS_AT_ONCE):
            self._client.log_batch(self._run_id, params=batch)

    def log(self, points: Sequence[Point]) -> None:
        """See `Tracker`."""
        metrics = itertools.chain.from_iterable(map(_metrics, points))
        for batch in _batches(metrics, METRICS_AT_ONCE):
            self._client.log_batch(self._run_id, metrics=batch)

    def finish(self, ending: Ending) -> None:
        """See `Tracker`."""
        self.log([Point(ending.step, ending.results, time.time())])
        for file in ending.files:
            self._client.log_artifact(self._run_id, str(file))
        self._client.set_terminated(self._run_id, STATUS[ending.status])


def _batches(entities: Iterable[Entity], most: int) -> Iterator[list[Entity]]:
    left = iter(entities)
    while batch := list(itertools.islice(left, most)):
        yield batch


def _metrics(point: Point) -> list[Metric]:
    from mlflow.entities import Metric

    # The server leaves out what it has already, the time included.
    milliseconds = int(1000 * point.time)
    return [Metric(name, value, milliseconds, point.step) for name, value in point.values.items()]
