"""Makes warmup.json: TensorFlow Serving's own messages for some requests, as bytes.

pip install --no-deps --target /tmp/serving tensorflow-serving-api==2.21.0
PYTHONPATH=/tmp/serving python tests/golden/make_warmup.py
"""

import json
import pathlib

import tensorflow as tf

REQUESTS = [
    {"inputs": {"text": ["hello"]}, "signature": "serving_default"},
    {
        "inputs": {"text": ["今天天气很好", "second"], "text_pair": ["", "x" * 300]},
        "signature": "serving_default",
    },
    {"inputs": {"question": ["who?"], "context": ["é" * 20000]}, "signature": "other"},
]

if __name__ == "__main__":
    from tensorflow_serving.apis import predict_pb2, prediction_log_pb2

    golden = []
    for request in REQUESTS:
        message = predict_pb2.PredictRequest()
        message.model_spec.signature_name = request["signature"]
        for name, texts in request["inputs"].items():
            message.inputs[name].CopyFrom(tf.make_tensor_proto(texts, tf.string))
        log = prediction_log_pb2.PredictionLog(
            predict_log=prediction_log_pb2.PredictLog(request=message)
        )
        content = log.SerializeToString(deterministic=True)
        golden.append(
            {**request, "log": content.hex()}
            if len(content) < 2000
            else {
                "repeat": True,
                "bytes": len(content),
                "end": content[-40:].hex(),
                "start": content[:80].hex(),
            }
        )
    pathlib.Path(__file__).with_name("warmup.json").write_text(
        json.dumps(golden, indent=1, ensure_ascii=False) + "\n", encoding="utf-8"
    )
