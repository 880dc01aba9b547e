"""Exports a SavedModel that takes raw strings and has proved itself."""

from __future__ import annotations

import json
import pathlib
from collections.abc import Sequence

import tensorflow as tf
from tensorflow.core.protobuf import saved_model_pb2

from trainer.data.reader import Input
from trainer.errors import JobDirError
from trainer.files.ownership import CARD
from trainer.files.replacing import replaced_folder
from trainer.heads.contract import Head, Sample
from trainer.run.model import Model
from trainer.serve.model_card import Facts, Signature, saved_model_card
from trainer.serve.proof import Proof, prove_export, with_generated
from trainer.serve.samples import sample_tensors
from trainer.serve.server import Server, make_server
from trainer.serve.warmup import prediction_log

WARMUP_REQUESTS = 8


def export_saved_model(
    model: Model,
    head: Head,
    folder: pathlib.Path,
    proof: Proof,
    *,
    tolerance: float,
    batch_invariant: bool = False,
    facts: Facts | None = None,
) -> str:
    """Writes the SavedModel, proves it, and only then puts it in place of the one before.

    Args:
        model: that was trained.
        head: of the model.
        folder: gets the SavedModel.
        proof: what it must answer in a fresh process.
        tolerance: within which numbers count as equal.
        batch_invariant: whether each text is answered on its own.
        facts: of the run, for a model card.
    Returns:
        one line on what was proved.
    Raises:
        ExportRefusedError: the fresh process answers otherwise.
        JobDirError: the disk refuses.
    """
    server = make_server(model, head, batch_invariant=batch_invariant)
    proof = with_generated(proof, server, head.reader.inputs[0])
    try:
        with replaced_folder(folder) as temporary:
            _save(server, temporary)
            _write_extras(temporary, model, head.reader.inputs, proof.samples)
            if facts is not None:
                card = saved_model_card(facts, _signatures(temporary))
                (temporary / CARD).write_text(card, encoding="utf-8")
            worst = prove_export(temporary, proof, tolerance)
    except OSError as error:
        raise JobDirError(
            f"{folder}: the SavedModel could not be written: {error}. Free some space or give"
            " --export.directory."
        ) from None
    return (
        f"{len(proof.samples)} validation texts answered alike by a fresh process without Keras"
        f" (largest difference {worst:.1e})"
    )


def _save(server: Server, folder: pathlib.Path) -> None:
    """Writes the SavedModel.

    Raises OSError where the disk refuses, also where TensorFlow has another error for that.
    """
    try:
        tf.saved_model.save(server.as_module(), str(folder), signatures=server.signatures())
    except tf.errors.OpError as error:
        raise OSError(error.message) from error


def _signatures(folder: pathlib.Path) -> list[Signature]:
    """The functions of a SavedModel, as its file has them."""
    content = (folder / "saved_model.pb").read_bytes()
    (graph,) = saved_model_pb2.SavedModel.FromString(content).meta_graphs
    signatures = []
    for name, function in sorted(graph.signature_def.items()):
        if not name.startswith("__"):  # TensorFlow's own
            signatures.append(Signature(name, sorted(function.inputs), sorted(function.outputs)))
    return signatures


def _write_extras(
    folder: pathlib.Path, model: Model, inputs: Sequence[Input], samples: Sequence[Sample]
) -> None:
    """Writes TensorFlow Serving's warm-up requests, and the labels' names.

    Args:
        folder: of the SavedModel.
        model: that it serves.
        inputs: of the graph.
        samples: raw inputs by their names.
    """
    extra = folder / "assets.extra"
    extra.mkdir(exist_ok=True)
    with tf.io.TFRecordWriter(str(extra / "tf_serving_warmup_requests")) as writer:
        for sample in samples[:WARMUP_REQUESTS]:
            tensors = sample_tensors(inputs, [sample])
            request = {item.name: tensor for item, tensor in zip(inputs, tensors, strict=True)}
            writer.write(prediction_log(request))
    labels = json.dumps(model.graph.vocabulary["labels"], ensure_ascii=False)
    file = extra / "labels.json"
    file.write_text(labels, encoding="utf-8")
