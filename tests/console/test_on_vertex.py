"""What a job takes from Vertex AI's environment and what it tells it."""

import io
import json
import sys

import pytest

from tests import toy
from trainer.console import on_vertex
from trainer.console.display import Display
from trainer.errors import ConfigError

VARIABLES = [
    *on_vertex.JOB_VARIABLES,
    *on_vertex.DATA.values(),
    "AIP_DATA_FORMAT",
    on_vertex.TRIAL,
    on_vertex.METRIC_FILE,
]


@pytest.fixture(autouse=True)
def environment(monkeypatch):
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
    return monkeypatch.setenv


def test_the_folders_are_those_that_the_platform_names(environment):
    assert on_vertex.folders() == (None, None, None, None) and not on_vertex.is_job()
    for kind, variable in on_vertex.FOLDERS.items():
        environment(variable, f"gs://bucket/base/3/{kind}/")
    assert on_vertex.folders() == (
        "gs://bucket/base/3",
        "gs://bucket/base/3/model",
        "gs://bucket/base/3/checkpoints",
        "gs://bucket/base/3/logs",
    )
    assert on_vertex.is_job()
    environment("AIP_MODEL_DIR", "gs://bucket/")  # no folder above it
    assert on_vertex.folders().job_dir == "gs://bucket/base/3"


@pytest.mark.heavy
def test_they_win_over_the_job_dir(environment, tmp_path):
    config = toy.write_config(
        tmp_path,
        toy.write_checkpoint(tmp_path / "weights"),
        toy.write_sentences(tmp_path / "train.jsonl", 40),
        train={"steps": 2},
        export={"format": "huggingface"},
    )
    environment("AIP_CHECKPOINT_DIR", str(tmp_path / "theirs" / "checkpoints"))
    environment("AIP_TENSORBOARD_LOG_DIR", str(tmp_path / "logs_of_all" / "7"))
    assert toy.run_main(config, tmp_path / "mine") == 0
    assert (tmp_path / "theirs" / "checkpoints" / "step_00000002" / "state.json").exists() and (
        tmp_path / "logs_of_all" / "7" / "train"
    ).is_dir()
    assert {path.name for path in (tmp_path / "mine").iterdir()} >= {
        "config.yaml",
        "results.json",
        "metrics.jsonl",
    }
    assert (
        not (tmp_path / "mine" / "checkpoints").exists()
        and not (tmp_path / "mine" / "logs").exists()
    )


def test_a_managed_dataset_takes_the_place_of_the_data(environment):
    assert on_vertex.data_settings() == {}
    environment("AIP_DATA_FORMAT", "jsonl")
    environment("AIP_TRAINING_DATA_URI", "gs://bucket/data/training-*")
    environment("AIP_TEST_DATA_URI", "gs://bucket/data/test-*")
    assert on_vertex.data_settings() == {
        ("data", "source"): ("managed_dataset", "AIP_DATA_FORMAT"),
        ("data", "train"): ("gs://bucket/data/training-*", "AIP_TRAINING_DATA_URI"),
        ("data", "test"): ("gs://bucket/data/test-*", "AIP_TEST_DATA_URI"),
    }
    environment("AIP_DATA_FORMAT", "csv")
    assert on_vertex.data_settings()["data", "source"].value == "csv"


@pytest.mark.heavy
def test_data_that_flags_give_take_its_place(environment, tmp_path):
    environment("AIP_TRAINING_DATA_URI", "bq://project.dataset.table")
    environment("AIP_DATA_FORMAT", "bigquery")
    config = toy.write_config(
        tmp_path, toy.write_checkpoint(tmp_path / "weights"), "nowhere.jsonl", train={"steps": 1}
    )
    assert toy.run_main(config, tmp_path / "job") == 2
    assert (
        toy.run_main(
            config,
            tmp_path / "job",
            f"--data.train={toy.write_sentences(tmp_path / 'train.jsonl', 20)}",
        )
        == 0
    )


@pytest.mark.parametrize(
    ("variables", "message"),
    [
        (
            {"AIP_TRAINING_DATA_URI": "bq://project.dataset.table", "AIP_DATA_FORMAT": "bigquery"},
            (
                "AIP_TRAINING_DATA_URI: expected gs://…, as of a dataset of text. Received"
                " 'bq://project.dataset.table'. A table of BigQuery is exported first: bq "
            ),
        ),
        (
            {"AIP_TRAINING_DATA_URI": "gs://b/x-*", "AIP_DATA_FORMAT": "parquet"},
            "AIP_DATA_FORMAT: expected one of jsonl, csv. Received 'parquet'.",
        ),
    ],
)
def test_datasets_of_other_kinds_are_refused(environment, variables, message):
    for name, value in variables.items():
        environment(name, value)
    with pytest.raises(ConfigError) as caught:
        on_vertex.data_settings()
    assert str(caught.value).startswith(message)


def test_the_trial_reports_as_googles_package_does(environment, tmp_path, monkeypatch):
    hypertune = pytest.importorskip("hypertune")
    monkeypatch.setattr(hypertune.hypertune.time, "time", lambda: 1.5)
    environment(on_vertex.TRIAL, "7")
    for name in ("theirs", "ours"):
        environment(on_vertex.METRIC_FILE, str(tmp_path / name / "output.metrics"))
        if name == "theirs":
            theirs = hypertune.HyperTune()
            for step in range(120):
                theirs.report_hyperparameter_tuning_metric("validation.accuracy", step / 128, step)
        else:
            ours = on_vertex.TrialMetrics()
            for step in range(120):
                ours.report("validation", {"accuracy": step / 128}, step)
    found, expected = (
        toy.read_jsonl(tmp_path / name / "output.metrics") for name in ("ours", "theirs")
    )
    assert found == expected and len(found) == 100


@pytest.mark.heavy
def test_a_trial_of_a_tuning_job(environment, tmp_path):
    """Run as the platform runs it: settings by flags,
    its number and its file by the environment.
    """
    config = toy.write_config(
        tmp_path,
        toy.write_checkpoint(tmp_path / "weights"),
        toy.write_sentences(tmp_path / "train.jsonl", 60),
        data={"validation": 0.3},
        train={"steps": 6, "evaluate_every_steps": 3},
    )
    environment(on_vertex.TRIAL, "2")
    environment(on_vertex.METRIC_FILE, str(tmp_path / "hypertune" / "output.metrics"))
    assert toy.run_main(config, tmp_path / "job", "--train.learning_rate=0.001") == 0
    entries = toy.read_jsonl(tmp_path / "hypertune" / "output.metrics")
    reported = [
        (entry["global_step"], float(entry["validation.accuracy"]))
        for entry in entries
        if "validation.accuracy" in entry
    ]
    written = [
        (str(line["step"]), line["accuracy"])
        for line in toy.read_jsonl(tmp_path / "job" / "metrics.jsonl")
        if line["split"] == "validation"
    ]
    assert (
        reported == written
        and len(reported) == 2
        and {entry["trial"] for entry in entries} == {"2"}
    )


def test_outside_a_trial_nothing_is_reported(environment, tmp_path):
    environment(on_vertex.METRIC_FILE, str(tmp_path / "output.metrics"))
    on_vertex.TrialMetrics().report("validation", {"accuracy": 1.0}, 1)
    assert not (tmp_path / "output.metrics").exists()


def test_the_log_of_a_job_has_severity_step_and_trial(environment):
    environment(on_vertex.TRIAL, "4")
    stream = io.StringIO()
    display = Display(stream)
    display.line("step 3: validation f1 0.5", step=3)
    display.warn("careful")
    display.table("Plan", [("steps", 10)])
    display.progress("training", 5, 10, "loss 0.1")
    assert [json.loads(line) for line in stream.getvalue().splitlines()] == [
        {"severity": "INFO", "message": "step 3: validation f1 0.5", "trial": "4", "step": 3},
        {"severity": "WARNING", "message": "careful", "trial": "4"},
        {"severity": "INFO", "message": "Plan\nsteps: 10", "trial": "4"},
        {"severity": "INFO", "message": "training 50% loss 0.1", "trial": "4", "step": 5},
    ]


def test_a_mistake_is_an_entry_of_severity_error(environment, capsys):
    environment("CLOUD_ML_JOB_ID", "1")
    from trainer.task import main

    assert main([sys.argv[0], "--config=/nowhere.yaml"]) == 2
    captured = capsys.readouterr()
    assert (
        json.loads(captured.out)
        == {
            "severity": "ERROR",
            "message": "--config=/nowhere.yaml: no such file.",
        }
        and captured.err == ""
    )
