"""The loss of a language model by position, beside that of each row by itself."""

import json

import numpy as np
import pytest
import tensorflow as tf

import podtune
from tests import toy
from trainer.data.reader import TARGET
from trainer.report.positions import _bins, loss_by_position
from trainer.run.prepared_data import prepare_data

pytestmark = pytest.mark.heavy


def test_it_is_the_cross_entropy_of_each_token(tmp_path):
    config = toy.write_head_config(
        tmp_path, "causal", 60, train={"steps": 10}, report={"write": True}
    )
    assert toy.run_main(config, tmp_path / "job") == 0
    kept = podtune.load(tmp_path / "job")._kept
    store = prepare_data(kept.parts).splits["validation"]
    by_position = {}
    table = kept.model.backbone.word_embeddings().numpy()
    for place in range(len(store)):
        example = store.example(place)
        ids = tf.constant(example["token_ids"][None])
        hidden = kept.model.backbone({"token_ids": ids})["sequence_output"][0].numpy()
        logits = hidden @ table.T
        log_shares = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
        for position, target in enumerate(example[TARGET]):
            if target:
                by_position.setdefault(position + 1, []).append(-log_shares[position, target - 1])
    found = loss_by_position(kept.model, store)["positions"]
    assert sum(each["tokens"] for each in found) == sum(map(len, by_position.values()))
    for each in found:
        expected = np.concatenate(
            [by_position.get(p, []) for p in range(each["from"], each["to"] + 1)]
        )
        assert each["tokens"] == len(expected)
        assert each["loss"] == pytest.approx(expected.mean(), abs=1e-4)
    kept_file = json.loads((tmp_path / "job/loss_by_position.json").read_text("utf-8"))
    assert kept_file["positions"] == found
    facts = json.loads((tmp_path / "job/report.json").read_text("utf-8"))
    assert facts["loss"]["positions"] == found


def test_bins_double():
    before = np.array([0, 1, 2, 3, 4, 7, 9])
    bins = list(_bins(before, before.astype(float), [0, 1, 2, 4, 8]))
    assert [(each["from"], each["to"], each["tokens"]) for each in bins] == [
        (0, 0, 1),
        (1, 1, 1),
        (2, 3, 2),
        (4, 7, 2),
        (8, 9, 1),
    ]
