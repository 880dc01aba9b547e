"""How rows are written, where the config does not say:
seen from the whole file, or left as it is.
"""

import csv as csv_module
import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainer.errors import DataError
from trainer.sources import TO_PREDICT, csv, open_source, tsv


def read(source, path, content, split="train", **settings):
    path.write_bytes(content.encode())
    return [
        list(example.features.values())
        for example in open_source(
            source.Settings(train=str(path), **settings), split, str(path)
        ).examples()
    ]


@pytest.fixture
def path(tmp_path):
    return tmp_path / "x"


def test_backslashes_before_quotes_are_found(path):
    """As label-sleuth writes it; `quoting: none` would break the rows at their commas."""
    content = (
        'text,label\n"of book \\"good\\", really \\"",0\n"great last \\"good\\", really \\"",1\n'
    )
    assert read(csv, path, content) == [
        ['of book "good", really "', "0"],
        ['great last "good", really "', "1"],
    ]
    with pytest.raises(
        DataError,
        match=r"wrong quotes: .*where a backslash stands before it, set data.escape: \\; where",
    ):
        read(csv, path, content, escape="")


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (
            'text,label\n"C:\\",1\n"D:\\x",2\n',
            [["C:\\", "1"], ["D:\\x", "2"]],
        ),  # a path, not an escape
        ('text,label\n"a ""b"" \\ c",1\n', [['a "b" \\ c', "1"]]),
        # a backslash before nothing special stays
        ('text,label\n"a \\"b\\" C:\\new \\\\ d",1\n', [['a "b" C:\\new \\ d', "1"]]),
        ('text,label\n"two\\"\nlines\\\n",1\n', [['two"\nlines\\\n', "1"]]),
        ("text,label\na \\b c,1\n", [["a \\b c", "1"]]),
    ],
)
def test_a_backslash_escapes_only_where_no_other_reading_fits(path, content, expected):
    assert read(csv, path, content) == expected


def test_an_escape_may_be_named(path):
    assert read(csv, path, 'text,label\n"a ^"b^" ^^",1\n', escape="^") == [['a "b" ^', "1"]]
    assert read(csv, path, 'text,label\na \\"b\\",1\n', escape="\\") == [['a "b"', "1"]]
    assert read(csv, path, 'text,label\na \\"b\\",1\n') == [['a \\"b\\"', "1"]]


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ('text, label\n"a film, ok", "pos"\n"b", "neg"\n', [["a film, ok", "pos"], ["b", "neg"]]),
        ('text,label\n "a, b", 1\n', [["a, b", "1"]]),
        ('text,label\n"he said, ""x""",1\n"a", 1\n', [['he said, "x"', "1"], ["a", " 1"]]),
        (
            'label,text\n1, "a" is first\n',
            [["1", ' "a" is first']],
        ),  # a text that begins with a quote
        ("text,label\na, b\n", [["a", " b"]]),
    ],
)
def test_blanks_before_quotes_are_found(path, content, expected):
    assert read(csv, path, content) == expected


def test_blanks_may_be_told_of(path):
    assert read(csv, path, "text, label\na,  b\n", skip_initial_space=True) == [["a", "b"]]
    assert read(csv, path, 'text,label\n1, "a"\n', skip_initial_space=False) == [["1", ' "a"']]


def test_quotes_as_pandas_writes_them_are_found_in_tsv(path):
    rows = [
        ['awful film "so" they', "negative"],
        ["with we that", "positive"],
        ['"this"', "negative"],
        ["two\tparts", "x"],
        ["", "y"],
    ]
    buffer = io.StringIO(newline="")
    csv_module.writer(buffer, delimiter="\t", lineterminator="\n").writerows(
        [["text", "label"], *rows]
    )
    assert read(tsv, path, buffer.getvalue()) == rows
    assert read(tsv, path, 'text\tlabel\n"awful ""so"" they"\tnegative\nwith we\tpositive\n') == [
        ['awful "so" they', "negative"],
        ["with we", "positive"],
    ]
    # around all but numbers
    assert read(tsv, path, '"text"\t"label"\n"awful"\t1\n"a"\t2\n') == [["awful", "1"], ["a", "2"]]


@pytest.mark.parametrize(
    "lines",
    [
        ["text\tlabel", '"Hello" he said\tx', 'a ""b""\ty'],
        ["text\tlabel", '"Hello"\tx', '"Bye"\ty'],
        ["text\tlabel", '" The pie\tx'],
        ["text\tlabel", 'a "b" c\tx'],
        ["text\tlabel", '"a" ""b""\tx', '"c"\ty'],
    ],
)
def test_other_quotes_in_tsv_are_characters(path, lines):
    assert read(tsv, path, "\n".join(lines)) == [line.split("\t") for line in lines[1:]]
    assert read(tsv, path, 'a\tb\n"x ""y"""\t1\n', quoting="none") == [['"x ""y"""', "1"]]


@given(
    st.lists(st.lists(st.text(st.sampled_from("ab \"\\\t'")), min_size=2, max_size=2), min_size=1),
    st.sampled_from([",", "\t"]),
)
def test_what_pandas_writes_by_default_is_read_back(tmp_path_factory, rows, delimiter):
    """With a doubled quote somewhere, without which a tsv may be raw."""
    buffer = io.StringIO(newline="")
    csv_module.writer(buffer, delimiter=delimiter, lineterminator="\n").writerows(
        [["text", 'a "label"'], *rows]
    )
    found = read(
        tsv if delimiter == "\t" else csv, tmp_path_factory.mktemp("x") / "x", buffer.getvalue()
    )
    assert found == rows


def test_the_fingerprint_follows_what_is_set(path):
    path.write_text("a,b\n1,2\n")
    kinds = [
        {},
        {"escape": "\\"},
        {"escape": ""},
        {"skip_initial_space": True},
        {"skip_initial_space": False},
    ]
    assert len(
        {
            open_source(csv.Settings(train=str(path), **kind), "train", str(path)).fingerprint()
            for kind in kinds
        }
    ) == len(kinds)


@pytest.mark.parametrize(
    ("content", "settings", "expected"),
    [
        (
            '"awful, ok"\n"great"\n',
            {"header": False, "columns": ["text", "label"]},
            [["awful, ok"], ["great"]],
        ),
        ("awful,x\n", {"header": False, "columns": ["text", "label"]}, [["awful", "x"]]),
        ("a,b\n", {"header": False, "columns": ["a", "label", "b"]}, [["a", "b"]]),
        ("awful\n", {"header": False, "text": "1", "label": "0"}, [["awful"]]),
        ("0,awful\n", {"header": False, "text": "1", "label": "0"}, [["0", "awful"]]),
        (
            "a,b\n",
            {"header": False, "columns": ["x", "a", "y", "b"], "label": ["x", "y"]},
            [["a", "b"]],
        ),
        ("x\nawful\n", {"columns": ["text", "label"]}, [["awful"]]),
    ],
)
def test_a_file_to_predict_needs_no_label(path, content, settings, expected):
    assert read(csv, path, content, TO_PREDICT, **settings) == expected


def test_a_file_to_train_on_needs_its_label(path):
    with pytest.raises(DataError, match=r"data\.columns names 2 columns, found 1"):
        read(csv, path, "awful\n", header=False, columns=["text", "label"])


def test_the_text_is_found_where_only_the_label_is_missing(path):
    path.write_text("awful\ngreat\n")
    settings = csv.Settings(train="x", header=False, text="1", label="0")
    assert [
        example.features for example in open_source(settings, TO_PREDICT, str(path)).examples()
    ] == [{"1": "awful"}, {"1": "great"}]


def test_a_row_of_another_width_does_not_end_a_file_to_predict(path):
    path.write_text("text,id\na,1\nb\nc,3\n")
    found = list(open_source(csv.Settings(train="x"), TO_PREDICT, str(path)).examples())
    assert [example.features.get("text") for example in found] == ["a", None, "c"]
    assert (
        f"{path}:3: found 1 columns, expected 2" in str(found[1].error) and found[0].error is None
    )


def test_of_a_large_file_the_beginning_is_looked_at(path, monkeypatch):
    monkeypatch.setattr("trainer.sources._dialect.LOOKED_AT_BYTES", 60)
    content = 'text,label\n"a \\"b\\"",1\n' + '"c \\"d\\" \n",1\n' * 10
    assert read(csv, path, content) == [['a "b"', "1"], *[['c "d" \n', "1"]] * 10]


@pytest.mark.parametrize("block_bytes", range(1, 9))
def test_signs_are_found_across_the_blocks_of_a_file(path, monkeypatch, block_bytes):
    monkeypatch.setattr("trainer.sources._lines.BLOCK_BYTES", block_bytes)
    assert read(csv, path, 'text,label\n"a \\"b\\", c",1\n') == [['a "b", c', "1"]]
    assert read(csv, path, 'text,label\nx, "a, b"\n') == [["x", "a, b"]]
    assert read(csv, path, '\ufeff "text", label\n "a, b",1\n') == [["a, b", "1"]]
    assert read(csv, path, 'text¦label\nx¦ "a¦b"\n', delimiter="¦") == [["x", "a¦b"]]
    assert read(csv, path, 'text,label\r "a, b",1\r') == [["a, b", "1"]]


def test_a_beginning_without_a_whole_quoted_row_shows_nothing(path, monkeypatch):
    monkeypatch.setattr("trainer.sources._dialect.LOOKED_AT_BYTES", 10)
    assert read(tsv, path, '1\t2\n3\t4\n"a"\t5\n') == [["3", "4"], ['"a"', "5"]]
