import csv as writer_module
import gzip
import io
import sys

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from pydantic import ValidationError

from trainer.errors import DataError
from trainer.sources import Origin, csv, open_source


def source(path, content, **settings):
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return open_source(csv.Settings(train=str(path), **settings), "train", str(path))


def rows(path, content, **settings):
    return [
        list(example.features.values()) for example in source(path, content, **settings).examples()
    ]


@pytest.fixture
def path(tmp_path):
    return tmp_path / "x.csv"


NUL = "\0" if sys.version_info < (3, 11) else ""  # which the csv module of Python 3.10 refuses
TEXT = st.text(
    st.characters(exclude_categories=["Cs"], exclude_characters=NUL)
    | st.sampled_from(list('",;\t\r\n\u2028\x85\x0b\x1c'))
)


@given(
    table=st.integers(1, 4).flatmap(
        lambda width: st.lists(st.lists(TEXT, min_size=width, max_size=width), min_size=1)
    ),
    delimiter=st.sampled_from([",", ";", "\t", "|"]),
    line_end=st.sampled_from(["\r\n", "\n", "\r"]),
    mark=st.booleans(),
)
@example(table=[["\ufeffa", "b"]], delimiter=",", line_end="\n", mark=True)
def test_what_the_csv_module_writes_is_read_back(
    tmp_path_factory, table, delimiter, line_end, mark
):
    if not mark and table[0][0].startswith("\ufeff"):
        return  # a leading U+FEFF cannot be told from a byte-order mark
    if line_end == "\r" and any("\n" in field for row in table for field in row):
        return  # then \n ends the lines, and \r none
    buffer = io.StringIO(newline="")
    # QUOTE_ALL where line ends are \n or \r: the module does not quote the other one by itself.
    writer_module.writer(
        buffer, delimiter=delimiter, lineterminator=line_end, quoting=writer_module.QUOTE_ALL
    ).writerows(table)
    path = tmp_path_factory.mktemp("csv") / "x.csv"
    assert (
        rows(
            path, ("\ufeff" if mark else "") + buffer.getvalue(), header=False, delimiter=delimiter
        )
        == table
    )
    if (
        all("\r" not in field or "\n" in field for row in table for field in row)
        and line_end == "\r\n"
    ):
        buffer = io.StringIO(newline="")
        writer_module.writer(buffer, delimiter=delimiter).writerows(table)
        assert (
            rows(
                path,
                ("\ufeff" if mark else "") + buffer.getvalue(),
                header=False,
                delimiter=delimiter,
            )
            == table
        )


def test_origins_are_the_physical_lines_where_rows_start(path):
    content = 'text,label\r\n"two\r\nlines",a\r\n\r\nplain,b\r\n"x\n\ny",c\r\nlast,d'
    examples = list(source(path, content).examples())
    assert [example.features["text"] for example in examples] == [
        "two\r\nlines",
        "plain",
        "x\n\ny",
        "last",
    ]
    assert [example.origin for example in examples] == [
        Origin(str(path), line) for line in (2, 5, 6, 9)
    ]


@pytest.mark.parametrize("line_end", ["\n", "\r\n", "\r"])
def test_line_ends(path, line_end):
    assert rows(path, line_end.join(["\ufefftext,label", "a,1", 'b "quoted" c,2', ""])) == [
        ["a", "1"],
        ['b "quoted" c', "2"],
    ]


def test_columns(path):
    assert list(next(source(path, "a,b\n1,2\n").examples()).features) == ["a", "b"]
    assert list(next(source(path, ",b\n1,2\n").examples()).features) == ["0", "b"]
    assert list(next(source(path, "1,2\n", header=False).examples()).features) == ["0", "1"]
    assert list(
        next(source(path, "1,2\n", header=False, columns=["x", "y"]).examples()).features
    ) == ["x", "y"]
    assert next(source(path, "a,b\n1,2\n", columns=["x", "y"]).examples()).features == {
        "x": "1",
        "y": "2",
    }
    assert rows(path, "") == rows(path, "a,b\n") == rows(path, "\n\n", header=False) == []


def test_raw_rows(path):
    assert rows(path, 'a|b\n"x|y\n', delimiter="|", quoting="none") == [['"x', "y"]]
    assert rows(path, "a\tb\nx\ty\n", delimiter="\\t") == [["x", "y"]]


def test_fields_longer_than_the_csv_modules_limit(path):
    text = "x" * 300_000 + "\n"
    assert rows(path, f'text,label\n"{text}",1\n') == [[text, "1"]]


def test_gzip(tmp_path):
    path = tmp_path / "x.csv.gz"
    assert rows(path, gzip.compress("text\nä\n".encode())) == [["ä"]]


@pytest.mark.parametrize(
    ("content", "settings", "parts"),
    [
        ("a,b\n1,2\n1,2,3\n", {}, [":3: found 3 columns, expected 2", "'1,2,3'", '"a,b"']),
        ("a,b\n1\n", {}, [":2: found 1 columns, expected 2", "'1'"]),
        (
            'a,b\n"x,1\ny",2,3\n',
            {},
            [":2: found 3 columns", "this row takes 2", "data.quoting: none"],
        ),
        (
            'a,b\n1,2\n"open,1\nx,2\nx,3\n',
            {},
            [":3: wrong quotes", "read up to line 5", "data.quoting: none"],
        ),
        ('a,b\n"x" y,1\n', {}, [":2: wrong quotes", "written twice"]),
        (
            'a,b\n"x,y",1\n',
            {"quoting": "none"},
            [":2: found 3 columns, expected 2", "data.quoting: minimal"],
        ),
        (
            "a;b\n1,5;2\n",
            {},
            [":2: found 2 columns, expected 1", "The first row has no ','", "data.delimiter"],
        ),
        (
            "a,b,a\n",
            {},
            [":1: two columns of the header are named 'a'", "data.columns", "data.header: false"],
        ),
        (
            "a,b\n",
            {"columns": ["x"]},
            [":1: data.columns names 1 columns, found 2", "'a,b'", "Name all 2"],
        ),
        ("a,b\n" + "x" * 500 + "\n", {}, ["xxx…'"]),
        (
            b"a,b\n1,2\n\xbc\xdb\xb8\xf1\xba\xdc\xb1\xe3\xd2\xcb,1\n",
            {},
            [":3: not UTF-8: byte 0xbc at byte 8", "iconv -f GB18030 -t UTF-8"],
        ),
        (b'a,b\n"1\n\xff",2\n', {}, [":3: not UTF-8"]),
    ],
)
def test_rows_that_are_refused(path, content, settings, parts):
    with pytest.raises(DataError) as caught:
        rows(path, content, **settings)
    assert str(caught.value).startswith(f"{path}:") and len(str(caught.value)) < 600
    for part in parts:
        assert part in str(caught.value)


@pytest.mark.parametrize(
    "settings",
    [
        {"delimiter": ""},
        {"delimiter": ",,"},
        {"delimiter": '"'},
        {"delimiter": "\n"},
        {"columns": ["a", "a"]},
        {"columns": []},
        {"quoting": "all"},
        {"escape": "ab"},
        {"escape": '"'},
        {"escape": ","},
        {"escape": ";", "delimiter": ";"},
        {"skip_initial_space": True, "delimiter": " "},
    ],
)
def test_settings_that_are_refused(settings):
    with pytest.raises(ValidationError):
        csv.Settings(train="x", **settings)


def test_the_fingerprint_follows_the_dialect(path):
    kinds = [
        {},
        {"header": False},
        {"columns": ["x", "y"]},
        {"delimiter": ";"},
        {"quoting": "none"},
    ]
    assert len({source(path, "a,b\n1,2\n", **kind).fingerprint() for kind in kinds}) == len(kinds)
    assert (
        source(path, "a,b\n1,2\n", seq_len=64).fingerprint()
        == source(path, "a,b\n1,2\n").fingerprint()
    )


def test_streams(path):
    """A bad row after a megabyte is not met before it is asked for."""
    examples = source(path, "a,b\n" + "1,2\n" * 300_000 + "1\n").examples()
    assert next(examples).features == {"a": "1", "b": "2"}
    with pytest.raises(DataError, match=":300002: found 1 columns"):
        sum(1 for _ in examples)
