"""What a linear model reads off each layer, beside the states of one example at a time."""

import dataclasses
import json

import numpy as np
import pytest
import tensorflow as tf

import podtune
from tests import toy
from trainer.data.batch import Batch
from trainer.report.explain import probe
from trainer.run.prepared_data import prepare_data

pytestmark = pytest.mark.heavy


@pytest.fixture(scope="module")
def runs(tmp_path_factory, toy_weights):
    """The job_dirs of a classifier and of a tagger."""
    folder = tmp_path_factory.mktemp("probe")
    report = {"write": True, "explained": 0, "perturbed": 0}
    tagger = toy.write_head_config(folder, "tags", 60, report=report, train={"steps": 5})
    assert toy.run_main(tagger, folder / "tags") == 0
    config = toy.write_config(
        folder,
        toy_weights,
        toy.write_sentences(folder / "sentences.jsonl", 120),
        data={"validation": 0.3},
        train={"steps": 30},
        report=report,
    )
    assert toy.run_main(config, folder / "classes") == 0
    return folder


@pytest.mark.parametrize("name", ["tags", "classes"])
def test_it_is_kept_and_shown(runs, name):
    kept = json.loads((runs / name / "probe.json").read_text("utf-8"))["probe"]
    assert kept["metric"] == "accuracy" and len(kept["layers"]) == 2
    assert all(0 <= score <= 1 for score in kept["layers"])
    facts = json.loads((runs / name / "report.json").read_text("utf-8"))
    assert facts["probe"] == kept
    assert "What each layer knows" in (runs / name / "report.html").read_text("utf-8")
    if name == "classes":  # the toy model has learnt to look for a word
        assert kept["layers"][-1] > 0.9


@pytest.mark.parametrize("name", ["tags", "classes"])
def test_states_are_those_of_each_example_alone(runs, name):
    kept = podtune.load(runs / name)._kept
    store = splits_of(kept)["train"]
    found = probe.states_of(kept.model, store, len(store))
    alone = []
    golds = []
    for place in np.argsort(store.lengths, kind="stable"):
        example = store.example(place)
        rows = Batch.one_a_row({"token_ids": tf.constant(example["token_ids"][None])}).rows
        outputs = kept.model.backbone(rows.as_inputs(), output_hidden_states=True)
        states = np.stack([state[0].numpy() for state in outputs["hidden_states"]])
        if name == "classes":
            alone.append(states.mean(axis=1, keepdims=True))
            golds.append(store.columns["label"][place])
        else:
            known = np.flatnonzero(example["label"])
            spread = np.linspace(0, len(known) - 1, min(len(known), 8)).astype(int)
            chosen = known[np.unique(spread)]
            alone.append(states[:, chosen])
            golds += (example["label"][chosen] - 1).tolist()
    assert np.allclose(found.layers, np.concatenate(alone, axis=1), atol=1e-5)
    assert found.gold.tolist() == golds


def splits_of(kept):
    return prepare_data(kept.parts).splits


@pytest.mark.parametrize("kind", ["single_label", "multi_label", "regression"])
def test_what_is_there_is_read_and_what_is_not_is_not(kind, monkeypatch):
    generator = np.random.default_rng(0)
    layers = generator.normal(size=(3, 400, 16)).astype(np.float32)
    number = layers[1, :, 3]
    gold = {
        "single_label": (number > 0).astype(int),
        "multi_label": np.stack([number > 0, layers[1, :, 5] > 0, number > 9], 1).astype(float),
        "regression": number,
    }[kind]
    parts = (slice(0, 300), slice(300, 400))
    states = iter([probe.States(layers[:, part], gold[part]) for part in parts])
    monkeypatch.setattr(probe, "states_of", lambda *arguments: next(states))
    kept = dataclasses.make_dataclass("Kept", ["model"])(None)
    found = probe.probe(kept, kind, None, None, 300)["probe"]
    assert found["layers"][1] > 0.9
    assert max(found["layers"][0], found["layers"][2]) < 0.65
    assert (found["train"], found["judged"]) == (300, 100)
    assert probe.probe(kept, "question_answering", None, None, 300) is None
