"""Whole runs from gs:// to gs://, against a Cloud Storage server on this machine, with the
environment that Vertex AI sets.
"""

import json
import os
import pathlib
import shutil
import signal
import time

import pytest
import tensorflow as tf
import tensorflow_text  # noqa: F401 - its ops are in the model
import yaml

from tests import toy
from tests.cloud import bucket_of_cloud_storage
from tests.test_multi_worker import environments
from trainer.errors import ConfigError
from trainer.files import gcs, mirror, ownership
from trainer.files.gcs import connection
from trainer.run.checkpoints import Checkpoints
from trainer.run.run_state import RunState

BUCKET = "gs://runs"
STEPS = 32
JOB = {"CLOUD_ML_JOB_ID": "1", "PYTHONUNBUFFERED": "1"}


@pytest.fixture(scope="module")
def faults():
    with bucket_of_cloud_storage("runs") as planned:
        yield planned


@pytest.fixture(scope="module")
def config(faults, tmp_path_factory):
    """Everything in the bucket: the config, the weights, two shards of data; dropout on, a short
    last batch.
    """
    folder = tmp_path_factory.mktemp("local")
    weights = toy.write_checkpoint(folder / "weights", layers=1, dropout=0.1)
    for shard in range(2):
        toy.write_sentences(folder / "data" / f"train-{shard}.jsonl", 45, seed=shard)
    values = toy.config_values(
        folder,
        f"{BUCKET}/weights",
        f"{BUCKET}/data/train-*.jsonl",
        data={"validation": 0.2, "cache_dir": None},
        export={"format": "savedmodel", "check_examples": 4},
        train={
            "steps": STEPS,
            "learning_rate": 1e-2,
            "checkpoint_every_steps": 7,
            "log_every_steps": 3,
            "evaluate_every_steps": 25,
            "keep_checkpoints": 2,
        },
    )
    (folder / "config.yaml").write_text(yaml.safe_dump(values))
    for file in [folder / "config.yaml", *weights.iterdir(), *(folder / "data").iterdir()]:
        gcs.upload(file, f"{BUCKET}/{file.relative_to(folder)}", key="test")
    values["backbone"]["weights"], values["data"]["train"] = (
        str(weights),
        str(folder / "data" / "*.jsonl"),
    )
    (folder / "local.yaml").write_text(yaml.safe_dump(values))
    return folder


@pytest.fixture(scope="module")
def whole(launcher, config):
    """The same run on local files, undisturbed."""
    job = config / "whole"
    launcher.start(
        f"--config={config}/local.yaml",
        f"--job_dir={job}",
        log=config / "whole.log",
        environment={"XDG_CACHE_HOME": str(config / "cache")},
    )
    assert launcher.wait() == 0, (config / "whole.log").read_text()
    return job


@pytest.fixture(autouse=True)
def no_faults(faults):
    faults.plan = lambda method, path: None
    faults.requests = []


def names(prefix):
    return {
        item.name.removeprefix(f"{prefix}/")
        for item in gcs.listing(f"{BUCKET}/{prefix}", key="test")
    }


def download(prefix, folder):
    for item in gcs.listing(f"{BUCKET}/{prefix}", key="test"):
        gcs.download({item: folder / item.name.removeprefix(f"{prefix}/")}, key="test")
    return folder


def start(launcher, tmp_path, name, *flags, machine="machine", **environment):
    """A job on a machine of its own, whose cache is empty."""
    return launcher.start(
        f"--config={BUCKET}/config.yaml",
        *flags,
        log=tmp_path / f"{name}.log",
        environment={**JOB, "XDG_CACHE_HOME": str(tmp_path / machine), **environment},
    )


def entries(log):
    """What is for Cloud Logging, whole and nothing else but results."""
    return [json.loads(line) for line in log.read_text().splitlines() if line.startswith("{")]


def test_a_job_is_killed_on_one_machine_and_goes_on_on_another(
    launcher, faults, config, whole, tmp_path
):
    """Every eighth request fails; the numbers, weights and the model are those of the local
    run.
    """
    count = [0]

    def plan(method, path):
        count[0] += 1
        return {8: 503, 16: "cut", 0: 429}.get(count[0] % 24)

    faults.plan = plan
    folders = {
        "AIP_MODEL_DIR": f"{BUCKET}/killed/model/",
        "AIP_CHECKPOINT_DIR": f"{BUCKET}/killed/checkpoints/",
        "AIP_TENSORBOARD_LOG_DIR": f"{BUCKET}/killed/logs/",
    }
    process = start(launcher, tmp_path, "first", **folders)
    while not any(
        "step_00000014/state.json" in item.name
        for item in gcs.listing(f"{BUCKET}/killed", key="test")
    ):
        time.sleep(0.1)
    os.kill(process, signal.SIGKILL)
    assert launcher.wait() == -signal.SIGKILL
    visible = max(
        int(name.split("/")[1].removeprefix("step_"))
        for name in names("killed")
        if name.endswith("/state.json")
    )
    shutil.rmtree(tmp_path / "machine")
    start(launcher, tmp_path, "second", **folders)
    assert launcher.wait() == 0, (tmp_path / "second.log").read_text()
    assert faults.fired > 10
    assert any(
        entry["message"] == f"resuming after step {visible} of {STEPS}"
        for entry in entries(tmp_path / "second.log")
    )
    assert not [
        entry for entry in entries(tmp_path / "second.log") if "damaged" in entry["message"]
    ]
    assert_written_last(f"killed/checkpoints/step_{STEPS:08d}", "state.json")
    assert_written_last("killed/model", "saved_model.pb")
    job = download("killed", tmp_path / "job")
    assert (job / "metrics.jsonl").read_bytes() == (whole / "metrics.jsonl").read_bytes()
    assert_same_weights(job, whole)
    assert {path.name for path in (job / "checkpoints").iterdir()} == {
        "step_00000028",
        f"step_{STEPS:08d}",
    }
    results = [json.loads((folder / "results.json").read_text()) for folder in (job, whole)]
    assert (
        results[0]["validation"] == results[1]["validation"]
        and results[0]["model"] == f"{BUCKET}/killed/model"
    )
    served = tf.saved_model.load(str(job / "model")).signatures["serving_default"](
        text=tf.constant(["what a great film", "awful"])
    )
    assert served["label"].numpy().tolist() == [b"pos", b"neg"]
    assert len(list((job / "logs" / "train").iterdir())) == 2  # of the killed process, too
    assert (
        f"{BUCKET}/data/train-" in (job / "ledger.json").read_text()
        or json.loads((job / "ledger.json").read_text()) == {}
    )
    assert f"# {BUCKET}/config.yaml:" in (job / "config.yaml").read_text()


def assert_written_last(folder, name):
    """A generation is the time at which an object was written."""
    found = sorted(gcs.listing(f"{BUCKET}/{folder}", key="test"), key=lambda item: item.generation)
    # which no reader asks for
    found = [item for item in found if not item.name.endswith(ownership.MARKER)]
    assert len(found) > 2 and found[-1].name == f"{folder}/{name}", found


def assert_same_weights(job, other):
    prefixes = [
        str(folder / "checkpoints" / f"step_{STEPS:08d}" / "weights") for folder in (job, other)
    ]
    for name, _ in tf.train.list_variables(prefixes[0]):
        first, second = (tf.train.load_variable(prefix, name) for prefix in prefixes)
        assert first.tobytes() == second.tobytes(), name


@pytest.mark.slow
def test_a_corpus_is_streamed_from_the_bucket_and_goes_on_on_another_machine(
    launcher, faults, tmp_path
):
    """Two workers, of which one is killed; a file is there only while it is read."""
    weights = toy.write_gpt2(tmp_path / "weights", layers=1, dropout=0.1)
    for shard in range(3):
        (tmp_path / f"part-{shard}.txt").write_text(
            "\n".join(row["text"] for row in toy.sentences(60, seed=shard))
        )
        gcs.upload(tmp_path / f"part-{shard}.txt", f"{BUCKET}/corpus/part-{shard}.txt", key="test")
    config = toy.write_config(
        tmp_path,
        weights,
        f"{tmp_path}/part-*.txt",
        head={"name": "causal_lm", "documents": "separate"},
        distribution={"strategy": "auto"},
        data={
            "source": "text",
            "document": "line",
            "validation": f"{tmp_path}/part-0.txt",
            "stream_characters": 1500,
            "cache_dir": None,
        },
        train={"steps": 60, "checkpoint_every_steps": 7, "micro_batches": 2},
    )
    launcher.start(
        f"--config={config}",
        f"--job_dir={tmp_path}/whole",
        log=tmp_path / "whole.log",
        environment={"XDG_CACHE_HOME": str(tmp_path / "here")},
    )
    assert launcher.wait() == 0, (tmp_path / "whole.log").read_text()

    def run(stage, *, kill):
        processes = [
            launcher.start(
                f"--config={config}",
                f"--job_dir={BUCKET}/streamed",
                f"--data.train={BUCKET}/corpus/part-*.txt",
                "--train.micro_batches=1",
                log=tmp_path / f"{stage}{index}.log",
                environment={
                    **JOB,
                    **environment,
                    "XDG_CACHE_HOME": str(tmp_path / f"{stage}{index}"),
                },
            )
            for index, environment in enumerate(environments(2, "TF_CONFIG"))
        ]
        if kill:
            while not any(
                "step_00000014/state.json" in item.name
                for item in gcs.listing(f"{BUCKET}/streamed", key="test")
            ):
                time.sleep(0.1)
            os.kill(processes[1], signal.SIGKILL)
        return [launcher.wait(process) for process in processes]

    faults.plan = lambda method, path: (
        503 if "part-1" in path and "alt=media" in path and len(faults.requests) % 2 else None
    )
    assert run("first", kill=True)[1] == -signal.SIGKILL
    assert run("second", kill=False) == [0, 0], "\n".join(
        (tmp_path / f"second{index}.log").read_text() for index in range(2)
    )
    assert faults.fired and any(
        "resuming after step" in entry["message"] for entry in entries(tmp_path / "second0.log")
    )
    job = download("streamed", tmp_path / "job")
    for line, wanted in zip(
        toy.read_jsonl(job / "metrics.jsonl"),
        toy.read_jsonl(tmp_path / "whole" / "metrics.jsonl"),
        strict=True,
    ):
        assert {**line, "split": 0} == pytest.approx({**wanted, "split": 0}, rel=1e-4, abs=1e-5)
    states = [
        json.loads((folder / "checkpoints" / "step_00000060" / "state.json").read_text())["stream"]
        for folder in (job, tmp_path / "whole")
    ]
    for state in states:
        assert state.pop("files") and state["lost"].pop("train", True)
    assert states[0] == states[1] and states[0]["block"] > 2
    left = [path for index in range(2) for path in (tmp_path / f"second{index}").rglob("part-*")]
    assert not left


def test_the_model_is_loaded_evaluated_and_asked_from_the_bucket(launcher, config, whole, tmp_path):
    for file in sorted(path for path in whole.rglob("*") if path.is_file()):
        gcs.upload(file, f"{BUCKET}/copied/{file.relative_to(whole)}", key="test")
    gcs.upload(config / "data" / "train-0.jsonl", f"{BUCKET}/ask/a.jsonl", key="test")
    environment = {"XDG_CACHE_HOME": str(tmp_path / "cache")}
    for arguments in (
        ["--mode=evaluate"],
        ["--mode=predict", f"--input={BUCKET}/ask/*.jsonl", f"--output={BUCKET}/ask/answers.json"],
        ["--mode=export", "--export.format=huggingface", f"--export.directory={BUCKET}/hf"],
    ):
        launcher.start(
            f"--job_dir={BUCKET}/copied", *arguments, log=tmp_path / "log", environment=environment
        )
        assert launcher.wait() == 0, (tmp_path / "log").read_text()
    answers = [
        json.loads(line)
        for line in (
            gcs.client().bucket("runs").blob("ask/answers.json").download_as_text().splitlines()
        )
    ]
    assert (
        len(answers) == 45
        and sum(answer["label"] == answer["predicted_label"] for answer in answers) >= 40
    )
    assert names("hf") == {
        "config.json",
        "model.safetensors",
        "tokenizer_config.json",
        "vocab.txt",
        ownership.CARD,
        ownership.MARKER,
    }


def test_two_workers_share_nothing_but_the_bucket(launcher, faults, config, whole, tmp_path):
    """Each with a cache of its own, as on two machines, and exactly what Vertex AI sets."""
    common = {
        "AIP_MODEL_DIR": f"{BUCKET}/two/model/",
        "AIP_CHECKPOINT_DIR": f"{BUCKET}/two/checkpoints/",
        "AIP_TENSORBOARD_LOG_DIR": f"{BUCKET}/two/logs/",
    }
    for stage in ("killed", "whole"):
        clusters = [
            {
                **one,
                "TF_CONFIG": (
                    one["CLUSTER_SPEC"]
                    .replace("workerpool0", "chief")
                    .replace("workerpool1", "worker")
                ),
            }
            for one in environments(2, "CLUSTER_SPEC")
        ]
        processes = [
            start(
                launcher,
                tmp_path,
                f"{stage}{index}",
                "--distribution.strategy=auto",
                machine=f"{stage}{index}",
                **common,
                **clusters[index],
            )
            for index in range(2)
        ]
        if stage == "killed":
            while not any(
                "state.json" in item.name for item in gcs.listing(f"{BUCKET}/two", key="test")
            ):
                time.sleep(0.1)
            os.kill(processes[1], signal.SIGKILL)
        codes = [launcher.wait(process) for process in processes]
        assert codes == ([134, -9] if stage == "killed" else [0, 0]), "\n".join(
            (tmp_path / f"{stage}{index}.log").read_text() for index in range(2)
        )
    media = [path for method, path in faults.requests if method == "GET" and "alt=media" in path]
    # by the chief, each time; the other takes the encoded data
    assert sum("train-0.jsonl" in path for path in media) == 2
    job = download("two", tmp_path / "job")
    for line, wanted in zip(
        toy.read_jsonl(job / "metrics.jsonl"), toy.read_jsonl(whole / "metrics.jsonl"), strict=True
    ):
        assert line["step"] == wanted["step"] and line["split"] == wanted["split"]
    assert any(
        "resuming after step" in entry["message"] for entry in entries(tmp_path / "whole0.log")
    )
    assert (job / "model" / "saved_model.pb").exists() and json.loads(
        (job / "results.json").read_text()
    )["validation"]["accuracy"] > 0.8


def test_a_stopped_job_has_published_its_checkpoint_when_it_leaves(launcher, config, tmp_path):
    process = start(
        launcher,
        tmp_path,
        "stopped",
        f"--job_dir={BUCKET}/stopped",
        "--train.checkpoint_every_steps=1000",
    )
    while (
        not (tmp_path / "stopped.log").exists()
        or "loss" not in (tmp_path / "stopped.log").read_text()
    ):
        time.sleep(0.05)
    os.kill(process, signal.SIGTERM)
    assert launcher.wait() == 143
    written = {
        item.name.rpartition("/")[2]: item.generation
        for item in gcs.listing(f"{BUCKET}/stopped", key="test")
    }
    assert written["weights.index"] < written["metrics.jsonl"] < written["state.json"]


def test_an_outage_at_one_checkpoint_is_outlived(faults, tmp_path, monkeypatch):
    monkeypatch.setattr(mirror, "_chosen", [tmp_path / "cache"])
    monkeypatch.setattr(connection, "PATIENCE_SECONDS", 1.0)
    mirror._jobs.cache_clear()
    warned = []
    kept = Checkpoints(
        mirror.local(f"{BUCKET}/outage/checkpoints"),
        keep=3,
        warn=warned.append,
        variables={"x": tf.Variable(1.0)},
    )
    kept.save(RunState(step=1))
    kept.wait()
    faults.plan = lambda method, path: 503
    kept.save(RunState(step=2))
    kept.wait()
    assert "Cloud Storage does not answer" in warned[0] and warned[0].endswith(
        "Training goes on, and the next checkpoint is tried."
    )
    with pytest.raises(gcs.UnavailableError):
        kept.wait(last=True)
    faults.plan = lambda method, path: None
    assert kept.complete() == [1]
    kept.save(RunState(step=3))
    kept.wait(last=True)
    assert {name.split("/")[1] for name in names("outage")} == {
        "step_00000001",
        "step_00000003",
    } and kept.restore_latest().step == 3
    mirror._jobs.cache_clear()


def test_what_changes_while_it_is_brought_is_asked_for_again(faults, tmp_path, monkeypatch):
    """As another worker replaces it between the list and the read."""
    monkeypatch.setattr(mirror, "_chosen", [tmp_path / "cache"])
    mirror._jobs.cache_clear()
    gcs.client().bucket("runs").blob("changing/config.yaml").upload_from_string("old")
    listed, left = gcs.listing, ["new"]

    def listing(url, *, key):
        found = listed(url, key=key)
        if left:
            gcs.client().bucket("runs").blob("changing/config.yaml").delete()
            gcs.client().bucket("runs").blob("changing/config.yaml").upload_from_string(left.pop())
        return found

    monkeypatch.setattr(gcs, "listing", listing)
    folder = mirror.local(f"{BUCKET}/changing/")
    mirror.bring(folder)
    assert (folder / "config.yaml").read_text() == "new"
    mirror._jobs.cache_clear()


@pytest.mark.parametrize(
    "url",
    [
        "gs://bucket//tmp/job",
        "gs://bucket/../other/job",
        "gs://bucket/a/../../x",
        "gs://bucket/a//b",
        "gs://bucket/./a",
    ],
)
def test_a_url_that_is_no_folder_of_a_bucket_is_not_written_to(url):
    with pytest.raises(
        ConfigError,
        match=(
            r"cannot write 'gs://.*': expected gs://BUCKET/NAME, without empty parts, \. and \.\."
        ),
    ):
        mirror.local(url)


def test_logs_that_were_removed_from_the_bucket_stay_away(launcher, config, tmp_path):
    for run in range(2):
        start(
            launcher,
            tmp_path,
            f"logs{run}",
            f"--job_dir={BUCKET}/logged",
            "--train.steps=2",
            "--export.format=none",
        )
        assert launcher.wait() == 0
        assert len([name for name in names("logged") if name.startswith("logs/train/")]) == 1
        gcs.delete(gcs.listing(f"{BUCKET}/logged", key="test"), key="test")


def test_another_config_is_refused_by_what_the_bucket_says(launcher, whole, tmp_path):
    for name in ("config.yaml", ".data", f"checkpoints/step_{STEPS:08d}/state.json"):
        gcs.upload(whole / name, f"{BUCKET}/other/{name}", key="test")
    start(launcher, tmp_path, "other", f"--job_dir={BUCKET}/other", "--train.seed=5")
    assert launcher.wait() == 2
    said = entries(tmp_path / "other.log")[-1]
    assert said["severity"] == "ERROR" and said["message"].startswith(
        f"--job_dir={BUCKET}/other belongs to a run with another config:"
    )
    assert f"To go on with that run: --config={BUCKET}/other/config.yaml." in said["message"]


def test_a_data_error_names_the_object(launcher, config, tmp_path):
    gcs.client().bucket("runs").blob("bad/b.jsonl").upload_from_string(
        '{"text": "a", "label": "b"}\n{"text": \n'
    )
    start(launcher, tmp_path, "bad", f"--job_dir={BUCKET}/badjob", f"--data.train={BUCKET}/bad")
    assert launcher.wait() == 2
    assert f"{BUCKET}/bad" in entries(tmp_path / "bad.log")[-1]["message"]
    start(
        launcher,
        tmp_path,
        "bad",
        f"--job_dir={BUCKET}/badjob",
        f"--data.train={BUCKET}/bad/*.jsonl",
    )
    assert launcher.wait() == 2
    assert entries(tmp_path / "bad.log")[-1]["message"].startswith(
        f"{BUCKET}/bad/b.jsonl:2: not JSON: "
    )


def test_what_a_bucket_lost_is_forgotten_here(faults, tmp_path, monkeypatch):
    monkeypatch.setattr(mirror, "_chosen", [tmp_path / "cache"])
    mirror._jobs.cache_clear()
    folder = mirror.local(f"{BUCKET}/mirror/job")
    for name in ("a.txt", "deep/b.txt"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(name)
    mirror.publish(folder, last=("a.txt",), removable={"a.txt", "deep/b.txt"})
    assert (
        names("mirror/job") == {"a.txt", "deep/b.txt"}
        and mirror.url_of(folder / "a.txt") == f"{BUCKET}/mirror/job/a.txt"
    )
    faults.requests.clear()
    mirror.publish(folder, last=("a.txt",), removable={"a.txt", "deep/b.txt"})
    assert [method for method, _ in faults.requests] == ["GET"]  # nothing has changed
    (folder / "deep" / "b.txt").write_text("new")
    faults.requests.clear()
    mirror.publish(folder, last=("a.txt",), removable={"a.txt", "deep/b.txt"})
    assert next(
        (method, "a.txt" in path) for method, path in faults.requests if method != "GET"
    ) == ("DELETE", True)
    gcs.client().bucket("runs").blob("mirror/job/deep/b.txt").delete()
    gcs.client().bucket("runs").blob("mirror/job/a.txt").upload_from_string("theirs")
    (folder / "left.txt").write_text("of a killed run")
    mirror.bring(folder)
    assert {
        str(path.relative_to(folder)): path.read_text()
        for path in folder.rglob("*")
        if path.is_file()
    } == {"a.txt": "theirs"}
    mirror.remove(folder, first=("a.txt",))
    assert names("mirror/job") == set() and not folder.exists()
    assert (
        mirror.bring(pathlib.Path(tmp_path / "elsewhere")) is None
        and mirror.url_of(tmp_path) is None
    )
    mirror._jobs.cache_clear()
