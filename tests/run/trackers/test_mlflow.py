"""MLflow's own client, against a store here and against its own server."""

import time

import pytest

from tests.mlflow_server import mlflow_server
from trainer.run.trackers import feed, mlflow
from trainer.run.trackers.notes import Notes
from trainer.run.trackers.tracker import Ending, Point, Status, TrackedRun

client_of = pytest.importorskip("mlflow").MlflowClient

pytestmark = pytest.mark.heavy  # it takes seconds
NOON = 1_800_000_000.5  # seconds since 1970
RUN = TrackedRun(
    name="sst2",
    experiment=None,
    config={},
    settings={"train.learning_rate": 5e-5, "data.text": '["a", "b"]'},
    tags={"podtune": "0.1"},
)


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """The address of a store of SQLite, which takes seconds to make."""
    folder = tmp_path_factory.mktemp("store")
    address = f"sqlite:///{folder}/mlflow.db"
    client_of(address).create_experiment("podtune", artifact_location=str(folder / "artifacts"))
    return address


@pytest.fixture
def client(store, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", store)
    for name in ("RUN_ID", "RUN_NAME", "EXPERIMENT_ID", "EXPERIMENT_NAME"):
        monkeypatch.delenv(f"MLFLOW_{name}", raising=False)
    return client_of(store)


def history(client, run_id, name):
    return [(metric.step, metric.value) for metric in client.get_metric_history(run_id, name)]


def test_a_run_has_its_settings_figures_files_and_end(client, tmp_path):
    tracker = mlflow.open_tracker()
    run_id = tracker.start(RUN, None)
    assert client.get_run(run_id).info.status == "RUNNING"
    tracker.log([Point(10, {"train/loss": 0.5}, NOON), Point(20, {"train/loss": 0.25}, NOON)])
    file = tmp_path / "results.json"
    file.write_text("{}")
    tracker.finish(Ending(Status.FINISHED, 20, {"results/test/accuracy": 0.9}, [file]))
    run = client.get_run(run_id)
    assert run.info.status == "FINISHED" and run.info.run_name == "sst2"
    assert client.get_experiment(run.info.experiment_id).name == "podtune"
    assert run.data.params == {"train.learning_rate": "5e-05", "data.text": '["a", "b"]'}
    assert run.data.tags["podtune"] == "0.1" and run.data.tags["mlflow.user"]
    assert history(client, run_id, "train/loss") == [(10, 0.5), (20, 0.25)]
    assert history(client, run_id, "results/test/accuracy") == [(20, 0.9)]
    assert [file.path for file in client.list_artifacts(run_id)] == ["results.json"]


def test_a_run_goes_on_though_settings_have_changed(client):
    run_id = mlflow.open_tracker().start(RUN, None)
    client.set_terminated(run_id, "KILLED")
    tracker = mlflow.open_tracker()
    changed = {"train.learning_rate": 1.0, "head.name": "classification"}
    assert tracker.start(RUN.__class__("x", None, {}, changed, {}), run_id) == run_id
    run = client.get_run(run_id)
    assert run.info.status == "RUNNING"
    assert run.data.params["train.learning_rate"] == "5e-05"
    assert run.data.params["head.name"] == "classification"
    tracker.finish(Ending(Status.STOPPED, 0, {}, ()))
    assert client.get_run(run_id).info.status == "KILLED"


@pytest.mark.parametrize("lost", ["of another store", "removed"])
def test_a_run_that_the_store_does_not_have_is_begun_anew(client, lost):
    run_id = "0" * 32
    if lost == "removed":
        run_id = mlflow.open_tracker().start(RUN, None)
        client.delete_run(run_id)
    assert mlflow.open_tracker().start(RUN, run_id) != run_id


def test_its_own_variables_hold_but_for_what_the_config_says(client, monkeypatch):
    monkeypatch.setenv("MLFLOW_RUN_NAME", "named")
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", "theirs")

    def experiment_of(run):
        started = client.get_run(mlflow.open_tracker().start(run, None))
        assert started.info.run_name == "named"
        return client.get_experiment(started.info.experiment_id).name

    assert experiment_of(RUN) == "theirs"
    assert experiment_of(TrackedRun("x", "ours", {}, {}, {})) == "ours"
    own = client.create_experiment("by its id")
    monkeypatch.setenv("MLFLOW_EXPERIMENT_ID", own)
    assert experiment_of(RUN) == "by its id"
    monkeypatch.setenv("MLFLOW_RUN_ID", client.create_run(own, run_name="named").info.run_id)
    assert experiment_of(TrackedRun("x", "ours", {}, {}, {})) == "by its id"


def test_what_is_more_than_the_server_takes_at_once_is_sent_in_parts(client):
    settings = {f"head.label_{number}": "x" * 7000 for number in range(230)}
    tracker = mlflow.open_tracker()
    run_id = tracker.start(TrackedRun("large", None, {}, settings, {}), None)
    tracker.log([Point(step, {f"train/{n}": step for n in range(7)}, NOON) for step in range(300)])
    params = client.get_run(run_id).data.params
    assert len(params) == 230 and {len(value) for value in params.values()} == {6000}
    assert len(history(client, run_id, "train/6")) == 300


def test_points_that_are_sent_again_are_there_once(client):
    tracker = mlflow.open_tracker()
    run_id = tracker.start(RUN, None)
    tracker.log([Point(1, {"train/loss": 1.0}, NOON)])
    tracker.log([Point(1, {"train/loss": 1.0}, NOON), Point(2, {"train/loss": 0.5}, NOON)])
    assert history(client, run_id, "train/loss") == [(1, 1.0), (2, 0.5)]
    assert [point.timestamp for point in client.get_metric_history(run_id, "train/loss")] == [
        int(1000 * NOON)
    ] * 2


def test_a_server_that_is_gone_misses_nothing_in_the_end(tmp_path, monkeypatch):
    monkeypatch.setattr(feed, "PAUSE_SECONDS", 0.05)
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    warnings = []
    file = tmp_path / "metrics.jsonl"
    with mlflow_server(tmp_path) as server:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", server.address)
        told = feed.Feed("mlflow", RUN, file, {}, Notes(tmp_path), warnings.append)
        told.start()
        file.write_text('{"step": 1, "split": "train", "loss": 1.0}\n')
        told.may_read(10_000)
        while not Notes(tmp_path).of("mlflow").steps:
            assert told._thread.is_alive() and not warnings
            time.sleep(0.05)
        server.kill()
        with file.open("a") as opened:
            opened.write('{"step": 2, "split": "train", "loss": 0.5}\n')
        while not warnings:
            time.sleep(0.05)
        server.start()
        told.end(Ending(Status.FINISHED, 2, {"results/test/accuracy": 1.0}, ()))
        assert told.wait_until(time.monotonic() + 120)
        client = client_of(server.address)
        run_id = Notes(tmp_path).of("mlflow").run
        assert client.get_run(run_id).info.status == "FINISHED"
        assert history(client, run_id, "train/loss") == [(1, 1.0), (2, 0.5)]
    (warning,) = warnings
    assert warning.startswith("mlflow: ") and "opensesame" not in warning
    assert warning.endswith("The run goes on without it; what it misses it is told at the end.")
