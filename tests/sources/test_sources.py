"""What all sources have in common; reading lines."""

import gzip
import io
import os
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainer import sources
from trainer.errors import ConfigError, DataError
from trainer.sources import Example, Origin, _files, _lines, jsonl, open_source, require_field

EXAMPLE = Example(
    {
        "text": "a",
        "Label ": None,
        "scores": [1.0, float("nan")],
        "image": b"\xff\xd8",
        "bad": float("inf"),
    },
    Origin("a.csv", 7),
)


def test_origins_as_text():
    assert str(Origin("a.csv", 7)) == "a.csv:7"
    assert str(Origin("a.txt", 0)) == "a.txt"


def test_require_field():
    assert require_field(EXAMPLE, "text", "data.text") == "a"
    assert require_field(EXAMPLE, "Label ", "data.label") is None


@pytest.mark.parametrize(
    ("field", "parts"),
    [
        (
            "txt",
            [
                "unknown field 'txt' at a.csv:7",
                "fields there are: 'text', 'Label ', 'scores'",
                "did you mean 'text'?",
            ],
        ),
        ("label", ["did you mean 'Label '?"]),
        ("zzz", ["unknown field 'zzz'", "Correct data.label."]),
        ("scores", ["a.csv:7", "'scores'", "nan", "not a number"]),
        ("bad", ["a.csv:7", "'bad'", "inf"]),
        ("image", ["a.csv:7", "'image'", "not UTF-8", r"\xff\xd8", "name another field"]),
    ],
)
def test_require_field_refuses(field, parts):
    with pytest.raises(DataError) as caught:
        require_field(EXAMPLE, field, "data.label")
    for part in parts:
        assert part in str(caught.value)


def test_many_long_fields_are_cut():
    example = Example({"x" * 1000 + str(index): 1 for index in range(100)}, Origin("a", 1))
    with pytest.raises(DataError) as caught:
        require_field(example, "label", "data.label")
    assert "and 88 more" in str(caught.value) and len(str(caught.value)) < 1000


def test_settings_of_all_sources_without_tensorflow():
    program = (
        "import pkgutil, importlib, sys, trainer.sources as s\nfor info in"
        " pkgutil.iter_modules(s.__path__): importlib.import_module('trainer.sources.' +"
        " info.name)\nsys.exit(any(name.split('.')[0] in ('tensorflow', 'tensorflow_datasets',"
        " 'keras', 'numpy') for name in sys.modules))"
    )
    subprocess.run(
        [sys.executable, "-c", program],
        check=True,
        cwd=os.path.dirname(os.path.dirname(os.path.dirname(sources.__file__))),
    )


class Dribble(io.RawIOBase):
    """A stream that gives a few bytes at a time."""

    def __init__(self, content, size):
        self.rest = content
        self.size = size

    def read(self, _size=-1):
        piece = self.rest[: self.size]
        self.rest = self.rest[self.size :]
        return piece


@given(st.text(alphabet="ab\r\n\u2028\x85\x0b\x0c\x1c中\0"), st.integers(1, 5))
def test_lines_split_at_newlines_only_wherever_blocks_end(text, size):
    content = text.encode()
    lines = _files.Lines(Dribble(content, size), "x")
    read = list(lines)
    # a lone \r is a character of its line, unless nothing else ends lines
    end = "\n" if "\n" in text else "\r"
    assert (
        read
        == [line + end for line in text.split(end)[:-1]]
        + [text.split(end)[-1]][: text.split(end)[-1] != ""]
    )
    assert "".join(read) == text
    assert lines.position == len(content) and lines.number == len(read)


def test_a_line_longer_than_many_blocks(monkeypatch):
    monkeypatch.setattr(_lines, "BLOCK_BYTES", 64)
    line = "x" * 10_000 + "\n"
    assert list(_files.Lines(io.BytesIO((line * 2).encode()), "x")) == [line, line]


@pytest.mark.parametrize(
    ("content", "guess"),
    [
        ("价格很便宜，房间干净".encode("gb18030"), "GB18030"),
        ("Mutu, a £15.8m signing".encode("latin-1"), "WINDOWS-1252"),
        ("één café à côté".encode("latin-1"), "WINDOWS-1252"),
        ("text".encode("utf-16"), "UTF-16LE"),
        (gzip.compress(b"text", mtime=0), "let its name end in .gz"),
    ],
)
def test_bytes_that_are_not_utf8(content, guess):
    lines = _files.Lines(
        io.BytesIO(b"\xef\xbb\xbffine\n" * (guess in ("GB18030", "WINDOWS-1252")) + content),
        "x.txt",
    )
    with pytest.raises(DataError) as caught:
        list(lines)
    assert f"x.txt:{lines.number}: not UTF-8: byte 0x" in str(caught.value) and guess in str(
        caught.value
    )


def test_the_offset_of_a_bad_byte_counts_the_byte_order_mark():
    with pytest.raises(DataError) as caught:
        list(_files.Lines(io.BytesIO(b"\xef\xbb\xbfab\xff\n"), "x"))
    assert "x:1: not UTF-8: byte 0xff at byte 5 of the file" in str(caught.value)
    with pytest.raises(DataError) as caught:
        list(_files.Lines(io.BytesIO(b"\xef\xbb\xbfab\nc\xff\n"), "x"))
    assert "x:2: not UTF-8: byte 0xff at byte 7 of the file" in str(caught.value)


@pytest.fixture
def split(tmp_path):
    for name in ("a", "b"):
        (tmp_path / f"{name}.jsonl").write_text(f'{{"text": "{name}1"}}\n{{"text": "{name}2"}}\n')

    def opened(spec="*.jsonl"):
        spec = str(tmp_path / spec)
        return open_source(jsonl.Settings(train=spec), "train", spec)

    return opened


def test_files_follow_each_other(split, tmp_path):
    source = split()
    examples = list(source.examples())
    assert [example.features["text"] for example in examples] == ["a1", "a2", "b1", "b2"]
    assert [str(example.origin) for example in examples[1:3]] == [
        f"{tmp_path}/a.jsonl:2",
        f"{tmp_path}/b.jsonl:1",
    ]
    assert list(source.examples()) == examples  # again from the start
    assert source.label_names() is None


def test_progress_is_exact_to_the_line(split):
    source = split()
    seen = []
    assert source.progress() == 0
    for _ in source.examples():
        seen.append(source.progress())
    line = len('{"text": "a1"}\n')
    assert (
        seen == [line, 2 * line, 3 * line, 4 * line]
        and source.size() == source.progress() == 4 * line
    )


def test_the_fingerprint_follows_contents_and_names_not_the_place(split, tmp_path):
    first = split().fingerprint()
    assert split().fingerprint() == first
    assert split("a.jsonl").fingerprint() != first
    (tmp_path / "moved").mkdir()
    for name in ("a", "b"):
        os.rename(tmp_path / f"{name}.jsonl", tmp_path / "moved" / f"{name}.jsonl")
    assert split("moved/*.jsonl").fingerprint() == first
    (tmp_path / "moved" / "b.jsonl").write_text('{"text": "b1"}\n{"text": "B2"}\n')
    assert split("moved/*.jsonl").fingerprint() != first


def test_specs_that_name_no_files(split, tmp_path):
    with pytest.raises(
        ConfigError, match=r"data.train: no file matches .*\*\.json'.*holds: a.jsonl, b.jsonl"
    ):
        split("*.json")
    (tmp_path / "sub").mkdir()
    with pytest.raises(
        ConfigError,
        match=r"expected files, .* names folders only: .*Name the files in it: .*sub/\*",
    ):
        split("sub")
    (tmp_path / "c.jsonl").mkdir()
    with pytest.raises(
        ConfigError,
        match=(
            r"names files, and also the folder .*c.jsonl, whose files would be missed. Name those,"
            r" as in .*c.jsonl/\*, or"
        ),
    ):
        split("*.jsonl")
    assert len(list(split("*").examples())) == 4  # all that is there, without what is in folders


def test_damaged_gzip_names_the_line(tmp_path):
    content = gzip.compress(os.urandom(100_000).hex().encode())
    whole = gzip.compress(b'{"text": "a"}\n' * 200_000, mtime=0)
    cases = {
        "cut.jsonl.gz": (whole[:-200], "cut.jsonl.gz:"),
        "plain.jsonl.gz": (
            b'{"text": "a"}\n',
            "plain.jsonl.gz: cannot be read: Not a gzipped file",
        ),
        "bad.jsonl.gz": (content[:5000] + b"????" + content[5004:], "bad.jsonl.gz: cannot be read"),
    }
    for name, (data, part) in cases.items():
        (tmp_path / name).write_bytes(data)
        source = open_source(jsonl.Settings(train=name), "train", str(tmp_path / name))
        with pytest.raises(DataError) as caught:
            list(source.examples())
        assert part in str(caught.value) and "damaged, cut short or not gzip" in str(caught.value)
