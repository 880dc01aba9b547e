"""Exports: a SavedModel that takes raw strings and has proved itself, or a Hugging Face folder."""

from __future__ import annotations

import dataclasses
import json
import os
import pathlib
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from trainer.backbones import huggingface
from trainer.data.store import TokenStore
from trainer.errors import JobDirError
from trainer.files import mirror
from trainer.files.replacing import replaced_folder
from trainer.machine import allocator
from trainer.run.model import Model
from trainer.serve import prove
from trainer.serve.warmup import prediction_log

WARMUP_REQUESTS = 8
ROWS_AT_ONCE = 64
TOLERANCE = 1e-4  # absolute, float32: batches of another shape sum in another order
BFLOAT16_TOLERANCE = 2e-2


class ExportRefusedError(Exception):
    """The exported model does not predict what the trained one does."""


class Server(tf.Module):
    """The graph from raw strings to answers.

    Signatures: `serving_default` takes the head's texts, (B,) string each; `token_ids` takes
    token_ids (B, S) int32, 0 being padding told apart by padding_mask (B, S) int32, and what else
    the head takes of each token; `generate`, of heads that do, takes a text, (B,) string.
    """

    def __init__(self, model: Model, head: Any) -> None:
        super().__init__(name="server")
        # The only attribute with variables, and plain ones: a SavedModel holds what its module can
        # reach, and must not name Keras.
        self.weights = dict(model.weights)

        def results(tokens: Mapping[str, tf.Tensor]) -> dict[str, tf.Tensor]:
            count = tf.shape(tokens["token_ids"])[0]
            return model.results(
                {
                    **tokens,
                    **head.served(tokens),
                    "example_row": tf.range(count),
                    "example_start": tf.zeros([count], tf.int32),
                    "example_length": tf.reduce_sum(tokens["padding_mask"], axis=1),
                }
            )

        def of_rows(columns: Mapping[str, tf.RaggedTensor]) -> dict[str, tf.Tensor]:
            """The results of some rows; those of tokens one after the other."""
            mask = tf.ones_like(columns["token_ids"]).to_tensor()
            found = results(
                {
                    "padding_mask": mask,
                    **{name: columns[name].to_tensor() for name in inputs if name in columns},
                }
            )
            lengths = columns["token_ids"].row_lengths()
            return {
                name: (
                    tf.RaggedTensor.from_tensor(values, lengths=lengths).values
                    if name in head.per_token
                    else values
                )
                for name, values in found.items()
            }

        def from_texts(*texts: tf.Tensor) -> dict[str, tf.Tensor]:
            columns, _ = head.encode(*texts)
            rows = {
                name: values
                for name, values in columns.items()
                if isinstance(values, tf.RaggedTensor)
            }
            found = _in_parts(of_rows, rows) if head.windows else of_rows(rows)
            return head.answers(
                {
                    name: (
                        columns["token_ids"].with_values(values)
                        if name in head.per_token
                        else values
                    )
                    for name, values in found.items()
                },
                columns,
                texts,
            )

        def from_token_ids(*tokens: tf.Tensor) -> dict[str, tf.Tensor]:
            return head.token_answers(results(dict(zip(inputs, tokens, strict=True))))

        def generate(text: tf.Tensor) -> dict[str, tf.Tensor]:
            return head.generate(model.backbone, text)

        inputs = ("token_ids", "padding_mask", *head.more_inputs)
        self.texts = tf.function(
            from_texts,
            autograph=False,
            input_signature=[
                tf.TensorSpec([None], tf.string, name=name) for name in head.text_names
            ],
        )
        self.token_ids = tf.function(
            from_token_ids,
            autograph=False,
            input_signature=[tf.TensorSpec([None, None], tf.int32, name=name) for name in inputs],
        )
        self.entries = {"serving_default": self.texts, "token_ids": self.token_ids}
        if head.generates:
            self.entries["generate"] = tf.function(
                generate,
                autograph=False,
                input_signature=[tf.TensorSpec([None], tf.string, name="text")],
            )


def _in_parts(
    call: Callable[[Mapping[str, tf.RaggedTensor]], dict[str, tf.Tensor]],
    columns: Mapping[str, tf.RaggedTensor],
) -> dict[str, tf.Tensor]:
    """What `call` returns of all rows, ROWS_AT_ONCE of them at a time: a long text has many rows,
    whose activations need not fit in memory together.
    """
    count = columns["token_ids"].nrows(out_type=tf.int32)
    traced = tf.function(call)  # once, for the shapes of its results and for the loop
    shapes = traced.get_concrete_function(dict(columns)).structured_outputs
    names = list(shapes)

    def part(start: tf.Tensor, *parts: tf.TensorArray) -> tuple:
        found = traced(
            {name: values[start : start + ROWS_AT_ONCE] for name, values in columns.items()}
        )
        place = start // ROWS_AT_ONCE
        return start + ROWS_AT_ONCE, *(
            array.write(place, found[name]) for array, name in zip(parts, names, strict=True)
        )

    arrays = [
        tf.TensorArray(
            shapes[name].dtype,
            size=1,
            dynamic_size=True,
            infer_shape=False,
            element_shape=shapes[name].shape,
        )
        for name in names
    ]
    # At least once, so that no rows give empty results of the right shape.
    _, *arrays = tf.while_loop(
        lambda start, *_: (start < count) | (start == 0),
        part,
        (tf.constant(0), *arrays),
        parallel_iterations=1,
    )
    return {name: array.concat() for name, array in zip(names, arrays, strict=True)}


@dataclasses.dataclass(frozen=True)
class Proof:
    """What the exported model must answer.

    Attributes:
        samples: raw texts of validation examples.
        answers: the head's answers to them, made of what evaluation found.
        ambiguous: answer -> (n,) bool, where a number within the tolerance of its own may give
            another one.
        generated: what `generate` answers to the first few, in this process; empty where the head
            does not.
    """

    samples: Sequence[Mapping[str, str]]
    answers: Mapping[str, np.ndarray]
    ambiguous: Mapping[str, np.ndarray]
    generated: Mapping[str, np.ndarray] = dataclasses.field(default_factory=dict)


def make_proof(
    head: Any,
    samples: Sequence[Mapping[str, str]],
    results: Mapping[str, np.ndarray],
    store: TokenStore,
    *,
    tolerance: float,
) -> Proof:
    """The proof by the first texts of a split.

    Args:
        results: of evaluation, for those rows of the store at least.
    """
    rows = store.rows_of(len(samples))
    splits = store.row_splits[: rows + 1]

    def tokens(values: np.ndarray) -> tf.RaggedTensor:
        return tf.RaggedTensor.from_row_splits(values[: splits[-1]], splits, validate=False)

    columns: dict[str, Any] = {name: tokens(values) for name, values in store.tokens.items()}
    if "example" in store.columns:
        columns["example"] = tf.constant(store.columns["example"][:rows])
    found = {
        name: tokens(values) if name in head.per_token else tf.constant(values[:rows])
        for name, values in results.items()
    }
    texts = tuple(
        tf.constant([sample[name].encode("utf-8", "replace") for sample in samples])
        for name in head.text_names
    )
    answers = {name: value.numpy() for name, value in head.answers(found, columns, texts).items()}
    return Proof(samples, answers, head.ambiguous(answers, found, columns, tolerance))


def serving_proof(
    model: Model, head: Any, samples: Sequence[Mapping[str, str]], *, tolerance: float
) -> Proof:
    """The proof by texts that evaluation sees otherwise, such as in rows that begin anywhere: what
    the serving graph answers in this process.
    """
    samples = head.proof_samples(samples)
    texts = (
        tf.constant([sample[name].encode("utf-8", "replace") for sample in samples])
        for name in head.text_names
    )
    answers = {name: value.numpy() for name, value in Server(model, head).texts(*texts).items()}
    return Proof(samples, answers, head.ambiguous(answers, {}, {}, tolerance))


def export_saved_model(
    model: Model, head: Any, folder: pathlib.Path, proof: Proof, *, tolerance: float
) -> str:
    """Writes the SavedModel, proves it in a fresh process, and only then puts it in place of the
    one before.

    Returns:
        one line on what was proved.
    Raises:
        ExportRefusedError: the fresh process answers otherwise.
    """
    server = Server(model, head)
    if head.generates:
        asked = tf.constant(
            [
                sample[head.text_names[0]].encode("utf-8", "replace")
                for sample in proof.samples[: prove.GENERATED]
            ]
        )
        proof = dataclasses.replace(
            proof,
            generated={
                name: value.numpy() for name, value in server.entries["generate"](asked).items()
            },
        )
    try:
        with replaced_folder(folder) as temporary:
            _save(server, temporary)
            _write_extras(temporary, head, proof.samples)
            worst = _prove(temporary, proof, tolerance)
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
        tf.saved_model.save(server, str(folder), signatures=dict(server.entries))
    except tf.errors.OpError as error:
        raise OSError(error.message) from error


def version_folder(folder: pathlib.Path, version: int | str | None) -> pathlib.Path:
    """The folder of a version in the one that TensorFlow Serving watches: that number, the next
    one, or the folder itself.
    """
    if version == "next":
        version = (
            max(
                (int(child.name) for child in mirror.folders(folder) if child.name.isdigit()),
                default=0,
            )
            + 1
        )
    return folder if version is None else folder / str(version)


def _write_extras(folder: pathlib.Path, head: Any, samples: Sequence[Mapping[str, str]]) -> None:
    extra = folder / "assets.extra"
    extra.mkdir(exist_ok=True)
    with tf.io.TFRecordWriter(str(extra / "tf_serving_warmup_requests")) as writer:
        for sample in samples[:WARMUP_REQUESTS]:
            writer.write(prediction_log({name: [sample[name]] for name in head.text_names}))
    (extra / "labels.json").write_text(
        json.dumps(head.vocabulary["labels"], ensure_ascii=False), encoding="utf-8"
    )


def _prove(folder: pathlib.Path, proof: Proof, tolerance: float) -> float:
    with tempfile.TemporaryDirectory() as scratch:
        requests = pathlib.Path(scratch, "requests.json")
        answers = pathlib.Path(scratch, "answers.json")
        requests.write_text(json.dumps(list(proof.samples)), encoding="utf-8")
        command = [sys.executable, "-I", prove.__file__, str(folder), str(requests), str(answers)]
        run = subprocess.run(
            command, capture_output=True, text=True, env=_beside_us(os.environ), check=False
        )
        if run.returncode:
            raise ExportRefusedError(
                f"a fresh process could not serve {folder}:\n{run.stderr[-2000:]}"
            )
        outputs = json.loads(answers.read_text(encoding="utf-8"))["outputs"]
    worst = compare(outputs["serving_default"], proof.answers, tolerance, proof.ambiguous)
    if not proof.generated:
        return worst
    return max(worst, compare_generated(outputs["generate"], proof.generated, tolerance))


def _beside_us(environment: Mapping[str, str]) -> dict[str, str]:
    """The environment of a process that computes on the CPU: this one holds all memory of the GPUs,
    and a TPU serves one process.
    """
    kept = {
        name: value
        for name, value in environment.items()
        if name not in ("NEXT_PLUGGABLE_DEVICE_USE_C_API", "TF_PLUGGABLE_DEVICE_LIBRARY_PATH")
    }
    return {
        **allocator.environment(kept),
        "CUDA_VISIBLE_DEVICES": "-1",
        "TF_CPP_MIN_LOG_LEVEL": "3",
    }


def compare_generated(
    served: Mapping[str, Any], written: Mapping[str, np.ndarray], tolerance: float
) -> float:
    """As `compare`, of generated texts and their scores: where two texts are as likely, either may
    be written.
    """
    alike = np.abs(np.subtract(served["score"], written["score"])) <= tolerance * np.maximum(
        1, np.abs(written["score"])
    )
    return compare(
        {name: served[name] for name in ("generated_text", "score")},
        {name: written[name] for name in ("generated_text", "score")},
        tolerance,
        {"generated_text": alike},
    )


def compare(
    outputs: Mapping[str, Any],
    expected: Mapping[str, np.ndarray],
    tolerance: float,
    ambiguous: Mapping[str, np.ndarray],
) -> float:
    """The largest difference of the numbers.

    Args:
        ambiguous: output -> (n,) bool, rows that are so near an edge that the output may differ.

    Raises:
        ExportRefusedError: a number differs by more than `tolerance`, or another output that is not
            ambiguous differs.
    """
    worst = 0.0
    for name, value in expected.items():
        for row, (served, trained) in enumerate(
            zip(outputs[name], prove.plain(value.tolist()), strict=True)
        ):
            if name in ambiguous and ambiguous[name][row]:
                continue
            if isinstance(trained, list):
                served, trained = _padded_alike(served, trained)
            if value.dtype.kind != "f" and served != trained:
                raise ExportRefusedError(
                    f"{name} of example {row} differs: {trained} trained, {served} served"
                )
            if value.dtype.kind == "f":
                # a sum over a long text is rounded by its size
                size = np.maximum(1, np.abs(np.asarray(trained, np.float64)))
                difference = float(
                    np.max(np.abs(np.subtract(served, trained, dtype=np.float64)) / size, initial=0)
                )
                # which is NaN where a difference is; Python's max is not
                worst = float(np.max([worst, difference]))
                if not worst <= tolerance:
                    raise ExportRefusedError(
                        f"{name} of example {row} differs by {difference:.2e}, over"
                        f" {tolerance:.0e}: {trained} trained, {served} served"
                    )
    return worst


def _padded_alike(one: list, other: list) -> tuple[list, list]:
    """As many items each: answers that are lists are padded to the longest of their batch."""
    longest = max(len(one), len(other))
    fill = "" if isinstance((one or other or [0])[0], str) else -1
    return [*one, *[fill] * (longest - len(one))], [*other, *[fill] * (longest - len(other))]


def export_huggingface(
    model: Model, head: Any, weights: pathlib.Path, tokenizer: pathlib.Path, folder: pathlib.Path
) -> None:
    """Writes a folder that the head's AutoModelFor… and AutoTokenizer load."""
    tensors, updates = head.save_tensors()
    tokenizer_updates = {}
    # a decoder's class finds the last token, and a batch is filled up, by a padding token
    if model.backbone.config.causal and not head.generates:
        known = head.tokenizer
        if (pad := known.pad_id if known.has_pad else known.eos_id) is not None:
            updates = {**updates, "pad_token_id": pad}
            tokenizer_updates = {} if known.has_pad else {"pad_token": known.vocabulary[pad]}
    try:
        huggingface.save_huggingface(
            folder,
            model.backbone,
            weights,
            head_tensors=tensors,
            config_updates=updates,
            tokenizer_folder=tokenizer,
            tokenizer_updates=tokenizer_updates,
        )
    except OSError as error:
        raise JobDirError(
            f"{folder}: the export could not be written: {error}. Free some space or give"
            " --export.directory."
        ) from None
