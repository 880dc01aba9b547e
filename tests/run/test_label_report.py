"""What is said of the labels before training."""

import json
import types

import pytest

from tests import toy
from trainer.run.label_report import count_line, label_counts, label_lines, range_lines

pytestmark = pytest.mark.heavy


def test_the_most_frequent_labels_are_shown_and_the_rest_counted():
    assert count_line({"b": 3, "a ": 1_000, "c": 0}) == "b (3), 'a ' (1,000)"
    assert (
        count_line({f"l{number:02}": number for number in range(30)})
        == "l29 (29), l28 (28), l27 (27), l26 (26), l25 (25), l24 (24), l23 (23), l22 (22) and 21"
        " more"
    )
    assert label_lines({"train": {"a": 1}, "test": {"a": 2}}) == ["train a (1)", "test a (2)"]


def test_splits_without_labels_have_no_line():
    head = types.SimpleNamespace(label_counts=lambda vocabulary, store: store)
    assert label_counts(head, {}, {"train": {"a": 1}, "test": {}}) == {"train": {"a": 1}}


def test_numbers_have_a_range():
    head = types.SimpleNamespace(label_range=lambda store: store)
    assert range_lines(head, {"train": (0.0, 2.6112, 5.0), "test": None}) == [
        "train 0 to 5, mean 2.611"
    ]


@pytest.fixture
def plan(tmp_path, toy_weights, capsys):
    """Plans with some rows, and returns plan.json, ledger.json and what was shown."""

    def run(train, validation=None, *arguments, **sections):
        files = {"train": toy.write_jsonl(tmp_path / "train.jsonl", train)}
        if validation:
            files["validation"] = toy.write_jsonl(tmp_path / "dev.jsonl", validation)
        data = {**{split: str(file) for split, file in files.items()}, **sections.pop("data", {})}
        config = toy.write_config(tmp_path, toy_weights, files["train"], data=data, **sections)
        assert toy.run_main(config, tmp_path / "job", "--mode=plan", *arguments) == 0
        facts, ledger = (
            json.loads((tmp_path / "job" / name).read_text())
            for name in ("plan.json", "ledger.json")
        )
        assert facts["ledger"] == ledger
        return facts, ledger, capsys.readouterr().err

    return run


def numbered(labels):
    return [
        {"text": f"the film {toy.FILLER[number % 30]} {number}", "label": label}
        for number, label in enumerate(labels)
    ]


def test_all_labels_are_in_the_plan_and_unlabelled_examples_in_neither(plan):
    labels = [f"intent {number % 12}" for number in range(60)]
    facts, ledger, shown = plan(
        numbered([*labels, None, "-", "hamm"]), numbered(["intent 3", "intent 11 ", "other"])
    )
    assert (
        facts["label_counts"]["train"]
        == {**{f"intent {number}": 5 for number in range(12)}, "hamm": 1}
        == facts["labels"]
    )
    assert {
        name: count for name, count in facts["label_counts"]["validation"].items() if count
    } == {"intent 3": 1, "intent 11": 1, "other": 1}
    assert facts["splits"]["train"]["examples"] == 61
    assert (
        ledger["train"]["unlabelled"]["count"]
        == ledger["train"]["unlabelled_marks"]["count"]
        == ledger["train"]["rare_labels"]["count"]
        == 1
    )
    assert {
        kind: entry["count"] for kind, entry in ledger["validation"].items() if "label" in kind
    } == {"label_blanks": 1, "unseen_labels": 1, "absent_labels": 11}
    assert (
        "labels: train intent 0 (5), intent 1 (5)," in shown
        and " and 5 more\n" in shown
        and "labels: fewer than 3 examples in train: hamm (1)" in shown
    )
    assert "labels: validation intent 11 (1), intent 3 (1), other (1)\n" in shown


def test_a_class_may_be_left_out(plan):
    rows = numbered(["neg", "pos", "unsup"] * 20)
    test = numbered(["neg", "pos"] * 10)
    facts, _, shown = plan(rows, test)
    assert (
        list(facts["labels"]) == ["neg", "pos", "unsup"]
        and "labels: validation has no example of unsup, of which train has 20" in shown
    )
    facts, ledger, shown = plan(rows, test, "--data.exclude_labels=[unsup]")
    assert (
        facts["labels"] == {"neg": 20, "pos": 20}
        and ledger["train"]["excluded_labels"]["count"] == 20
        and "warning" not in shown
    )


def test_the_same_text_with_another_label_is_told(plan):
    rows = numbered(["neg", "pos"] * 10)
    _, ledger, _ = plan(
        [*rows, {**rows[3], "label": "neg"}], [rows[0], {**rows[1], "label": "neg"}]
    )
    assert ledger["train"]["contradicting_labels"] == {
        "count": 2,
        "first": ledger["train"]["contradicting_labels"]["first"],
    }
    assert ledger["train"]["contradicting_labels"]["first"].endswith("train.jsonl:4")
    assert ledger["validation"]["contradicting_train"]["count"] == 1 and ledger["validation"][
        "contradicting_train"
    ]["first"].endswith("dev.jsonl:2")


def test_minus_one_is_a_class_or_none(plan):
    facts, ledger, shown = plan(numbered([-1, 0, 1] * 10))
    assert (
        facts["labels"] == {"-1": 10, "0": 10, "1": 10}
        and "unlabelled_marks" not in ledger["train"]
    )
    assert (
        "labels: -1 is read as a class. If it means that there is no gold label:"
        " --data.exclude_labels=[-1]" in shown
    )
    facts, ledger, shown = plan(numbered([*[0, 1, 2] * 10, -1, -1]))
    assert (
        facts["labels"] == {"0": 10, "1": 10, "2": 10}
        and ledger["train"]["unlabelled_marks"]["count"] == 2
    )
    assert (
        "2 examples whose label says that there is none (-1, -, nan, null), left out; to make it a"
        " class, name it in head.labels" in shown
    )
    facts, ledger, _ = plan(
        numbered([*[0, 1, 2] * 10, -1, -1]), None, "--head.labels=['-1','0','1','2']"
    )
    assert (
        facts["labels"] == {"-1": 2, "0": 10, "1": 10, "2": 10}
        and "unlabelled_marks" not in ledger["train"]
    )


def test_fields_of_0_and_1(plan):
    rows = [
        {"text": f"the film {number}", "toxic": number % 2, "rude": int(number % 3 == 0)}
        for number in range(12)
    ]
    facts, _, _ = plan(
        [*rows, {"text": "a", "toxic": -1, "rude": -1}],
        None,
        "--data.label=[toxic, rude]",
        head={"kind": "multi_label"},
    )
    assert facts["labels"] == {"toxic": 6, "rude": 4} and facts["splits"]["train"]["examples"] == 12


def test_types_of_entities_are_counted(plan):
    rows = [
        {"text": ["the", "film", "Bond"], "label": ["O", "B-work", "I-work"]},
        {"text": ["Berlin"], "label": ["B-place"]},
    ] * 4
    facts, _, shown = plan(
        rows, [{"text": ["Paris"], "label": ["B-place"]}], head={"name": "token_classification"}
    )
    assert facts["label_counts"] == {
        "train": {"place": 4, "work": 4},
        "validation": {"place": 1, "work": 0},
    }
    assert "labels: train place (4), work (4)\n" in shown
