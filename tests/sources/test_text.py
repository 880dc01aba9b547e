"""Plain text: documents, and parts of long ones."""

import gzip
import itertools
import time

import pytest
import tensorflow as tf

from tests.text.byte_bpe_reference import write_byte_bpe
from trainer.errors import ConfigError
from trainer.sources import open_source, text
from trainer.text import load_tokenizer


def examples(spec, **settings):
    return list(
        open_source(text.Settings(train=str(spec), **settings), "train", str(spec)).examples()
    )


def write(folder, content, name="a.txt"):
    (folder / name).write_bytes(content.encode())
    return folder / name


def test_documents_are_files_lines_or_what_blank_lines_part(tmp_path):
    file = write(tmp_path, "\n\none\ntwo \n\n \n三\r\nfour\n")
    found = {
        kind: [
            (example.features["text"], example.ends, example.origin.line)
            for example in examples(file, document=kind)
        ]
        for kind in ("file", "line", "blank_line")
    }
    assert found["file"] == [("\n\none\ntwo \n\n \n三\r\nfour\n", True, 1)]
    assert found["line"] == [
        ("one", True, 3),
        ("two ", True, 4),
        ("三", True, 7),
        ("four", True, 8),
    ]
    assert found["blank_line"] == [("one\ntwo ", True, 3), ("三\r\nfour", True, 7)]


def test_several_files_and_zipped_ones_come_in_order(tmp_path):
    write(tmp_path, "a b", "2.txt")
    write(tmp_path, "c", "1.txt")
    (tmp_path / "3.txt.gz").write_bytes(gzip.compress(b"d\ne"))
    assert [example.features["text"] for example in examples(tmp_path / "*")] == [
        "c",
        "a b",
        "d\ne",
    ]


@pytest.mark.parametrize("prefix_space", [False, True])
def test_a_long_file_comes_in_parts_whose_tokens_are_those_of_the_whole(
    tmp_path, monkeypatch, prefix_space
):
    monkeypatch.setattr(text, "PART", 50)
    content = "".join(
        f"the film  was {number}\n" + "\n" * (number % 3) + "  we'll see  \t\n" * (number % 2)
        for number in range(60)
    )
    parts = examples(write(tmp_path, content))
    assert len(parts) > 10 and [part.ends for part in parts] == [False] * (len(parts) - 1) + [True]
    texts = [part.features["text"] for part in parts]
    assert "".join(texts) == content
    tokenizer = load_tokenizer(write_byte_bpe(tmp_path / "bpe", prefix_space=prefix_space))
    whole = tokenizer.tokenize(tf.constant([content])).to_list()[0]
    assert [
        token for row in tokenizer.tokenize(tf.constant(texts)).to_list() for token in row
    ] == whole
    assert [part.origin.line for part in parts] == sorted(part.origin.line for part in parts)


@pytest.mark.parametrize(
    ("content", "parts"),
    [
        ("one two three" * 9, ["one two" + " threeone two" * 8, " three"]),
        ("今天天气" * 20, ["今天天气" * 20]),
        ("今天天气" * 20 + "\n好", ["今天天气" * 20, "\n好"]),
        (" " + "x" * 80, [" " + "x" * 80]),
        (" " * 80, [" " * 80]),
    ],
)
def test_no_part_is_empty(tmp_path, monkeypatch, content, parts):
    monkeypatch.setattr(text, "PART", 50)
    found = examples(write(tmp_path, content))
    assert [part.features["text"] for part in found] == parts and [part.ends for part in found][-1]


def test_a_long_file_is_not_cut_among_spaces(tmp_path, monkeypatch):
    """A vocabulary may have a token for several: cut apart, they would be others."""
    monkeypatch.setattr(text, "PART", 50)
    content = "".join(
        f"* item number {number}{' ' * (number % 5)}\n    and more\n" for number in range(60)
    )
    texts = [part.features["text"] for part in examples(write(tmp_path, content))]
    assert "".join(texts) == content and len(texts) > 10
    assert all(
        not one[-1].isspace() and two[0] == " " and not two[1].isspace()
        for one, two in itertools.pairwise(texts)
    )


def test_two_fields_are_refused(tmp_path):
    with pytest.raises(
        ConfigError,
        match=(
            r"data\.text: source text has one text a document\. Received \['a', 'b'\]\. Use jsonl,"
            r" csv or tsv"
        ),
    ):
        examples(write(tmp_path, "x"), text=["a", "b"])


@pytest.mark.parametrize(
    ("kind", "content"),
    [
        ("file", "\n" * 1_000_000),
        ("file", " \n" * 500_000 + "end"),
        ("line", "\n" * 1_000_000),
        ("blank_line", "\n" * 1_000_000),
        ("file", "x" * 20_000_000),
        ("file", "今天 " * 5_000_000),
        ("blank_line", "a\n" * 500_000),
    ],
)
def test_blank_lines_and_long_ones_take_time_by_their_length(tmp_path, kind, content):
    """By its square they took minutes."""
    began = time.process_time()
    found = examples(write(tmp_path, content), document=kind)
    assert time.process_time() - began < 10
    if kind == "file":
        assert "".join(example.features["text"] for example in found) == content
        assert (
            all(len(example.features["text"]) <= 9 * text.PART for example in found)
            or "今" not in content
        )
