"""TensorFlow Serving's warm-up records, written without its package.

`tensorflow_serving.apis` is not installable beside every TensorFlow, and only three of its messages
are needed. Their fields: PredictionLog.predict_log = 6, PredictLog.request = 1,
PredictRequest.model_spec = 1 and .inputs = 2 (a map of string to TensorProto), ModelSpec.name = 1
and .signature_name = 3.

Source: github.com/tensorflow/serving, apis/prediction_log.proto, predict.proto, model.proto.
"""

from __future__ import annotations

import os
import pathlib
from collections.abc import Mapping

from trainer.files import mirror
from trainer.files.writing import write_text
from trainer.lazy import tf

BATCHING_FILE = "batching_parameters.txt"
# Requests that come together are answered together. TensorFlow Serving chooses the threads.
# Source: https://github.com/tensorflow/serving/blob/master/tensorflow_serving/batching/README.md
BATCHING_PARAMETERS = """max_batch_size { value: 64 }
batch_timeout_micros { value: 1000 }
max_enqueued_batches { value: 1000 }
"""


def write_batching_parameters(file: pathlib.Path) -> bool:
    """Writes what TensorFlow Serving should know beside the versions of a model.

    Returns:
        whether the file is ours to write.
    """
    mirror.bring(file)
    ours = (b"", BATCHING_PARAMETERS.encode())
    if os.path.lexists(file) and not (file.is_file() and file.read_bytes() in ours):
        return False
    write_text(file, BATCHING_PARAMETERS)
    return True


def prediction_log(inputs: Mapping[str, tf.Tensor], *, signature: str = "serving_default") -> bytes:
    """A serialized PredictionLog with one PredictRequest.

    Args:
        inputs: name -> (B,) values.
        signature: that is asked.
    """
    entries = b""
    for name in sorted(inputs):
        entries += _input(name, inputs[name])
    model_spec = _field(1, _field(3, signature.encode()))
    predict_log = _field(1, model_spec + entries)
    return _field(6, predict_log)


def _input(name: str, tensor: tf.Tensor) -> bytes:
    """An entry of PredictRequest.inputs."""
    message = tf.make_tensor_proto(tensor.numpy())
    value = message.SerializeToString(deterministic=True)
    entry = _field(1, name.encode()) + _field(2, value)
    return _field(2, entry)


def _field(number: int, content: bytes) -> bytes:
    """A length-delimited field of the protocol-buffer wire format."""
    key = _varint(number << 3 | 2)
    length = _varint(len(content))
    return key + length + content


def _varint(value: int) -> bytes:
    groups = []
    while value > 0x7F:
        groups.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*groups, value])
