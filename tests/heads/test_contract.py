"""Heads that the package does not have train, evaluate, resume, export and answer. Each is one
file: one with an input that is no text, one with two objectives, one on pairs drawn at each step.
"""

import json
import shutil

import numpy as np
import pytest
import tensorflow as tf

from tests import toy
from tests.heads.contract_heads import installed

STEPS = 8
HEADS = ("dated", "two_objectives", "pairs")
METRICS = {"dated": {"accuracy"}, "two_objectives": {"accuracy"}, "pairs": {"accuracy", "share"}}
LAST = f"step_{STEPS:08d}"


@pytest.fixture(autouse=True, scope="module")
def own_heads():
    with installed():
        yield


def rows(head):
    made = toy.sentences(60)
    for number, row in enumerate(made):
        if head == "pairs":
            row["text_pair"] = " ".join(reversed(row["text"].split()))
        if number % 7:
            row["year"] = 2000 + number % 30
    return made


def config_of(folder, head):
    return toy.write_config(
        folder,
        toy.write_checkpoint(folder / "weights", layers=1, dropout=0.1),
        toy.write_jsonl(folder / "train.jsonl", rows(head)),
        head={"name": head},
        data={"validation": 0.3},
        train={"steps": STEPS, "checkpoint_every_steps": 4, "evaluate_every_steps": 4},
        export={"format": "savedmodel"},
    )


@pytest.fixture(scope="module", params=HEADS)
def trained(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp(request.param)
    config = config_of(folder, request.param)
    assert toy.run_main(config, folder / "job") == 0
    return request.param, config, folder / "job"


def weights_of(job):
    prefix = str(job / "checkpoints" / LAST / "weights")
    names = [name for name, _ in tf.train.list_variables(prefix)]
    return {
        name: tf.train.load_variable(prefix, name)
        for name in names
        if not name.startswith("_CHECKPOINTABLE")
    }


def logged(job, split):
    lines = toy.read_jsonl(job / "metrics.jsonl")
    return [line for line in lines if line["split"] == split]


def test_it_trains_and_is_evaluated(trained):
    head, _, job = trained
    results = json.loads((job / "results.json").read_text())
    assert set(results["validation"]) == METRICS[head]
    assert len(logged(job, "train")) == STEPS
    assert len(logged(job, "validation")) == 2


def test_its_own_kind_of_loss_is_in_the_ledger(trained, capsys):
    head, config, job = trained
    ledger = json.loads((job / "ledger.json").read_text())
    undated = {split: kinds["undated"] for split, kinds in ledger.items() if "undated" in kinds}
    if head != "dated":
        assert undated == {}
        return
    assert sum(entry["count"] for entry in undated.values()) == 9  # of 0 to 59, each seventh
    assert undated["train"]["first"].startswith(str(config.parent / "train.jsonl"))
    capsys.readouterr()
    assert toy.run_main(config, None, "--mode=plan") == 0
    assert "texts without a year, read as -1 (" in capsys.readouterr().err


def test_each_objective_is_logged(trained):
    head, _, job = trained
    for line in logged(job, "train"):
        own = {name for name in line if name.startswith("loss_")}
        if head == "two_objectives":
            assert own == {"loss_label", "loss_token"}
            assert line["loss"] == pytest.approx(line["loss_label"] + line["loss_token"], rel=1e-6)
        else:
            assert own == set()


def test_it_goes_on_from_a_checkpoint_as_if_nothing_was(trained, tmp_path):
    _, config, job = trained
    again = tmp_path / "job"
    shutil.copytree(job, again)
    shutil.rmtree(again / "checkpoints" / LAST)
    shutil.rmtree(again / "model")
    (again / "results.json").unlink()
    assert toy.run_main(config, again) == 0
    assert (again / "metrics.jsonl").read_bytes() == (job / "metrics.jsonl").read_bytes()
    resumed, whole = weights_of(again), weights_of(job)
    assert set(resumed) == set(whole)
    for name, value in whole.items():
        np.testing.assert_array_equal(resumed[name], value, err_msg=name)


def test_its_export_and_predict_answer_alike(trained, tmp_path):
    """The export has proved itself in a fresh process."""
    head, _, job = trained
    asked = rows(head)[:9]
    toy.write_jsonl(tmp_path / "in.jsonl", asked)
    flags = (f"--input={tmp_path}/in.jsonl", f"--output={tmp_path}/out.jsonl")
    assert toy.run_main(None, job, "--mode=predict", *flags) == 0
    answers = toy.read_jsonl(tmp_path / "out.jsonl")
    served = tf.saved_model.load(str(job / "model")).signatures["serving_default"]
    inputs = {"text": tf.constant([row["text"] for row in asked])}
    if head == "dated":
        inputs["year"] = tf.constant([row.get("year", -1) for row in asked], tf.int32)
    if head == "pairs":
        inputs["text_pair"] = tf.constant([row["text_pair"] for row in asked])
        together = served(**inputs)["together"].numpy()
        np.testing.assert_allclose([answer["together"] for answer in answers], together, atol=1e-5)
        return
    labels = [label.decode() for label in served(**inputs)["label"].numpy()]
    assert [answer.get("predicted_label", answer["label"]) for answer in answers] == labels


def test_what_the_format_has_no_place_for_is_not_trained(trained, tmp_path, capsys):
    head, config, _ = trained
    assert toy.run_main(config, tmp_path / "job", "--export.format=huggingface") == 2
    said = capsys.readouterr().err
    assert f"export.format: Hugging Face's format has no place for head {head}." in said
    assert not list((tmp_path / "job").glob("checkpoints/*"))


def test_an_input_of_another_type_is_refused_with_its_place(tmp_path, capsys):
    file = toy.write_jsonl(tmp_path / "train.jsonl", [{"text": "a", "label": "x", "year": "once"}])
    weights = toy.write_checkpoint(tmp_path / "weights", layers=1)
    config = toy.write_config(tmp_path, weights, file, head={"name": "dated"})
    assert toy.run_main(config, tmp_path / "job") == 2
    said = capsys.readouterr().err
    assert "train.jsonl:1: year: expected a whole number. Received 'once'." in said


def test_pairs_are_others_at_each_step_and_have_their_own_lengths(tmp_path):
    from tests.heads.contract_heads import pairs
    from trainer.data.prepare import prepare
    from trainer.data.reader import Draw
    from trainer.settings.sections import plugin_module
    from trainer.text import load_tokenizer

    tokenizer = load_tokenizer(toy.write_checkpoint(tmp_path / "weights", weights=False))
    data = plugin_module("trainer.sources", "jsonl").Settings(
        train=str(toy.write_jsonl(tmp_path / "d.jsonl", rows("pairs"))),
        seq_len=32,
        cache_dir=str(tmp_path / "cache"),
    )
    reader = pairs.make_head(pairs.Settings(), data, tokenizer).reader
    store = prepare(data, reader, "t").splits["train"]
    indices = np.arange(len(store))
    by_step = [reader.drawn_lengths(store, indices, Draw(0, step)) for step in (0, 1)]
    assert (by_step[0] != by_step[1]).any() and (by_step[0] != store.lengths).any()
    for step, lengths in enumerate(by_step):
        drawn = [reader.draw(store, index, Draw(0, step)) for index in indices]
        assert [len(columns["token_ids"]) for columns in drawn] == lengths.tolist()
        assert 0.3 < np.mean([columns["label"] for columns in drawn]) < 0.8
