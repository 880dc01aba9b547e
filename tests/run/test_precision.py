"""train.precision: auto, as the device is measured, or as the job was begun."""

from types import SimpleNamespace

import pytest
import tensorflow as tf

from trainer.run import precision
from trainer.run.job import Job
from trainer.settings.resolve import resolve

BASE = {
    "head.name": "classification",
    "backbone.weights": "w",
    "data.source": "jsonl",
    "data.train": "t",
    "data.text": "text",
    "data.label": "label",
}


def config_of(tmp_path, **train):
    sections = {"head": {}, "backbone": {}, "data": {}, "train": train}
    for name, value in BASE.items():
        section, key = name.split(".")
        sections[section][key] = value
    file = tmp_path / "run.yaml"
    file.write_text("".join(f"{section}: {values}\n" for section, values in sections.items()))
    return resolve(file)


@pytest.fixture
def measured(monkeypatch):
    """Has the products of this machine reach so many operations a second."""
    speeds = {"float32": 100e9}

    def peak(strategy, name):
        return speeds[name]

    monkeypatch.setattr(precision, "peak_flops", peak)
    return speeds


def settle(resolved, job):
    lines = []
    display = SimpleNamespace(line=lines.append)
    strategy = tf.distribute.OneDeviceStrategy("CPU:0")
    settled = precision.settle_precision(resolved, job, strategy, display)
    return settled.config.train.precision, lines


@pytest.mark.parametrize(
    "speed, expected", [(180e9, "mixed_bfloat16"), (110e9, "float32"), (9e9, "float32")]
)
def test_a_cpu_takes_bfloat16_where_it_is_faster(speed, expected, tmp_path, measured):
    measured["mixed_bfloat16"] = speed
    found, lines = settle(config_of(tmp_path, precision="auto"), Job(tmp_path / "job"))
    assert found == expected
    assert lines == [
        f"precision: {expected} (a matrix product reaches {speed / 1e9:.0f} GFLOP/s in bfloat16,"
        " 100 in float32)"
    ]


def test_a_job_goes_on_with_the_precision_that_it_was_begun_with(tmp_path, measured):
    measured["mixed_bfloat16"] = 900e9
    job = Job(tmp_path / "job")
    job.folder.mkdir()
    begun = config_of(tmp_path, precision="auto").with_value("train", "precision", "float32", "x")
    job.config_file.write_text(begun.to_yaml())
    found, lines = settle(config_of(tmp_path, precision="auto"), job)
    assert found == "float32"
    assert lines == ["precision: float32 (as the job was begun)"]
    assert job.settled(config_of(tmp_path, precision="auto")).config.train.precision == "float32"


def test_what_the_config_says_is_not_measured(tmp_path):
    found = settle(config_of(tmp_path, precision="mixed_bfloat16"), Job(tmp_path / "job"))
    assert found == ("mixed_bfloat16", [])


@pytest.mark.parametrize("tpu, expected", [("v5e", "mixed_bfloat16"), (None, "float32")])
def test_a_plan_measures_nothing(tpu, expected, tmp_path):
    resolved = config_of(tmp_path, precision="auto").with_value("plan", "tpu", tpu, "x")
    assert precision.foresee_precision(resolved).config.train.precision == expected


def test_the_settled_value_reads_back_with_its_origin(tmp_path):
    settled = config_of(tmp_path).with_value("train", "precision", "mixed_bfloat16", "auto: why")
    assert "  precision: mixed_bfloat16  # auto: why\n" in settled.to_yaml()
    assert config_of(tmp_path).config.train.precision == "float32"
