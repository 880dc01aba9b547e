"""A fine-tuned checkpoint's output layer goes to the labels that it was trained for, whatever their
order, case and numbers.
"""

import json
from pathlib import Path

import numpy as np
import pytest

from tests import toy
from tests.golden.cases import of_task
from trainer.backbones import huggingface
from trainer.data.batch import Batch
from trainer.errors import WeightsError
from trainer.heads import classification, question_answering, token_classification
from trainer.heads._carried_over import label_rows
from trainer.run.model import Model
from trainer.settings.schema import DataSettings

GOLDEN = Path(__file__).parent.parent / "golden" / "backbones"
FAMILIES = of_task("ForSequenceClassification")
NAMES = ["spam", "ham", "Eggs", "not a-label"]


@pytest.mark.parametrize(
    ("theirs", "ours", "order", "remark"),
    [
        (["pos", "neg"], ["neg", "pos"], [1, 0], "by name, in the data's order"),
        (["neg", "pos"], ["neg", "pos"], [0, 1], ""),
        (
            ["NEGATIVE", "POSITIVE"],
            ["negative", "positive"],
            [0, 1],
            "NEGATIVE is negative, POSITIVE is positive",
        ),
        (
            ["not_entailment", "entailment"],
            ["Not Entailment", "entailment"],
            [0, 1],
            "not_entailment is Not Entailment",
        ),
        (["\uff30\uff2f\uff33", "neg"], ["neg", "POS"], [1, 0], "\uff30\uff2f\uff33 is POS"),
        (["Pos", "pos"], ["pos", "Pos"], [1, 0], "by name, in the data's order"),
        (["Pos", "pos"], ["pos", "POS"], [1, 0], "Pos is POS"),
        (["LABEL_0", "LABEL_1"], ["0", "1"], [0, 1], "LABEL_0 is 0, and so on"),
        (["LABEL_0", "LABEL_1", "LABEL_2"], ["2", "0", "1"], [2, 0, 1], "LABEL_2 is 2, and so on"),
        (["LABEL_1", "LABEL_0"], ["0", "1"], [1, 0], "LABEL_0 is 0, and so on"),
        (None, ["0", "1"], [0, 1], "LABEL_0 is 0, and so on"),
        (["0", "1"], ["LABEL_1", "LABEL_0"], [1, 0], "1 is LABEL_1, and so on"),
        (
            ["a", "b", "c"],
            ["c", "a"],
            [2, 0],
            "by name, in the data's order; without its rows for b",
        ),
        (["体育", "财经"], ["财经", "体育"], [1, 0], "by name, in the data's order"),
    ],
)
def test_rows_by_name(theirs, ours, order, remark):
    rows = label_rows(theirs, ours, len(theirs or ours))
    assert (rows.order, rows.remark) == (order, remark)


@pytest.mark.parametrize(
    ("theirs", "ours", "count", "remark"),
    [
        (
            ["LABEL_0", "LABEL_1"],
            ["neg", "pos"],
            2,
            (
                "the checkpoint's labels have no names (LABEL_0, LABEL_1), so which is neg, pos is"
                " not known: "
            ),
        ),
        (["LABEL_0", "LABEL_1"], ["1", "2"], 2, "so which is 1, 2 is not known"),
        (
            ["LABEL_0", "LABEL_1", "LABEL_2"],
            ["0", "1"],
            3,
            (
                "the checkpoint's 3 labels have no names (LABEL_0, LABEL_1, LABEL_2), the data has"
                " 2: name"
            ),
        ),
        (
            ["a", "b"],
            ["a", "b", "c"],
            2,
            (
                "the checkpoint has no row for c; its labels are a, b. Where these are the same,"
                " name them alike"
            ),
        ),
        (["a", "A"], ["\uff41"], 2, "the checkpoint has no row for \uff41"),
        (["a"], ["A", "\uff41"], 1, "the checkpoint has no row for A, \uff41"),
        (
            ["a", "b", "c"],
            ["a", "b"],
            2,
            "id2label of the checkpoint's config.json has 3 names for 2 rows: correct it",
        ),
        (
            ["a\n", "b"],
            ["c", "d\x1b[2J"],
            2,
            "the checkpoint has no row for c, d\\x1b[2J; its labels are 'a\\n', b.",
        ),
        (
            [f"x{i}" for i in range(90)],
            [f"y{i}" for i in range(90)],
            90,
            "y4, y5 and 84 more; its labels are x0,",
        ),
    ],
)
def test_rows_that_are_not_known(theirs, ours, count, remark):
    rows = label_rows(theirs, ours, count)
    assert rows.order is None and remark in rows.remark, rows.remark


def test_a_list_that_the_user_gave_names_unnamed_rows():
    rows = label_rows(["LABEL_0", "LABEL_1"], ["neg", "pos"], 2, can_list=True, listed=True)
    assert (rows.order, rows.remark) == (
        [0, 1],
        "in the order of head.labels: LABEL_0 is neg, LABEL_1 is pos",
    )
    assert label_rows(["LABEL_0", "LABEL_1"], ["1", "0"], 2, can_list=True, listed=True).order == [
        1,
        0,
    ]
    assert label_rows(["pos", "neg"], ["neg", "pos"], 2, can_list=True, listed=True).order == [1, 0]


def carried(module, folder, labels, names=NAMES, **settings):
    """A head on a golden checkpoint whose rows are called `names`, and what its load said."""
    head = module.make_head(
        module.Settings(**settings),
        DataSettings(source="jsonl", train="", text="text", seq_len=128),
        toy.TEMPLATE,
    )
    backbone, _ = huggingface.load_backbone(folder, pooler=module is classification)
    scheme = "bio" if labels and labels[0] == "O" else "none"
    vocabulary = {"labels": labels, "train_counts": dict.fromkeys(labels, 1), "scheme": scheme}
    graph = head.build(backbone, vocabulary, 1)
    model = Model(backbone, graph)
    theirs = huggingface.read_task_head(folder)
    said = graph.load_tensors(
        huggingface.TaskHead(
            theirs.tensors,
            dict(enumerate(names)),
            problem_type=theirs.problem_type,
            task=theirs.task,
        )
    )
    inputs = dict(np.load(GOLDEN / "inputs.npz"))
    logits = model.logits(Batch.one_a_row(inputs)).numpy()
    return (
        logits,
        said,
        np.load(folder / "outputs.npz")["logits"],
        inputs["padding_mask"].astype(bool),
    )


@pytest.mark.parametrize("family", FAMILIES)
def test_permuted_labels_give_pytorchs_logits_permuted(family):
    logits, said, expected, _ = carried(
        classification, GOLDEN / family, ["eggs", "NOT A LABEL", "spam"]
    )
    assert (
        said.output
        and said.remark == "Eggs is eggs, not a-label is NOT A LABEL; without its rows for ham"
    )
    np.testing.assert_allclose(logits, expected[:, [2, 3, 0]], atol=1e-5, rtol=0)


@pytest.mark.parametrize("family", of_task("ForTokenClassification"))
def test_permuted_tags_give_pytorchs_logits_permuted(family):
    logits, said, expected, real = carried(
        token_classification,
        GOLDEN / family,
        ["O", "B-loc", "I-loc"],
        ["I-LOC", "B-PER", "O", "B-LOC"],
    )
    assert (
        said.output and said.remark == "B-LOC is B-loc, I-LOC is I-loc; without its rows for B-PER"
    )
    np.testing.assert_allclose(logits[real], expected[real][:, [2, 3, 0]], atol=1e-5, rtol=0)


@pytest.mark.parametrize(
    ("family", "hidden"),
    [
        ("distilbert", "pre_classifier"),
        ("electra", "classifier.dense"),
        ("roberta", "classifier.dense"),
        ("xlm_roberta", "classifier.dense"),
    ],
)
def test_the_layer_below_is_taken_whatever_the_labels(family, hidden):
    logits, said, expected, _ = carried(classification, GOLDEN / family, ["x", "y", "z", "spam"])
    assert said.tensors == [f"{hidden}.weight", f"{hidden}.bias"] and not said.output
    assert (
        "the checkpoint has no row for x, y, z; its labels are spam, ham, Eggs, not a-label."
        in said.remark
    )
    assert np.abs(logits - expected).max() > 0.1  # the output layer is a new one


def test_tags_of_another_scheme_are_not_taken():
    _, said, _, _ = carried(
        token_classification,
        GOLDEN / "bert_no_pooler",
        ["O", "B-x", "I-x"],
        ["O", "B-x", "I-x", "S-x"],
    )
    assert (
        not said.output
        and said.remark
        == "the checkpoint tags spans otherwise, with S-x, and here tags are B-, I- and O"
    )


def test_a_layer_of_another_task_is_not_taken():
    """BERT's classifier of tokens has the name and the shape of that of texts."""
    _, said, _, _ = carried(
        classification,
        GOLDEN / "bert_no_pooler",
        ["0", "1", "2", "3"],
        [f"LABEL_{row}" for row in range(4)],
    )
    assert (
        said.tensors == []
        and said.remark == "the checkpoint's are those of another task, ForTokenClassification"
    )
    _, said, _, _ = carried(token_classification, GOLDEN / "bert", NAMES)
    assert (
        said.tensors == []
        and said.remark == "the checkpoint's are those of another task, ForSequenceClassification"
    )


def test_a_regression_takes_one_row():
    _, said, _, _ = carried(classification, GOLDEN / "bert", [], kind="regression")
    assert (
        said.remark == "the checkpoint's have 4 rows, a regression has one. For labels set"
        " --head.kind=single_label"
    )


def test_of_another_kind_the_rows_are_taken_and_it_is_said(tmp_path):
    folder = toy.write_fine_tuned(tmp_path, ["a", "b"], problem_type="single_label_classification")
    head = classification.make_head(
        classification.Settings(kind="multi_label"),
        DataSettings(source="jsonl", train=""),
        toy.TEMPLATE,
    )
    graph = head.build(
        huggingface.load_backbone(folder)[0],
        {"labels": ["b", "a"], "train_counts": {"a": 1, "b": 1}},
        seed=1,
    )
    said = graph.load_tensors(huggingface.read_task_head(folder))
    assert (
        said.output
        and said.remark
        == "by name, in the data's order; they were trained as single_label_classification, "
        "so its probabilities are not yet those of head.kind multi_label"
    )
    np.testing.assert_array_equal(graph.layers[-1].bias, [-3, 3])


def test_answers_are_those_of_start_and_end():
    head = question_answering.make_head(
        question_answering.Settings(),
        DataSettings(source="jsonl", train="", text=["q", "c"]),
        toy.TEMPLATE,
    )
    graph = head.build(
        huggingface.load_backbone(GOLDEN / "bert", pooler=False)[0],
        {"labels": [], "unanswerable": False},
        seed=1,
    )
    said = graph.load_tensors(
        huggingface.TaskHead(
            {"qa_outputs.weight": np.zeros((3, 30)), "qa_outputs.bias": np.zeros(3)}
        )
    )
    assert (
        not said.output
        and said.remark == "the checkpoint's qa_outputs has 3 rows, not those of start and end"
    )


def accuracy_and_output(tmp_path, capsys, theirs, rows, **head):
    """Validation accuracy of a checkpoint that always says its first label, barely trained; and
    what was said.
    """
    weights = toy.write_fine_tuned(tmp_path / "weights", theirs)
    config = toy.write_config(
        tmp_path,
        weights,
        toy.write_jsonl(tmp_path / "train.jsonl", rows),
        head=head,
        data={"validation": 0.5},
        train={"steps": 1, "learning_rate": 1e-9, "warmup_fraction": 0.0},
    )
    assert toy.run_main(config, tmp_path / "job") == 0
    results = json.loads((tmp_path / "job" / "results.json").read_text())
    return results["validation"]["accuracy"], capsys.readouterr()


def lines_about_weights(output):
    return [line.strip() for line in (output.out + output.err).splitlines() if "weights:" in line]


@pytest.mark.parametrize(
    ("theirs", "remark"),
    [
        (["positive", "negative"], ": by name, in the data's order"),
        (["POSITIVE", "NEGATIVE"], ": NEGATIVE is negative, POSITIVE is positive"),
    ],
)
def test_a_fine_tuned_checkpoint_answers_as_before(tmp_path, capsys, theirs, remark):
    rows = [
        {**row, "label": "positive" if number % 4 else "negative"}
        for number, row in enumerate(toy.sentences(64))
    ]
    accuracy, output = accuracy_and_output(tmp_path, capsys, theirs, rows)
    assert 0.6 < accuracy < 0.9  # the share of positive
    assert lines_about_weights(output) == [
        f"weights: the head's layers come from the checkpoint{remark}"
    ]


def test_labels_without_names_say_what_to_set(tmp_path, capsys):
    _, output = accuracy_and_output(tmp_path, capsys, ["LABEL_0", "LABEL_1"], toy.sentences(32))
    assert lines_about_weights(output) == [
        "weights: classifier.bias, classifier.weight in the checkpoint, not used",
        (
            "weights: the head's layers start from random values: the checkpoint's labels have no"
            " names (LABEL_0, LABEL_1), so which is neg, pos is not known: list the data's labels"
            " in the checkpoint's order with head.labels, or name them in id2label of the"
            " checkpoint's config.json"
        ),
    ]


def test_a_resumed_run_says_nothing_of_where_the_weights_started(tmp_path, capsys):
    weights = toy.write_checkpoint(tmp_path / "weights", weights=False)
    config = toy.write_config(tmp_path, weights, toy.write_sentences(tmp_path / "train.jsonl", 32))
    assert toy.run_main(config, tmp_path / "job") == 0
    assert "starts from random values" in capsys.readouterr().err
    assert toy.run_main(config, tmp_path / "job") == 0
    again = capsys.readouterr().err
    assert (
        "resuming after step 4 of 4" in again
        and "random values" not in again
        and "weights:" not in again
    )


def test_damaged_labels_are_one_message(tmp_path):
    folder = toy.write_fine_tuned(tmp_path, ["a", "b"])
    content = json.loads((folder / "config.json").read_text())
    for key, value in (
        ("id2label", ["a", "b"]),
        ("id2label", {"x": "a"}),
        ("id2label", {"0": None}),
        ("label2id", {"a": "x"}),
        ("label2id", {"a": 0.5}),
    ):
        (folder / "config.json").write_text(json.dumps(content | {key: value}))
        with pytest.raises(
            WeightsError,
            match=(
                rf"config.json: {key} is .*: expected labels by their rows, such as .*. Correct it,"
                r" or remove"
            ),
        ):
            huggingface.read_task_head(folder)
