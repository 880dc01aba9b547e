import gzip
import io
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainer.errors import DataError
from trainer.sources import Origin, _files, jsonl, open_source


def read(content):
    content = content if isinstance(content, bytes) else content.encode()
    return list(jsonl.read(_files.Lines(io.BytesIO(content), "x.jsonl")))


def features(content):
    return [example.features for example in read(content)]


SCALARS = st.one_of(
    st.text(st.characters(exclude_categories=["Cs"])),
    st.integers(-(2**63), 2**63 - 1),
    st.booleans(),
    st.none(),
    st.floats(allow_nan=False, allow_infinity=False),
)
OBJECTS = st.dictionaries(
    st.text(st.characters(exclude_categories=["Cs"])), st.one_of(SCALARS, st.lists(SCALARS))
)


@given(st.lists(OBJECTS), st.booleans(), st.sampled_from(["\n", "\r\n", "\r"]))
def test_what_json_writes_is_read_back(rows, ascii_only, line_end):
    content = "".join(json.dumps(row, ensure_ascii=ascii_only) + line_end for row in rows)
    examples = read(content)
    assert [example.features for example in examples] == rows
    assert [example.origin for example in examples] == [
        Origin("x.jsonl", line) for line in range(1, len(rows) + 1)
    ]


def test_unusual_separators_stay_inside_the_text():
    text = "a\u2028b\u2029c\x85d\x0be\x0cf\x1cg\0"
    assert features(json.dumps({"text": text}, ensure_ascii=False)) == [{"text": text}]


def test_dirt_that_does_no_harm():
    examples = read('\ufeff{"text": "a"}\r\n\r\n  \t\n {"text": "b"}  \n{"text": "c"}')
    assert [(example.features["text"], example.origin.line) for example in examples] == [
        ("a", 1),
        ("b", 4),
        ("c", 5),
    ]
    assert read("") == [] and read("\ufeff") == [] and read("\n\n") == []


def test_dotted_names_reach_into_nested_objects():
    row = {
        "review": {"body": "a", "by": {"name": "b"}},
        "tags": ["x", None],
        "spans": [{"start": 0}],
        "empty": {},
    }
    assert features(json.dumps(row)) == [
        {"review.body": "a", "review.by.name": "b", "tags": ["x", None], "spans": [{"start": 0}]}
    ]


def test_escaped_surrogate_pairs_are_characters():
    assert features(r'{"text": "\ud83d\ude00"}') == [{"text": "😀"}]


@pytest.mark.parametrize(
    ("line", "parts"),
    [
        # column 14; Python 3.13 names the comma itself, in column 13
        ('{"text": "a",}', ["not JSON", "at column 1", "Correct the line"]),
        (
            "text,label",
            [
                "not JSON",
                "at column 1, near 'text,label'",
                "Each line has to be an object",
                "data.source",
            ],
        ),
        ('{"text":', ["not JSON", "ends inside a value", "jq -c ."]),
        ("{", ["ends inside a value", "jq -c ."]),
        ("[{}]", ["expected a JSON object, found a list", "jq -c '.[]'"]),
        ("3.5", ["expected a JSON object, found a number: '3.5'"]),
        ("null", ["expected a JSON object, found null"]),
        ('{"label": NaN}', ["field 'label' is nan", "null"]),
        ('{"label": -Infinity}', ["field 'label' is -inf"]),
        ('{"a": {"scores": [1, 1e999]}}', ["field 'a.scores' is inf"]),
        ('{"spans": [{"start": NaN}]}', ["field 'spans.start' is nan"]),
        ('{"label": 9223372036854775808}', ["'label'", "9223372036854775808", "64 bits", "string"]),
        ('{"label": ' + "9" * 5000 + "}", ["not usable JSON", "digits"]),
        ('{"a":' * 100_000, ["not usable JSON", "recursion"]),
        ('{"text": "a", "text": "b"}', ["field 'text' is there twice", "Keep one"]),
        ('{"a.b": 1, "a": {"b": 2}}', ["field 'a.b' is there twice", "Rename"]),
        (r'{"text": "cut \ud83d"}', ["field 'text'", "half of a surrogate pair"]),
        (r'{"tags": ["\uDE00"]}', ["field 'tags'", "half of a surrogate pair"]),
        (
            b'{"text": "\xa3"}',
            ["not UTF-8", "byte 0xa3 at byte 22 of the file", "iconv -f WINDOWS-1252"],
        ),
    ],
)
def test_lines_that_are_refused(line, parts):
    with pytest.raises(DataError) as caught:
        read(b'{"text": 1}\n' + (line if isinstance(line, bytes) else line.encode()) + b"\n")
    assert "x.jsonl:2: " in str(caught.value) and len(str(caught.value)) < 6000
    for part in parts:
        assert part in str(caught.value)


def test_gzip(tmp_path):
    path = tmp_path / "x.jsonl.gz"
    path.write_bytes(gzip.compress(b'{"text": "a"}\n' * 100_000))
    source = open_source(jsonl.Settings(train="x"), "train", str(path))
    assert sum(1 for _ in source.examples()) == 100_000
    assert source.progress() == source.size() == path.stat().st_size


def test_streams():
    """The second block is never asked for."""

    class Stream(io.RawIOBase):
        asked = 0

        def read(self, _size=-1):
            self.asked += 1
            assert self.asked == 1, "read ahead"
            return b'{"text": "a"}\n{"text": "b"}\n{"te'

    examples = jsonl.read(_files.Lines(Stream(), "-"))
    assert [next(examples).features["text"], next(examples).features["text"]] == ["a", "b"]
