"""Google's own client of Vertex AI Experiments, against a server that checks its requests."""

import math

import pytest

from tests.vertex_api import vertex_api
from trainer.console import on_vertex
from trainer.errors import ConfigError
from trainer.files import gcs
from trainer.run.trackers import vertex
from trainer.run.trackers.tracker import Ending, Point, Status, TrackedRun
from trainer.settings.schema import LogSettings

pytestmark = pytest.mark.heavy  # it takes seconds
PARENT = "projects/my-project/locations/europe-west4"
NOON = 1_800_000_000.5  # seconds since 1970
RUN = TrackedRun(
    name="SST-2, first",
    experiment=None,
    config={},
    settings={"train.learning_rate": 5e-5, "train.xla": "auto", "backbone.freeze_embeddings": True},
    tags={"podtune": "0.1"},
)


@pytest.fixture
def experiments(monkeypatch):
    for name in (*vertex.PROJECTS, vertex.EXPERIMENT, vertex.RUN):
        monkeypatch.delenv(name, raising=False)
    with vertex_api() as (address, api):
        monkeypatch.setenv(on_vertex.ENDPOINT, address)
        monkeypatch.setenv(on_vertex.PROJECT, "my-project")
        monkeypatch.setenv("CLOUD_ML_REGION", "europe-west4")
        monkeypatch.setenv("STORAGE_EMULATOR_HOST", "http://127.0.0.1:9")  # no credentials here
        gcs.client.cache_clear()
        yield api.experiments
        gcs.client.cache_clear()


def test_a_run_has_its_settings_newest_figures_results_and_state(experiments, capfd):
    tracker = vertex.open_tracker()
    run_id = tracker.start(RUN, None)
    assert run_id.startswith("sst-2-first-")
    assert experiments.of(f"podtune-{run_id}")["_state"] == "RUNNING"
    tracker.log([Point(10, {"train/loss": 0.5}, NOON), Point(20, {"train/loss": 0.25}, NOON)])
    tracker.log([Point(20, {"validation/loss": 0.75, "validation/odd": math.nan}, NOON)])
    tracker.finish(Ending(Status.FINISHED, 20, {"results/test/accuracy": 0.9}, ()))
    assert experiments.of(f"podtune-{run_id}") == {
        "_state": "COMPLETE",
        "_params": {**RUN.settings, **RUN.tags},
        "_metrics": {"train/loss": 0.25, "validation/loss": 0.75, "results/test/accuracy": 0.9},
    }
    ((experiment, children),) = experiments.children.items()
    assert experiment.endswith("/contexts/podtune")
    assert [name.rpartition("/")[2] for name in children] == [f"podtune-{run_id}"]
    assert experiments.curves == {}  # and no TensorBoard instance is made, which costs money
    assert not any("/tensorboards/" in name for name in experiments.resources)
    assert capfd.readouterr().out == ""


def test_where_the_experiment_has_a_tensorboard_the_curves_are_there(experiments):
    board = f"{PARENT}/tensorboards/7"
    experiments.resources[board] = {"name": board, "displayName": "ours"}
    vertex.open_tracker().start(RUN, None)
    (experiment,) = [name for name in experiments.resources if name.endswith("/contexts/podtune")]
    experiments.resources[experiment]["metadata"]["backing_tensorboard_resource"] = board
    tracker = vertex.open_tracker()
    tracker.start(RUN, None)
    tracker.log([Point(10, {"train/loss": 0.5}, NOON), Point(20, {"train/loss": 0.25}, NOON)])
    assert experiments.curves == {"train/loss": [(10, 0.5), (20, 0.25)]}


def test_a_run_goes_on_under_its_name(experiments):
    run_id = vertex.open_tracker().start(RUN, None)
    tracker = vertex.open_tracker()
    assert tracker.start(RUN, run_id) == run_id
    tracker.finish(Ending(Status.STOPPED, 0, {}, ()))
    assert experiments.of(f"podtune-{run_id}")["_state"] == "CANCELLED"
    assert len(experiments.children) == 1


def test_the_variables_of_a_job_hold_but_for_what_the_config_says(experiments, monkeypatch):
    monkeypatch.setenv(vertex.EXPERIMENT, "theirs")
    whole = f"{PARENT}/metadataStores/default/contexts/theirs-given"
    monkeypatch.setenv(vertex.RUN, whole)
    assert vertex.open_tracker().start(RUN, None) == "given"
    assert experiments.of("theirs-given")["_state"] == "RUNNING"
    monkeypatch.setenv(vertex.RUN, "given")
    ours = TrackedRun("x", "ours", {}, {}, {})
    assert vertex.open_tracker().start(ours, None) == "given"
    assert experiments.of("ours-given")["_state"] == "RUNNING"


def test_a_refusal_is_an_exception_of_one_line(experiments):
    experiments.available = False
    with pytest.raises(Exception, match="planned"):
        vertex.open_tracker().start(RUN, None)


def test_it_needs_a_project_and_a_name_that_vertex_ai_takes(experiments, monkeypatch):
    vertex.require(LogSettings(experiment="sst2-first"))
    with pytest.raises(ConfigError) as refused:
        vertex.require(LogSettings(experiment="My experiment"))
    assert str(refused.value) == (
        "log.experiment: Vertex AI takes a-z, 0-9 and -, 63 characters at most, a letter or"
        " digit first. Received 'My experiment'."
    )
    monkeypatch.delenv(on_vertex.PROJECT)
    with pytest.raises(ConfigError, match="needs a project of Google Cloud"):
        vertex.require(LogSettings())


@pytest.mark.parametrize("name", ["x" * 200, "日本語", "--A_b--", "", "a"])
def test_every_name_becomes_one_that_vertex_ai_takes(name):
    made = vertex.unique_name(name)
    assert vertex.EXPERIMENT_NAME.fullmatch(made) and made != vertex.unique_name(name)
    assert len(f"{'e' * 63}-{made}") <= 121
