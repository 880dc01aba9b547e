"""Replays examples through a SavedModel, as a server would: run as a file, by itself.

usage: python -I prove.py SAVED_MODEL REQUESTS.json ANSWERS.json

It imports neither Keras nor the trainer, and it refuses ops that TensorFlow Serving does not have.
REQUESTS is a list of {"text": "…"}; ANSWERS becomes {"outputs": {name: rows}, "ops": […]}.
"""

import importlib.util
import json
import pathlib
import sys

# Of tensorflow-text, what TensorFlow Serving links. Python callbacks can never be served.
SERVED_TEXT_OPS = {"TFText>FastWordpieceTokenizeWithOffsets": "_fast_wordpiece_tokenizer.so"}
ABSENT = ("keras", "tf_keras", "trainer", "transformers", "tokenizers")
GENERATED = 4  # texts, which take a step a token
REFUSED_OPS = {"PyFunc", "PyFuncStateless", "EagerPyFunc", "XlaLaunch"}


def load_text_ops() -> None:
    """Registers tensorflow-text's kernels without importing its Python,
    which would import Keras.
    """
    import tensorflow as tf

    package = importlib.util.find_spec("tensorflow_text")
    folder = pathlib.Path(package.submodule_search_locations[0]) / "python" / "ops"
    for library in SERVED_TEXT_OPS.values():
        tf.load_op_library(str(folder / library))


def ops_of(graph_def: object) -> set[str]:
    """Every op of the graph and its functions."""
    functions = [node for function in graph_def.library.function for node in function.node_def]
    return {node.op for node in [*graph_def.node, *functions]}


def check_ops(ops: set[str]) -> None:
    """Raises ValueError on an op that TensorFlow Serving does not have."""
    refused = sorted(
        op for op in ops if op in REFUSED_OPS or (">" in op and op not in SERVED_TEXT_OPS)
    )
    if refused:
        raise ValueError(f"TensorFlow Serving does not have these ops: {', '.join(refused)}")


def main(saved_model: str, requests: str, answers: str) -> None:
    """Answers every request, one batch, through the signature serving_default; the first few
    through generate, where there is one.
    """
    # None: importing them fails, as where a model is served
    sys.modules.update(dict.fromkeys(ABSENT))
    import tensorflow as tf

    load_text_ops()
    examples = json.loads(pathlib.Path(requests).read_text(encoding="utf-8"))
    with tf.compat.v1.Session(graph=tf.Graph()) as session:
        meta_graph = tf.compat.v1.saved_model.load(session, ["serve"], saved_model)
        ops = ops_of(meta_graph.graph_def)
        check_ops(ops)
        outputs = {}
        for name, asked in (("serving_default", examples), ("generate", examples[:GENERATED])):
            if name in meta_graph.signature_def:
                signature = meta_graph.signature_def[name]
                feed = {
                    info.name: [example[field].encode("utf-8", "replace") for example in asked]
                    for field, info in signature.inputs.items()
                }
                fetched = session.run(
                    {field: info.name for field, info in signature.outputs.items()}, feed
                )
                outputs[name] = {field: plain(values.tolist()) for field, values in fetched.items()}
    if loaded := [name for name in ABSENT if sys.modules[name] is not None]:
        raise RuntimeError(f"imported although it must not be: {', '.join(loaded)}")
    pathlib.Path(answers).write_text(
        json.dumps({"outputs": outputs, "ops": sorted(ops)}), encoding="utf-8"
    )


def plain(value: object) -> object:
    """Nested lists with text for bytes."""
    if isinstance(value, list):
        return [plain(part) for part in value]
    return value.decode("utf-8") if isinstance(value, bytes) else value


if __name__ == "__main__":
    main(*sys.argv[1:])
