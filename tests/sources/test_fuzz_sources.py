"""Damaged files of every format: examples, or one DataError that names the file; never another
exception, never a hang.
"""

import gzip
import json
import pathlib
import random
import time

import pytest

from trainer.errors import DataError
from trainer.sources import (
    TO_PREDICT,
    Example,
    conll,
    csv,
    folders,
    jsonl,
    managed_dataset,
    open_source,
    parallel,
    squad,
    text,
    tsv,
)

SEED = 21
CASES, SAMPLE = 500, 60
SECONDS = 10.0  # of one file
WORDS = [
    "film",
    "Müller",
    "今天",
    'a "b"',
    "C:\\x",
    "",
    "très bon",
    "x" * 50,
    "null",
    "1.5",
    "-1",
    "\U0001f600",
]


def _rows(draw, width):
    return [[draw.choice(WORDS) for _ in range(width)] for _ in range(draw.randint(1, 8))]


def _quoted(field):
    return '"' + field.replace('"', '""') + '"'


def _squad(draw):
    questions = [
        {"question": row[0], "id": row[1], "answers": [{"text": row[0], "answer_start": 0}]}
        for row in _rows(draw, 2)
    ]
    return json.dumps(
        {"data": [{"title": "t", "paragraphs": [{"context": "film c", "qas": questions}]}]},
        ensure_ascii=draw.random() < 0.5,
    )


def _objects(draw):
    return [dict(zip(("text", "label"), row, strict=True)) for row in _rows(draw, 2)]


FORMATS = {
    "jsonl": (
        jsonl,
        {},
        lambda draw: "".join(
            json.dumps(row, ensure_ascii=draw.random() < 0.5) + "\n" for row in _objects(draw)
        ),
    ),
    "array": (jsonl, {}, lambda draw: json.dumps(_objects(draw), indent=draw.choice([None, 1]))),
    "clinc": (jsonl, {}, lambda draw: json.dumps({"train": _rows(draw, 2), "val": _rows(draw, 2)})),
    "csv": (
        csv,
        {},
        lambda draw: "".join(
            ",".join(map(_quoted, row)) + "\r\n" for row in [["text", "label"], *_rows(draw, 2)]
        ),
    ),
    "csv escaped": (
        csv,
        {},
        lambda draw: (
            "text, label\n" + "".join(f'"a \\"{row[0]}\\"", "{row[1]}"\n' for row in _rows(draw, 2))
        ),
    ),
    "tsv": (
        tsv,
        {},
        lambda draw: "".join("\t".join(row) + "\n" for row in [["text", "label"], *_rows(draw, 2)]),
    ),
    "tsv quoted": (
        tsv,
        {},
        lambda draw: "".join(
            "\t".join(map(_quoted, row)) + "\n" for row in [["text", "label"], *_rows(draw, 2)]
        ),
    ),
    "conll": (
        conll,
        {},
        lambda draw: "".join(
            f"{row[0] or 'x'}\t{draw.choice(['O', 'B-PER'])}\n" + "\n" * (draw.random() < 0.3)
            for row in _rows(draw, 1)
        ),
    ),
    "conllu": (
        conll,
        {"variant": "conllu"},
        lambda draw: "".join(
            f"{number}\t{row[0] or 'x'}" + "\t_" * 8 + "\n"
            for number, row in enumerate(_rows(draw, 1), 1)
        ),
    ),
    "text": (text, {}, lambda draw: "\n".join(row[0] for row in _rows(draw, 1))),
    "text by lines": (
        text,
        {"document": "line"},
        lambda draw: "\n".join(row[0] for row in _rows(draw, 1)),
    ),
    "text by blank lines": (
        text,
        {"document": "blank_line"},
        lambda draw: "\n\n".join(row[0] for row in _rows(draw, 1)),
    ),
    "parallel": (
        parallel,
        {"text": "de", "label": "en"},
        lambda draw: "\n".join(row[0] for row in _rows(draw, 1)),
    ),
    "squad": (squad, {}, _squad),
    "folders": (folders, {}, lambda draw: draw.choice(WORDS)),
    "managed_dataset": (
        managed_dataset,
        {},
        lambda draw: "".join(
            json.dumps({"textContent": row[0], "classificationAnnotation": {"displayName": row[1]}})
            + "\n"
            for row in _rows(draw, 2)
        ),
    ),
}
PIECES = [
    b"\0",
    b"\0" * 9,
    b"\r",
    b"\n",
    b"\r\n",
    b"\xff",
    b"\xef\xbb\xbf",
    b"\xe2\x80\xa8",
    b"\\",
    b'"',
    b"\t",
]
MUTATIONS = [
    lambda draw, content: bytes(
        byte ^ (1 << draw.randrange(8)) if draw.random() < 0.02 else byte for byte in content
    ),
    lambda draw, content: content[: draw.randrange(len(content) + 1)],
    lambda draw, content: content.replace(b'"', b'""'),
    lambda draw, content: content.replace(b'"', b"", 1),
    lambda draw, content: _inserted(draw, content, draw.choice(PIECES)),
    lambda draw, content: _inserted(draw, content, b"y" * 700_000),
    lambda draw, content: _inserted(draw, content, b"[" * 100_000),
    lambda draw, content: _inserted(draw, content, b'{"a":' * 2_000),
    lambda draw, content: _inserted(draw, content, b"9" * 5_000),
    lambda draw, content: _inserted(draw, content, b"\n" * 100_000),
    lambda draw, content: content.decode("utf-8", "replace").encode(
        draw.choice(["utf-16", "utf-16-be", "gb18030", "utf-8-sig", "utf-32"])
    ),
    lambda draw, content: content.decode("utf-8", "replace").encode(
        draw.choice(["latin-1", "shift_jis", "cp1251", "euc-kr"]), "replace"
    ),
    lambda draw, content: content.replace(b"\n", b"\r"),
    lambda draw, content: content.replace(b",", b";"),
    lambda draw, content: b"",
    lambda draw, content: content + content,
    lambda draw, content: draw.randbytes(len(content)),
    lambda draw, content: content.replace(b"text", draw.choice([b"txet", b"label", b""])),
    lambda draw, content: b"".join(
        draw.sample(parts := content.splitlines(keepends=True), len(parts))
    ),
]


def _inserted(draw, content, more):
    place = draw.randrange(len(content) + 1)
    return content[:place] + more + content[place:]


def _mutated(draw, content):
    for _ in range(draw.choice([1, 1, 2, 3])):
        content = draw.choice(MUTATIONS)(draw, content)
    return content


def read_damaged(folder: pathlib.Path, number: int) -> int:
    """Reads the file of that number; returns how many examples it gave."""
    draw = random.Random(f"{SEED} {number}")
    name = list(FORMATS)[number % len(FORMATS)]
    source, settings, write = FORMATS[name]
    content = _mutated(draw, write(draw).encode())
    file = folder / f"{number}.{'de' if name == 'parallel' else 'x'}"
    spec = file
    if name == "parallel":
        (folder / f"{number}.en").write_bytes(_mutated(draw, write(draw).encode()))
        spec = folder / f"{number}.*"
    if name == "folders":
        spec = folder / str(number)
        file = spec / "class" / "x.txt"
        file.parent.mkdir(parents=True)
    if draw.random() < 0.1 and name != "parallel":
        file = file.with_name(file.name + ".gz")
        spec = file if name != "folders" else spec
        content = draw.choice(
            [gzip.compress(content), gzip.compress(content)[: -draw.randrange(1, 20)], content]
        )
    file.write_bytes(content)
    fallback = draw.choice([None, None, None, "gb18030", "windows-1252", "utf-16", "latin-1"])
    split = draw.choice(["train", "validation", TO_PREDICT])
    began = time.process_time()
    count = 0
    try:
        opened = open_source(
            source.Settings(train="x", fallback_encoding=fallback, **settings), split, str(spec)
        )
        opened.fingerprint()
        for example in opened.examples():
            assert isinstance(example, Example)
            count += 1
    except DataError as error:
        assert str(folder) in str(error), error
        assert len(str(error)) < 3_000 and "\n" not in str(error), str(error)[:3_000]
    assert time.process_time() - began < SECONDS
    return count


def test_a_sample_of_damaged_files(tmp_path):
    assert sum(read_damaged(tmp_path, number) > 0 for number in range(SAMPLE)) > SAMPLE // 5


@pytest.mark.slow
def test_damaged_files(tmp_path):
    assert sum(read_damaged(tmp_path, number) > 0 for number in range(CASES)) > CASES // 5


def _records(draw):
    """A TFRecord file of a few examples, damaged."""
    from trainer.lazy import tf

    records = []
    for row in _rows(draw, 2):
        features = {
            name: tf.train.Feature(bytes_list=tf.train.BytesList(value=[value.encode()]))
            for name, value in zip(("text", "label"), row, strict=True)
        }
        records.append(
            tf.train.Example(features=tf.train.Features(feature=features)).SerializeToString()
        )
    return records


@pytest.mark.heavy
@pytest.mark.parametrize("count", [12, pytest.param(120, marks=pytest.mark.slow)])
def test_damaged_tfrecords(tmp_path, count):
    """TensorFlow believes what a frame says of its length."""
    from trainer.lazy import tf
    from trainer.sources import tfrecord

    for number in range(count):
        draw = random.Random(f"{SEED} {number}")
        file = tmp_path / f"{number}.tfrecord{'.gz' * (draw.random() < 0.3)}"
        with tf.io.TFRecordWriter(
            str(file), "GZIP" if file.suffix == ".gz" and draw.random() < 0.8 else ""
        ) as writer:
            for record in _records(draw):
                writer.write(_mutated(draw, record) if draw.random() < 0.2 else record)
        content = file.read_bytes()
        if draw.random() < 0.7:
            content = _mutated(draw, content)
        file.write_bytes(content)
        try:
            opened = open_source(tfrecord.Settings(train="x"), "train", str(file))
            opened.fingerprint()
            assert all(isinstance(example, Example) for example in opened.examples())
        except DataError as error:
            assert str(tmp_path) in str(error) and len(str(error)) < 3_000
