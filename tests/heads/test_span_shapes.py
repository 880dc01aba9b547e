"""Spans as other tools write them are those of our own shape, or are refused with what to do."""

import pytest

from trainer.errors import ConfigError, DataError
from trainer.heads import make_head
from trainer.heads.classification import Settings as ClassificationSettings
from trainer.heads.token_classification.gold import read_spans
from trainer.heads.token_classification.span_shapes import KEYS, span_keys
from trainer.settings.schema import DataSettings

TEXT = "in New York and Rome"
SHAPES = {
    "ours": [
        {"start": 3, "end": 11, "label": "LOC", "text": "New York"},
        {"start": 16, "end": 20, "label": "LOC"},
    ],
    "Doccano, lists": [[3, 11, "LOC"], [16, 20, "LOC"]],
    "Doccano, objects": [
        {"id": 1, "label": "LOC", "start_offset": 3, "end_offset": 11},
        {"id": 2, "label": "LOC", "start_offset": 16, "end_offset": 20},
    ],
    "Label Studio, short": [
        {"start": 3, "end": 11, "text": "New York", "labels": ["LOC"]},
        {"start": 16, "end": 20, "text": "Rome", "labels": ["LOC"]},
    ],
    "Label Studio, whole": [
        {
            "id": "a",
            "type": "labels",
            "from_name": "label",
            "value": {"start": first, "end": last, "labels": ["LOC"]},
        }
        for first, last in ((3, 11), (16, 20))
    ],
    "Prodigy": [
        {"start": 3, "end": 11, "token_start": 1, "token_end": 2, "label": "LOC"},
        {"start": 16, "end": 20, "label": "LOC"},
    ],
    "Hugging Face": [
        {"entity_group": "LOC", "score": 0.9, "word": "new york", "start": 3, "end": 11},
        {"entity_group": "LOC", "score": 0.9, "word": "rome", "start": 16, "end": 20},
    ],
    "by type": [{"start": 3, "end": 11, "type": "LOC"}, {"start": 16, "end": 20, "type": "LOC"}],
}
KEYED = [
    (
        {"start": "span", "end": "span", "label": "type"},
        [{"span": [3, 11], "type": "LOC"}, {"span": [16, 20], "type": "LOC"}],
    ),
    (
        {"start": "offset", "text": "entity", "label": "type"},
        [
            {"entity": "New York", "offset": 3, "type": "LOC"},
            {"entity": "Rome", "offset": 16, "type": "LOC"},
        ],
    ),
    (
        {"start": "b", "end": "e", "label": "entity"},
        [{"b": 3, "e": 11, "entity": "LOC"}, {"b": 16, "e": 20, "entity": "LOC"}],
    ),
    (
        {"label": "tag"},
        [
            {"start": 3, "end": 11, "tag": "LOC", "label": 7},
            {"start_offset": 16, "end_offset": 20, "tag": "LOC"},
        ],
    ),
]


def places(gold):
    return list(zip(gold.start, gold.end, gold.tags, strict=True))


@pytest.mark.parametrize("shape", SHAPES)
def test_the_shapes_of_other_tools_are_read_by_themselves(shape):
    assert places(read_spans(TEXT, SHAPES[shape], "x:1")) == [(3, 11, "B-LOC"), (16, 20, "B-LOC")]


@pytest.mark.parametrize(("given", "spans"), KEYED)
def test_the_names_of_a_spans_parts_may_be_given(given, spans):
    assert places(read_spans(TEXT, spans, "x:1", span_keys(given))) == [
        (3, 11, "B-LOC"),
        (16, 20, "B-LOC"),
    ]


@pytest.mark.parametrize(
    ("span", "message"),
    [
        (
            {"from": 3, "to": 11, "type": "LOC"},
            'expected spans {"start", "end", "label"}. Received '
            "{'from': 3, 'to': 11, 'type': 'LOC'}. Write each so, or as "
            '[start, end, "label"], or name its keys, such as '
            "--data.span_keys='{start: from, end: to, label: type}'.",
        ),
        ({"start": 3, "end": 11}, "Received {'start': 3, 'end': 11}. Write each so"),
        ([3, 11], 'Received [3, 11]. Write each so, or as [start, end, "label"].'),
        (7, "Received 7."),
        ({}, "Received {}."),
        ({"value": 3}, "Received {'value': 3}."),
        ({"span": [3, 11], "type": "LOC"}, "or name its keys"),
        (
            {"start": 3, "end": 11, "labels": ["LOC", "ORG"]},
            "a span has several labels: ['LOC', 'ORG']. A word has one tag: keep one of them.",
        ),
        ({"start": 3, "end": 11, "labels": []}, "the span from 3 to 11 has no label. Received ''."),
        ({"start": 3, "end": 11, "label": 4}, "the span from 3 to 11 has no label. Received 4."),
        (
            ["LOC", 3, 11],
            (
                "start and end of a span must be whole numbers, of characters of the text. Received"
                " 'LOC' and 3."
            ),
        ),
        (
            {"start": 3, "end": 11, "label": "LOC", "text": "new\u202e york"},
            r"says that its text is 'new\u202e york', and 'New York' stands there.",
        ),
    ],
)
def test_what_is_no_span_is_refused_with_what_to_do(span, message):
    with pytest.raises(DataError) as caught:
        read_spans(TEXT, [span], "x:1")
    assert message in str(caught.value) and str(caught.value).startswith("x:1: ")


def test_keys_of_no_part_and_of_another_head_are_refused():
    assert span_keys(None) == KEYS
    with pytest.raises(
        ConfigError,
        match=(
            r"data.span_keys: expected names for start, end, label, text. Received one for 'begin'."
        ),
    ):
        span_keys({"begin": "b"})
    data = DataSettings(source="jsonl", train="", span_keys={"label": "type"})
    with pytest.raises(
        ConfigError,
        match=(
            r"data.span_keys: is of head token_classification. Received head classification. Leave"
            r" it out."
        ),
    ):
        make_head(ClassificationSettings(), data, None)
