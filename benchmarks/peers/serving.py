"""Hugging Face's pipeline, ONNX Runtime or OpenVINO: texts in, probabilities out.

usage: serving.py {pipeline,onnxruntime,openvino} FOLDER. JSON lines in and out.
"""

import contextlib
import json
import pathlib
import statistics
import sys
import time

import numpy as np

kind, folder = sys.argv[1:]
onnx_file = pathlib.Path(folder) / "model.onnx"


def export() -> None:
    """Writes the model as ONNX, once."""
    import torch
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    model = AutoModelForSequenceClassification.from_pretrained(folder).eval()
    # two texts of different length: sizes of 1, and a mask without padding, would be built in
    example = AutoTokenizer.from_pretrained(folder)(
        ["an example", "of two texts, one of them padded"], padding=True, return_tensors="pt"
    )
    batch, tokens = torch.export.Dim("batch"), torch.export.Dim("tokens", max=512)
    torch.onnx.export(
        model,
        kwargs=dict(example),
        f=str(onnx_file),
        dynamo=True,
        dynamic_shapes={name: {0: batch, 1: tokens} for name in example},
        output_names=["logits"],
    )


def softmax(logits: np.ndarray) -> np.ndarray:
    """Over the classes."""
    exponents = np.exp(logits - logits.max(-1, keepdims=True))
    return exponents / exponents.sum(-1, keepdims=True)


def make_pipeline():
    """As its documentation has it."""
    from transformers import pipeline

    classify = pipeline("text-classification", model=folder, device="cpu", top_k=None)
    first = classify.model.config.id2label[0]

    def answer(texts: list[str]) -> float:
        scores = classify(texts, batch_size=len(texts))
        return next(entry["score"] for entry in scores[0] if entry["label"] == first)

    return answer


def make_tokenizer():
    """The fast one, which pads to the longest."""
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(pathlib.Path(folder) / "tokenizer.json"))
    tokenizer.enable_padding()
    tokenizer.enable_truncation(128)

    def encode(texts: list[str]) -> dict[str, np.ndarray]:
        encodings = tokenizer.encode_batch(texts)
        return {
            "input_ids": np.array([encoding.ids for encoding in encodings], np.int64),
            "attention_mask": np.array(
                [encoding.attention_mask for encoding in encodings], np.int64
            ),
            "token_type_ids": np.array([encoding.type_ids for encoding in encodings], np.int64),
        }

    return encode


def make_onnxruntime():
    """With its own threads."""
    import onnxruntime

    session = onnxruntime.InferenceSession(str(onnx_file), providers=["CPUExecutionProvider"])
    taken = {entry.name for entry in session.get_inputs()}
    encode = make_tokenizer()

    def answer(texts: list[str]) -> float:
        inputs = {name: values for name, values in encode(texts).items() if name in taken}
        return float(softmax(session.run(None, inputs)[0])[0][0])

    return answer


def make_openvino():
    """As its documentation has it, for latency; float32, as all others compute."""
    import openvino

    core = openvino.Core()
    settings = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": "f32"}
    compiled = core.compile_model(core.read_model(str(onnx_file)), "CPU", settings)
    taken = {entry.any_name for entry in compiled.inputs}
    encode = make_tokenizer()

    def answer(texts: list[str]) -> float:
        inputs = {name: values for name, values in encode(texts).items() if name in taken}
        return float(softmax(compiled(inputs)[0])[0][0])

    return answer


if kind != "pipeline" and not onnx_file.exists():
    with contextlib.redirect_stdout(sys.stderr):
        export()
makers = {
    "pipeline": make_pipeline,
    "onnxruntime": make_onnxruntime,
    "openvino": make_openvino,
}
answer = makers[kind]()
print("ready", flush=True)
for line in sys.stdin:
    request = json.loads(line)
    seconds = []
    for _ in range(request["calls"]):
        start = time.perf_counter()
        score = answer(request["texts"])
        seconds.append(time.perf_counter() - start)
    print(json.dumps({"seconds": statistics.median(seconds), "score": score}), flush=True)
