import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainer.errors import DataError
from trainer.sources import open_source, tsv


def source(path, content, **settings):
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return open_source(tsv.Settings(train=str(path), **settings), "train", str(path))


def rows(path, content, **settings):
    return [
        list(example.features.values()) for example in source(path, content, **settings).examples()
    ]


@pytest.fixture
def path(tmp_path):
    return tmp_path / "x.tsv"


ANY = st.characters(exclude_categories=["Cs"], exclude_characters="\t\r\n")
FIELD = st.text(ANY | st.sampled_from(list("\"'\u2028\x85\x0b\x0c\x1c\x1d\x1e\0")), min_size=1)


@given(
    table=st.integers(1, 4).flatmap(
        lambda width: st.lists(st.lists(FIELD, min_size=width, max_size=width), min_size=1)
    ),
    line_end=st.sampled_from(["\n", "\r\n", "\r"]),
)
def test_raw_rows_are_read_back(tmp_path_factory, table, line_end):
    path = tmp_path_factory.mktemp("tsv") / "x.tsv"
    content = "\ufeff" + "".join("\t".join(row) + line_end for row in table)
    assert rows(path, content, header=False, quoting="none") == table


def test_dirt_as_in_mrpc(path):
    """Byte-order mark, unbalanced and leading quotes, every line a row."""
    draw = random.Random(0)
    header = ["Quality", "#1 ID", "#2 ID", "#1 String", "#2 String"]
    table = [
        [
            draw.choice("01"),
            str(index),
            str(index + 1),
            *("".join(draw.choices("\" abc,'", k=20)) for _ in range(2)),
        ]
        for index in range(2000)
    ]
    table[7][3] = '" The foodservice pie business does not fit .'
    content = "\ufeff" + "\n".join("\t".join(row) for row in [header, *table]) + "\n"
    examples = list(source(path, content).examples())
    assert [list(example.features.values()) for example in examples] == table
    assert list(examples[0].features) == header
    assert [example.origin.line for example in examples] == list(range(2, 2002))


def test_no_header_as_in_sms_spam(path):
    examples = list(
        source(
            path,
            'ham\tGo until jurong point, "crazy\nspam\tFree\n',
            header=False,
            columns=["label", "text"],
        ).examples()
    )
    assert (
        examples[0].features == {"label": "ham", "text": 'Go until jurong point, "crazy'}
        and examples[1].origin.line == 2
    )


def test_empty_fields_stay_and_blank_lines_go(path):
    assert rows(path, "a\tb\n\t\n\nx\t\n") == [["", ""], ["x", ""]]


def test_quoted_when_told(path):
    assert rows(path, 'a\tb\n"x\ty"\t"two\nlines ""here"""\n', quoting="minimal") == [
        ["x\ty", 'two\nlines "here"']
    ]


@pytest.mark.parametrize(
    ("content", "settings", "parts"),
    [
        (
            "a\tb\nx\t1\nx y 2\n",
            {},
            [
                ":3: found 1 columns, expected 2",
                "'x y 2'",
                "has to go, or be quoted with data.quoting: minimal",
            ],
        ),
        (
            'a\tb\n"x\ty"\t1\n',
            {"quoting": "none"},
            [":2: found 3 columns, expected 2", "set data.quoting: minimal"],
        ),
        ('a\tb\n"x\t1\n', {"quoting": "minimal"}, [":2: wrong quotes", "set data.quoting: none"]),
        ("a,b\nx\t1\n", {}, [":2: found 2 columns, expected 1", r"The first row has no '\t'"]),
    ],
)
def test_rows_that_are_refused(path, content, settings, parts):
    with pytest.raises(DataError) as caught:
        rows(path, content, **settings)
    for part in parts:
        assert part in str(caught.value)
