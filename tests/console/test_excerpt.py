import pytest
from rich.cells import cell_len

from trainer.console.excerpt import excerpt, excerpt_lines, short_place


@pytest.mark.parametrize(
    ("text", "columns", "shown"),
    [
        ("the film", 8, "the film"),
        ("the film", 7, "… (8 characters)"),
        ("a" * 40, 30, "a" * 13 + "… (40 characters)"),
        ("今天" * 20, 30, "今天" * 3 + "… (40 characters)"),  # two columns each
        ("a\tb\nc\x1b[31m\u200b\u202e", 60, r"a\tb\nc\x1b[31m\u200b\u202e"),
        ("\ud800", 9, r"\ud800"),
        ("", 9, ""),
    ],
)
def test_a_text_is_one_line_that_fits(text, columns, shown):
    assert excerpt(text, columns) == shown


@pytest.mark.parametrize("columns", [20, 33, 80])
def test_no_line_is_wider_than_it_may_be(columns):
    for text in ("今天很好" * 99, "e\u0301\u200b" * 99, "\U000e0001" * 99, "aＡ" * 99):
        line = excerpt(text, columns)
        assert (
            cell_len(line) <= columns
            and line.endswith(f"({len(text):,} characters)")
            and line.isprintable()
        )


def test_lines_are_torn_between_words_and_the_last_says_how_much_there_is():
    text = "Ad sales boost Time Warner profit for the three months to December"
    assert excerpt_lines(text, 80, 2) == [text]
    assert excerpt_lines(text, 34, 2) == [
        "Ad sales boost Time Warner profit",
        "for the three months to December",
    ]
    assert excerpt_lines(text * 9, 34, 2) == [
        "Ad sales boost Time Warner profit",
        "for the three … (594 characters)",
    ]
    assert excerpt_lines(text, 34, 1, whole="12 words") == ["Ad sales boost Time … (12 words)"]
    assert excerpt_lines("今天很好" * 9, 20, 2, whole="36 字") == [
        "今天很好今天很好今天",
        "很好今天很 … (36 字)",
    ]


@pytest.mark.parametrize("columns", [20, 33, 80])
def test_no_line_of_several_is_wider_than_it_may_be(columns):
    for text in ("今天很好" * 99, "e\u0301\u200b" * 99, "a b\t" * 99, "aＡ" * 99, "[red]x" * 99):
        lines = excerpt_lines(text, columns, 3)
        assert len(lines) == 3 and max(map(cell_len, lines)) <= columns
        assert lines[-1].endswith(f"({len(text):,} characters)")


@pytest.mark.parametrize(
    ("place", "short"),
    [
        ("data/train.csv:3", "data/train.csv:3"),
        ("/opt/lib/python3.11/site-packages/bbc/business/001.txt", "…/business/001.txt"),
        ("gs://a-bucket-with-a-long-name/some/folder/train.csv:3", "…/folder/train.csv:3"),
        ("a-very-long-name-of-a-single-file-without-a-folder.csv:3",) * 2,
    ],
)
def test_a_long_place_keeps_its_end(place, short):
    assert short_place(place) == short
