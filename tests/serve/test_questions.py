"""What predict is asked, without a model."""

import gzip
import io
import os
import threading
import types

import pytest

from trainer.data.reader import Input
from trainer.errors import DataError
from trainer.serve.questions import open_questions
from trainer.sources import conll, csv, jsonl, require_text, text, tfrecord, tsv

GOOD = '{"text": "a"}'


class Head:
    """One that takes a text, or two."""

    def __init__(self, *fields, names=("text",)):
        self.inputs = tuple(map(Input, names, fields or ("text",)))

    def asked(self, example):
        return tuple(require_text(example, item.field) for item in self.inputs)


PAIRS = Head("question", "context", names=("question", "context"))


def ask(source, settings=None, head=None):
    """The texts, or the beginnings of errors in curly brackets."""
    found = list(
        open_questions(str(source), settings or jsonl.Settings(train="x.jsonl"), head or Head())
    )
    return [f"{{{question.error}}}" if question.error else question.values[0] for question in found]


class Terminal(io.BytesIO):
    """Where a person types."""

    def isatty(self):
        return True


def piped(monkeypatch, content, kind=io.BytesIO):
    monkeypatch.setattr("sys.stdin", types.SimpleNamespace(buffer=kind(content.encode())))
    return "-"


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("plain\n\nlines\n", ["plain", "lines"]),
        (f"{GOOD}\n{GOOD}\n", ["a", "a"]),
        (f'{GOOD}\nplain\n"b"\n', ["a", "{standard input:2: not JSON", "b"]),
        (f'plain\n{GOOD}\n{{oops\n"b"\n"b" or not\n', ["plain", "a", "{oops", "b", '"b" or not']),
        ("5\nnull\ntrue\n", ["5", "null", "true"]),
        ('"one"\n"two\\n"\n', ["one", "two\n"]),
        ('[{"text": "a"},\n {"text": "b"}]', ["a", "b"]),
        ('["a", "b"]\n', ["a", "b"]),
        ("[1] see\n[2] there\n", ["[1] see", "[2] there"]),
        (
            "[\n" + GOOD + ",\n5]",
            ["a", "{standard input:3: expected a JSON object, found a number: 5."],
        ),
        ("", []),
        ("\n \n", []),
        (
            '{"txet": "a"}\n' + GOOD,
            ["{unknown field 'text' at standard input:1; fields there are: 'txet'", "a"],
        ),
        (
            '{"text": null}\n' + GOOD,
            ["{standard input:1: field 'text' should be text, and is null.", "a"],
        ),
    ],
)
def test_standard_input_has_objects_or_texts(monkeypatch, content, expected):
    found = ask(piped(monkeypatch, content))
    assert len(found) == len(expected)
    assert all(
        one.startswith(other) if other.startswith("{") else one == other
        for one, other in zip(found, expected, strict=True)
    ), found


def test_a_terminal_takes_either_at_each_line(monkeypatch):
    found = ask(piped(monkeypatch, f"{GOOD}\nplain\n{{oops\n[1]\n", Terminal))
    assert (
        found[:2] == ["a", "plain"]
        and found[2].startswith("{standard input:3: not JSON")
        and found[3] == "[1]"
    )


def test_a_head_with_two_texts_takes_no_plain_lines(monkeypatch):
    (error,) = ask(piped(monkeypatch, "plain\n"), head=PAIRS)
    assert (
        error.startswith("{standard input:1: not JSON") and "Each line has to be an object" in error
    )


def test_text_files_are_plain_lines_unless_the_job_has_its_data_so(tmp_path):
    (tmp_path / "in.txt").write_text('"quoted"\nEU B\n{half\n', encoding="utf-8")
    with gzip.open(tmp_path / "in.txt.gz", "wt") as file:
        file.write("one\n")
    assert (
        ask(tmp_path / "in.txt")
        == ask(tmp_path / "in.txt", csv.Settings(train="x.csv"))
        == ['"quoted"', "EU B", "{half"]
    )
    assert ask(tmp_path / "in.txt.gz", tsv.Settings(train="x.tsv")) == ["one"]
    assert ask(tmp_path / "in.txt", text.Settings(train="x.txt")) == ['"quoted"\nEU B\n{half\n']
    (tmp_path / "in.txt").write_text("text\tlabel\na\tb\n", encoding="utf-8")
    assert ask(tmp_path / "in.txt", tsv.Settings(train="train.txt")) == ["a"]
    (tmp_path / "in.txt").write_text("the O\nfilm O\n", encoding="utf-8")
    assert next(
        iter(open_questions(str(tmp_path / "in.txt"), conll.Settings(train="x"), Head("words")))
    ).value["words"] == ["the", "film"]
    (tmp_path / "in.txt").write_text(f"{GOOD}\nplain\n", encoding="utf-8")
    assert ask(tmp_path / "in.txt")[0] == "a" and "not JSON" in ask(tmp_path / "in.txt")[1]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("in.csv", 'text,label\n"a, b",x\n'),
        ("in.tsv", "label\ttext\nx\ta, b\n"),
        ("in.json", '[\n{"text": "a, b"}\n]'),
    ],
)
def test_a_name_says_the_format_where_the_job_has_another(tmp_path, name, content):
    (tmp_path / name).write_text(content, encoding="utf-8")
    (tmp_path / f"{name}.gz").write_bytes(gzip.compress(content.encode()))
    for settings in (jsonl.Settings(train="x.jsonl"), tfrecord.Settings(train="x")):
        assert ask(tmp_path / name, settings) == ask(tmp_path / f"{name}.gz", settings) == ["a, b"]


def test_a_name_says_nothing_where_the_job_has_its_data_so(tmp_path):
    (tmp_path / "in.csv").write_text("text;label\na, b;x\n", encoding="utf-8")
    assert ask(tmp_path / "in.csv", csv.Settings(train="x", delimiter=";")) == ["a, b"]
    (tmp_path / "in.csv").write_text(f"{GOOD}\n", encoding="utf-8")
    assert ask(tmp_path / "in.csv", jsonl.Settings(train="x.csv")) == ["a"]
    (tmp_path / "in.tsv").write_text("the\tO\n", encoding="utf-8")
    asked = open_questions(str(tmp_path / "in.tsv"), conll.Settings(train="x"), Head("words"))
    assert next(iter(asked)).value["words"] == ["the"]


def test_a_line_in_another_encoding_is_an_error_in_its_place(tmp_path):
    (tmp_path / "in.jsonl").write_bytes(f'{GOOD}\n{{"text": "café"}}\n{GOOD}\n'.encode("latin-1"))
    found = ask(tmp_path / "in.jsonl")
    assert found[::2] == ["a", "a"] and "in.jsonl:2: not UTF-8" in found[1]
    assert ask(tmp_path / "in.jsonl", jsonl.Settings(train="x", fallback_encoding="latin-1")) == [
        "a",
        "café",
        "a",
    ]


def test_standard_input_is_read_in_the_fallback(monkeypatch):
    monkeypatch.setattr(
        "sys.stdin", types.SimpleNamespace(buffer=io.BytesIO("Grüße\n".encode("utf-16")))
    )
    assert ask("-", jsonl.Settings(train="x", fallback_encoding="utf-16")) == ["Grüße"]


def test_how_much_is_read_is_known_of_files(tmp_path):
    for name in ("a.jsonl", "b.jsonl"):
        (tmp_path / name).write_text(f"{GOOD}\n" * 5)
    asked = open_questions(f"{tmp_path}/*.jsonl", jsonl.Settings(train="x"), Head())
    steps = [asked.progress.done() for _ in asked]
    assert steps == [14 * number for number in range(1, 11)]
    assert asked.progress.size == asked.progress.done() == 140


def test_a_damaged_file_ends_where_it_is_damaged(tmp_path):
    (tmp_path / "in.jsonl.gz").write_bytes(gzip.compress(f"{GOOD}\n".encode() * 3)[:-6])
    found = ask(tmp_path / "in.jsonl.gz")
    assert (
        found[:-1] == ["a"] * (len(found) - 1)
        and "The file is damaged, cut short or not gzip" in found[-1]
    )


def test_a_pipe_of_the_shell_is_read_and_a_named_one_refused_before_it_waits(tmp_path):
    reader, writer = os.pipe()
    threading.Thread(
        target=lambda: (os.write(writer, f"{GOOD}\n".encode()), os.close(writer))
    ).start()
    assert ask(f"/dev/fd/{reader}") == ["a"]
    os.close(reader)
    os.mkfifo(tmp_path / "in.jsonl")
    with pytest.raises(
        DataError,
        match=(
            r"--input: .*in.jsonl is a pipe, and data is read more than once\. Write what it gives"
            r" to a file"
        ),
    ):
        ask(tmp_path / "in.jsonl")
