"""Real runs that real trackers follow: to their end, over a kill, and without the tracker."""

import itertools
import json
import os
import signal
import sys
import time

import pytest

from tests import toy
from tests.cloud import bucket_of_cloud_storage
from tests.mlflow_server import mlflow_server
from tests.test_multi_worker import environments
from tests.vertex_api import vertex_api
from tests.wandb_file import offline_runs
from trainer.console import on_vertex
from trainer.console.display import Display
from trainer.errors import TrainingError
from trainer.files import gcs
from trainer.run.job import Job
from trainer.run.trackers.notes import FILE
from trainer.run.trackers.track import run_name, track
from trainer.settings.resolve import resolve
from trainer.settings.setting import Setting
from trainer.task import main

mlflow = pytest.importorskip("mlflow")
wandb = pytest.importorskip("wandb")
pytestmark = pytest.mark.heavy
FLAGS = ("--log.trackers=mlflow,wandb", "--log.experiment=sentences")
REPORT = (
    "--report.write=true",
    *(f"--report.{part}=0" for part in ("explained", "probed", "perturbed", "attacked")),
)


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """The address of MLflow's store, which takes seconds to make."""
    folder = tmp_path_factory.mktemp("store")
    address = f"sqlite:///{folder}/mlflow.db"
    for name in ("sentences", "podtune"):  # else their files would go below ./mlruns
        mlflow.MlflowClient(address).create_experiment(
            name, artifact_location=str(folder / "artifacts")
        )
    return address


@pytest.fixture
def config(tmp_path, toy_weights):
    return toy.write_config(
        tmp_path,
        toy_weights,
        toy.write_sentences(tmp_path / "train.jsonl", 90),
        data={"validation": 0.2, "test": 0.2},
        train={"steps": 20, "evaluate_every_steps": 10, "log_every_steps": 5},
    )


def environment(folder, address):
    return {
        "MLFLOW_TRACKING_URI": address,
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "WANDB_MODE": "offline",
        "WANDB_DIR": str(folder),
    }


@pytest.fixture
def here(tmp_path, store, monkeypatch):
    """The variables, in this process."""
    for name, value in environment(tmp_path, store).items():
        monkeypatch.setenv(name, value)
    wandb.teardown()
    yield mlflow.MlflowClient(store)
    wandb.teardown()


def figures(job):
    """(step, name, value) of metrics.jsonl, as trackers name them."""
    return sorted(
        (line["step"], f"{line['split']}/{name}", value)
        for line in toy.read_jsonl(job / "metrics.jsonl")
        for name, value in line.items()
        if name not in ("step", "split")
    )


def in_mlflow(client, run_id):
    """The same of a run of MLflow, but for the speed and the results."""
    names = client.get_run(run_id).data.metrics
    return sorted(
        (metric.step, name, metric.value)
        for name in names
        if not name.startswith("results/") and "per_s" not in name
        for metric in client.get_metric_history(run_id, name)
    )


def in_wandb(runs):
    """The same of the parts of a run of wandb."""
    return sorted(
        (step, name, value)
        for step, values in itertools.chain.from_iterable(run.history for run in runs)
        for name, value in values.items()
        if "per_s" not in name
    )


def ids(job):
    return {name: noted["run"] for name, noted in json.loads((job / FILE).read_text()).items()}


def test_a_run_is_in_both_with_its_settings_figures_and_results(here, config, tmp_path, capfd):
    job = tmp_path / "first"
    assert toy.run_main(config, job, *FLAGS, *REPORT) == 0
    output = capfd.readouterr().err
    wandb.teardown()
    run = here.get_run(ids(job)["mlflow"])
    assert run.info.status == "FINISHED" and run.info.run_name == "first"
    assert run.data.params["train.learning_rate"] == "0.003"
    assert "data.cache_dir" not in run.data.params and "log.trackers" not in run.data.params
    results = json.loads((job / "results.json").read_text())
    for split in ("validation", "test"):
        for name, value in results[split].items():
            assert run.data.metrics[f"results/{split}/{name}"] == value
    assert run.data.metrics["results/timeline/train_s"] == results["timeline"]["train_s"]
    assert {metric for _, metric, _ in figures(job)} <= set(run.data.metrics)
    assert run.data.metrics["train/real_tokens_per_s"] > 0
    kept = {file.path for file in here.list_artifacts(run.info.run_id)}
    assert kept == {"config.yaml", "results.json", "ledger.json", "report.html"}
    (part,) = offline_runs(tmp_path)
    assert (part.run.project, part.run.display_name) == ("sentences", "first")
    assert part.config["train"]["learning_rate"] == 0.003
    assert part.summary["results/test/accuracy"] == results["test"]["accuracy"]
    assert part.exit_code == 0
    assert in_mlflow(here, run.info.run_id) == in_wandb([part]) == figures(job)
    assert "mlflow" not in output and "wandb" not in output  # nothing went wrong


def test_it_is_the_run_that_it_would_be_without(here, config, tmp_path):
    for job, flags in (("with", FLAGS), ("without", ())):
        assert toy.run_main(config, tmp_path / job, *flags) == 0
    tracked, plain = (
        (tmp_path / job / "metrics.jsonl").read_bytes() for job in ("with", "without")
    )
    assert tracked == plain
    assert not (tmp_path / "without" / FILE).exists()


def test_evaluation_goes_into_the_same_run_and_tells_a_new_tracker_all(here, config, tmp_path):
    job = tmp_path / "later"
    assert toy.run_main(config, job, "--log.trackers=mlflow") == 0
    first = ids(job)
    assert toy.run_main(None, job, "--mode=evaluate", *FLAGS) == 0
    wandb.teardown()
    assert ids(job)["mlflow"] == first["mlflow"]
    accuracies = here.get_metric_history(first["mlflow"], "results/test/accuracy")
    assert len(accuracies) == 2 and len({metric.value for metric in accuracies}) == 1
    (part,) = offline_runs(tmp_path)
    assert in_wandb([part]) == figures(job) == in_mlflow(here, first["mlflow"])


def test_a_missing_package_is_refused_before_anything_is_made(config, tmp_path, monkeypatch, capfd):
    monkeypatch.setitem(sys.modules, "mlflow", None)
    job = tmp_path / "job"
    assert toy.run_main(config, job, "--log.trackers=mlflow") == 2
    assert "pip install 'podtune[mlflow]'" in capfd.readouterr().err
    assert not job.exists()


@pytest.mark.parametrize("given", ["mlfow", "[mlflow, tensorboard]", "3"])
def test_an_unknown_tracker_is_told_with_those_that_there_are(config, capfd, given):
    assert toy.run_main(config, None, f"--log.trackers={given}") == 2
    error = capfd.readouterr().err
    assert "log.trackers" in error and "mlflow, wandb, vertex" in error


def start(launcher, config, job, variables):
    """A run that does not end by itself, with a checkpoint every few steps."""
    return launcher.start(
        f"--config={config}",
        f"--job_dir={job}",
        *FLAGS,
        "--train.steps=1000000",
        "--train.evaluate_every_steps=1000",
        "--train.checkpoint_every_steps=30",
        log=job.with_suffix(".log"),
        environment=variables,
    )


def wait_until_told(job, beyond=0):
    """Until both trackers were told of a later step; the last of them that both have."""
    for _ in range(6000):
        if (job / FILE).exists():
            noted = json.loads((job / FILE).read_text())
            steps = [of["steps"].get("train", 0) for of in noted.values()]
            if len(steps) == 2 and min(steps) > beyond:
                return min(steps)
        time.sleep(0.05)
    raise AssertionError(job.with_suffix(".log").read_text())


@pytest.mark.slow
def test_a_run_that_is_killed_goes_on_in_the_same_runs(launcher, config, store, tmp_path):
    job = tmp_path / "job"
    variables = environment(tmp_path, store)
    process = start(launcher, config, job, variables)
    told = wait_until_told(job, beyond=60)
    first = ids(job)
    os.kill(process, signal.SIGKILL)
    assert launcher.wait() == -signal.SIGKILL
    client = mlflow.MlflowClient(store)
    assert client.get_run(first["mlflow"]).info.status == "RUNNING"
    process = start(launcher, config, job, variables)
    wait_until_told(job, beyond=told + 60)
    os.kill(process, signal.SIGTERM)
    assert launcher.wait() == 143
    log = job.with_suffix(".log").read_text()
    assert "resuming after step" in log
    assert "the checkpoint is written, start again to go on" in log
    assert ids(job) == first
    assert client.get_run(first["mlflow"]).info.status == "KILLED"
    parts = offline_runs(tmp_path)
    assert [part.run.run_id for part in parts] == [first["wandb"]] * 2
    assert parts[1].exit_code == 143
    assert in_mlflow(client, first["mlflow"]) == figures(job)
    logged = in_wandb(parts)  # which loses what it had for its file in the last second
    assert set(logged) <= set(figures(job)) and len(set(logged)) == len(logged)
    assert all(part.history for part in parts)


def test_a_tracker_that_is_gone_neither_ends_a_run_nor_tells_secrets(
    config, tmp_path, monkeypatch, capfd
):
    job = tmp_path / "job"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://me:opensesame@127.0.0.1:9")
    assert toy.run_main(config, job, "--log.trackers=mlflow") == 0
    error = capfd.readouterr().err
    assert "opensesame" not in error
    assert error.count("warning: mlflow: ") == 2
    assert "it is told when the run is started again, or evaluated" in error
    with mlflow_server(tmp_path) as server:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", server.address)
        assert toy.run_main(None, job, "--mode=evaluate", "--log.trackers=mlflow") == 0
        client = mlflow.MlflowClient(server.address)
        assert in_mlflow(client, ids(job)["mlflow"]) == figures(job)


def test_a_job_on_vertex_ai_is_in_its_experiments_wherever_it_goes_on(
    config, tmp_path, monkeypatch, capfd
):
    """With its job_dir in a bucket, which another machine finds there."""
    monkeypatch.setenv("CLOUD_ML_PROJECT_ID", "my-project")
    monkeypatch.setenv("CLOUD_ML_JOB_ID", "123")
    monkeypatch.setenv("CLOUD_ML_REGION", "europe-west4")
    with bucket_of_cloud_storage("jobs"), vertex_api() as (address, api):
        monkeypatch.setenv(on_vertex.ENDPOINT, address)
        argv = ["task.py", "--job_dir=gs://jobs/sst2", "--log.trackers=vertex"]
        machines = [f"--data.cache_dir={tmp_path}/machine_{number}" for number in range(2)]
        assert main([*argv, f"--config={config}", machines[0]]) == 0
        bucket = gcs.client().bucket("jobs")
        noted = json.loads(bucket.blob(f"sst2/{FILE}").download_as_bytes())
        run_id = noted["vertex"]["run"]
        first = api.experiments.of(f"podtune-{run_id}")
        assert main([*argv, "--mode=evaluate", machines[1]]) == 0
        assert api.experiments.of(f"podtune-{run_id}") == first
        results = json.loads(
            gcs.client().bucket("jobs").blob("sst2/results.json").download_as_bytes()
        )
    assert len(api.experiments.children) == 1
    assert run_id.startswith("sst2-") and first["_state"] == "COMPLETE"
    assert first["_params"]["vertex_job"] == "123"
    assert first["_metrics"]["results/test/accuracy"] == results["test"]["accuracy"]
    assert "WARNING" not in capfd.readouterr().out  # entries for Cloud Logging


def test_of_several_workers_the_chief_alone_is_tracked(launcher, config, store, tmp_path):
    job = tmp_path / "job"
    variables = environment(tmp_path, store)
    processes = [
        launcher.start(
            f"--config={config}",
            f"--job_dir={job}",
            "--distribution.strategy=auto",
            *FLAGS,
            log=tmp_path / f"{number}.log",
            environment={**variables, **own},
        )
        for number, own in enumerate(environments(2, "TF_CONFIG"))
    ]
    codes = [launcher.wait(process) for process in processes]
    assert codes == [0, 0], (tmp_path / "0.log").read_text() + (tmp_path / "1.log").read_text()
    (part,) = offline_runs(tmp_path)
    client = mlflow.MlflowClient(store)
    assert in_wandb([part]) == figures(job) == in_mlflow(client, ids(job)["mlflow"])


def test_a_mistake_is_told_before_a_tracker_is_there(here, config, tmp_path, capfd):
    job = tmp_path / "job"
    (tmp_path / "train.jsonl").write_text('{"text": "no label"}\n')
    assert toy.run_main(config, job, "--log.trackers=mlflow") == 2
    assert "train.jsonl" in capfd.readouterr().err


def test_a_run_that_fails_is_failed_there(here, config, tmp_path):
    resolved = resolve(config, {("log", "trackers"): Setting(["mlflow"], "here")})
    job = Job(tmp_path)
    with pytest.raises(TrainingError), track(resolved.config, job, Display()):
        while not (tmp_path / FILE).exists():
            time.sleep(0.05)
        raise TrainingError("the loss is not a number")
    assert here.get_run(ids(tmp_path)["mlflow"]).info.status == "FAILED"


@pytest.mark.parametrize(
    ("job_dir", "name"),
    [
        ("runs/sst2", "sst2"),
        ("gs://bucket/sst2-first", "sst2-first"),
        ("gs://bucket/search/3", "search-3"),
        ("7", "7"),
        ("/", "run"),
    ],
)
def test_a_run_is_called_as_its_folder(job_dir, name):
    assert run_name(job_dir) == name
