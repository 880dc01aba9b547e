"""Labels as files have them: spellings, lists, 0 and 1 for each label, doubts; metrics with labels
that train does not have.
"""

import time
import types

import numpy as np
import pytest
from sklearn import metrics as sklearn_metrics

from tests import toy
from trainer.errors import ConfigError, DataError, shown_label, shown_labels
from trainer.files.spool import Numbers
from trainer.heads import make_head
from trainer.heads._classes.doubts import alike, doubts_of, lacking, typos
from trainer.heads._classes.graph import ClassGraph
from trainer.heads._classes.lists import list_in_text
from trainer.heads._classes.mentions import Mentions
from trainer.heads._classes.names import Spellings, learnt_names, number_key
from trainer.heads.classification import Settings
from trainer.settings.schema import DataSettings
from trainer.sources import Example, Origin


class Tally(dict):
    """A ledger."""

    def add(self, split, kind, origin, count=1):
        entry = self.setdefault(kind, [0, origin])
        entry[0] += count


def head_of(label="label", data=None, **settings):
    return make_head(
        Settings(**settings),
        DataSettings(
            source="jsonl", train="t", validation="v", test=0.1, label=label, **(data or {})
        ),
        toy.TEMPLATE,
    )


def split_of(labels, name="train"):
    writer = types.SimpleNamespace(scratch=lambda dtype, shape=(): Numbers(None, dtype, shape))
    return types.SimpleNamespace(
        name=name, labels=labels, writer=writer, origin=lambda index: f"{name}.csv:{index + 1}"
    )


def reader_of(label="label", data=None, **settings):
    return head_of(label, data, **settings).reader


def read(reader, value, **features):
    return reader.label(Example({"label": value, **features}, Origin("d.csv", 7)))


def learnt(reader, labels, names=None):
    return reader.learn(labels, names, lambda index: f"train.csv:{index + 1}")


def columns_of(reader, labels, split="train", vocabulary=None):
    ledger = Tally()
    vocabulary = vocabulary or learnt(reader, labels)
    columns, _, extras = reader.align(split_of(labels, split), vocabulary, ledger)
    return (
        columns["label"].tolist(),
        {name: values.tolist() for name, values in extras.items()},
        ledger,
    )


@pytest.mark.parametrize(
    ("written", "labels"),
    [
        (["ham", "ham ", "\tham", "spam\u3000", "spam"], ["ham", "spam"]),
        (["ham\u200b", "\ufeffspam", "ham"], ["ham", "spam"]),
        (["0.0", "1.0", "11.0", "2.0"], ["0", "1", "2", "11"]),
        (["0", "0.0", "1"], ["0", "1"]),
        (["-1.0", "1.0"], ["-1", "1"]),
        (["4.5", "4.0", "5"], ["4.0", "4.5", "5"]),
        (["4.5", "4.0", "4"], ["4", "4.5"]),
        (["1.0", "1.1", "2.0"], ["1.0", "1.1", "2.0"]),
        (["007", "7", "7.0"], ["007", "7"]),
        (["0.0", "0", "none"], ["0", "none"]),
        (["1.0", "none"], ["1.0", "none"]),
        (["True", "false", "true", "False"], ["False", "True"]),
        (["True", "0", "1", "False"], ["False", "True"]),
        (["TRUE", "FALSE"], ["FALSE", "TRUE"]),
        (["true", "false", "maybe"], ["false", "maybe", "true"]),
        (["1", "0"], ["0", "1"]),
        (["Ham", "ham"], ["Ham", "ham"]),
    ],
)
def test_one_label_in_several_spellings_is_one(written, labels):
    assert learnt_names(dict.fromkeys(written, 1)) == labels
    find = Spellings.of(labels).find
    assert {find(name)[0] for name in written} == set(labels)


def test_a_spelling_is_found_and_its_kind_told():
    find = Spellings.of(["0", "1", "2"]).find
    assert [find(name) for name in ("0", " 1", "2.00", "3", "-0.5", "x")] == [
        ("0", None),
        ("1", "label_blanks"),
        ("2", "label_spellings"),
        (None, None),
        (None, None),
        (None, None),
    ]
    truths = Spellings.of(["False", "True"]).find
    assert [truths(name)[0] for name in ("true", "FALSE", "1", "0", "2")] == [
        "True",
        "False",
        "True",
        "False",
        None,
    ]
    assert Spellings.of(["0", "1"]).find("true") == ("1", "label_spellings")
    assert number_key("1e3") is None and number_key("-2.50") == "-2.5" and number_key("x") is None


@pytest.mark.parametrize("kind", ["single_label", "multi_label"])
def test_blanks_are_left_out_and_counted_and_the_rest_is_told(kind):
    reader = reader_of(kind=kind)
    labels = ["ham", "ham ", "Spam", "spam", "spam", "ham\xa0", "ham"]
    labels = labels if kind == "single_label" else [(name,) for name in labels]
    numbers, _, ledger = columns_of(reader, labels)
    assert learnt(reader, labels)["labels"] == ["Spam", "ham", "spam"]
    assert (numbers if kind == "single_label" else np.argmax(numbers, axis=1).tolist()) == [
        1,
        1,
        0,
        2,
        2,
        1,
        1,
    ]
    assert ledger == {
        "label_blanks": [2, "train.csv:2"],
        "labels_alike": [1, "train.csv:3"],
        "rare_labels": [2, "train.csv:3"],
    }


def test_another_split_may_write_numbers_otherwise():
    reader = reader_of()
    vocabulary = learnt(reader, [f"{number}.0" for number in range(12)])
    assert (
        vocabulary["labels"] == list(map(str, range(12))) and vocabulary["train_counts"]["11"] == 1
    )
    numbers, extras, ledger = columns_of(reader, ["11", "0", "2.0"], "validation", vocabulary)
    assert numbers == [11, 0, 2] and extras == {"unseen_labels": []}
    assert ledger["label_spellings"] == [1, "validation.csv:3"]


def test_truth_values_meet_numbers():
    reader = reader_of()
    vocabulary = learnt(reader, [read(reader, True), read(reader, False)])
    assert columns_of(
        reader, [read(reader, 1), read(reader, 0), read(reader, "true")], "validation", vocabulary
    )[0] == [1, 0, 1]


def test_labels_are_shown_so_that_nothing_deceives():
    assert [
        shown_label(name)
        for name in ("ham", "科技", "new york", "ham ", "a  b", "a,b", "x\u200b", "\x1b[2J", "")
    ] == ["ham", "科技", "new york", "'ham '", "'a  b'", "'a,b'", "'x\\u200b'", "'\\x1b[2J'", "''"]
    assert (
        shown_labels(["a", "b", "c", "d"], 2) == "a, b and 2 more"
        and len(shown_label("x" * 1000)) < 100
    )


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("[1, 0, 1]", [1, 0, 1]),
        ("[1.0, 0.0]", [1.0, 0.0]),
        ("['a', 'b c']", ["a", "b c"]),
        ('["a", "b"]', ["a", "b"]),
        ("[]", []),
        ("[ ]", []),
        ("[1 0 1]", ["1", "0", "1"]),
        ("[1. 0.]", ["1", "0"]),
        ("['a' 'b']", ["a", "b"]),
        ("('a', 'b',)", ["a", "b"]),
        ("{'a'}", ["a"]),
        ("[True, False]", ["True", "False"]),
        ("[\"it's\", 'x']", ["it's", "x"]),
        (" [1,0] ", [1, 0]),
        ("['a\\'b']", ["a'b"]),
        ("[None]", [None]),
        ("[a, b]", None),
        ("[PAD]", None),
        ("(see below)", None),
        ("a, b", None),
        ("[1, [2]]", None),
        ("['a', ['b']]", None),
        ("[", None),
        ("", None),
        ("['a''b']", None),
        ("[1 x]", None),
        ("{}", None),
        ("{'a': 1}", None),
        ("[" * 50_000 + "]" * 50_000, None),
    ],
)
def test_a_list_as_text_is_read(text, values):
    assert list_in_text(text) == values


@pytest.mark.parametrize(
    ("value", "label"),
    [
        (["negative"], "negative"),
        ("['negative']", "negative"),
        ([3], "3"),
        ([], None),
        ([None], None),
        ("[PAD]", "[PAD]"),
        ([" "], None),
        (None, None),
        ("", None),
        (" \t", None),
        (float("nan"), None),
        (-1, "-1"),
        ("(a, b)", "(a, b)"),
        ("[x, y]", "[x, y]"),
    ],
)
def test_one_label_in_a_list_is_taken_as_it_is(value, label):
    assert read(reader_of(), value) == label


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (
            ["a", "b"],
            (
                "d.csv:7: field 'label' has several labels: ['a', 'b']. For several labels an"
                " example set --head.kind=multi_label."
            ),
        ),
        (
            "['a', 'b']",
            (
                "has several labels: ['a', 'b']. For several labels an example set"
                " --head.kind=multi_label."
            ),
        ),
        (
            "[1, 0, 0]",
            (
                "has several labels: [1, 0, 0]. These are 0 and 1 for each label: for several"
                " labels an example set --head.kind=multi_label; for one"
            ),
        ),
        ([1.0, 0.0], "These are 0 and 1 for each label"),
        ([["a"]], "should be a label. Received ['a'] (list)"),
    ],
)
def test_a_list_where_one_label_is_asked_says_what_to_set(value, message):
    with pytest.raises(DataError) as caught:
        read(reader_of(), value)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("value", "labels"),
    [
        ([1, 0, 1], ("1", "0", "1")),
        ([1.0, 0.0], ("1", "0")),
        ("[1, 0, 1]", ("1", "0", "1")),
        ("['a', 'b']", ("a", "b")),
        ("[a, b c]", ("a", "b c")),
        ("a|b", ("a", "b")),
        (["a", ""], ("a",)),
        (None, None),
        ([None], None),
        ("", ()),
        ([], ()),
        ("[]", ()),
        (2, ("2",)),
        ([True, False], ("True", "False")),
    ],
)
def test_several_labels_are_read_from_lists_and_text(value, labels):
    assert read(reader_of(kind="multi_label"), value) == labels


def test_a_hole_in_a_list_is_told():
    with pytest.raises(
        DataError,
        match=r"d\.csv:7: field 'label': one of its labels is empty: \['a', None\]\. Leave it out",
    ):
        read(reader_of(kind="multi_label"), ["a", None])


ROWS = [[1, 0, 1], [0, 0, 0], [0, 1, 1]]


@pytest.mark.parametrize(
    "write",
    [
        list,
        lambda row: list(map(float, row)),
        lambda row: list(map(bool, row)),
        str,
        lambda row: "|".join(map(str, row)),
        lambda row: str(np.array(row)),
        lambda row: str(np.array(row, float)),
    ],
)
@pytest.mark.parametrize("labels", [None, ["great", "awful", "ordinary"]])
def test_vectors_of_0_and_1_are_several_labels(write, labels):
    reader = reader_of(kind="multi_label", labels=labels)
    rows = [read(reader, write(row)) for row in ROWS]
    names = labels or ["0", "1", "2"]
    assert learnt(reader, rows) == {
        "labels": names,
        "train_counts": dict(zip(names, [1, 1, 2], strict=True)),
        "vectors": True,
    }
    assert columns_of(reader, rows)[0] == ROWS
    assert columns_of(reader, rows[:1], "validation", learnt(reader, rows))[0] == ROWS[:1]
    assert reader.notes(learnt(reader, rows)) == [
        "labels: each example has 0 or 1 for each of 3 labels, which head.labels may name in their"
        " order"
    ]


@pytest.mark.parametrize(
    ("rows", "names"),
    [
        ([[0, 2], [1]], ["0", "1", "2"]),
        ([[0], [1]], ["0", "1"]),
        ([[0, 1], [1]], ["0", "1"]),
        ([[0, 1], [0, 2]], ["0", "1", "2"]),
        ([[], [1, 0]], ["0", "1"]),
    ],
)
def test_class_ids_stay_names(rows, names):
    reader = reader_of(kind="multi_label")
    vocabulary = learnt(reader, [read(reader, row) for row in rows])
    assert vocabulary["labels"] == names and "vectors" not in vocabulary
    assert reader.notes(vocabulary) == []


def test_two_values_are_a_vector_too():
    reader = reader_of(kind="multi_label")
    assert (
        learnt(reader, [("0", "1"), ("1", "0")])["vectors"]
        and learnt(reader, [("0", "0"), ("1", "0")])["vectors"]
    )


@pytest.mark.parametrize(
    ("rows", "labels", "message"),
    [
        (
            [[1, 0, 1], [0, 1]],
            None,
            (
                "train.csv:1: its labels are 3 values of 0 and 1, and train.csv:2 has 2. Give every"
                " example a value for each label, or"
            ),
        ),
        (
            [[1, 0, 1]] * 2,
            ["a", "b"],
            (
                "train.csv:1: its labels are 3 values of 0 and 1, and head.labels names 2: a, b."
                " Name 3, in the order of the values."
            ),
        ),
        (
            [[1, 0], [0.3, 0.7]],
            None,
            (
                "train.csv:2: its labels are numbers between 0 and 1, such as 0.3, and"
                " probabilities are no labels. Give 0 and 1"
            ),
        ),
    ],
)
def test_what_may_be_a_vector_or_not_is_refused(rows, labels, message):
    reader = reader_of(kind="multi_label", labels=labels)
    with pytest.raises(DataError) as caught:
        learnt(reader, [read(reader, row) for row in rows])
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (
            ("1", "0"),
            (
                "validation.csv:1: has 2 values of 0 and 1, and those of train have 3. Give every"
                " example a value for each label."
            ),
        ),
        (
            ("a",),
            (
                "validation.csv:1: 'a' is none of 0 and 1, which the labels of train are, 3 for"
                " each example. Write the labels of all splits in the same way."
            ),
        ),
    ],
)
def test_another_split_must_have_the_same_vectors(row, message):
    reader = reader_of(kind="multi_label")
    with pytest.raises(DataError) as caught:
        columns_of(reader, [row], "validation", learnt(reader, [("1", "0", "1"), ("0", "0", "1")]))
    assert str(caught.value) == message


def test_a_field_of_0_and_1_for_each_label():
    reader = reader_of(label=["toxic", "rude"], kind="multi_label")

    def label(toxic, rude):
        return reader.label(Example({"toxic": toxic, "rude": rude}, Origin("d.csv", 7)))

    assert [
        label(1, 0),
        label("1", "1.0"),
        label(False, True),
        label("0", "0"),
        label("", "0"),
        label(-1, -1),
        label("-1", "0"),
    ] == [("toxic",), ("toxic", "rude"), ("rude",), (), None, None, None]
    assert learnt(reader, [("rude",), ()])["labels"] == ["toxic", "rude"]
    with pytest.raises(
        DataError,
        match=(
            r"d\.csv:7: field 'rude' should be 0 or 1, as data\.label names several fields, one for"
            r" each label\. Received 'x'"
        ),
    ):
        label(0, "x")
    with pytest.raises(
        DataError, match=r"unknown field 'rude' at d\.csv:7; fields there are: 'toxic'"
    ):
        reader.label(Example({"toxic": 1}, Origin("d.csv", 7)))


@pytest.mark.parametrize(
    ("settings", "data", "message"),
    [
        (
            {},
            {"label": ["a", "b"]},
            (
                "data.label: several fields of 0 and 1 are of head.kind multi_label. Received ['a',"
                " 'b'] with kind single_label."
            ),
        ),
        (
            {"kind": "multi_label", "labels": ["x"]},
            {"label": ["a", "b"]},
            "head.labels: the fields of data.label name the labels already.",
        ),
        ({"kind": "multi_label"}, {"label": ["a", "a"]}, "data.label: a field is named twice."),
        (
            {"kind": "regression"},
            {"exclude_labels": ["a"]},
            "data.exclude_labels: a regression has no classes.",
        ),
        (
            {"labels": ["a", "b"]},
            {"exclude_labels": ["b "]},
            "data.exclude_labels: head.labels names b too.",
        ),
    ],
)
def test_settings_of_labels_that_contradict_each_other(settings, data, message):
    with pytest.raises(ConfigError) as caught:
        make_head(
            Settings(**settings), DataSettings(source="jsonl", train="t", **data), toy.TEMPLATE
        )
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (
            {"label": ["a", "b"]},
            "data.label: head token_classification takes one field. Received ['a', 'b'].",
        ),
        (
            {"exclude_labels": ["PER"]},
            (
                "data.exclude_labels: is of classification, and head token_classification has no"
                " classes. Leave it out."
            ),
        ),
        ({"unseen_labels": "error"}, "data.unseen_labels: is of classification"),
        ({"unlabelled": "error"}, "data.unlabelled: is of classification"),
    ],
)
def test_settings_of_classes_are_refused_by_other_heads(data, message):
    from trainer.heads import token_classification

    with pytest.raises(ConfigError) as caught:
        make_head(
            token_classification.Settings(),
            DataSettings(source="jsonl", train="t", **data),
            toy.TEMPLATE,
        )
    assert message in str(caught.value)


def test_labels_that_only_validation_has_are_counted():
    reader = reader_of()
    vocabulary = learnt(reader, ["a", "b"] * 3)
    numbers, extras, ledger = columns_of(
        reader, ["a ", "c", "b", "d ", "c", "d"], "validation", vocabulary
    )
    assert numbers == [0, 2, 1, 3, 2, 3] and extras == {"unseen_labels": ["c", "d"]}
    assert ledger == {
        "label_blanks": [1, "validation.csv:1"],
        "unseen_labels": [4, "validation.csv:2"],
    }
    reader = reader_of(kind="multi_label")
    vocabulary = learnt(reader, [("a", "b")] * 3)
    numbers, extras, ledger = columns_of(reader, [("a", "c"), (), ("d",)], "validation", vocabulary)
    assert numbers == [[1, 0], [0, 0], [0, 0]] and extras == {
        "unseen_labels": ["c", "d"],
        "unseen_given": [[1, 0], [0, 0], [0, 1]],
    }


def test_a_split_of_other_labels_alone_is_another_file():
    reader = reader_of()
    vocabulary = learnt(reader, ["a", "b"] * 3)
    with pytest.raises(DataError) as caught:
        columns_of(reader, ["x", "y"], "validation", vocabulary)
    assert (
        str(caught.value)
        == "data.validation: its labels are none of those of train (first: validation.csv:1)."
        " Received x, y. Expected some of a, b. Is it the right file, and is --data.label the"
        " right field?"
    )
    assert columns_of(reader, ["x"], "test", vocabulary)[0] == [2]  # held out of train: by chance


@pytest.mark.parametrize(
    ("settings", "data", "source"),
    [({"labels": ["a", "b"]}, {}, "head.labels"), ({}, {"unseen_labels": "error"}, "train")],
)
def test_a_label_outside_the_list_is_refused_where_it_should_be(settings, data, source):
    reader = reader_of(data=data, **settings)
    with pytest.raises(DataError) as caught:
        columns_of(reader, ["a", "c"], "validation", learnt(reader, ["a", "b"]))
    assert (
        str(caught.value)
        == f"validation.csv:2: label 'c' of validation is not among the labels of {source}: a, b. "
        "Correct it, or list every label with --head.labels."
    )


def scorer_of(labels, **settings):
    head = head_of(**settings)
    vocabulary = {"labels": list(labels), "train_counts": {}}
    decision = head.kind.decision(head.settings, vocabulary)
    return head.scorer(ClassGraph(vocabulary, layers=(), scores=None, decision=decision))


def store_of(label, **extras):
    return types.SimpleNamespace(
        columns={"label": np.array(label)},
        extras={name: np.array(values) for name, values in extras.items()},
    )


@pytest.mark.heavy
@pytest.mark.parametrize("unseen", [0, 1, 3])
def test_metrics_count_unseen_labels_as_missed_as_scikit_learn_does(unseen):
    rng = np.random.default_rng(unseen)
    logits = rng.normal(size=(80, 4))
    label = rng.integers(0, 4 + unseen, 80)
    scorer = scorer_of("abcd")
    store = store_of(label, unseen_labels=list("xyz")[:unseen] or np.array([], np.str_))
    found = scorer.metrics({"logits": logits}, store)
    names = [*"abcd", *"xyz"[:unseen]]
    gold = [names[number] for number in label]
    guess = [names[number] for number in logits.argmax(1)]
    scores = sklearn_metrics.precision_recall_fscore_support(
        gold, guess, labels=names, average="macro", zero_division=0
    )
    expected = dict(zip(("precision_macro", "recall_macro", "f1_macro"), scores[:3], strict=True))
    known = label < 4
    shares = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    expected |= {
        "accuracy": sklearn_metrics.accuracy_score(gold, guess),
        "loss": sklearn_metrics.log_loss(label[known], shares[known], labels=range(4)),
    }
    assert found == pytest.approx(expected)
    each = scorer.per_label({"logits": logits}, store)
    assert list(each) == names and all(each[name]["support"] == gold.count(name) for name in names)


@pytest.mark.heavy
def test_metrics_of_several_labels_count_unseen_ones_as_missed():
    rng = np.random.default_rng(5)
    logits = rng.normal(size=(60, 3))
    given = rng.integers(0, 2, (60, 5))
    scorer = scorer_of("abc", kind="multi_label")
    store = store_of(
        given[:, :3].astype(np.float32),
        unseen_labels=["x", "y"],
        unseen_given=given[:, 3:].astype(np.uint8),
    )
    found = scorer.metrics({"logits": logits}, store)
    guess = np.concatenate([logits >= 0, np.zeros((60, 2))], axis=1).astype(int)
    expected = {
        "accuracy": sklearn_metrics.accuracy_score(given, guess),
        "f1_micro": sklearn_metrics.f1_score(given, guess, average="micro"),
        "f1_macro": sklearn_metrics.f1_score(given, guess, average="macro", zero_division=0),
        "recall_macro": sklearn_metrics.recall_score(
            given, guess, average="macro", zero_division=0
        ),
    }
    assert {name: found[name] for name in expected} == pytest.approx(expected)
    assert list(scorer.per_label({"logits": logits}, store)) == ["a", "b", "c", "x", "y"]


def test_counts_are_those_of_all_labels():
    reader = reader_of()
    assert reader.label_counts(
        {"labels": ["a", "b"]}, store_of([0, 2, 0], unseen_labels=["c"])
    ) == {
        "a": 2,
        "b": 0,
        "c": 1,
    }
    several = reader_of(kind="multi_label")
    store = store_of(
        np.float32([[1, 0], [1, 1]]), unseen_labels=["c"], unseen_given=np.uint8([[0], [1]])
    )
    assert several.label_counts({"labels": ["a", "b"]}, store) == {"a": 2, "b": 1, "c": 1}
    regression = reader_of(kind="regression")
    assert (
        regression.label_counts({"labels": []}, store_of([0.5])) == {}
        and reader.label_range(store_of([0])) is None
    )
    assert regression.label_range(store_of(np.float32([1, 4, 1]))) == (1, 2, 4)


@pytest.mark.parametrize(
    ("kind", "labels", "label", "extras", "undefined"),
    [
        ("single_label", 2, [1, 1], {}, {"auc_roc": "all examples have the same label there"}),
        ("single_label", 2, [1, 0], {}, {}),
        ("single_label", 3, [1, 0], {}, {"auc_roc": "it is of two classes, and train has 3"}),
        (
            "single_label",
            2,
            [1, 0, 2],
            {"unseen_labels": ["c"]},
            {"auc_roc": "it is of two classes, and there are labels that train does not have"},
        ),
        (
            "regression",
            0,
            [2.5, 2.5],
            {},
            dict.fromkeys(("pearson", "spearman"), "all examples have the number 2.5 there"),
        ),
        (
            "regression",
            0,
            [2.5],
            {},
            dict.fromkeys(("pearson", "spearman"), "there is one example"),
        ),
        ("regression", 0, [1.0, 2.0], {}, {}),
        (
            "multi_label",
            2,
            [[0.0, 0.0]],
            {},
            dict.fromkeys(
                ("f1_micro", "f1_macro", "recall_macro", "precision_macro"),
                "no example has a label there",
            ),
        ),
        ("multi_label", 2, [[0.0, 1.0]], {}, {}),
    ],
)
def test_metrics_that_a_split_cannot_give_are_known_beforehand(
    kind, labels, label, extras, undefined
):
    assert (
        head_of(kind=kind).undefined_metrics(
            {"labels": list("abc")[:labels]}, store_of(label, **extras)
        )
        == undefined
    )


def test_what_looks_misspelt_is_told():
    def found(**counts):
        return [tuple(pair) for pair in typos(counts)]

    assert found(ham=500, hamm=1, spam=400) == [("hamm", "ham")]
    assert found(negative=100, negativ=2, negatvie=1, nagative=5, positive=100) == [
        ("negativ", "negative"),
        ("negatvie", "negative"),
        ("nagative", "negative"),
    ]
    assert (
        found(cat=500, bat=1) == []
        and found(class_1=500, class_2=1) == []
        and found(spam=30, span=2) == []
        and found(a=500, b=1) == []
    )
    assert found(negative=500, negative2=1) == [] and found(Negative=500, negative=1) == []


def test_ten_thousand_labels_take_no_time():
    rng = np.random.default_rng(0)
    counts = {
        "".join(map(chr, 97 + rng.integers(0, 26, 20))): int(count)
        for count in rng.choice([1, 2, 500], 10_000)
    }
    start = time.monotonic()
    assert typos(counts) == [] == alike(counts) and lacking({}, counts)
    assert time.monotonic() - start < 30  # each beside each other would take many minutes


def test_case_and_normal_form_are_told():
    assert alike({"Ham": 2, "ham": 500, "café": 5, "cafe\u0301": 9, "２": 1, "2": 3, "x": 1}) == [
        ("Ham", "ham"),
        ("café", "cafe\u0301"),
        ("２", "2"),
    ]
    assert alike({"new  york": 1, "new york": 5, "new\xa0york": 2}) == [
        ("new  york", "new york"),
        ("new\xa0york", "new york"),
    ]
    lines = doubts_of(
        {"train": {"café": 5, "cafe\u0301": 9}}, {"café": 5, "cafe\u0301": 9}, named=False
    )
    assert lines == [
        "labels: 'caf\\xe9' and 'cafe\\u0301' (5 of train) differ by case, inner blanks or Unicode"
        " form alone, and are two labels. If they are one, write them alike in the data"
    ]


def test_a_label_of_validation_that_train_writes_otherwise_is_told():
    train = {"Ham": 5, "spam": 5}
    own = {"Ham": 0, "spam": 9, "ham": 9}
    line, beside = doubts_of({"train": train, "validation": own}, train, named=False)[:2]
    assert beside == "labels: validation has ham (9), and train has not: scored as missed"
    assert line.startswith(
        "labels: ham and Ham (9 of validation) differ by case, inner blanks or Unicode form alone,"
        " and are two labels."
    )
    reader = reader_of()
    _, _, ledger = columns_of(
        reader, ["ham"] * 9 + ["spam"] * 9, "validation", learnt(reader, ["Ham", "spam"] * 5)
    )
    assert ledger["labels_alike"] == [9, "validation.csv:1"] and ledger["absent_labels"] == [
        1,
        "Ham",
    ]


def test_a_class_that_another_split_never_has_is_told():
    train = {"neg": 40, "pos": 40, "unsup": 40}
    (line,) = doubts_of(
        {
            "train": train,
            "validation": {"neg": 9, "pos": 9, "unsup": 9},
            "test": {"neg": 20, "pos": 20, "unsup": 0},
        },
        train,
        named=False,
    )
    assert (
        line
        == "labels: test has no example of unsup, of which train has 40: macro scores of test count"
        " 0 for it. If it is no class, leave it out: --data.exclude_labels=[unsup]"
    )
    # so few may lack it by chance
    assert doubts_of({"test": {"neg": 3, "pos": 3}}, train, named=False) == []


def test_few_examples_and_marks_that_are_classes_are_told():
    train = {"-1": 50, "1": 50, "2": 1, "3": 0}
    assert doubts_of({"train": train}, train, named=False) == [
        "labels: fewer than 3 examples in train: 2 (1), 3 (0)",
        (
            "labels: -1 is read as a class. If it means that there is no gold label:"
            " --data.exclude_labels=[-1]"
        ),
    ]
    assert len(doubts_of({"train": train}, train, named=True)) == 1


def test_mentions_are_counted_and_placed():
    mentions = Mentions.of([("b", "a"), (), ("a",)])
    assert (mentions.names, mentions.counts(), mentions.first, mentions.first_of("a")) == (
        ["b", "a"],
        {"b": 1, "a": 2},
        [0, 0],
        0,
    )
    ((name, lengths),) = mentions.blocks()
    assert (
        name.tolist() == [0, 1, 1]
        and lengths.tolist() == [2, 0, 1]
        and (mentions.shortest, mentions.longest) == (0, 2)
    )
    assert Mentions.of([]).counts() == {} and list(Mentions.of([]).blocks()) == []
    single = Mentions.of(["b", "aa", "b"])
    ((name, lengths),) = single.blocks()
    assert (name.tolist(), single.first, lengths.tolist(), single.longest) == (
        [0, 1, 0],
        [0, 1],
        [1, 1, 1],
        1,
    )
