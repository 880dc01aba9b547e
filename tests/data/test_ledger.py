"""The ledger."""

import pytest

from trainer.data.ledger import MEANINGS, Ledger


def test_counts_add_up_and_the_first_place_stays():
    ledger = Ledger()
    ledger.add("train", "truncated_tokens", "a.csv:3", 5)
    ledger.add("train", "truncated_tokens", "a.csv:9", 2)
    ledger.add("test", "empty_texts", "b.csv:1")
    assert ledger.entries == {
        "train": {"truncated_tokens": {"count": 7, "first": "a.csv:3"}},
        "test": {"empty_texts": {"count": 1, "first": "b.csv:1"}},
    }
    assert ledger.count("train", "truncated_tokens") == 7 and ledger.count(
        "test", "duplicates"
    ) == 0 == ledger.count("validation", "duplicates")
    assert ledger.lines() == [
        "train: 7 tokens cut off (first: a.csv:3)",
        "test: 1 texts without a character (first: b.csv:1)",
    ]


def test_a_kind_without_a_meaning_is_refused():
    with pytest.raises(KeyError, match="expected one of truncated_examples"):
        Ledger().add("train", "lost", "a:1")
    assert all(MEANINGS.values())
