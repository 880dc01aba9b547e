"""Submissions against local servers that speak Cloud Storage's and Vertex AI's own protocols."""

import json
import os
import pathlib
import signal
import subprocess
import sys

import pytest
import yaml

from tests import toy
from tests.cloud import bucket_of_cloud_storage
from tests.vertex_api import vertex_api
from trainer.files import gcs, mirror
from trainer.vertex import service as service_module
from trainer.vertex.__main__ import main

PLACE = ["--project=my-project", "--region=us-central1", "--bucket=gs://jobs/podtune"]


@pytest.fixture(scope="module")
def servers():
    with (
        bucket_of_cloud_storage("jobs") as faults,
        vertex_api() as (vertex, api),
        pytest.MonkeyPatch.context() as patch,
    ):
        patch.setenv(service_module.ENDPOINT_VARIABLE, vertex)
        patch.setattr(service_module, "POLL_SECONDS", 0.01)
        yield faults, api


@pytest.fixture
def api(servers, monkeypatch, tmp_path):
    faults, api = servers
    faults.plan = lambda method, path: None
    api.states = ["PENDING", "RUNNING", "SUCCEEDED"]
    api.problem = ""
    api.refuse = None
    api.jobs = {}
    api.requests = []
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(mirror, "_chosen", [])
    mirror._jobs.cache_clear()
    yield api
    mirror._jobs.cache_clear()


@pytest.fixture
def config(tmp_path):
    weights = toy.write_checkpoint(tmp_path / "weights", layers=1)
    for shard in range(2):
        toy.write_sentences(tmp_path / "data" / f"train-{shard}.jsonl", 30, seed=shard)
    return toy.write_config(
        tmp_path,
        weights,
        tmp_path / "data" / "train-*.jsonl",
        data={"validation": 0.2, "cache_dir": None},
        train={"steps": 4},
    )


def run(*arguments):
    return main(["vertex", *PLACE, *arguments])


def names(prefix):
    return {item.name for item in gcs.listing(f"gs://jobs/{prefix}", key="test")}


@pytest.mark.heavy
def test_a_run_of_this_machine_becomes_a_job(api, config, capsys):
    given = [
        "--accelerator=l4:2",
        "--name=first",
        "--train.learning_rate=1e-4",
        "--wait",
        "--price_per_hour=2",
        "--timeout_hours=3",
    ]
    assert run(f"--config={config}", *given) == 0
    captured = capsys.readouterr()
    (created,) = api.jobs
    assert captured.out.splitlines() == [created, "gs://jobs/podtune/first"]
    for said in (
        "4 steps, about",
        "of 24 GB a replica (an estimate)",
        "2.00 an hour; at most 6.00, where all runs end by --timeout_hours=3",
        "gs://jobs in us-central1: written, replaced, removed",
        (
            "console:"
            " https://console.cloud.google.com/agent-platform/locations/us-central1/training/"
            f"{created[-4:]}?project=my-project"
        ),
        (
            f"logs:    gcloud ai custom-jobs stream-logs {created[-4:]} --region=us-central1"
            " --project=my-project"
        ),
        f"gcloud ai custom-jobs cancel {created[-4:]}",
        "pending after 0 min",
        "succeeded after 0 min",
        "done: gs://jobs/podtune/first/results.json",
    ):
        assert said in captured.err, captured.err
    (pool,) = api.jobs[created].job_spec.worker_pool_specs
    assert (pool.machine_spec.machine_type, pool.machine_spec.accelerator_count) == (
        "g2-standard-24",
        2,
    )
    assert (
        pool.container_spec.image_uri == "us-central1-docker.pkg.dev/my-project/podtune/gpu:0.1.0"
    )
    assert list(pool.container_spec.args) == ["--config=gs://jobs/podtune/first/submitted.yaml"]
    submitted = gcs.client().bucket("jobs").blob("podtune/first/submitted.yaml").download_as_text()
    values = yaml.safe_load(submitted)
    assert values["train"]["learning_rate"] == 1e-4 and values["data"]["train"].startswith(
        "gs://jobs/podtune/inputs/"
    )
    assert values["data"]["train"].endswith("/train-*.jsonl") and "# uploaded from " in submitted
    uploaded = {pathlib.PurePath(name).name for name in names("podtune/inputs")}
    assert uploaded == {
        "config.json",
        "vocab.txt",
        "tokenizer_config.json",
        "model.safetensors",
        "train-0.jsonl",
        "train-1.jsonl",
    }


@pytest.mark.heavy
def test_the_job_runs_with_exactly_what_was_submitted(launcher, api, config, tmp_path):
    """The container, imitated: its arguments, the environment that Vertex AI sets, and nothing of
    this machine.
    """
    assert run(f"--config={config}", "--name=real", "--nocheck") == 0
    (job,) = api.jobs.values()
    folder = job.job_spec.base_output_directory.output_uri_prefix
    environment = {
        "AIP_MODEL_DIR": f"{folder}/model/",
        "AIP_CHECKPOINT_DIR": f"{folder}/checkpoints/",
        "AIP_TENSORBOARD_LOG_DIR": f"{folder}/logs/",
        "CLOUD_ML_PROJECT_ID": "1",
        "XDG_CACHE_HOME": str(tmp_path / "container"),
        "CLUSTER_SPEC": json.dumps(
            {
                "cluster": {"workerpool0": ["localhost:2222"]},
                "task": {"type": "workerpool0", "index": 0},
                "environment": "cloud",
                "job": "{}",
            }
        ),
    }
    for kept in ("data", "weights"):
        (tmp_path / kept).rename(tmp_path / f"away_{kept}")
    arguments = list(job.job_spec.worker_pool_specs[0].container_spec.args)
    log = tmp_path / "log"
    launcher.start(*arguments, log=log, environment=environment)
    assert launcher.wait() == 0, log.read_text()
    assert {
        "podtune/real/results.json",
        "podtune/real/submitted.yaml",
        "podtune/real/config.yaml",
        "podtune/real/metrics.jsonl",
        "podtune/real/checkpoints/step_00000004/state.json",
    } <= names("podtune/real")
    assert all(
        json.loads(line)["severity"] in ("INFO", "WARNING")
        for line in log.read_text().splitlines()
        if line.startswith("{")
    )


def test_the_same_inputs_are_uploaded_once(api, servers, config, capsys):
    assert run(f"--config={config}", "--name=one", "--nocheck") == 0
    servers[0].requests.clear()
    assert run(f"--config={config}", "--name=two", "--nocheck") == 0
    assert "uploaded 0.0 MB that the bucket did not have" in capsys.readouterr().err
    written = [path for method, path in servers[0].requests if method == "POST"]
    assert len(written) == 1  # the config


def test_a_dry_run_prints_what_gcloud_takes_and_sends_nothing(api, servers, config, capsys):
    servers[0].requests.clear()
    assert (
        run(
            f"--config={config}",
            "--accelerator=tpu-v5e:4",
            "--dry_run",
            "--name=dry",
            "--distribution.strategy=auto",
        )
        == 0
    )
    captured = capsys.readouterr()
    head, _, rest = captured.out.partition("\n")
    assert (
        head == "# gcloud ai custom-jobs create --project=my-project --region=us-central1"
        " --display-name=dry --labels=trainer=podtune --config=FILE"
    )
    spec = yaml.safe_load(rest)
    service_module.as_message("CustomJobSpec", spec)
    assert spec["workerPoolSpecs"][0]["machineSpec"] == {
        "machineType": "ct5lp-hightpu-4t",
        "tpuTopology": "2x2",
    }
    assert spec["workerPoolSpecs"][0]["containerSpec"]["args"] == [
        "python3",
        "-m",
        "trainer.task",
        "--config=gs://jobs/podtune/dry/submitted.yaml",
        "--distribution.tpu=local",
    ]
    assert (
        "would upload data.train: 2 files of" in captured.err
        and not api.requests
        and not servers[0].requests
    )


def test_a_search_is_followed_and_its_trials_are_ranked(api, config, capsys):
    assert (
        run(
            f"--config={config}",
            "--nocheck",
            "--wait",
            "--tune=learning_rate:1e-5..1e-4:log,head.dropout:0..0.3",
            "--trials=3",
            "--parallel=2",
            "--goal=maximize:validation.accuracy",
            "--name=search",
        )
        == 0
    )
    ((name, job),) = api.jobs.items()
    assert "/hyperparameterTuningJobs/" in name and (
        job.max_trial_count,
        job.parallel_trial_count,
    ) == (3, 2)
    assert [parameter.parameter_id for parameter in job.study_spec.parameters] == [
        "train.learning_rate",
        "head.dropout",
    ]
    said = capsys.readouterr().err
    shown = [
        line.split("  ")[0].strip()
        for line in said[said.index("Trials, the best first") :].splitlines()[1:4]
    ]
    assert (
        shown == ["trial 2", "trial 3", "trial 1"]
        and "validation.accuracy 0.9000  --train.learning_rate=3e-05" in said
    )
    assert "gcloud ai hp-tuning-jobs stream-logs" in said


def test_a_package_is_built_uploaded_and_can_be_run(api, config, tmp_path, capsys):
    assert run(f"--config={config}", "--package", "--nocheck", "--name=packaged") == 0
    (job,) = api.jobs.values()
    spec = job.job_spec.worker_pool_specs[0].python_package_spec
    assert spec.python_module == "trainer.task" and list(spec.args) == [
        "--config=gs://jobs/podtune/packaged/submitted.yaml"
    ]
    (item,) = gcs.find(spec.package_uris[0], key="test")
    gcs.download({item: tmp_path / "p.tar.gz"}, key="test")
    subprocess.run(["tar", "xzf", "p.tar.gz"], cwd=tmp_path, check=True)
    folder = next(tmp_path.glob("podtune-*"))
    shown = subprocess.run(
        [sys.executable, "-m", "trainer.task", "--help"],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (
        shown.returncode == 0
        and "--train.learning_rate" in shown.stdout
        and (folder / "trainer" / "vertex" / "accelerators.yaml").exists()
    )
    assert run(f"--config={config}", "--package", "--noplan", "--name=checked") == 2
    assert (
        "is no longer offered since 2026-07-11: Vertex AI may refuse it." in capsys.readouterr().err
    )


def test_a_failed_job_says_why(api, config, capsys):
    api.states = ["RUNNING", "FAILED"]
    api.problem = "The replica workerpool0-0 exited with a non-zero status of 2."
    assert run(f"--config={config}", "--nocheck", "--wait", "--name=fails") == 2
    said = capsys.readouterr().err
    assert (
        "error: the job ended as FAILED: The replica workerpool0-0 exited with a non-zero status of"
        " 2. Its log: gcloud ai custom-jobs stream-logs" in said
    )


def test_a_cancelled_job(api, config):
    assert run(f"--config={config}", "--nocheck", "--name=cancelled") == 0
    (created,) = api.jobs
    service = service_module.Service("my-project", "us-central1")
    service.cancel(created)
    with pytest.raises(
        service_module.JobFailedError, match=r"the job ended as CANCELLED. Its log: "
    ):
        service.follow(created, lambda line: None)


def test_waiting_can_be_left(api, config, monkeypatch, capsys):
    api.states = ["RUNNING"]
    monkeypatch.setattr(service_module.time, "sleep", lambda _: os.kill(os.getpid(), signal.SIGINT))
    # runs that other tests have made here leave theirs
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        assert run(f"--config={config}", "--nocheck", "--wait", "--name=left") == 0
    finally:
        signal.signal(signal.SIGINT, before)
    assert (
        "no longer waiting; the job goes on. To stop it: gcloud ai custom-jobs cancel"
        in capsys.readouterr().err
    )


@pytest.mark.parametrize(
    ("status", "message"),
    [
        (
            403,
            (
                "error: an anonymous user may not do this in project my-project, creating the"
                " CustomJob: denied here. To grant it: gcloud projects add-iam-policy"
            ),
        ),
        (400, "error: Vertex AI does not accept this, creating the CustomJob: denied here"),
        (404, "error: not found, creating the CustomJob: denied here."),
        (
            429,
            (
                "error: over the quota of my-project in us-central1, creating the CustomJob: denied"
                " here."
            ),
        ),
        (503, "error: Vertex AI does not answer, creating the CustomJob: denied here."),
    ],
)
def test_refusals_are_explained(api, config, capsys, status, message):
    api.refuse = status, "denied here"
    assert run(f"--config={config}", "--nocheck", f"--name=refused-{status}") == 2
    assert message in capsys.readouterr().err


def test_the_preflight_names_all_that_is_wrong_and_sends_nothing(api, config, tmp_path, capsys):
    api.refuse = 403, "API disabled"
    bad = tmp_path / "bad.yaml"
    bad.write_text(
        config.read_text().replace(f"{tmp_path}/data/train-*.jsonl", "gs://jobs/nowhere/*.jsonl")
    )
    assert (
        main(
            [
                "vertex",
                "--project=my-project",
                "--bucket=gs://no-such-bucket",
                f"--config={bad}",
                "--accelerator=t4:1",
                "--name=bad",
            ]
        )
        == 2
    )
    said = capsys.readouterr().err
    message = said[said.index("error: ") :]
    for part in (
        "--bucket: there is no bucket gs://no-such-bucket, or an anonymous user may not see it.",
        "data.train: there is no object 'gs://jobs/nowhere/*.jsonl'",
        "an anonymous user may not do this in project my-project, listing the jobs: API disabled",
        "Nothing was sent. To send it unchecked: --nocheck",
    ):
        assert part in message, message
    assert not api.jobs and "FAILED bucket" in said and "ok     machine" in said


def test_the_preflight_stops_at_a_bucket_of_another_region(api, config, capsys):
    assert (
        main(
            [
                "vertex",
                "--project=my-project",
                "--bucket=gs://jobs",
                "--region=europe-west4",
                f"--config={config}",
                "--noplan",
                "--name=far",
            ]
        )
        == 2
    )
    assert (
        "--bucket: gs://jobs lies in US-CENTRAL1, the job in europe-west4: every step would cross"
        " regions, which is slow and is paid for. Take --region=us-central1, or make one there:"
        " gcloud storage buckets create gs://jobs-europe-west4 --location=europe-west4"
        in capsys.readouterr().err
    )


@pytest.mark.heavy
def test_the_preflight_stops_at_a_config_that_does_not_fit(api, config, tmp_path, capsys):
    """40 GB of activations on a T4; nothing of that size is computed here."""
    wide = toy.write_checkpoint(
        tmp_path / "wide", layers=1, weights=False, intermediate_size=600_000
    )
    assert (
        run(
            f"--config={config}",
            f"--backbone.weights={wide}",
            "--accelerator=t4:1",
            "--train.global_batch_size=4096",
            "--data.batching=fixed",
            "--name=wide",
        )
        == 2
    )
    said = capsys.readouterr().err
    assert (
        "error: plan: a replica needs about " in said
        and ", and t4:1 has 16 GB. Raise --train.micro_batches" in said
        and not api.jobs
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--accelerator=tpu-v6e:8"], "--accelerator: tpu-v6e cannot be used"),
        (["--accelerator=tpu-v3:8", "--workers=2"], "--workers: a TPU job has one worker"),
        (["--accelerator=tpu-v5e:6"], "--accelerator: tpu-v5e comes in 1, 4, 8"),
        (["--bucket=gs://UPPER"], "--bucket: expected gs://BUCKET or gs://BUCKET/FOLDER."),
        (["--workers=0"], "--workers: expected integer >= 1. Received 0."),
        (["--tensorboard=x"], "--tensorboard: expected projects/PROJECT/locations/"),
        (["--tensorboard=x"], "--service_account: missing."),
        (["--spot", "--flex_start"], "--flex_start: give spot or flex_start, not both."),
        (["--image=a", "--package"], "--package: give an image or package, not both."),
        (["--tune=a:1..2"], "--goal: missing."),
        (["--wrokers=2"], "unknown flag --wrokers. Did you mean --workers?"),
        (["--train.epochs=-1"], "train.epochs: expected"),
        (["--name=My_Job"], "--name: expected at most 63 of a-z, 0-9 and -"),
        (["--max_wait_hours=2"], "--max_wait_hours: only with --flex_start."),
        (
            ["--name=inputs"],
            "--name: the bucket's folders inputs, packages, served, preflight are for all jobs.",
        ),
        (["--workers=["], "--workers: expected integer"),
        (["--tune={a:1..2", "--goal=maximize:validation.loss"], "--tune: unknown setting '{a'"),
        (["--replicas=2"], "--replicas: only with --deploy."),
        (
            ["--accelerator=t4:1", "--train.precision=mixed_bfloat16"],
            "train.precision: t4:1 has no bfloat16. Received 'mixed_bfloat16'.",
        ),
        (
            ["--accelerator=rtx-pro-6000:1", "--train.xla=on"],
            (
                "train.xla: XLA cannot compile for rtx-pro-6000:1 (compute capability 12.0): that"
                " needs CUDA 12.8 or later, and the CUDA of TensorFlow 2.20 and 2.21 is 12.5."
                " Received 'on'. Set --train.xla=off, or auto, which leaves XLA out there."
            ),
        ),
        (
            ["--accelerator=b200:8", "--train.xla=parts"],
            "train.xla: XLA cannot compile for b200:8 (compute capability 10.0)",
        ),
        (
            ["--accelerator=tpu-v3:8", "--train.precision=mixed_float16"],
            "train.precision: a TPU computes in bfloat16.",
        ),
        (
            ["--workers=2"],
            (
                "distribution.strategy: expected auto or multi_worker on 2 x cpu. Received"
                " 'one_device'."
            ),
        ),
    ],
)
def test_mistakes_are_named_before_anything_is_asked(
    api, servers, config, capsys, arguments, message
):
    servers[0].requests.clear()
    assert run(f"--config={config}", *arguments) == 2
    assert message in capsys.readouterr().err and not api.requests and not servers[0].requests


def test_a_name_that_another_run_has_is_refused(api, config, capsys):
    assert run(f"--config={config}", "--nocheck", "--name=taken") == 0
    assert run(f"--config={config}", "--nocheck", "--name=taken") == 0  # the same run goes on
    assert run(f"--config={config}", "--nocheck", "--name=taken", "--train.seed=9") == 2
    assert (
        "--name: another run was submitted as gs://jobs/podtune/taken, and reads its config there."
        " Give another --name." in capsys.readouterr().err
    )
    assert (
        len(api.jobs) == 2
        and "seed: 9"
        not in gcs.client().bucket("jobs").blob("podtune/taken/submitted.yaml").download_as_text()
    )


def test_folders_of_this_machine_are_not_the_jobs(api, config, tmp_path):
    assert (
        run(
            f"--config={config}",
            "--nocheck",
            "--name=local",
            f"--export.directory={tmp_path / 'serving'}",
            f"--data.cache_dir={tmp_path / 'c'}",
        )
        == 0
    )
    values = yaml.safe_load(
        gcs.client().bucket("jobs").blob("podtune/local/submitted.yaml").download_as_text()
    )
    assert values["export"]["directory"] is None and values["data"]["cache_dir"] is None


def test_what_must_be_given_is_asked_for(monkeypatch, capsys):
    monkeypatch.delenv("GOOGLE_CLOUD_PROJECT", raising=False)
    assert main(["vertex"]) == 2
    assert capsys.readouterr().err.startswith(
        "error: --project: missing. Expected the Google Cloud project; default:"
        " GOOGLE_CLOUD_PROJECT.\n--bucket: missing. "
    )
    assert main(["vertex", "--help"]) == 0
    assert "--accelerator: text (default: cpu)" in capsys.readouterr().out


@pytest.mark.slow
@pytest.mark.skipif(sys.version_info < (3, 11), reason="libtpu's compiler has no wheels for it")
def test_the_preflight_compiles_for_the_tpu_and_stops_at_its_memory(api, config, capsys):
    given = [
        f"--config={config}",
        "--accelerator=tpu-v5e:1",
        "--data.batching=fixed",
        "--distribution.strategy=auto",
    ]
    assert run(*given, "--name=compiled") == 0
    assert (
        "every one compiles for TPU v5e and takes at most" in capsys.readouterr().err
        and len(api.jobs) == 1
    )
    assert run(*given, "--train.global_batch_size=524288", "--name=large") == 2
    said = capsys.readouterr().err
    assert "error: plan: " in said and "do not compile for v5e" in said and len(api.jobs) == 1, said
