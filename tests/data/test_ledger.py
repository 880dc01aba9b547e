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
        "ledger: what preparation cut, left out or doubts",
        "  7 tokens cut off (in train; first: a.csv:3)",
        "  1 texts without a character (in test; first: b.csv:1)",
    ]


def test_a_line_is_of_all_splits_and_what_costs_examples_comes_first():
    ledger = Ledger({"lost_spans": "spans that no token has"})
    assert ledger.lines() == []
    places = "/home/someone/documents/data/business"
    for split, number in [("train", 1_200), ("test", 3)]:
        ledger.add(split, "duplicates", f"{places}/{split}.txt:7", number)
    ledger.add("test", "lost_spans", "a:2")
    ledger.add("train", "unlabelled", "a:1")
    assert ledger.lines(most=2) == [
        "ledger: what preparation cut, left out or doubts; 2 of 3 kinds, ledger.json has all",
        "  1 examples without a gold label, left out (in train; first: a:1)",
        "  1 spans that no token has (in test; first: a:2)",
    ]
    assert ledger.lines()[-1] == (
        "  1,203 texts that stand in the same split before (train 1,200, test 3; first:"
        " …/business/train.txt:7)"
    )


def test_a_kind_without_a_meaning_is_refused():
    with pytest.raises(KeyError, match="expected one of truncated_examples"):
        Ledger().add("train", "lost", "a:1")
    assert all(MEANINGS.values())
