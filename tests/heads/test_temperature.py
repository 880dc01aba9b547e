"""Probabilities divided by the temperature that validation chooses: evaluated, kept and served."""

import json

import numpy as np
import pytest
from scipy.special import log_softmax, softmax

import podtune
from tests import toy
from trainer.heads._classes.temperature import best_temperature

pytestmark = pytest.mark.heavy


def run(folder, toy_weights, **settings):
    """The job_dir of a run on labels of which some are wrong, so that it is too sure."""
    rows = toy.sentences(160, seed=3)
    for row in rows[::5]:
        row["label"] = {"pos": "neg", "neg": "pos"}[row["label"]]
    config = toy.write_config(
        folder,
        toy_weights,
        toy.write_jsonl(folder / "train.jsonl", rows),
        data={"validation": 0.3, "test": 0.2},
        train={"steps": 60},
        export={"format": "savedmodel", "check_examples": 8},
        **settings,
    )
    assert toy.run_main(config, folder / "job") == 0
    return folder / "job"


def probabilities_and_gold(job, split):
    lines = [line for line in toy.read_jsonl(job / "predictions.jsonl") if line["split"] == split]
    names = list(lines[0]["probabilities"])
    gold = np.array([names.index(line["gold"]) for line in lines])
    return np.array([list(line["probabilities"].values()) for line in lines]), gold


def test_validation_chooses_and_all_answers_follow(tmp_path, toy_weights):
    (tmp_path / "plain").mkdir()
    plain = run(tmp_path / "plain", toy_weights)
    job = run(tmp_path, toy_weights, head={"name": "classification", "calibrate": True})
    temperature = json.loads((job / "calibration.json").read_text("utf-8"))["temperature"]
    of_plain, gold = probabilities_and_gold(plain, "validation")
    assert temperature == pytest.approx(best_temperature(np.log(of_plain), gold), rel=1e-4)
    for split in ("validation", "test"):
        before, gold = probabilities_and_gold(plain, split)
        after, _ = probabilities_and_gold(job, split)
        assert after == pytest.approx(softmax(np.log(before) / temperature, axis=1), abs=1e-5)
        loss = -np.mean(log_softmax(np.log(after), axis=1)[np.arange(len(gold)), gold])
        results = json.loads((job / "results.json").read_text("utf-8"))[split]
        assert results["loss"] == pytest.approx(loss, abs=1e-5)
        accuracy = json.loads((plain / "results.json").read_text("utf-8"))[split]["accuracy"]
        assert results["accuracy"] == accuracy
    lines = toy.read_jsonl(job / "predictions.jsonl")
    asked = podtune.load(job).predict([line["inputs"]["text"] for line in lines])
    for line, answer in zip(lines, asked, strict=True):
        assert answer["probabilities"] == pytest.approx(line["probabilities"], abs=1e-5)
    results = json.loads((job / "results.json").read_text("utf-8"))
    assert toy.run_main(None, job, "--mode=evaluate") == 0
    again = json.loads((job / "results.json").read_text("utf-8"))
    assert again["test"] == pytest.approx(results["test"])


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"data": {"validation": None}}, "head.calibrate: needs data.validation"),
        ({"head": {"kind": "multi_label"}}, "head.calibrate: only for head.kind single_label"),
        ({"export": {"format": "huggingface"}}, "a temperature, for which a Hugging Face folder"),
    ],
)
def test_where_it_has_no_place_is_told(tmp_path, toy_weights, settings, said, capsys):
    head = {"name": "classification", "calibrate": True, **settings.get("head", {})}
    train = toy.write_sentences(tmp_path / "train.jsonl", 20)
    sections = {"data": {"validation": 0.3}, **settings, "head": head}
    config = toy.write_config(tmp_path, toy_weights, train, **sections)
    assert toy.run_main(config, tmp_path / "job") == 2
    assert said in capsys.readouterr().err
