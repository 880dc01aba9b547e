"""The proof of an export: a fresh process must answer as the trained model did."""

from __future__ import annotations

import dataclasses
import json
import os
import pathlib
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence

import numpy as np
import tensorflow as tf

from trainer.data.reader import Input
from trainer.data.store import TokenStore
from trainer.heads._stored_results import stored_columns, stored_results
from trainer.heads.contract import Graph, Head, Results, Sample
from trainer.machine import allocator
from trainer.run.model import Model
from trainer.serve import prove
from trainer.serve.samples import sample_tensors
from trainer.serve.server import Server, make_server

TOLERANCE = 1e-4  # absolute, float32: batches of another shape sum in another order
BFLOAT16_TOLERANCE = 2e-2
SHOWN_ERROR = 2000  # characters of what the fresh process wrote
# A TPU serves one process: the fresh one has to do without.
TPU_VARIABLES = ("NEXT_PLUGGABLE_DEVICE_USE_C_API", "TF_PLUGGABLE_DEVICE_LIBRARY_PATH")
Served = Mapping[str, Sequence[object]]  # output -> (n,) values, as JSON has them


class ExportRefusedError(Exception):
    """The exported model does not predict what the trained one does."""


@dataclasses.dataclass(frozen=True)
class Proof:
    """What the exported model must answer.

    Attributes:
        samples: raw inputs of validation examples.
        answers: the head's answers to them, made of what evaluation found.
        ambiguous: answer -> (n,) bool, where a number within the tolerance of its own may give
            another one.
        generated: what `generate` answers to the first few, in this process; empty where the head
            does not.
    """

    samples: Sequence[Sample]
    answers: Results
    ambiguous: Results
    generated: Results = dataclasses.field(default_factory=dict)


def make_proof(
    head: Head,
    graph: Graph,
    samples: Sequence[Sample],
    results: Results,
    store: TokenStore,
    *,
    tolerance: float,
) -> Proof:
    """The proof by the first texts of a split.

    Args:
        head: of the model.
        graph: of the model.
        samples: the raw inputs of the split's first examples.
        results: of evaluation, for the rows of these examples at least.
        store: the split.
        tolerance: within which numbers count as equal.
    """
    rows = range(store.rows_of(len(samples)))
    of_samples = stored_results(results, store, rows, graph.per_token)
    columns = stored_columns(store, rows)
    inputs = sample_tensors(head.reader.inputs, samples)
    answers = _arrays(graph.answers(of_samples, columns, inputs))
    return Proof(samples, answers, graph.ambiguous(answers, of_samples, columns, tolerance))


def serving_proof(model: Model, head: Head, asked: Sequence[Sample], *, tolerance: float) -> Proof:
    """The proof by what the serving graph answers in this process.

    It is for texts that evaluation sees otherwise, such as in rows that begin anywhere.

    Args:
        model: that was trained.
        head: of the model.
        asked: raw inputs.
        tolerance: within which numbers count as equal.
    """
    server = make_server(model, head)
    answers = _arrays(server.texts(*sample_tensors(head.reader.inputs, asked)))
    return Proof(asked, answers, model.graph.ambiguous(answers, {}, {}, tolerance))


def with_generated(proof: Proof, server: Server, text: Input) -> Proof:
    """The proof, with what a server generates for its first few texts.

    Args:
        proof: by the other answers.
        server: of the model.
        text: the input that it generates from.
    """
    if server.generate is None:
        return proof
    (texts,) = sample_tensors([text], proof.samples[: prove.GENERATED])
    return dataclasses.replace(proof, generated=_arrays(server.generate(texts)))


def prove_export(folder: pathlib.Path, proof: Proof, tolerance: float) -> float:
    """Asks a SavedModel in a fresh process, without Keras and without this package.

    Args:
        folder: of the SavedModel.
        proof: what it must answer.
        tolerance: within which numbers count as equal.
    Returns:
        the largest difference of a number.
    Raises:
        ExportRefusedError: it cannot be served, or answers otherwise.
    """
    outputs = _served_outputs(folder, proof.samples)
    answered = outputs["serving_default"]
    worst = compare(answered, proof.answers, tolerance, proof.ambiguous)
    if not proof.generated:
        return worst
    worst_generated = compare_generated(outputs["generate"], proof.generated, tolerance)
    return max(worst, worst_generated)


def _served_outputs(folder: pathlib.Path, samples: Sequence[Sample]) -> dict[str, Served]:
    """What a fresh process answers, by signature."""
    with tempfile.TemporaryDirectory() as scratch:
        requests = pathlib.Path(scratch, "requests.json")
        answers = pathlib.Path(scratch, "answers.json")
        requests.write_text(json.dumps(list(samples)), encoding="utf-8")
        run = run_fresh([str(folder), str(requests), str(answers)])
        if run.returncode:
            raise ExportRefusedError(
                f"a fresh process could not serve {folder}:\n{run.stderr[-SHOWN_ERROR:]}"
            )
        report = json.loads(answers.read_text(encoding="utf-8"))
    outputs: dict[str, Served] = report["outputs"]
    return outputs


def run_fresh(arguments: Sequence[str]) -> subprocess.CompletedProcess[str]:
    """Runs `trainer.serve.prove` by itself, in a process without this package."""
    return subprocess.run(
        [sys.executable, "-I", prove.__file__, *arguments],
        capture_output=True,
        text=True,
        env=_cpu_environment(os.environ),
        check=False,
    )


def _cpu_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """The environment of a process that computes on the CPU: this one holds the GPUs' memory."""
    kept = {name: value for name, value in environment.items() if name not in TPU_VARIABLES}
    return {
        **allocator.environment(kept),
        "CUDA_VISIBLE_DEVICES": "-1",
        "TF_CPP_MIN_LOG_LEVEL": "3",
    }


def _arrays(tensors: Mapping[str, tf.Tensor]) -> dict[str, np.ndarray]:
    return {name: tensor.numpy() for name, tensor in tensors.items()}


def compare_generated(served: Served, written: Results, tolerance: float) -> float:
    """As `compare`, of generated texts and their scores.

    Where two texts are as likely, either may be written.

    Args:
        served: what the fresh process answers.
        written: what this process did.
        tolerance: of a score, relative where it is above 1.
    """
    scores = np.asarray(written["score"])
    served_scores = np.asarray(served["score"])
    size = np.maximum(1, np.abs(scores))
    difference = np.abs(served_scores - scores)
    as_likely = difference <= tolerance * size
    expected = {
        "generated_text": written["generated_text"],
        "score": written["score"],
    }
    ambiguous = {"generated_text": as_likely}
    return compare(served, expected, tolerance, ambiguous)


def compare(served: Served, expected: Results, tolerance: float, ambiguous: Results) -> float:
    """The largest difference of the numbers, relative where they are above 1.

    Args:
        served: output -> what was answered to each example.
        expected: output -> (n, …) what should be.
        tolerance: of a number.
        ambiguous: output -> (n,) bool, rows that are so near an edge that the output may differ.
    Raises:
        ExportRefusedError: a number differs by more than `tolerance`, or another output that is not
            ambiguous differs.
    """
    worst = 0.0
    for name, column in expected.items():
        is_number = column.dtype.kind == "f"
        trained = map(prove.plain, column.tolist())
        pairs = zip(served[name], trained, strict=True)
        for row, (answer, truth) in enumerate(pairs):
            if name in ambiguous and ambiguous[name][row]:
                continue
            answer, truth = _padded_alike(answer, truth)
            where = f"{name} of example {row} differs"
            both = f"{truth} trained, {answer} served"
            if not is_number:
                if answer != truth:
                    raise ExportRefusedError(f"{where}: {both}")
                continue
            difference = _difference(answer, truth)
            if not difference <= tolerance:  # NaN is not either
                raise ExportRefusedError(
                    f"{where} by {difference:.2e}, over {tolerance:.0e}: {both}"
                )
            worst = max(worst, difference)
    return worst


def _difference(served: object, trained: object) -> float:
    """The largest difference of two lists of numbers; NaN where one is."""
    expected = np.asarray(trained, np.float64)
    answered = np.asarray(served, np.float64)
    absolute = np.abs(answered - expected)
    size = np.maximum(1, np.abs(expected))  # a sum over a long text is rounded by its size
    relative = absolute / size
    return float(np.max(relative, initial=0))


def _padded_alike(one: object, other: object) -> tuple[object, object]:
    """Lists with as many items each: they are padded to the longest answer of their batch."""
    if not isinstance(one, list) or not isinstance(other, list):
        return one, other
    items = one or other
    is_text = bool(items) and isinstance(items[0], str)
    padding = "" if is_text else -1
    missing = len(one) - len(other)
    padded = one + [padding] * -missing
    other_padded = other + [padding] * missing
    return padded, other_padded
