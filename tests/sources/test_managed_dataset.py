"""Vertex AI's managed datasets: every kind of annotation, inline and in files of their own, and
what is wrong with a line.
"""

import json

import pytest

from trainer.errors import ConfigError, DataError
from trainer.sources import managed_dataset, open_source

USE = {"aiplatform.googleapis.com/ml_use": "training"}


def source(tmp_path, *rows, **settings):
    for shard, row in enumerate(rows):
        (tmp_path / f"training-{shard:05d}").write_text(
            json.dumps(row, ensure_ascii=False) + "\n", encoding="utf-8"
        )
    chosen = managed_dataset.Settings(train=f"{tmp_path}/training-*", **settings)
    return open_source(chosen, "train", chosen.train)


def labels(tmp_path, *rows):
    return [example.features["label"] for example in source(tmp_path, *rows).examples()]


def test_every_kind_of_annotation(tmp_path):
    rows = [
        {
            "classificationAnnotation": {"displayName": "sport"},
            "textContent": "a goal",
            "dataItemResourceLabels": USE,
        },
        {
            "classificationAnnotations": [{"displayName": "a"}, {"displayName": "b"}],
            "textContent": "x",
        },
        {
            "textSegmentAnnotations": [
                {"endOffset": 2, "displayName": "LOC"},
                {"startOffset": "3", "endOffset": "5", "displayName": "PER"},
            ],
            "textContent": "北京 王芳",
        },
        {"sentimentAnnotation": {"sentiment": 3, "sentimentMax": 4}, "textContent": "good"},
        {"textContent": "not labelled"},
    ]
    assert labels(tmp_path, *rows) == [
        "sport",
        ["a", "b"],
        [{"start": 0, "end": 2, "label": "LOC"}, {"start": 3, "end": 5, "label": "PER"}],
        3,
        None,
    ]


def test_texts_in_files_of_their_own_are_read_and_fingerprinted(tmp_path):
    (tmp_path / "doc.txt").write_text("the whole text", encoding="utf-8")
    row = {
        "classificationAnnotation": {"displayName": "a"},
        "textGcsUri": str(tmp_path / "doc.txt"),
    }
    found = source(tmp_path, row, text="body", label="class")
    assert [example.features for example in found.examples()] == [
        {"body": "the whole text", "class": "a"}
    ]
    before = found.fingerprint()
    assert found.fingerprint() == before
    (tmp_path / "doc.txt").write_text("another text", encoding="utf-8")
    assert found.fingerprint() != before


def test_many_examples_keep_their_order(tmp_path):
    rows = [
        {"textContent": str(i), "classificationAnnotation": {"displayName": "a"}}
        for i in range(300)
    ]
    (tmp_path / "training-0").write_text("".join(json.dumps(row) + "\n" for row in rows))
    settings = managed_dataset.Settings(train=f"{tmp_path}/training-0")
    assert [
        example.features["text"]
        for example in open_source(settings, "train", settings.train).examples()
    ] == [str(i) for i in range(300)]


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (
            {"text": "a", "label": "b"},
            (
                "training-00000:1: expected textContent or textGcsUri, as a managed dataset of text"
                " has. Fields there: 'text', 'label'. For JSON lines of your own set data.source:"
                " jsonl."
            ),
        ),
        (
            {"textGcsUri": "/nowhere/a.txt"},
            "training-00000:1: textGcsUri: there is no file or folder '/nowhere/a.txt'.",
        ),
        (
            {"textContent": "a", "textSegmentAnnotations": {"displayName": "x"}},
            (
                "training-00000:1: expected textSegmentAnnotations to be a list. Received an object"
                " with displayName."
            ),
        ),
        (
            {"textContent": "a", "classificationAnnotations": [{"name": "x"}]},
            "training-00000:1: expected an annotation with displayName. Received {'name': 'x'}.",
        ),
    ],
)
def test_a_line_that_is_none_is_named(tmp_path, row, message):
    with pytest.raises(DataError) as caught:
        list(source(tmp_path, row).examples())
    assert message in str(caught.value)


def test_a_text_that_is_not_utf8_is_named(tmp_path):
    (tmp_path / "doc.txt").write_bytes("café".encode("latin-1"))
    with pytest.raises(DataError, match=r"doc.txt: not UTF-8: byte 0xe9 at byte 3"):
        list(source(tmp_path, {"textGcsUri": str(tmp_path / "doc.txt")}).examples())


def test_pairs_are_refused(tmp_path):
    with pytest.raises(
        ConfigError,
        match=r"data.text: source: managed_dataset has one text an example, got two fields",
    ):
        source(tmp_path, {"textContent": "a"}, text=["a", "b"])
