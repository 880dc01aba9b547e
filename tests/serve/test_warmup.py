"""Warm-up requests are what TensorFlow Serving's own messages would be, byte for byte but for the
order of the inputs.
"""

import json

import pytest
import tensorflow as tf

from tests.golden.make_warmup import REQUESTS
from tests.toy import ROOT
from trainer.serve.warmup import prediction_log

GOLDEN = json.loads((ROOT / "tests" / "golden" / "warmup.json").read_text(encoding="utf-8"))


def fields(message: bytes) -> list[tuple[int, bytes]]:
    """The length-delimited fields of a message of the wire format, sorted: a map has no order."""
    found, place = [], 0
    while place < len(message):
        key, place = varint(message, place)
        assert key & 7 == 2
        size, place = varint(message, place)
        found.append((key >> 3, message[place : place + size]))
        place += size
    assert place == len(message)
    return sorted(found)


def varint(message: bytes, place: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        value |= (message[place] & 0x7F) << shift
        place, shift = place + 1, shift + 7
        if message[place - 1] < 0x80:
            return value, place


def request(log: bytes) -> list[tuple[int, bytes]]:
    ((number, predict_log),) = fields(log)
    ((inner, content),) = fields(predict_log)
    assert (number, inner) == (6, 1)
    return fields(content)


@pytest.mark.parametrize("number", range(len(REQUESTS)))
def test_a_request_is_the_real_message(number):
    inputs = {name: tf.constant(texts) for name, texts in REQUESTS[number]["inputs"].items()}
    found = prediction_log(inputs, signature=REQUESTS[number]["signature"])
    golden = GOLDEN[number]
    if "log" in golden:
        assert golden["inputs"] == REQUESTS[number]["inputs"] and request(found) == request(
            bytes.fromhex(golden["log"])
        )
    else:  # too long to keep: its length and both ends
        assert (len(found), found[:80].hex(), found[-40:].hex()) == (
            golden["bytes"],
            golden["start"],
            golden["end"],
        )
