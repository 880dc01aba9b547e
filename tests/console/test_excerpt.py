import pytest
from rich.cells import cell_len

from trainer.console.excerpt import excerpt


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
