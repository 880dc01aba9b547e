"""The classification head: labels, loss and metrics against scikit-learn, scipy and formulas
written out.
"""

import json
import types

import numpy as np
import pytest
import tensorflow as tf
from scipy import stats
from sklearn import metrics as sklearn_metrics
from sklearn.utils.class_weight import compute_class_weight

from tests import toy
from trainer.backbones import huggingface
from trainer.data.batch import Batch, Examples, Rows
from trainer.data.ledger import Ledger
from trainer.errors import ConfigError, DataError
from trainer.files.spool import Numbers
from trainer.heads._classes.graph import ClassGraph
from trainer.heads.classification import Settings, make_head
from trainer.settings.schema import DataSettings
from trainer.sources import Example, Origin


def head_of(text="text", overflow="truncate", **settings):
    data = DataSettings(source="jsonl", train="", text=text, overflow=overflow)
    return make_head(Settings(**settings), data, toy.TEMPLATE)


def reader_of(**settings):
    return head_of(**settings).reader


def vocabulary_of(labels=("a", "b", "c"), counts=(6, 3, 2)):
    return {"labels": list(labels), "train_counts": dict(zip(labels, counts, strict=False))}


def graph_of(labels=("a", "b", "c"), counts=(6, 3, 2), **settings):
    """A graph without layers."""
    head = head_of(**settings)
    vocabulary = vocabulary_of(labels, counts)
    decision = head.kind.decision(head.settings, vocabulary)
    return ClassGraph(vocabulary, layers=(), scores=None, decision=decision)


def scorer_of(labels=("a", "b", "c"), counts=(6, 3, 2), **settings):
    return head_of(**settings).scorer(graph_of(labels, counts, **settings))


def metric_names(labels=("a", "b", "c"), **settings):
    metrics = head_of(**settings).available_metrics(vocabulary_of(labels))
    return [metric.name for metric in metrics]


def stored(logits, label):
    return {"logits": logits}, types.SimpleNamespace(columns={"label": label}, extras={})


def batch_of(label, weight):
    nowhere = tf.zeros(len(label), tf.int32)
    return Batch(
        rows=Rows(token_ids=nowhere[:, None]),
        examples=Examples(row=nowhere, start=nowhere, length=nowhere, weight=tf.constant(weight)),
        label=tf.constant(label),
        predicted=None,
        own={},
    )


def loss_of(graph, logits, label, present=None):
    weight = np.ones(len(label), np.float32) if present is None else np.array(present, np.float32)
    batch = batch_of(label, weight)
    loss = graph.losses(tf.constant(logits, tf.float32), batch)["loss"]
    return [float(loss), float(graph.weights(batch)["loss"])]


def example(**features):
    return Example(features, Origin("d.csv", 7))


@pytest.mark.parametrize(
    ("value", "name"),
    [
        ("pos", "pos"),
        (3, "3"),
        (3.0, "3"),
        (2.5, "2.5"),
        (True, "True"),
        ("体育", "体育"),
        ("1", "1"),
    ],
)
def test_a_label_is_named_as_a_person_would_write_it(value, name):
    assert reader_of().label(example(label=value)) == name


@pytest.mark.parametrize(
    ("kind", "value", "message"),
    [
        (
            "single_label",
            ["a", "b"],
            (
                "d.csv:7: field 'label' has several labels: ['a', 'b']. For several labels an"
                " example set --head.kind=multi_label."
            ),
        ),
        (
            "regression",
            "high",
            "d.csv:7: field 'label' should be a number, for a regression. Received 'high'.",
        ),
        ("regression", "-inf", "is -inf. Expected a finite number."),
        ("single_label", float("inf"), "field 'label' is inf, not a number."),
        ("multi_label", ["a", None], "d.csv:7: field 'label': one of its labels is empty"),
    ],
)
def test_an_unusable_label_is_named_with_its_place(kind, value, message):
    with pytest.raises(DataError) as caught:
        reader_of(kind=kind).label(example(label=value))
    assert message in str(caught.value)


@pytest.mark.parametrize("kind", ["single_label", "multi_label", "regression"])
@pytest.mark.parametrize("value", [None, float("nan"), "", " "])
def test_what_is_missing_is_no_label(kind, value):
    # there "" says that it has none of the labels
    expected = () if kind == "multi_label" and isinstance(value, str) else None
    assert reader_of(kind=kind).label(example(label=value)) == expected


@pytest.mark.parametrize(
    ("value", "names"),
    [
        ("a|b", ("a", "b")),
        ("a", ("a",)),
        (" a | b ", ("a", "b")),
        (["a", "b"], ("a", "b")),
        ([], ()),
        ([1, 2.0], ("1", "2")),
    ],
)
def test_several_labels_come_as_a_list_or_separated(value, names):
    assert reader_of(kind="multi_label").label(example(label=value)) == names


def test_the_separator_may_be_another():
    assert reader_of(kind="multi_label", label_separator=", ").label(example(label="x|y, z")) == (
        "x|y",
        "z",
    )


def test_a_text_that_is_none_is_named():
    with pytest.raises(
        DataError,
        match=(
            r"d\.csv:7: field 'text' should be text\. Received 5 \(int\)\. Name the text field with"
            r" --data\.text\."
        ),
    ):
        reader_of().values(example(text=5, label="a"))
    with pytest.raises(
        DataError,
        match=(
            r"unknown field 'text' at d\.csv:7; fields there are: 'Text', 'label'; did you mean"
            r" 'Text'\?"
        ),
    ):
        reader_of().values(example(Text="x", label="a"))
    assert reader_of(text=["q", "a"]).values(example(q="1", a="2")) == ("1", "2")


def test_one_class_is_too_few():
    with pytest.raises(
        DataError,
        match=(
            r"data\.train: every one of the 3 examples has the label 'a' \(first: f:1\)\. A"
            r" classifier needs two or more"
        ),
    ):
        reader_of().learn(["a"] * 3, None, lambda index: f"f:{index + 1}")


def test_no_label_at_all_is_refused():
    with pytest.raises(DataError, match="no example has a label in field 'label'"):
        reader_of(kind="multi_label").learn([(), ()], None, str)


def test_declared_names_come_before_those_found():
    assert reader_of().learn(["b", "a"], ["z", "b", "a"], str)["labels"] == ["z", "b", "a"]
    assert reader_of().learn(["b", "a"], None, str)["labels"] == ["a", "b"]


def test_labels_become_numbers():
    single = reader_of()
    several = reader_of(kind="multi_label")
    number = reader_of(kind="regression")
    for reader, labels, numbers in (
        (single, ["c", "a"], [2, 0]),
        (several, [("c", "a"), ()], [[1, 0, 1], [0, 0, 0]]),
        (number, [0.5, -2.0], [0.5, -2.0]),
    ):
        writer = types.SimpleNamespace(scratch=lambda dtype, shape=(): Numbers(None, dtype, shape))
        split = types.SimpleNamespace(name="train", labels=labels, origin=str, writer=writer)
        aligned = reader.align(split, vocabulary_of(), Ledger())
        assert aligned.columns["label"].tolist() == numbers


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            {"kind": "multi_label", "class_weights": "balanced"},
            "head.class_weights: only for head.kind single_label. Received kind multi_label.",
        ),
        (
            {"class_weights": {"x": 2.0, "a": 1.0}},
            "head.class_weights: x: no such label. The labels: a, b, c.",
        ),
        (
            {"overflow": "window"},
            (
                "data.overflow: head classification takes truncate, head_tail or error. Received"
                " 'window'."
            ),
        ),
    ],
)
def test_settings_that_do_not_go_together_are_refused(settings, message):
    with pytest.raises(ConfigError) as caught:
        graph_of(**settings)
    assert message in str(caught.value)


def test_a_regression_has_no_labels():
    with pytest.raises(
        ConfigError,
        match=r"head\.labels: a regression has none\. Remove head\.labels, or set head\.kind\.",
    ):
        head_of(kind="regression", labels=["a"])


def test_balanced_class_weights_are_those_of_scikit_learn():
    labels = np.repeat(["a", "b", "c"], [6, 3, 2])
    expected = compute_class_weight("balanced", classes=np.array(["a", "b", "c"]), y=labels)
    balanced = graph_of(class_weights="balanced").decision.class_weights
    np.testing.assert_allclose(balanced, expected, rtol=1e-6)
    # 0 and not infinite
    assert graph_of(counts=(6, 3, 0), class_weights="balanced").decision.class_weights[2] == 0
    assert graph_of(class_weights={"b": 2.0}).decision.class_weights.tolist() == [1, 2, 1]
    assert graph_of().decision.class_weights is None


def test_the_loss_is_a_weighted_sum_and_the_sum_of_the_weights():
    logits = np.array([[1.0, 2.0, 0.0], [0.5, -1.0, 3.0], [9.0, 9.0, 9.0]])
    label = np.array([1, 0, 2], np.int32)
    shares = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    plain = -np.log(shares[[0, 1], [1, 0]])
    assert loss_of(graph_of(), logits, label, [1, 1, 0]) == pytest.approx([plain.sum(), 2])
    assert loss_of(
        graph_of(class_weights={"a": 3.0, "b": 0.5}), logits, label, [1, 1, 0]
    ) == pytest.approx([0.5 * plain[0] + 3 * plain[1], 3.5])


def test_label_smoothing_spreads_its_share_over_all_labels():
    logits = np.array([[1.0, 2.0, 0.0]])
    label = np.array([1], np.int32)
    shares = np.exp(logits[0]) / np.exp(logits[0]).sum()
    target = np.array([0.2 / 3, 0.8 + 0.2 / 3, 0.2 / 3])
    assert loss_of(graph_of(label_smoothing=0.2), logits, label) == pytest.approx(
        [-(target * np.log(shares)).sum(), 1]
    )
    p = 1 / (1 + np.exp(-logits[0]))
    target = np.array([0.1, 0.9, 0.1])
    expected = -(target * np.log(p) + (1 - target) * np.log(1 - p)).mean()
    assert loss_of(
        graph_of(kind="multi_label", label_smoothing=0.2), logits, np.array([[0, 1, 0]], np.float32)
    ) == pytest.approx([expected, 1])


def test_regression_loss_is_the_squared_error():
    assert loss_of(
        graph_of(labels=(), kind="regression"), [[1.0], [-2.0]], np.array([3.0, -2.5], np.float32)
    ) == pytest.approx([4.25, 2])


SCORES = {
    "f1": sklearn_metrics.f1_score,
    "precision": sklearn_metrics.precision_score,
    "recall": sklearn_metrics.recall_score,
}
SHAPES = [(2, 2), (37, 2), (50, 3), (400, 11)]


@pytest.mark.parametrize(("count", "classes"), SHAPES)
def test_metrics_of_one_label_are_those_of_scikit_learn(count, classes):
    rng = np.random.default_rng(count)
    logits = rng.normal(size=(count, classes)).astype(np.float32)
    label = np.r_[0, 1, rng.integers(0, max(2, classes - 1), count - 2)]
    shares = np.exp(logits.astype(float)) / np.exp(logits.astype(float)).sum(1, keepdims=True)
    found = scorer_of(labels=[str(c) for c in range(classes)], counts=[1] * classes).metrics(
        *stored(logits, label)
    )
    expected = {
        "accuracy": sklearn_metrics.accuracy_score(label, logits.argmax(1)),
        "loss": sklearn_metrics.log_loss(label, shares, labels=range(classes)),
        **{
            f"{name}_macro": score(
                label, logits.argmax(1), labels=range(classes), average="macro", zero_division=0
            )
            for name, score in SCORES.items()
        },
    }
    if classes == 2:
        expected["auc_roc"] = sklearn_metrics.roc_auc_score(label, logits[:, 1] - logits[:, 0])
    assert found == pytest.approx(expected) and set(found) == set(expected) <= set(
        metric_names(labels=range(classes))
    )


@pytest.mark.parametrize(("count", "classes"), SHAPES)
@pytest.mark.parametrize("threshold", [0.5, 0.3])
def test_metrics_of_several_labels_are_those_of_scikit_learn(count, classes, threshold):
    rng = np.random.default_rng(count)
    logits = rng.normal(size=(count, classes)).astype(np.float32)
    label = rng.integers(0, 2, (count, classes)).astype(np.float32)
    logits[0] = 0  # which is 0.5, and reaches the first threshold
    p = 1 / (1 + np.exp(-logits.astype(float)))
    given = (p >= threshold).astype(int)
    found = scorer_of(
        [str(c) for c in range(classes)], kind="multi_label", threshold=threshold
    ).metrics(*stored(logits, label))
    expected = {
        "loss": np.mean(
            [sklearn_metrics.log_loss(label[:, c], p[:, c], labels=[0, 1]) for c in range(classes)]
        ),
        "accuracy": (given == label).all(1).mean(),
        "f1_micro": sklearn_metrics.f1_score(label, given, average="micro", zero_division=0),
        "f1_macro": sklearn_metrics.f1_score(label, given, average="macro", zero_division=0),
        "precision_macro": sklearn_metrics.precision_score(
            label, given, average="macro", zero_division=0
        ),
        "recall_macro": sklearn_metrics.recall_score(
            label, given, average="macro", zero_division=0
        ),
    }
    assert found == pytest.approx(expected, rel=1e-6) and set(found) <= set(
        metric_names(kind="multi_label")
    )


def test_a_label_at_the_threshold_is_given():
    """A logit of 0 is a probability of 0.5 to the bit."""
    answers = graph_of(kind="multi_label", threshold=0.5).token_answers(
        {"logits": tf.constant([[0.0, -1e-3, 1e-3]])}
    )
    assert answers["label"].numpy().tolist() == [[b"a", b"", b"c"]]


@pytest.mark.parametrize("several", [False, True])
def test_each_labels_scores_are_those_of_scikit_learn(several):
    rng = np.random.default_rng(3)
    names = ["b", "a", "never"]
    logits = rng.normal(size=(60, 3)).astype(np.float32)
    label = (
        rng.integers(0, 2, (60, 3)).astype(np.float32) * [1, 1, 0]
        if several
        else rng.integers(0, 2, 60)
    )
    kind = "multi_label" if several else "single_label"
    found = scorer_of(names, [1] * 3, kind=kind).per_label(*stored(logits, label))
    chosen = logits.argmax(1)
    for number, name in enumerate(names):
        gold, given = (
            (label[:, number], logits[:, number] >= 0)
            if several
            else (label == number, chosen == number)
        )
        expected = {metric: score(gold, given, zero_division=0) for metric, score in SCORES.items()}
        assert found[name] == pytest.approx({**expected, "support": int(np.sum(gold))})
    assert (
        list(found) == names
        and scorer_of(labels=(), kind="regression").per_label(*stored(logits[:, :1], label)) == {}
    )


@pytest.mark.parametrize("count", [2, 40, 500])
def test_metrics_of_a_regression_are_those_of_scipy(count):
    rng = np.random.default_rng(count)
    value = rng.normal(size=(count, 1)).astype(np.float32)
    label = rng.normal(size=count).astype(np.float32)
    found = scorer_of(labels=(), kind="regression").metrics(*stored(value, label))
    expected = {
        "pearson": stats.pearsonr(value[:, 0], label).statistic,
        "spearman": stats.spearmanr(value[:, 0], label).statistic,
        "mse": sklearn_metrics.mean_squared_error(label, value[:, 0]),
        "loss": sklearn_metrics.mean_squared_error(label, value[:, 0]),
    }
    assert found == pytest.approx(expected, rel=1e-5) and set(found) == set(
        metric_names(labels=(), kind="regression")
    )


def test_metrics_of_one_example_or_constant_predictions_are_numbers():
    regression = scorer_of(labels=(), kind="regression")
    assert regression.metrics(*stored(np.ones((3, 1), np.float32), np.arange(3.0)))["pearson"] == 0
    assert regression.metrics(*stored(np.ones((1, 1), np.float32), np.ones(1)))["spearman"] == 0
    values = scorer_of(labels=("a", "b")).metrics(
        *stored(np.zeros((1, 2), np.float32), np.zeros(1, int))
    )
    assert values["accuracy"] == 1 and "auc_roc" not in values  # undefined with one class present


def answer(graph, logits):
    outputs = {
        name: value.numpy()
        for name, value in graph.token_answers({"logits": tf.constant(logits, tf.float32)}).items()
    }
    return [graph.decode(outputs, row) for row in range(len(logits))]


def test_answers_name_the_label_and_every_probability():
    (first,) = answer(graph_of(labels=("负", "正")), [[0.0, np.log(3.0)]])
    assert first == {
        "label": "正",
        "probabilities": pytest.approx({"负": 0.25, "正": 0.75}),
    } and json.dumps(first)
    (several,) = answer(graph_of(kind="multi_label", threshold=0.3), [[0.0, -5.0, -0.5]])
    assert several["label"] == ["a", "c"]
    (even,) = answer(graph_of(kind="multi_label", threshold=0.5), [[0.0, -5.0, -1e-3]])
    assert even["label"] == ["a"]  # what reaches the threshold is given
    assert answer(graph_of(labels=(), kind="regression"), [[1.5]]) == [{"value": 1.5}]


@pytest.fixture(scope="module")
def encoder(tmp_path_factory):
    folder = toy.write_checkpoint(tmp_path_factory.mktemp("weights"), layers=1, hidden=16)
    return huggingface.load_backbone(folder)[0]


def task_head(tensors, labels):
    return huggingface.TaskHead(tensors, id2label=dict(enumerate(labels)))


def test_a_checkpoints_classifier_is_taken_only_with_the_same_labels(encoder):
    graph = head_of().build(encoder, vocabulary_of(), 0)
    tensors = {
        "classifier.weight": np.arange(48, dtype=np.float32).reshape(3, 16),
        "classifier.bias": np.arange(3, dtype=np.float32),
    }
    misshapen = {"classifier.weight": np.zeros((2, 16)), "classifier.bias": np.zeros(2)}
    for refused, labels in (
        (tensors, "abd"),
        (tensors, "ab"),
        (tensors, ""),
        (misshapen, "abc"),
        ({}, "abc"),
    ):
        before = graph.layers[-1].kernel.numpy()
        assert (
            graph.load_tensors(task_head(refused, labels)).tensors == []
            and (graph.layers[-1].kernel.numpy() == before).all()
        )
    assert graph.load_tensors(task_head(tensors, "abc")).tensors == [
        "classifier.weight",
        "classifier.bias",
    ]
    saved, updates = graph.save_tensors()
    assert all((saved[name] == tensors[name]).all() for name in tensors) and set(saved) == set(
        tensors
    )
    assert updates == {
        "architectures": ["BertForSequenceClassification"],
        "problem_type": "single_label_classification",
        "id2label": {"0": "a", "1": "b", "2": "c"},
        "label2id": {"a": 0, "b": 1, "c": 2},
    }


def test_initial_values_depend_on_the_seed_alone(encoder):
    def kernel(seed):
        graph = head_of().build(encoder, vocabulary_of(), seed)
        return graph.layers[-1].kernel.numpy()

    assert (kernel(1) == kernel(1)).all() and (kernel(1) != kernel(2)).any()


def test_an_empty_field_is_no_label_where_several_are_allowed():
    assert reader_of(kind="multi_label").label(example(label="")) == ()


def test_auc_is_no_metric_of_three_classes():
    assert "auc_roc" not in metric_names(("a", "b", "c"))
    assert "auc_roc" in metric_names(("a", "b"))
    unknown = head_of().available_metrics()
    assert [metric.name for metric in unknown] == metric_names(("a", "b"))
