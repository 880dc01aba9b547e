"""Exports: a SavedModel that takes raw strings and has proved itself, or a Hugging Face folder."""

from __future__ import annotations

import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from trainer import prove
from trainer.backbones import huggingface
from trainer.errors import JobDirError
from trainer.model import Model
from trainer.warmup import prediction_log

WARMUP_REQUESTS = 8
TOLERANCE = 1e-4  # absolute, float32: batches of another shape sum in another order
BFLOAT16_TOLERANCE = 2e-2


class ExportRefusedError(Exception):
    """The exported model does not predict what the trained one does."""


class Server(tf.Module):
    """The graph from raw strings to answers.

    Signatures: `serving_default` takes the head's texts, (B,) string each; `token_ids` takes token_ids (B, S) int32,
    0 being padding told apart by padding_mask (B, S) int32 (and segment_ids (B, S) int32 for pairs).
    """

    def __init__(self, model: Model, head: Any) -> None:
        super().__init__(name="server")
        # The only attribute with variables, and plain ones: a SavedModel holds what its module can reach, and must not name Keras.
        self.weights = dict(model.weights)

        def answer(token_ids: tf.Tensor, padding_mask: tf.Tensor, segment_ids: tf.Tensor | None = None) -> dict[str, tf.Tensor]:
            count = tf.shape(token_ids)[0]
            batch = {"token_ids": token_ids, "padding_mask": padding_mask, "example_row": tf.range(count), "example_start": tf.zeros([count], tf.int32)}
            return head.serve(model.logits(batch if segment_ids is None else {**batch, "segment_ids": segment_ids}))

        def from_texts(*texts: tf.Tensor) -> dict[str, tf.Tensor]:
            columns, _ = head.encode(*texts)
            mask = tf.ones_like(columns["token_ids"]).to_tensor()
            return answer(columns["token_ids"].to_tensor(), mask, columns["segment_ids"].to_tensor() if "segment_ids" in columns else None)

        names = head.text_names
        self.texts = tf.function(from_texts, autograph=False, input_signature=[tf.TensorSpec([None], tf.string, name=name) for name in names])
        inputs = ("token_ids", "padding_mask") if len(names) == 1 else ("token_ids", "padding_mask", "segment_ids")
        self.token_ids = tf.function(answer, autograph=False, input_signature=[tf.TensorSpec([None, None], tf.int32, name=name) for name in inputs])


def export_saved_model(model: Model, head: Any, folder: pathlib.Path, samples: Sequence[Mapping[str, str]], logits: np.ndarray, *, tolerance: float) -> str:
    """Writes the SavedModel, proves it in a fresh process, and only then puts it in place of the one before.

    Args:
        samples: raw texts of validation examples.
        logits: (n, C), what evaluation gave for them.
    Returns:
        one line on what was proved.
    Raises:
        ExportRefusedError: the fresh process answers otherwise.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    for left in folder.parent.glob(f".{folder.name}.*"):
        shutil.rmtree(left, ignore_errors=True)  # of an export that was killed
    temporary = pathlib.Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
    try:
        server = Server(model, head)
        tf.saved_model.save(server, str(temporary), signatures={"serving_default": server.texts, "token_ids": server.token_ids})
        _write_extras(temporary, head, samples)
        expected = {name: value.numpy() for name, value in head.serve(tf.constant(logits)).items()}
        worst = _prove(temporary, samples, expected, tolerance, head.ambiguous(expected, tolerance))
        _replace(temporary, folder)
    except OSError as error:
        raise JobDirError(f"{folder}: the SavedModel could not be written: {error}. Free some space or give --export.directory.") from None
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return f"{len(samples)} validation texts answered alike by a fresh process without Keras (largest difference {worst:.1e})"


def _write_extras(folder: pathlib.Path, head: Any, samples: Sequence[Mapping[str, str]]) -> None:
    extra = folder / "assets.extra"
    extra.mkdir(exist_ok=True)
    with tf.io.TFRecordWriter(str(extra / "tf_serving_warmup_requests")) as writer:
        for sample in samples[:WARMUP_REQUESTS]:
            writer.write(prediction_log({name: [sample[name]] for name in head.text_names}))
    (extra / "labels.json").write_text(json.dumps(head.vocabulary["labels"], ensure_ascii=False), encoding="utf-8")


def _prove(folder: pathlib.Path, samples: Sequence[Mapping[str, str]], expected: Mapping[str, np.ndarray], tolerance: float,
           ambiguous: np.ndarray) -> float:
    with tempfile.TemporaryDirectory() as scratch:
        requests, answers = pathlib.Path(scratch, "requests.json"), pathlib.Path(scratch, "answers.json")
        requests.write_text(json.dumps(list(samples)), encoding="utf-8")
        command = [sys.executable, "-I", prove.__file__, str(folder), str(requests), str(answers)]
        run = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"}, check=False)
        if run.returncode:
            raise ExportRefusedError(f"a fresh process could not serve {folder}:\n{run.stderr[-2000:]}")
        outputs = json.loads(answers.read_text(encoding="utf-8"))["outputs"]
    return compare(outputs, expected, tolerance, ambiguous)


def compare(outputs: Mapping[str, Any], expected: Mapping[str, np.ndarray], tolerance: float, ambiguous: np.ndarray) -> float:
    """The largest difference of the numbers.

    Args:
        ambiguous: (n,) bool, rows whose label is so near the edge that it may differ.

    Raises:
        ExportRefusedError: a number differs by more than `tolerance`, or a label differs that is not ambiguous.
    """
    worst = 0.0
    for name, value in expected.items():
        if value.dtype.kind == "f":
            difference = np.abs(np.asarray(outputs[name], np.float64) - value).reshape(len(value), -1).max(axis=1)
            worst = float(np.max([worst, *difference]))  # which is NaN where a difference is; Python's max is not
            if not worst <= tolerance:
                row = int(difference.argmax())
                raise ExportRefusedError(f"{name} of example {row} differs by {difference[row]:.2e}, over {tolerance:.0e}: "
                                    f"{value[row]} trained, {outputs[name][row]} served")
    for name, value in expected.items():
        if value.dtype.kind != "f":
            served, trained = np.asarray(outputs[name], object), np.vectorize(lambda text: text.decode("utf-8"), otypes=[object])(value)
            wrong = np.flatnonzero((served != trained).reshape(len(value), -1).any(axis=1) & ~ambiguous)
            if len(wrong):
                raise ExportRefusedError(f"{name} of example {wrong[0]} differs: {trained[wrong[0]]} trained, {served[wrong[0]]} served")
    return worst


def _replace(temporary: pathlib.Path, folder: pathlib.Path) -> None:
    temporary.chmod(0o755)
    if folder.exists():
        old = pathlib.Path(tempfile.mkdtemp(prefix=f".{folder.name}.old.", dir=folder.parent))
        os.rename(folder, old / "model")
        os.rename(temporary, folder)
        shutil.rmtree(old, ignore_errors=True)
    else:
        os.rename(temporary, folder)


def export_huggingface(model: Model, head: Any, weights: pathlib.Path, tokenizer: pathlib.Path, folder: pathlib.Path) -> None:
    """Writes a folder that AutoModelForSequenceClassification and AutoTokenizer load."""
    tensors, updates = head.save_tensors()
    huggingface.save_huggingface(folder, model.encoder, weights, head_tensors=tensors, config_updates=updates, tokenizer_folder=tokenizer)
