"""`podtune.train` and `podtune.load`: every head, every kind of data, and a real keras.Model."""

from __future__ import annotations

import json
import os
import pathlib
import signal
import subprocess
import sys
import threading

import keras
import numpy as np
import pytest
import tensorflow as tf

import podtune
from podtune import examples_of, keywords
from tests import toy
from tests.scored_again import require_same_scores
from tests.toy import ROOT
from trainer.errors import ConfigError, DataError, JobDirError

QUICK = {
    "epochs": None,
    "steps": 4,
    "global_batch_size": 16,
    "learning_rate": 3e-3,
    "format": "none",
    "strategy": "one_device",
}


@pytest.fixture
def quick(tmp_path, toy_weights, monkeypatch):
    """Settings of a small run, below tmp_path."""
    monkeypatch.chdir(tmp_path)
    return {**QUICK, "model": str(toy_weights), "cache_dir": str(tmp_path / "cache"), "seq_len": 32}


def asked(kind: str) -> list:
    """A question for each kind of head."""
    if kind.startswith("questions"):
        return [{"question": "film?", "context": "we saw the great film"}]
    if kind == "masked":
        return ["we saw the [MASK] film"]
    return ["we saw the great film"]


ANSWERS = {
    "tags": {"entities"},
    "tags, decoder": {"entities"},
    "questions": {"answer", "start", "end", "score"},
    "questions, decoder": {"answer", "start", "end", "score"},
    "masked": {"masks"},
    "causal": {"generated_text", "score"},
    "target": {"generated_text", "score"},
    "prompt": {"label", "probabilities"},
    "last token": {"label", "probabilities"},
}


QUICK_HEADS = ("tags", "masked", "causal", "prompt", "last token")
EVERY_HEAD = [
    pytest.param(kind, marks=() if kind in QUICK_HEADS else pytest.mark.slow) for kind in toy.HEADS
]


@pytest.mark.parametrize("kind", EVERY_HEAD)
def test_a_run_of_every_head_is_trained_asked_and_looked_into(kind, tmp_path):
    config = toy.write_head_config(tmp_path, kind, 24)
    run = podtune.train(config, job_dir=tmp_path / "run")
    assert run.metrics["validation"]["loss"] == run.results["validation"]["loss"]
    require_same_scores(tmp_path / "run", run.results)
    (answer,) = run.predict(asked(kind))
    assert ANSWERS[kind] <= set(answer)
    assert run.predict([]) == []
    vectors = run.embed(["we saw the film", "a film"])
    assert vectors.shape == (2, 32) or vectors.shape[0] == 2
    reading = run.loaded.read(["we saw the great film", "a film"])
    layers = len(reading.attentions)
    assert len(reading.hidden_states) == layers + 1
    batch, width = reading.token_ids.shape
    assert reading.attentions[0].shape[2:] == (width, width)
    inputs = {"token_ids": reading.token_ids, "padding_mask": reading.padding_mask}
    if kind == "prompt":
        inputs["asked"] = np.arange(width)[None] == [[1]] * batch
    logits = run.model(inputs)
    assert logits.shape[0] == batch
    assert np.isfinite(logits.numpy()).all()


def test_answers_are_those_of_the_command(trained, tmp_path):
    texts = [row["text"] for row in toy.sentences(8, seed=3)]
    asked_file = toy.write_jsonl(tmp_path / "in.jsonl", [{"text": text} for text in texts])
    toy.run_main(
        None, trained, "--mode=predict", f"--input={asked_file}", f"--output={tmp_path}/out.jsonl"
    )
    model = podtune.load(trained)
    for answer, line in zip(
        model.predict(texts), toy.read_jsonl(tmp_path / "out.jsonl"), strict=True
    ):
        assert answer["label"] == line["label"]
        assert answer["probabilities"] == pytest.approx(line["probabilities"], abs=1e-6)


def test_a_file_is_looked_at_and_trained_on(quick, tmp_path):
    rows = [f"{row['text']},{row['label']}" for row in toy.sentences(60)]
    (tmp_path / "reviews.csv").write_text("text,label\n" + "\n".join(rows) + "\n")
    run = podtune.train("reviews.csv", **quick)
    assert run.job_dir == "runs/reviews"
    assert set(run.metrics) == {"validation", "test"}
    config = (tmp_path / "runs/reviews/config.yaml").read_text()
    assert "source: csv  # as the data show" in config
    assert "steps: 4  # steps=" in config
    again = podtune.train("reviews.csv", **quick)  # finished: it goes on where it was
    assert again.metrics == run.metrics
    with pytest.raises(JobDirError, match="runs/reviews"):
        podtune.train("reviews.csv", **{**quick, "learning_rate": 1e-3})


def of_pandas(rows):
    pandas = pytest.importorskip("pandas")
    return pandas.DataFrame(rows)


def of_hugging_face(rows):
    datasets = pytest.importorskip("datasets")
    data = datasets.Dataset.from_list(rows)
    return data.cast_column("label", datasets.ClassLabel(names=["neg", "pos"]))


def of_tensorflow(rows):
    columns = {name: [row[name] for row in rows] for name in ("text", "label")}
    return tf.data.Dataset.from_tensor_slices(columns)


def of_tensorflow_in_batches_of_pairs(rows):
    return of_tensorflow(rows).map(lambda row: (row["text"], row["label"])).batch(7)


KINDS = {
    "list": list,
    "generator": iter,
    "pandas": of_pandas,
    "datasets": of_hugging_face,
    "tf.data": of_tensorflow,
    "tf.data, pairs in batches": of_tensorflow_in_batches_of_pairs,
}


@pytest.mark.parametrize("kind", KINDS)
def test_objects_give_the_same_examples(kind):
    rows = [{"text": row["text"], "label": row["label"]} for row in toy.sentences(20)]
    assert examples_of.rows_of(KINDS[kind](rows)) == rows


def test_a_run_on_objects_keeps_them(quick, tmp_path):
    rows = [{"text": row["text"], "label": row["label"]} for row in toy.sentences(60)]
    held_out = [{"text": row["text"], "label": row["label"]} for row in toy.sentences(12, seed=9)]
    run = podtune.train(rows, validation=held_out, test=0.2, job_dir="mine", **quick)
    (train,) = (tmp_path / "mine/data").glob("train-*.jsonl")
    assert toy.read_jsonl(train) == rows
    assert set(run.metrics) == {"validation", "test"}
    assert run.predict(["the great film"])[0]["label"] in ("neg", "pos")


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (7, "expected a path, a pandas DataFrame, .* Received int."),
        ([], "there is no example in list."),
        (["a text"], "example 0 is str. Expected a dict of fields"),
        ([{"text": "a b c"}, 3], "example 1 is int."),
    ],
)
def test_data_of_no_kind_is_told(data, said):
    with pytest.raises(ConfigError, match=said):
        examples_of.rows_of(data)


def test_numbers_of_numpy_and_pandas_are_plain():
    rows = examples_of.rows_of(
        [{"a": np.int64(3), "b": np.float32(0.5), "c": float("nan"), "d": np.array(["x"])}]
    )
    assert rows == [{"a": 3, "b": 0.5, "c": None, "d": ["x"]}]


def test_keywords_are_settings():
    found = keywords.settings_of(
        {
            "epochs": 2,
            "model": "w",
            "head": "classification",
            "train.xla": "off",
            "text": ("a", "b"),
        }
    )
    assert {name: setting.value for name, setting in found.items()} == {
        ("train", "epochs"): 2,
        ("backbone", "weights"): "w",
        ("head", "name"): "classification",
        ("train", "xla"): "off",
        ("data", "text"): ["a", "b"],
    }


def test_keywords_that_are_none_are_told_at_once():
    with pytest.raises(ConfigError) as refused:
        keywords.settings_of({"replicas": 2, "epoch": 1, "num_train_epochs": 3})
    lines = str(refused.value).splitlines()
    assert lines[0].startswith("replicas: may be distribution.replicas or plan.replicas. Say which")
    assert lines[1] == "epoch: no such setting. Did you mean train.epochs?"
    assert lines[2] == "num_train_epochs: no such setting. Did you mean train.epochs?"


def test_one_text_is_no_list(trained):
    model = podtune.load(trained)
    with pytest.raises(ConfigError, match=r"expected a list\. Received one str"):
        model.predict("a film")
    with pytest.raises(DataError, match="text 1: expected a string or a dict"):
        model.predict(["a film", 3])
    with pytest.raises(ConfigError, match="pooling: expected mean or cls"):
        model.embed(["a"], pooling="max")
    with pytest.raises(ConfigError, match=r"nowhere: no config\.yaml there"):
        podtune.load("nowhere")


def test_sentence_vectors_are_means_of_the_last_states(trained):
    model = podtune.load(trained)
    texts = ["we saw the great film", "a film", "今天天气很好"]
    reading = model.read(texts)
    last = reading.hidden_states[-1]
    for row, mask in enumerate(reading.padding_mask.astype(bool)):
        mean = last[row][mask].mean(0)
        np.testing.assert_allclose(model.embed(texts)[row], mean, atol=1e-6)
        alone = model.embed([texts[row]])[0]
        np.testing.assert_allclose(alone, mean, atol=1e-5)
        assert reading.tokens[row][0] == "[CLS]"
        assert len(reading.tokens[row]) == mask.sum()
    np.testing.assert_allclose(model.embed(texts, pooling="cls"), last[:, 0], atol=1e-6)
    np.testing.assert_array_equal(model.embed(texts, batch_size=1).shape, (3, last.shape[-1]))
    assert model.embed([]).shape == (0, last.shape[-1])
    for probabilities in reading.attentions:
        sums = probabilities.sum(-1)[:, :, : reading.padding_mask.sum(1).min()]
        np.testing.assert_allclose(sums, 1, atol=1e-5)


def test_it_is_a_keras_model(trained, tmp_path):
    model = podtune.load(trained).keras_model
    assert isinstance(model, keras.Model)
    assert model.layers[0].name == "encoder"
    assert model.get_layer("encoder") is model.backbone
    lines: list[str] = []
    model.summary(print_fn=lambda text, **_: lines.append(text))
    assert "encoder" in "".join(lines)
    assert f"{model.count_params():,}" in "".join(lines)
    inputs = np.array([[2, 5, 6, 3, 0]])
    before = model(inputs).numpy()
    model.save_weights(tmp_path / "a.weights.h5")
    for weight in model.weights:
        weight.assign(weight + 1)
    assert not np.allclose(model(inputs).numpy(), before)
    model.load_weights(tmp_path / "a.weights.h5")
    np.testing.assert_array_equal(model(inputs).numpy(), before)
    padded = model(np.array([[2, 5, 6, 3, 0, 0, 0]])).numpy()
    np.testing.assert_allclose(padded, before, atol=1e-6)
    with pytest.raises(ValueError, match="Received input_ids"):
        model({"input_ids": inputs})


def test_what_is_not_trainable_is_not_trained(trained):
    model = podtune.load(trained).keras_model
    model.backbone.trainable = False
    frozen = [weight.numpy() for weight in model.backbone.weights]
    free = [weight.numpy() for weight in model.trainable_weights]
    assert len(free) == sum(len(layer.weights) for layer in model.head_layers)
    model.compile(
        keras.optimizers.SGD(0.5), keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    )
    model.fit(np.array([[2, 5, 6, 3]] * 8), np.array([0, 1] * 4), epochs=1, verbose=0)
    for old, weight in zip(frozen, model.backbone.weights, strict=True):
        np.testing.assert_array_equal(old, weight.numpy())
    moved = [
        np.abs(old - weight.numpy()).max()
        for old, weight in zip(free, model.trainable_weights, strict=True)
    ]
    assert max(moved) > 0


def test_fit_learns_what_the_loop_learns(tmp_path):
    """Every example in each step, no dropout: the losses of five steps are the same."""
    rows = toy.sentences(16)
    weights = toy.write_checkpoint(tmp_path / "weights", layers=2, dropout=0.0)
    settings = {
        "steps": 5,
        "global_batch_size": 16,
        "optimizer": "sgd",
        "momentum": 0.0,
        "learning_rate": 0.1,
        "schedule": "constant",
        "warmup_fraction": 0.0,
        "clip_norm": None,
        "log_every_steps": 1,
        "dropout": 0.0,
    }
    config = toy.write_config(
        tmp_path, weights, toy.write_jsonl(tmp_path / "a.jsonl", rows), train={"steps": 5}
    )
    podtune.train(config, job_dir=tmp_path / "run", **settings)
    lines = [json.loads(line) for line in (tmp_path / "run/metrics.jsonl").read_text().splitlines()]
    losses = [line["loss"] for line in lines if line["split"] == "train"]

    start = podtune.train(
        config, job_dir=tmp_path / "start", **{**settings, "steps": 1, "learning_rate": 1e-30}
    )
    model = start.model
    reading = start.loaded.read([row["text"] for row in rows])
    labels = np.array([("neg", "pos").index(row["label"]) for row in rows])
    model.compile(
        keras.optimizers.SGD(0.1), keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    )
    history = model.fit(
        {"token_ids": reading.token_ids, "padding_mask": reading.padding_mask},
        labels,
        batch_size=16,
        epochs=5,
        shuffle=False,
        verbose=0,
    )
    np.testing.assert_allclose(history.history["loss"], losses, atol=1e-5)
    assert losses[-1] < losses[0]


def test_dropout_is_drawn_anew_in_training_only(tmp_path):
    config = toy.write_head_config(tmp_path, "last token", 24, dropout=0.5)
    model = podtune.train(config, job_dir=tmp_path / "run").model
    inputs = np.array([[5, 6, 7, 8]])
    np.testing.assert_array_equal(model(inputs).numpy(), model(inputs).numpy())
    first, second = (model(inputs, training=True).numpy() for _ in range(2))
    assert not np.allclose(first, second)


def test_the_signals_of_a_process_stay_its_own(quick):
    handlers = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    rows = [{"text": row["text"], "label": row["label"]} for row in toy.sentences(60)]
    podtune.train(rows, job_dir="a", **quick)
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == handlers
    runs = []
    thread = threading.Thread(target=lambda: runs.append(podtune.train(rows, job_dir="b", **quick)))
    thread.start()
    thread.join()
    assert runs[0].metrics == podtune.train(rows, job_dir="a", **quick).metrics


INTERRUPTED = """
import sys, podtune
try:
    podtune.train(sys.argv[1], job_dir=sys.argv[2], steps=100000, checkpoint_every_steps=1000)
except KeyboardInterrupt as stopped:
    print("stopped:", stopped)
"""


def test_ctrl_c_keeps_a_checkpoint(tmp_path):
    config = toy.write_head_config(tmp_path, "last token", 24)
    job = tmp_path / "run"
    process = subprocess.Popen(
        [sys.executable, "-c", INTERRUPTED, str(config), str(job)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    seen = ""
    for line in process.stderr:
        seen += line
        if line.startswith("training"):
            process.send_signal(signal.SIGINT)
            break
    out, err = process.communicate()
    assert process.returncode == 0, seen + err
    assert out == "stopped: stopped; call train again to go on\n"
    assert any(pathlib.Path(job, "checkpoints").iterdir())


def test_a_notebook_shows_a_run_as_a_table(tmp_path):
    job = tmp_path / "a<b>"
    results = {"validation": {"loss": 0.5, "f1": 0.25}, "test": {"loss": 1 / 3}, "step": 7}
    job.mkdir()
    (job / "results.json").write_text(json.dumps(results))
    table = podtune.Run(str(job))._repr_html_()
    assert table.endswith(
        "/a&lt;b&gt;</caption><tr><th></th><th>loss</th><th>f1</th></tr>"
        "<tr><th>validation</th><td>0.5000</td><td>0.2500</td></tr>"
        "<tr><th>test</th><td>0.3333</td><td></td></tr></table>"
    )


def test_a_model_says_what_it_is(trained):
    model = podtune.load(trained)
    size = model.keras_model.count_params() / 1e6
    assert repr(model) == (
        f"Model({str(trained)!r}: classification of neg, pos; 1 layers, 32 wide, {size:.1f} M"
        " weights)"
    )


def test_importing_podtune_imports_no_tensorflow():
    program = """
import sys, podtune
print("tensorflow" in sys.modules, sorted(podtune.__all__) == sorted(dir(podtune)))
"""
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=ROOT,
        env={**os.environ},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "False True\n"
    with pytest.raises(AttributeError, match="no attribute 'tarin'"):
        _ = podtune.tarin
