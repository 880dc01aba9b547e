"""Replays examples through a SavedModel, as a server would: run as a file, by itself.

usage: python -I prove.py SAVED_MODEL REQUESTS.json ANSWERS.json

It imports neither Keras nor the trainer, and it refuses ops that TensorFlow Serving does not have.
REQUESTS is a list of {"text": "…"}; ANSWERS becomes {"outputs": {name: rows}, "ops": […]}.
"""

from __future__ import annotations

import importlib.util
import json
import pathlib
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import tensorflow as tf

# Of tensorflow-text, what TensorFlow Serving links. Python callbacks can never be served.
SERVED_TEXT_OPS = {"TFText>FastWordpieceTokenizeWithOffsets": "_fast_wordpiece_tokenizer.so"}
ABSENT = ("keras", "tf_keras", "trainer", "transformers", "tokenizers")
GENERATED = 4  # texts, which take a step a token
REFUSED_OPS = {"PyFunc", "PyFuncStateless", "EagerPyFunc", "XlaLaunch"}


def load_text_ops() -> None:
    """Registers tensorflow-text's kernels without its Python, which would import Keras."""
    import tensorflow as tf

    package = importlib.util.find_spec("tensorflow_text")
    if package is None or not package.submodule_search_locations:
        raise ModuleNotFoundError("tensorflow_text is not installed")
    folder = pathlib.Path(package.submodule_search_locations[0]) / "python" / "ops"
    for library in SERVED_TEXT_OPS.values():
        tf.load_op_library(str(folder / library))


def ops_of(graph_def: tf.compat.v1.GraphDef) -> set[str]:
    """Every op of the graph and its functions."""
    nodes = list(graph_def.node)
    for function in graph_def.library.function:
        nodes += function.node_def
    return {node.op for node in nodes}


def check_ops(ops: set[str]) -> None:
    """Raises ValueError on an op that TensorFlow Serving does not have."""
    foreign = {op for op in ops if ">" in op and op not in SERVED_TEXT_OPS}
    refused = foreign | (ops & REFUSED_OPS)
    if refused:
        names = ", ".join(sorted(refused))
        raise ValueError(f"TensorFlow Serving does not have these ops: {names}")


def main(saved_model: str, requests: str, answers: str) -> None:
    """Answers every request in one batch, and the first few through the signature `generate`.

    Args:
        saved_model: its folder.
        requests, answers: files of JSON, which are read and written.
    Raises:
        ValueError: the graph has an op that TensorFlow Serving does not have.
    """
    forbid_imports()
    import tensorflow as tf

    load_text_ops()
    examples = json.loads(pathlib.Path(requests).read_text(encoding="utf-8"))
    outputs = {}
    with tf.compat.v1.Session(graph=tf.Graph()) as session:
        meta_graph = tf.compat.v1.saved_model.load(session, ["serve"], saved_model)
        ops = ops_of(meta_graph.graph_def)
        check_ops(ops)
        signatures = meta_graph.signature_def
        serving = signatures["serving_default"]
        outputs["serving_default"] = answer(session, serving, examples)
        if "generate" in signatures:
            first = examples[:GENERATED]
            outputs["generate"] = answer(session, signatures["generate"], first)
    require_absent()
    report = {"outputs": outputs, "ops": sorted(ops)}
    pathlib.Path(answers).write_text(json.dumps(report), encoding="utf-8")


def forbid_imports() -> None:
    """Lets importing what is not there where a model is served fail."""
    for name in ABSENT:
        sys.modules[name] = None  # type: ignore[assignment]  # as Python documents it


def require_absent() -> None:
    """Raises RuntimeError where something was imported that no server has."""
    imported = [name for name in ABSENT if sys.modules[name] is not None]
    if imported:
        raise RuntimeError(f"imported although it must not be: {', '.join(imported)}")


def answer(
    session: tf.compat.v1.Session,
    signature: tf.compat.v1.SignatureDef,
    examples: Sequence[dict[str, str | float]],
) -> dict[str, object]:
    """What a signature answers to some examples.

    Args:
        session: has the graph.
        signature: of the graph.
        examples: (n,) raw values by the names of the inputs.
    Returns:
        output -> (n, …) nested lists.
    """
    feed = {}
    for field, info in signature.inputs.items():
        values = [example[field] for example in examples]
        feed[info.name] = [raw(value) for value in values]
    fetches = {}
    for field, info in signature.outputs.items():
        fetches[field] = info.name
    answers = {}
    for field, values in session.run(fetches, feed).items():
        answers[field] = plain(values.tolist())
    return answers


def raw(value: str | float) -> bytes | float:
    """A text as its bytes, a number as it is."""
    if isinstance(value, str):
        return value.encode("utf-8", "replace")
    return value


def plain(value: object) -> object:
    """Nested lists with text for bytes."""
    if isinstance(value, list):
        return [plain(part) for part in value]
    if isinstance(value, bytes):
        return value.decode("utf-8")
    return value


if __name__ == "__main__":
    main(*sys.argv[1:])
