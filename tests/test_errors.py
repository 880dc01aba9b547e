"""What comes from outside is shown on one line, escaped and cut, whatever it is."""

import datetime
import itertools
import time

import pytest

from trainer.errors import CUT, MESSAGE_LENGTH, VALUE_LENGTH, shown_message, shown_name, shown_value


def nested(depth):
    value = []
    for _ in range(depth):
        value = [value]
    return value


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("positive", "'positive'"),
        ("don't", '"don\'t"'),
        ("a\\b'\"", "'a\\\\b\\'\"'"),
        ("好评 ½ é 👍", "'好评 ½ é 👍'"),
        ("ham ", "'ham '"),
        ("\x1b[2J\r\n\t\x00\x85", r"'\x1b[2J\r\n\t\x00\x85'"),
        ("\u202egnp\u2066", r"'\u202egnp\u2066'"),
        ("a\u2028b\u200bc\ufeff", r"'a\u2028b\u200bc\ufeff'"),
        ("\udc80.csv", r"'\udc80.csv'"),
        (7, "7"),
        (float("nan"), "nan"),
        (None, "None"),
        (True, "True"),
        (10**4999, "a number of about 5,000 digits"),
        (datetime.date(2020, 1, 2), "2020-01-02"),
        (["tsv"], "['tsv']"),
        (
            {"a": datetime.date(2020, 1, 2), "\x1b": [1, {2: "b"}]},
            r"{'a': 2020-01-02, '\x1b': [1, {2: 'b'}]}",
        ),
        (nested(100_000), "[[[[[...]]]]]"),
    ],
    ids=itertools.count(),
)
def test_a_value_is_shown_on_one_line(value, expected):
    assert shown_value(value) == expected


@pytest.mark.parametrize(
    "value",
    [
        "x" * 5_000_000,
        "\x00" * 5_000_000,
        "\U000e0001" * 1000,
        ["label"] * 1_000_000,
        {n: n for n in range(100_000)},
        b"x" * 1000,
        "'\"" * 1000,
    ],
    ids=itertools.count(),
)
def test_a_value_is_cut_and_costs_no_time(value):
    start = time.perf_counter()
    text = shown_value(value)
    # it takes microseconds; the whole value would take seconds
    assert time.perf_counter() - start < 1
    assert len(text) <= VALUE_LENGTH
    assert CUT in text or "..." in text


def test_an_escape_is_not_cut_in_two():
    assert shown_value("ab\x1bc", 9) == r"'ab\x1bc'"
    assert shown_value("ab\x1bcd", 9) == r"'ab\x1b…'"
    assert shown_value("ab\x1bcd", 8) == "'ab…'"


def test_a_name_has_no_quotes():
    assert shown_name("B-PER\u200b") == r"B-PER\u200b"
    assert shown_name("C:\\data") == "C:\\data"
    assert len(shown_name("n" * 300)) == VALUE_LENGTH


def test_a_long_message_keeps_its_beginning_and_its_remedy():
    message = shown_message("problem\n" * 10_000 + "Set --data.source=csv.")
    assert message.startswith("problem\nproblem")
    assert message.endswith("Set --data.source=csv.")
    assert len(message) < MESSAGE_LENGTH + 100
    assert "72,022 characters left out" in message


def test_a_message_cannot_move_the_cursor():
    assert shown_message("two\nlines\tü 好\u3000评 \x1b[31m\u202e\u2029\x9b\ud800\r") == (
        "two\nlines\tü 好\u3000评 " r"\x1b[31m\u202e\u2029\x9b\ud800\r"
    )
