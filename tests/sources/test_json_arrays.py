"""JSON that is no object a line: an array is read; what holds the examples otherwise is named with
the one command that converts it.
"""

import gzip
import json
import os
import shlex
import subprocess
import sys

import pytest

from trainer.errors import DataError
from trainer.sources import jsonl, open_source

ROWS = [
    {"text": "a film", "label": "pos"},
    {"text": 'ein Müller\n"x"', "label": "neg"},
    {"text": "今天", "label": "pos"},
]


def source(file, **settings):
    return open_source(jsonl.Settings(train="x", **settings), "train", str(file))


def read(file, **settings):
    return [
        (example.features, example.origin.line) for example in source(file, **settings).examples()
    ]


@pytest.mark.parametrize(
    ("content", "lines"),
    [
        (json.dumps(ROWS), [1, 1, 1]),
        (json.dumps(ROWS, indent=2, ensure_ascii=False), [2, 6, 10]),
        ("\ufeff" + json.dumps(ROWS, indent=1), [2, 6, 10]),
        ("[\n" + ",\n".join(map(json.dumps, ROWS)) + "\n]\n", [2, 3, 4]),
        ("\n\n[" + "\n,".join(map(json.dumps, ROWS)) + "]", [3, 4, 5]),
        ("\n".join(json.dumps(row, indent=2) for row in ROWS), [1, 5, 9]),
        ("\n".join(map(json.dumps, ROWS)), [1, 2, 3]),
    ],
)
def test_an_array_is_read_and_so_are_objects_over_several_lines(tmp_path, content, lines):
    (tmp_path / "x.json").write_text(content, encoding="utf-8")
    found = read(tmp_path / "x.json")
    assert [features for features, _ in found] == ROWS and [line for _, line in found] == lines


def test_an_empty_array_has_no_examples(tmp_path):
    (tmp_path / "x.json").write_text("[\n]\n")
    assert read(tmp_path / "x.json") == []


def refusal(file, **settings):
    with pytest.raises(DataError) as caught:
        read(file, **settings)
    return str(caught.value)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            '[\n{"text": "a"},\n{"text": "b" "c"}\n]',
            "x.json:3: not JSON: Expecting ',' delimiter at column 14",
        ),
        (
            '[\n{"text": "a"}\n{"text": "b"}\n]',
            "x.json:3: not JSON: Expecting ',' delimiter at column 1",
        ),
        ('[{"text": "a"},\n', "x.json:1: not JSON"),
        ('[{"text": "a"}', "x.json:1: not JSON"),
        ("[", "x.json:1: not JSON"),
        ('[\n{"text": "a"}]\n{"text": "b"}', "x.json:2: not JSON: Extra data"),
        ('[\n{"text": "a"},\n5]', "x.json:3: expected a JSON object, found a number: 5."),
        ('{"text":\n"a"}\n{"text"\n', "x.json:3: not JSON"),
        ('[\n{"text": "a", "text": "b"}]', "x.json:2: field 'text' is there twice"),
    ],
)
def test_what_is_wrong_in_an_array_has_its_line(tmp_path, content, message):
    (tmp_path / "x.json").write_text(content)
    assert message in refusal(tmp_path / "x.json")


PAIRS = [list(row.values()) for row in ROWS]


@pytest.mark.parametrize(
    "content",
    [
        {"train": PAIRS, "val": PAIRS[:1], "oos": PAIRS[:2]},
        {"val": PAIRS[:1], "train": ROWS},
        {"version": 1, "data": ROWS},
        {"data": {"train": PAIRS}},
        {"a": ROWS[0], "b": ROWS[1], "c": ROWS[2]},
        PAIRS,
        {'o\'neil "data"': ROWS},
        {
            name: {str(index): row[name] for index, row in enumerate(ROWS)}
            for name in ("text", "label")
        },
    ],
    ids=lambda content: str(content)[:12],
)
@pytest.mark.parametrize(
    ("name", "indent"), [("my data.json", None), ("x.json", 2), ("x.json.gz", None)]
)
def test_the_command_for_other_shapes_writes_what_is_read(tmp_path, content, name, indent):
    """As CLINC has it: lists of [text, label] by split."""
    encoded = json.dumps(content, indent=indent).encode()
    (tmp_path / name).write_bytes(gzip.compress(encoded) if name.endswith("gz") else encoded)
    message = refusal(tmp_path / name)
    command = (
        message.partition("To write an object a line: ")[2].partition(" (")[0]
        if " (" in message.partition("NEW.jsonl")[2]
        else (message.partition("To write an object a line: ")[2])
    )
    command = command[: command.index("NEW.jsonl") + len("NEW.jsonl")]
    environment = {**os.environ, "PATH": f"{tmp_path / 'bin'}:{os.environ['PATH']}"}
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "python3").write_text(
        f'#!/bin/sh\nexec {shlex.quote(sys.executable)} "$@"\n'
    )
    (tmp_path / "bin" / "python3").chmod(0o755)
    subprocess.run(command, shell=True, check=True, cwd=tmp_path, env=environment)
    assert [features for features, _ in read(tmp_path / "NEW.jsonl")] == ROWS


def test_other_splits_are_named_beside_the_one_that_is_taken(tmp_path):
    (tmp_path / "x.json").write_text(json.dumps({"val": PAIRS, "train": PAIRS}))
    message = refusal(tmp_path / "x.json")
    assert (
        "x.json:1: expected an object with 'text' or 'label', found one with 'val', 'train', which"
        " holds the examples." in message
    )
    assert "('val' stand beside 'train': name one of them in its place.)" in message


def test_squads_shape_is_told(tmp_path):
    (tmp_path / "x.json").write_text(json.dumps({"data": [{"paragraphs": []}]}))
    assert "It has the shape of SQuAD's files: set data.source: squad." in refusal(
        tmp_path / "x.json"
    )


def test_an_example_with_lists_of_its_own_is_an_example(tmp_path):
    row = {"tokens": ["a", "b"], "spans": [{"start": 0, "end": 1}], "label": "x"}
    (tmp_path / "x.json").write_text(json.dumps(row))
    assert read(tmp_path / "x.json", text="tokens") == [(row, 1)]
    (tmp_path / "x.json").write_text(json.dumps({"words": [["a"]]}) + "\n")
    assert "To write an object a line" in refusal(tmp_path / "x.json")
