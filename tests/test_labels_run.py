"""A run on labels that are not what they should be: trained, scored, exported and asked."""

import json

import pytest
from sklearn import metrics as sklearn_metrics

from tests import toy

pytestmark = pytest.mark.heavy


@pytest.fixture(scope="module")
def unseen(tmp_path_factory, toy_weights):
    """A run whose validation has a label that train has not,
    and whose train has some without any.
    """
    folder = tmp_path_factory.mktemp("unseen")
    rows = [
        *toy.sentences(40),
        {"text": "the film", "label": None},
        {"text": "a film", "label": "-"},
        {"text": "a great actor", "label": ["pos "]},
    ]
    toy.write_jsonl(
        folder / "dev.jsonl", toy.sentences(18, seed=1, labels=("neg", "pos", "neutral"))
    )
    config = toy.write_config(
        folder,
        toy_weights,
        toy.write_jsonl(folder / "train.jsonl", rows),
        data={"validation": str(folder / "dev.jsonl")},
        train={"steps": 20, "best_metric": "f1_macro"},
        export={"format": "savedmodel", "check_examples": 4},
    )
    assert toy.run_main(config, folder / "job") == 0
    return folder


def test_labels_that_only_validation_has_are_scored_as_missed(unseen):
    job = unseen / "job"
    results, plan = (json.loads((job / f"{name}.json").read_text()) for name in ("results", "plan"))
    assert plan["label_counts"] == {
        "train": {"neg": 20, "pos": 21},
        "validation": {"neg": 6, "pos": 6, "neutral": 6},
    }
    assert (
        plan["ledger"]["train"]["unlabelled"]["count"]
        == plan["ledger"]["train"]["unlabelled_marks"]["count"]
        == 1
    )
    assert json.loads((job / "ledger.json").read_text())["validation"]["unseen_labels"] == {
        "count": 6,
        "first": f"{unseen / 'dev.jsonl'}:3",
    }
    toy.run_main(
        None,
        job,
        "--mode=predict",
        f"--input={unseen / 'dev.jsonl'}",
        f"--output={unseen / 'answers.jsonl'}",
    )
    answers = toy.read_jsonl(unseen / "answers.jsonl")
    gold = [row["label"] for row in answers]
    given = [row["predicted_label"] for row in answers]
    assert set(given) <= {"neg", "pos"} and list(answers[0]["probabilities"]) == ["neg", "pos"]
    labels = ["neg", "pos", "neutral"]
    expected = {
        "accuracy": sklearn_metrics.accuracy_score(gold, given),
        "f1_macro": sklearn_metrics.f1_score(
            gold, given, labels=labels, average="macro", zero_division=0
        ),
    }
    assert {name: results["validation"][name] for name in expected} == pytest.approx(expected)
    assert results["per_label"]["validation"]["neutral"] == {
        "precision": 0.0,
        "recall": 0.0,
        "f1": 0.0,
        "support": 6,
    }


def test_other_data_is_evaluated_with_its_labels(unseen):
    toy.write_jsonl(
        unseen / "other.jsonl",
        [
            *toy.sentences(8, seed=2),
            {"text": "it", "label": -1},
            {"text": "we saw it", "label": "pos\t"},
        ],
    )
    assert (
        toy.run_main(
            None, unseen / "job", "--mode=evaluate", f"--data.validation={unseen / 'other.jsonl'}"
        )
        == 0
    )
    found = json.loads((unseen / "job" / "results_other_data.json").read_text())
    assert {
        name: scores["support"] for name, scores in found["per_label"]["validation"].items()
    } == {"neg": 4, "pos": 5}
