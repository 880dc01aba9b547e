"""A job_dir belongs to one run at a time,
and what stands there is neither taken for ours nor lost.
"""

import contextlib
import json
import os
import shutil
import signal
import time

import pytest
import tensorflow as tf

from tests import toy
from tests.test_resume import weights_of
from trainer.errors import JobDirError
from trainer.run.checkpoints import Checkpoints
from trainer.run.run_state import RunState

STEPS = 60


@pytest.fixture(scope="module")
def config(tmp_path_factory):
    folder = tmp_path_factory.mktemp("job_dir")
    weights = toy.write_checkpoint(folder / "weights", layers=1, dropout=0.1)
    return toy.write_config(
        folder,
        weights,
        toy.write_sentences(folder / "train.jsonl", 90),
        data={"validation": 0.2},
        train={
            "steps": STEPS,
            "checkpoint_every_steps": 7,
            "log_every_steps": 3,
            "evaluate_every_steps": 25,
        },
    )


@pytest.fixture(scope="module")
def whole(launcher, config):
    job = config.parent / "whole"
    launcher.start(f"--config={config}", f"--job_dir={job}", log=job.with_suffix(".log"))
    assert launcher.wait() == 0, job.with_suffix(".log").read_text()
    return job


def start(launcher, config, job, *flags, log="log"):
    return launcher.start(
        f"--config={config}", f"--job_dir={job}", *flags, log=job.with_suffix(f".{log}")
    )


def text(job, log="log"):
    return job.with_suffix(f".{log}").read_text()


def wait_for_a_checkpoint(job):
    for _ in range(6000):
        if any(job.glob("checkpoints/step_*/state.json")):
            return
        time.sleep(0.005)
    raise AssertionError("no checkpoint")


@pytest.fixture
def stopped_job(launcher, config, tmp_path):
    """A training run that stands still, with a checkpoint, until the test continues it."""
    job = tmp_path / "job"
    process = start(launcher, config, job)
    wait_for_a_checkpoint(job)
    os.kill(process, signal.SIGSTOP)
    yield job, process
    with contextlib.suppress(ProcessLookupError):
        os.kill(process, signal.SIGKILL)


def test_a_second_process_is_told_and_changes_nothing(
    launcher, config, whole, stopped_job, tmp_path
):
    job, first = stopped_job
    before = {path: path.read_bytes() for path in job.rglob("*") if path.is_file()}
    for number, flags in enumerate(
        [
            (),
            ("--train.seed=3",),
            ("--mode=evaluate",),
            ("--mode=plan",),
            ("--mode=export", "--export.format=savedmodel"),
        ]
    ):
        process = start(launcher, config, job, *flags, log=f"log{number}")
        assert launcher.wait(process) == 2
        said = text(job, f"log{number}")
        assert (
            f"error: --job_dir={job} is in use: process {first} on " in said
            and "(--mode=train). Wait until it ends" in said
        )
        assert "Traceback" not in said and "data: train" not in said
    assert {path: path.read_bytes() for path in job.rglob("*") if path.is_file()} == before
    # predict only reads, and an export elsewhere; a killed process holds nothing.
    toy.write_jsonl(tmp_path / "in.jsonl", [{"text": "a great film"}])
    process = start(
        launcher,
        config,
        job,
        "--mode=predict",
        f"--input={tmp_path}/in.jsonl",
        f"--output={tmp_path}/out.jsonl",
        log="log5",
    )
    assert launcher.wait(process) == 0, text(job, "log5")
    process = start(
        launcher,
        config,
        job,
        "--mode=export",
        "--export.format=huggingface",
        f"--export.directory={tmp_path / 'hf'}",
        log="log6",
    )
    assert launcher.wait(process) == 0, text(job, "log6")
    os.kill(first, signal.SIGKILL)
    process = start(launcher, config, job, log="log7")
    assert launcher.wait(process) == 0, text(job, "log7")
    assert (job / "metrics.jsonl").read_bytes() == (whole / "metrics.jsonl").read_bytes()


def test_a_job_dir_that_is_removed_is_saved_and_the_run_goes_on_from_there(
    launcher, config, whole, stopped_job
):
    job, process = stopped_job
    shutil.rmtree(job)
    os.kill(process, signal.SIGCONT)
    assert launcher.wait(process) == 2
    said = text(job)
    assert (
        f"error: --job_dir={job} was removed while the run was going on. Written anew: config.yaml,"
        " plan.json, ledger.json, vocabulary.json" in said
    )
    assert (
        "and the checkpoint of step" in said
        and said.rstrip().endswith("Start again to go on.")
        and "Traceback" not in said
    )
    process = start(launcher, config, job)
    assert launcher.wait(process) == 0 and "resuming after step" in text(job)
    assert (job / "metrics.jsonl").read_bytes() == (whole / "metrics.jsonl").read_bytes()
    last = f"checkpoints/step_{STEPS:08d}"
    assert (job / last / "state.json").exists()
    mine = weights_of(job, STEPS)
    theirs = weights_of(whole, STEPS)
    assert all((mine[name] == value).all() for name, value in theirs.items())


def test_small_files_that_are_removed_are_written_anew(launcher, config, whole, stopped_job):
    job, process = stopped_job
    for name in ("metrics.jsonl", "config.yaml", "vocabulary.json"):
        (job / name).unlink()
    os.kill(process, signal.SIGCONT)
    assert launcher.wait(process) == 0
    assert (
        "warning: " in text(job)
        and "config.yaml, vocabulary.json, metrics.jsonl had been removed, and are written anew"
        in text(job)
    )
    for name in ("metrics.jsonl", "vocabulary.json"):
        assert (job / name).read_bytes() == (whole / name).read_bytes()
    assert (job / "config.yaml").exists()


@pytest.mark.slow
def test_a_job_dir_that_another_run_has_taken_meanwhile_is_left_to_it(
    launcher, config, stopped_job
):
    job, process = stopped_job
    shutil.rmtree(job)
    second = start(launcher, config, job, "--train.seed=1", log="log1")
    wait_for_a_checkpoint(job)
    os.kill(second, signal.SIGSTOP)
    os.kill(process, signal.SIGCONT)
    code = launcher.wait(process)
    os.kill(second, signal.SIGCONT)
    assert code == 2 and f"is in use: process {second} on " in text(job)
    assert launcher.wait(second) == 0 and "seed: 1" in (job / "config.yaml").read_text()


def test_a_folder_with_the_users_own_files_is_no_job_dir(config, tmp_path, capsys):
    job = tmp_path / "experiment"
    job.mkdir()
    mine = shutil.copy(config, job / "config.yaml")
    before = (job / "config.yaml").read_bytes()
    for mode in ("train", "plan"):
        assert toy.run_main(mine, job, f"--mode={mode}") == 2
        assert (
            "experiment holds config.yaml, which no run of podtune wrote there: a run would"
            " overwrite that." in capsys.readouterr().err
        )
    assert (job / "config.yaml").read_bytes() == before and sorted(os.listdir(job)) == [
        "config.yaml"
    ]


def test_results_whose_checkpoints_were_removed_are_not_replaced_by_another_config(
    config, whole, tmp_path, capsys
):
    job = shutil.copytree(whole, tmp_path / "job")
    shutil.rmtree(job / "checkpoints")
    before = (job / "results.json").read_bytes()
    assert toy.run_main(config, job, "--train.seed=7") == 2
    assert (
        "belongs to a run with another config" in capsys.readouterr().err
        and (job / "results.json").read_bytes() == before
    )


def test_a_plan_comes_before_the_run_and_locks_only_while_it_works(config, tmp_path):
    job = tmp_path / "job"
    assert toy.run_main(config, job, "--mode=plan") == 0
    assert toy.run_main(config, job, "--train.steps=2", "--export.format=none") == 0
    assert json.loads((job / "results.json").read_text())["step"] == 2


def saved(folder, steps, *, keep=1):
    checkpoints = Checkpoints(
        folder, keep=keep, warn=pytest.fail, variables={"x": tf.Variable(1.0)}
    )
    for step in steps:
        checkpoints.save(RunState(step=step))
    checkpoints.wait(last=True)
    return checkpoints


def test_pruning_removes_no_folder_with_something_of_the_users(tmp_path):
    saved(tmp_path, [1, 2], keep=2)
    (tmp_path / "step_00000001" / "notes.txt").write_text("precious")
    for name in ("step_00000001 copy", "best", "step_1", "step_00000000"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "thesis.txt").write_text("precious")
    saved(tmp_path, [3])
    assert {path.name for path in tmp_path.iterdir()} == {
        "step_00000001",
        "step_00000003",
        "step_00000001 copy",
        "best",
        "step_1",
        "step_00000000",
    }
    assert {path.name for path in (tmp_path / "step_00000001").iterdir()} == {
        "state.json",
        "weights.index",
        "weights.data-00000-of-00001",
        "notes.txt",
    }


def test_a_checkpoint_that_is_written_anew_leaves_notes_where_they_are(tmp_path):
    path = tmp_path / "step_00000001"
    path.mkdir()
    (path / "notes.txt").write_text("precious")
    assert saved(tmp_path, [1]).restore_latest().step == 1
    assert "notes.txt" not in (path / "state.json").read_text()
    assert saved(tmp_path, [1]).complete() == [1] and (path / "notes.txt").read_text() == "precious"


def test_a_checkpoint_that_cannot_be_written_leaves_notes_where_they_are(tmp_path, monkeypatch):
    path = tmp_path / "step_00000001"
    path.mkdir()
    (path / "notes.txt").write_text("precious")
    monkeypatch.setattr(
        "trainer.run.checkpoints.write_sealed",
        lambda *_: (_ for _ in ()).throw(OSError(28, "No space left on device")),
    )
    with pytest.raises(JobDirError, match="No space left on device"):
        saved(tmp_path, [1])
    assert [file.name for file in path.iterdir()] == ["notes.txt"]
