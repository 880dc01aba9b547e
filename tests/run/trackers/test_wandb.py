"""wandb's own client, offline; what it wrote is read back from its file."""

import pytest

from tests.wandb_file import offline_runs
from trainer.errors import ConfigError
from trainer.run.trackers import wandb
from trainer.run.trackers.tracker import Ending, Point, Status, TrackedRun
from trainer.settings.schema import LogSettings

library = pytest.importorskip("wandb")
pytestmark = pytest.mark.heavy  # it takes seconds
NOON = 1_800_000_000.5  # seconds since 1970
RUN = TrackedRun(
    name="sst2",
    experiment=None,
    config={"train": {"learning_rate": 5e-5}},
    settings={},
    tags={"podtune": "0.1"},
)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Where it writes; it reads its variables once, so it is shut down before and after."""
    for name in ("API_KEY", "PROJECT", "NAME", "ENTITY", "RUN_ID"):
        monkeypatch.delenv(f"WANDB_{name}", raising=False)
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_DIR", str(tmp_path))
    monkeypatch.setenv("HOME", str(tmp_path))
    library.teardown()
    yield tmp_path
    library.teardown()


def track(run, run_id, points, ending):
    tracker = wandb.open_tracker()
    run_id = tracker.start(run, run_id)
    tracker.log(points)
    tracker.finish(ending)
    return run_id


def written(folder):
    """The runs there, once wandb's own process has ended."""
    library.teardown()
    return offline_runs(folder)


def test_a_run_has_its_config_figures_files_and_summary(folder, capfd):
    file = folder / "results.json"
    file.write_text("{}")
    points = [
        Point(10, {"train/loss": 0.5}, NOON),
        Point(10, {"validation/loss": 0.75}, NOON),
        Point(20, {"train/loss": 0.25}, NOON),
    ]
    end = Ending(Status.FINISHED, 20, {"results/test/accuracy": 0.9}, [file])
    run_id = track(RUN, None, points, end)
    (run,) = written(folder)
    assert run.run.run_id == run_id
    assert (run.run.project, run.run.display_name) == ("podtune", "sst2")
    assert run.config["train"] == {"learning_rate": 5e-5}
    assert run.config["run"] == {"podtune": "0.1"}
    assert run.history == [
        (10, {"train/loss": 0.5, "validation/loss": 0.75}),
        (20, {"train/loss": 0.25}),
    ]
    assert run.summary["results/test/accuracy"] == 0.9
    assert "results.json" in run.files and run.exit_code == 0
    file.unlink()
    assert len(list(folder.glob("wandb/offline-run-*/files/results.json"))) == 1
    assert capfd.readouterr() == ("", "")  # the terminal is the display's


def test_a_run_goes_on_under_its_id(folder):
    run_id = track(
        RUN, None, [Point(1, {"train/loss": 1.0}, NOON)], Ending(Status.STOPPED, 0, {}, ())
    )
    again = track(
        RUN, run_id, [Point(2, {"train/loss": 0.5}, NOON)], Ending(Status.FAILED, 0, {}, ())
    )
    first, second = written(folder)
    assert run_id == again == first.run.run_id == second.run.run_id
    assert [first.history, second.history] == [
        [(1, {"train/loss": 1.0})],
        [(2, {"train/loss": 0.5})],
    ]
    assert [first.exit_code, second.exit_code] == [143, 1]


def test_its_own_variables_hold_but_for_what_the_config_says(folder, monkeypatch):
    monkeypatch.setenv("WANDB_PROJECT", "theirs")
    monkeypatch.setenv("WANDB_NAME", "named")
    monkeypatch.setenv("WANDB_ENTITY", "we")
    end = Ending(Status.FINISHED, 0, {}, ())
    track(RUN, "a", [], end)
    track(TrackedRun("x", "ours", {}, {}, {}), "b", [], end)
    runs = sorted((each.run for each in written(folder)), key=lambda run: run.run_id)
    assert [(run.project, run.display_name, run.entity) for run in runs] == [
        ("theirs", "named", "we"),
        ("ours", "named", "we"),
    ]


def test_a_run_that_is_active_is_left_alone(folder):
    with library.init(project="mine") as mine:
        track(RUN, None, [Point(1, {"train/loss": 1.0}, NOON)], Ending(Status.FINISHED, 0, {}, ()))
        mine.log({"own": 1})
        assert library.run is mine
    assert sorted(len(each.history) for each in written(folder)) == [1, 1]


def test_without_a_key_it_would_ask_for_one(folder, monkeypatch):
    monkeypatch.setenv("WANDB_MODE", "online")
    library.teardown()
    with pytest.raises(ConfigError) as refused:
        wandb.require(LogSettings(trackers=["wandb"]))
    assert str(refused.value) == (
        "log.trackers: wandb has no API key here. To give yours: wandb login, or WANDB_API_KEY."
        " To log to this machine alone, and send it later with wandb sync: WANDB_MODE=offline."
    )


@pytest.mark.parametrize("mode", ["offline", "disabled"])
def test_here_it_needs_none(folder, monkeypatch, mode):
    monkeypatch.setenv("WANDB_MODE", mode)
    library.teardown()
    wandb.require(LogSettings(trackers=["wandb"]))
    track(RUN, None, [Point(1, {"train/loss": 1.0}, NOON)], Ending(Status.FINISHED, 0, {}, ()))
    assert len(written(folder)) == (mode == "offline")
