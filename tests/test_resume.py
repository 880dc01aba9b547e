"""A run that is killed and started again ends bit for bit where the uninterrupted one does."""

import json
import os
import random
import shutil
import signal
import time

import numpy as np
import pytest
import tensorflow as tf

from tests import toy

STEPS = 120


@pytest.fixture(scope="module")
def config(tmp_path_factory):
    """Dropout on, an average of the weights, log lines and evaluations between the checkpoints."""
    folder = tmp_path_factory.mktemp("resume")
    weights = toy.write_checkpoint(folder / "weights", layers=1, dropout=0.1)
    return toy.write_config(
        folder,
        weights,
        toy.write_sentences(folder / "train.jsonl", 90),
        data={"validation": 0.2},
        train={
            "steps": STEPS,
            "ema_decay": 0.9,
            "checkpoint_every_steps": 7,
            "log_every_steps": 3,
            "evaluate_every_steps": 25,
            "global_batch_size": 16,
            "best_metric": "loss",
            "keep_checkpoints": 3,
        },
    )


def start(launcher, config, job, *flags):
    return launcher.start(
        f"--config={config}", f"--job_dir={job}", *flags, log=job.with_suffix(".log")
    )


def complete(job):
    return sorted(
        int(path.parent.name.split("_")[1]) for path in job.glob("checkpoints/step_*/state.json")
    )


def weights_of(job, step):
    prefix = str(job / "checkpoints" / f"step_{step:08d}" / "weights")
    return {
        name: tf.train.load_variable(prefix, name)
        for name, _ in tf.train.list_variables(prefix)
        if not name.startswith("_CHECKPOINTABLE")
    }


def assert_same_run(job, whole):
    assert (job / "metrics.jsonl").read_bytes() == (whole / "metrics.jsonl").read_bytes()
    last = complete(whole)[-1]
    mine = weights_of(job, last)
    theirs = weights_of(whole, last)
    assert set(mine) == set(theirs)
    for name, value in theirs.items():
        np.testing.assert_array_equal(mine[name], value, err_msg=name)
    results = [json.loads((folder / "results.json").read_text()) for folder in (job, whole)]
    assert (
        results[0]["validation"] == results[1]["validation"]
        and results[0]["step"] == results[1]["step"]
    )


@pytest.fixture(scope="module")
def whole(launcher, config):
    job = config.parent / "whole"
    start(launcher, config, job)
    assert launcher.wait() == 0, job.with_suffix(".log").read_text()
    return job


def wait_for_step(job, step):
    """Until metrics.jsonl has a line of `step` or later."""
    file = job / "metrics.jsonl"
    for _ in range(6000):
        lines = file.read_bytes().splitlines() if file.exists() else []
        if lines and lines[-1].endswith(b"}") and json.loads(lines[-1])["step"] >= step:
            return
        time.sleep(0.005)
    raise AssertionError(f"step {step} was not reached")


def kill_and_finish(launcher, config, job, kills, rng):
    """Kills the run at random moments, each beyond the last; returns the steps after which it went
    on.
    """
    resumed = []
    for target in sorted(rng.sample(range(5, STEPS - 20), kills)):
        process = start(launcher, config, job)
        wait_for_step(job, target)
        time.sleep(rng.random() * 0.05)
        os.kill(process, signal.SIGKILL)
        assert launcher.wait() == -signal.SIGKILL
        resumed.append(complete(job)[-1] if complete(job) else 0)
    start(launcher, config, job)
    assert launcher.wait() == 0, job.with_suffix(".log").read_text()
    return resumed


def assert_goes_on_exactly(launcher, config, folder, kill_after, *flags):
    """A run that is killed once at that step or later, folder/job, beside an undisturbed one,
    folder/whole.
    """
    for job, killed in ((folder / "whole", False), (folder / "job", True)):
        process = start(launcher, config, job, *flags)
        if killed:
            wait_for_step(job, kill_after)
            os.kill(process, signal.SIGKILL)
            assert launcher.wait() == -signal.SIGKILL
            start(launcher, config, job, *flags)
        assert launcher.wait() == 0, job.with_suffix(".log").read_text()
    assert "resuming after step" in (folder / "job.log").read_text()
    assert_same_run(folder / "job", folder / "whole")


def test_a_run_that_is_killed_twice_ends_bit_for_bit_the_same(launcher, config, whole, tmp_path):
    resumed = kill_and_finish(launcher, config, tmp_path / "job", 2, random.Random(os.urandom(8)))
    assert all(step < STEPS for step in resumed)
    assert_same_run(tmp_path / "job", whole)


@pytest.mark.parametrize(
    "flags",
    [
        pytest.param(
            ("--train.precision=mixed_float16",),
            id="loss scale",
            marks=pytest.mark.slow,
        ),
        pytest.param(
            (
                "--train.early_stopping_patience=3",
                "--train.evaluate_every_steps=9",
                "--train.learning_rate=0.2",
            ),
            id="early stop",
        ),
    ],
)
def test_all_that_a_run_keeps_outlives_a_kill(launcher, config, tmp_path, flags):
    assert_goes_on_exactly(launcher, config, tmp_path, 40, *flags)
    log = (tmp_path / "job.log").read_text()
    names = set(weights_of(tmp_path / "job", complete(tmp_path / "job")[-1]))
    assert any(name.startswith("average/") for name in names)
    if "early" in flags[0]:
        assert "stopping early: 3 evaluations without a better loss" in log
        assert complete(tmp_path / "job")[-1] < STEPS
    else:
        assert any("loss_scale" in name for name in names)


@pytest.mark.parametrize(
    ("weights", "head", "stream"),
    [
        pytest.param(
            toy.write_checkpoint,
            {"name": "masked_lm", "whole_words": True},
            None,
            id="masked",
            marks=pytest.mark.slow,
        ),
        pytest.param(
            toy.write_gpt2, {"name": "causal_lm"}, None, id="causal", marks=pytest.mark.slow
        ),
        pytest.param(toy.write_checkpoint, {"name": "masked_lm"}, 3000, id="masked, streamed"),
        pytest.param(
            toy.write_gpt2,
            {"name": "causal_lm", "documents": "separate"},
            1000,
            id="causal, streamed",
            marks=pytest.mark.slow,
        ),
    ],
)
def test_a_language_model_on_several_files_goes_on_with_the_same_masks(
    launcher, tmp_path, weights, head, stream
):
    for number in range(3):
        (tmp_path / f"train{number}.txt").write_text(
            "\n".join(row["text"] for row in toy.sentences(60, seed=number)), encoding="utf-8"
        )
    config = toy.write_config(
        tmp_path,
        weights(tmp_path / "weights", layers=1, dropout=0.1),
        str(tmp_path / "train*.txt"),
        head=head,
        data={
            "source": "text",
            "document": "line",
            "validation": str(tmp_path / "train0.txt") if stream else 0.2,
            "seq_len": 24,
            "stream_characters": stream,
        },
        train={
            "steps": 60,
            "checkpoint_every_steps": 7,
            "evaluate_every_steps": 20,
            "best_metric": "perplexity",
        },
    )
    assert_goes_on_exactly(launcher, config, tmp_path, 20)
    assert (tmp_path / "job" / "ledger.json").read_bytes() == (
        tmp_path / "whole" / "ledger.json"
    ).read_bytes()
    if stream:
        state = json.loads(
            (tmp_path / "whole" / "checkpoints" / "step_00000060" / "state.json").read_text()
        )["stream"]
        assert state["block"] > 1 and state["passes"] > 0


@pytest.mark.parametrize(
    "kind",
    [
        "prompt",
        pytest.param("tags", marks=pytest.mark.slow),
        pytest.param("questions, decoder", marks=pytest.mark.slow),
        pytest.param("target", marks=pytest.mark.slow),
    ],
)
def test_every_head_goes_on_exactly(launcher, tmp_path, kind):
    train = {
        "steps": 60,
        "checkpoint_every_steps": 7,
        "evaluate_every_steps": 20,
        "xla": "parts",
        **({"best_metric": "rouge1"} if kind == "target" else {}),
    }
    config = toy.write_head_config(tmp_path, kind, 120, dropout=0.1, train=train)
    assert_goes_on_exactly(launcher, config, tmp_path, 22)


def half_written(job):
    """A checkpoint folder without its last file."""
    return any(not (folder / "state.json").exists() for folder in job.glob("checkpoints/step_*"))


def contains(file, text):
    """Whether the end of a file has it."""
    return file.exists() and text in file.read_bytes()[-300:]


def step_of(job):
    """The last step that metrics.jsonl has."""
    file = job / "metrics.jsonl"
    lines = file.read_bytes().splitlines() if file.exists() else []
    return json.loads(lines[-1])["step"] if lines and lines[-1].endswith(b"}") else 0


# when to kill, looked at every half millisecond, and up to how much later; in the order in which
# they come
INSTANTS = {
    "any": (lambda job: random.random() < 0.0005, 0.0),
    "in preparing": (lambda job: any(path.is_dir() for path in cache_of(job).glob(".*")), 0.03),
    "before the first step": (lambda job: (job / ".checksums.json").exists(), 0.5),
    "in a checkpoint write": (half_written, 0.003),
    "in an evaluation": (lambda job: contains(job / "metrics.jsonl", b'"step": 24'), 0.05),
    "at a step": (lambda job: step_of(job) > 60, 0.5),
    "in the last evaluation": (lambda job: complete(job)[-1:] == [STEPS], 0.2),
    "in the export": (lambda job: any(job.glob(".model.*")), 2.0),
    "at the end": (lambda job: contains(job / "results.json", b'"model"'), 0.02),
}
KILLED = 20  # runs
KILLS = 5  # of each


def cache_of(job):
    """Of its own, so that each run prepares its data."""
    return job.parent / f"{job.name}.cache"


def has_ended(process):
    with open(f"/proc/{process}/stat", encoding="utf-8") as file:
        return file.read().rpartition(")")[2].split()[0] == "Z"


def kill_at(launcher, config, job, flags, instant, rng):
    """Starts a run and kills it then; returns False where it came to its end before."""
    reached, later = INSTANTS[instant]
    if instant == "in preparing":  # again
        shutil.rmtree(cache_of(job), ignore_errors=True)
    process = start(launcher, config, job, *flags)
    while not reached(job) and not has_ended(process):
        time.sleep(0.0005)
    time.sleep(rng.uniform(0, later))
    os.kill(process, signal.SIGKILL)
    code = launcher.wait()
    assert code in (0, -signal.SIGKILL), f"{instant}: {job.with_suffix('.log').read_text()}"
    return code != 0


@pytest.mark.slow
def test_a_hundred_kills_at_any_instant_change_nothing(launcher, config, whole, tmp_path):
    seed = int.from_bytes(os.urandom(4), "little")
    rng, killed = random.Random(seed), 0
    for number in range(KILLED):
        job = tmp_path / f"job{number}"
        flags = ("--export.format=savedmodel", f"--data.cache_dir={cache_of(job)}")
        for instant in sorted(rng.sample(list(INSTANTS), KILLS), key=list(INSTANTS).index):
            killed += kill_at(launcher, config, job, flags, instant, rng)
            steps = complete(job) if (job / "checkpoints").exists() else []
            print(
                f"seed {seed}, run {number}, {instant}: {killed} killed, complete {steps}",
                flush=True,
            )
        start(launcher, config, job, *flags)
        assert launcher.wait() == 0, job.with_suffix(".log").read_text()
        said = job.with_suffix(".log").read_text()
        assert "damaged" not in said and "is missing" not in said, said
        assert_same_run(job, whole)
        assert (job / "model" / "saved_model.pb").exists() and not list(job.glob(".model.*"))
        # nothing half encoded is left
        assert len([path for path in cache_of(job).iterdir() if path.is_dir()]) == 1
        shutil.rmtree(job)
    assert killed >= 0.9 * KILLED * KILLS


def test_a_termination_signal_saves_a_checkpoint_at_that_step(launcher, config, whole, tmp_path):
    job = tmp_path / "job"
    process = start(launcher, config, job)
    wait_for_step(job, 60)
    os.kill(process, signal.SIGTERM)
    time.sleep(0.005)
    os.kill(process, signal.SIGTERM)  # platforms repeat it: nothing is cut short
    assert launcher.wait() == 143
    log = job.with_suffix(".log").read_text()
    last = complete(job)[-1]
    assert (
        f"stopped by a signal after step {last}; the checkpoint is written, start again to go on"
        in log
        and "Traceback" not in log
    )
    assert last >= 60
    # A checkpoint that was damaged since is passed over, and one that was half written is not seen.
    newest = job / "checkpoints" / f"step_{last:08d}"
    data = newest / "weights.data-00000-of-00001"
    content = bytearray(data.read_bytes())
    content[len(content) // 2] ^= 1
    data.write_bytes(content)
    half = job / "checkpoints" / f"step_{STEPS - 1:08d}"
    shutil.copytree(newest, half)
    (half / "state.json").unlink()
    before = complete(job)[-2]
    start(launcher, config, job)
    assert launcher.wait() == 0
    log = job.with_suffix(".log").read_text()
    assert (
        f"{newest}: the checkpoint is damaged (weights.data-00000-of-00001: its content is not what"
        " was written: the checksum differs)." in log
    )
    assert (
        f"{half} has no state.json: it was not written to its end, or has lost it, and is passed"
        " over." in log
    )
    assert "Trying the one before." in log
    assert f"resuming after step {before} of {STEPS}" in log
    assert_same_run(job, whole)


def test_a_signal_in_an_evaluation_saves_a_checkpoint_and_the_evaluation_is_made_anew(
    launcher, config, tmp_path
):
    """Batches of one example make the evaluation long enough to be met; where it was missed, a
    little later is tried.
    """
    flag = "--train.evaluation_batch_size=1"
    start(launcher, config, tmp_path / "whole", flag)
    assert launcher.wait() == 0
    for attempt in range(6):
        job = tmp_path / f"job{attempt}"
        process = start(launcher, config, job, flag)
        wait_for_step(job, 24)
        time.sleep(0.02 * attempt)
        os.kill(process, signal.SIGTERM)
        assert launcher.wait() == 143
        state = json.loads(
            (job / "checkpoints" / f"step_{complete(job)[-1]:08d}" / "state.json").read_text()
        )
        if not state["settled"]:
            break
    assert state["step"] == 25 and not state["settled"]
    start(launcher, config, job, flag)
    assert launcher.wait() == 0
    assert_same_run(job, tmp_path / "whole")


def test_a_finished_run_is_not_trained_again(launcher, config, whole, tmp_path):
    job = tmp_path / "job"
    shutil.copytree(whole, job)
    start(launcher, config, job)
    assert launcher.wait() == 0
    assert f"resuming after step {STEPS} of {STEPS}" in job.with_suffix(".log").read_text()
    assert_same_run(job, whole)
