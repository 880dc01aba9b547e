"""Which examples have a gold label, and which of equal texts contradict each other."""

from collections import Counter

import numpy as np
import pytest

from tests import toy
from trainer.data.contradictions import (
    contradicting,
    contradicting_train,
    contradictions,
    contradictions_of_train,
    label_keys,
)
from trainer.data.gold import Gold, is_class
from trainer.data.ledger import Ledger
from trainer.errors import DataError
from trainer.files.spool import Numbers
from trainer.heads.classification import Settings, make_head
from trainer.settings.schema import DataSettings


def gold_of(train=(), *, data=None, **settings):
    data = DataSettings(source="jsonl", train="t", **(data or {}))
    ledger = Ledger()
    return (
        Gold(
            data,
            make_head(Settings(**settings), data, toy.TEMPLATE).reader,
            lambda: iter(train),
            ledger,
        ),
        ledger,
    )


def counts(ledger, split="train"):
    return {kind: entry["count"] for kind, entry in ledger.entries.get(split, {}).items()}


@pytest.mark.parametrize(
    ("mark", "labels", "expected"),
    [
        ("-1", {"-1": 5, "0": 300, "1": 300, "2": 300}, False),
        ("-1", {"-1": 50, "1": 50}, True),
        ("-1", {"-1": 1, "1": 50}, True),
        ("-1", {"-1": 40, "0": 40, "1": 40}, True),
        ("-1", {"-1": 1, "0": 400, "1": 400}, False),
        ("-1", {"-1": 9, "-2": 9, "0": 9, "1": 9, "2": 9}, True),
        ("-1", {"-1": 3, "neg": 9, "pos": 9}, False),
        ("-1", {"-1": 9, "0": 9}, True),
        ("-1", {"0": 9, "1": 9}, False),
        ("-1", {"0": 9}, False),
        ("-", {"-": 5, "entailment": 90, "neutral": 90}, False),
        ("-", {"-": 5, "+": 5}, True),
        ("-", {"-": 5, "+": 5, "0": 5}, True),
        ("-", {"-": 50, "x": 5}, True),
        ("nan", {"nan": 5, "a": 5, "b": 5}, False),
        ("-", {"-": 5, "-1": 5, "a": 5, "b": 5}, False),
    ],
)
def test_a_mark_is_a_class_where_the_labels_say_so(mark, labels, expected):
    assert is_class(mark, Counter(labels)) is expected


def test_what_has_no_gold_label_is_left_out_and_counted():
    gold, ledger = gold_of(["0", "1", "2", "-1"])
    assert [
        gold.of("train", label, "f:1") for label in ("0", None, "-1", "-1.0", " -1", "2", "-")
    ] == ["0", None, None, None, None, "2", None]
    assert counts(ledger) == {"unlabelled": 1, "unlabelled_marks": 4}


def test_head_labels_make_a_mark_a_class_or_none():
    assert gold_of(["0"], labels=["-1", "0", "1"])[0].of("train", "-1", "f:1") == "-1"
    gold, ledger = gold_of(["-1", "0", "1"] * 9, labels=["0", "1"])
    assert gold.of("train", "-1", "f:1") is None and counts(ledger) == {"unlabelled_marks": 1}


def test_vectors_of_minus_one_are_not_labelled():
    gold, _ = gold_of(["-1", "1"], kind="multi_label")
    assert (
        gold.of("test", ("-1", "-1", "-1"), "f:1") is None
        and gold.of("test", ("1", "-1"), "f:1") == ("1", "-1")
        and gold.of("test", (), "f:1") == ()
    )


def test_train_is_read_again_only_where_a_mark_may_mean_both():
    def explode():
        raise AssertionError

    data = DataSettings(source="jsonl", train="t")
    gold = Gold(data, make_head(Settings(), data, toy.TEMPLATE).reader, explode, Ledger())
    assert [gold.of("train", label, "f:1") for label in ("a", None, "--")] == ["a", None, "--"]


@pytest.mark.parametrize(
    ("label", "written"), [(None, "is empty"), ("-1", "is '-1', which says so")]
)
def test_one_may_want_the_stop(label, written):
    gold, _ = gold_of(["0", "1", "2", "-1"], data={"unlabelled": "error"})
    with pytest.raises(DataError) as caught:
        gold.of("train", label, "a.csv:3")
    assert (
        str(caught.value)
        == f"a.csv:3: no gold label: field 'label' {written}, and data.unlabelled is error. "
        "Give it a label, or leave such examples out with --data.unlabelled=drop."
    )


def test_excluded_labels_are_left_out():
    gold, ledger = gold_of(data={"exclude_labels": ["unsup", "-1"]})
    assert [gold.of("train", label, "f:1") for label in ("pos", "unsup ", "-1", "-1.0")] == [
        "pos",
        None,
        None,
        None,
    ]
    assert counts(ledger) == {"excluded_labels": 3}
    gold.refuse_unknown([])
    gold, ledger = gold_of(data={"exclude_labels": ["b"]}, kind="multi_label")
    assert [gold.of("train", label, "f:1") for label in (("a", "b"), ("b",), ())] == [
        ("a",),
        (),
        (),
    ]


def test_an_excluded_label_that_is_none_is_refused():
    gold, _ = gold_of(data={"exclude_labels": ["unsupp"]})
    with pytest.raises(
        DataError,
        match=(
            r"data\.exclude_labels: no example has the label 'unsupp'\. Those there are: neg,"
            r" unsup\. Did you mean 'unsup'\?"
        ),
    ):
        gold.refuse_unknown(["neg", "unsup"])


def test_equal_texts_with_other_labels_are_found(tmp_path):
    hashes = np.array([5, 7, 5, 9, 7, 7, 2**64 - 1, 2**64 - 1], np.uint64)
    assert contradicting(hashes, np.array([0, 1, 0, 0, 1, 2, 0, 0])).tolist() == [1, 4, 5]
    several = np.float32([[1, 0], [1, 1], [1, 0], [0, 0], [1, 1], [1, 1], [0, 0], [0, 1]])
    assert contradicting(hashes, label_keys(several, Numbers(tmp_path, np.uint64))).tolist() == [
        6,
        7,
    ]
    assert contradicting(hashes, np.linspace(0, 1, 8).astype(np.float32)).tolist() == [
        0,
        1,
        2,
        4,
        5,
        6,
        7,
    ]


def test_texts_of_train_with_another_label_are_found():
    train = np.array([5, 7, 7, 9], np.uint64)
    found = contradicting_train(
        np.array([5, 5, 7, 7, 7, 8], np.uint64),
        np.array([0, 1, 0, 1, 2, 0]),
        train,
        np.array([0, 0, 1, 5]),
    )
    assert found.tolist() == [1, 4]


def test_contradictions_agree_with_a_loop():
    rng = np.random.default_rng(0)
    hashes = rng.integers(0, 40, 200).astype(np.uint64)
    labels = rng.integers(0, 2, 200)
    texts = [set(labels[hashes == value].tolist()) for value in hashes]
    assert contradicting(hashes, labels).tolist() == [
        index for index, own in enumerate(texts) if len(own) > 1
    ]


@pytest.mark.parametrize("part", [1 << 20, 16])
def test_contradictions_are_found_part_by_part(tmp_path, monkeypatch, part):
    monkeypatch.setattr("trainer.data.duplicates.PART_ROWS", part)
    rng = np.random.default_rng(1)
    hashes = (rng.integers(0, 60, 300).astype(np.uint64) << np.uint64(3)) + np.uint64(5)
    labels = rng.integers(0, 2, 300)
    spools = [Numbers(tmp_path, np.uint64) for _ in range(2)]
    spools[0].extend(hashes[:200])
    spools[1].extend(hashes[200:])
    found = contradictions(spools[0], labels[:200], tmp_path)
    expected = contradicting(hashes[:200], labels[:200])
    assert (found.count, found.first) == (len(expected), expected[0])
    found = contradictions_of_train(spools[1], labels[200:], spools[0], labels[:200], tmp_path)
    expected = contradicting_train(hashes[200:], labels[200:], hashes[:200], labels[:200])
    assert (found.count, found.first) == (len(expected), expected[0])
