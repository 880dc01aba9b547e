"""What a run keeps of each answer, and that its metrics follow from it."""

import json

import pytest

from tests import toy
from tests.scored_again import require_same_scores
from trainer.run.predictions_file import _line

pytestmark = pytest.mark.heavy  # runs train
FILE = "predictions.jsonl"


@pytest.fixture
def run(tmp_path, toy_weights):
    """A function that trains on rows, and returns the lines of predictions.jsonl."""

    def train(rows, validation, *arguments, **sections):
        config = toy.write_config(
            tmp_path,
            toy_weights,
            toy.write_jsonl(tmp_path / "train.jsonl", rows),
            **{
                "train": {"steps": 4},
                "data": {"validation": str(toy.write_jsonl(tmp_path / "v.jsonl", validation))},
                **sections,
            },
        )
        assert toy.run_main(config, tmp_path / "job", *arguments) == 0
        file = tmp_path / "job" / FILE
        return toy.read_jsonl(file) if file.exists() else None

    return train


def results(folder):
    return json.loads((folder / "job/results.json").read_text())


def test_each_example_has_its_place_inputs_gold_and_answer(run, tmp_path):
    rows = list(toy.sentences(24))
    held_out = [*toy.sentences(6, seed=4), {"text": "a film", "label": "new"}]
    lines = run(rows, held_out)
    require_same_scores(tmp_path / "job", results(tmp_path))
    assert [line["inputs"] for line in lines] == [{"text": row["text"]} for row in held_out]
    assert [line["gold"] for line in lines] == [row["label"] for row in held_out]
    assert lines[3]["origin"] == f"{tmp_path}/v.jsonl:4"
    assert lines[-1]["loss"] is None  # of a label that train does not have
    assert {line["answer"] for line in lines} <= {"neg", "pos"}


@pytest.mark.parametrize("kind", ["multi_label", "regression"])
def test_several_labels_and_numbers(kind, run, tmp_path):
    def labelled(row):
        label = ["a", row["label"]] if kind == "multi_label" else float(len(row["text"]))
        return {**row, "label": label}

    rows = list(map(labelled, toy.sentences(24)))
    held_out = list(map(labelled, toy.sentences(9, seed=4)))
    if kind == "multi_label":
        held_out[2]["label"] = ["new"]
    lines = run(rows, held_out, head={"name": "classification", "kind": kind})
    require_same_scores(tmp_path / "job", results(tmp_path))
    assert [line["gold"] for line in lines] == [row["label"] for row in held_out]


def test_it_can_be_left_out(run):
    assert run(toy.sentences(24), toy.sentences(6, seed=4), "--report.predictions=false") is None


def test_other_data_have_a_file_of_their_own(run, tmp_path):
    before = run(toy.sentences(24), toy.sentences(6, seed=4))
    other = toy.write_jsonl(tmp_path / "other.jsonl", toy.sentences(5, seed=6))
    asked = ("--mode=evaluate", f"--data.validation={other}")
    assert toy.run_main(None, tmp_path / "job", *asked) == 0
    assert toy.read_jsonl(tmp_path / "job" / FILE) == before
    assert len(toy.read_jsonl(tmp_path / "job/predictions_other_data.jsonl")) == 5


def test_a_persons_own_file_is_not_replaced(run, tmp_path, capsys):
    run(toy.sentences(24), toy.sentences(6, seed=4), "--report.predictions=false")
    mine = tmp_path / "job" / FILE
    mine.write_text('{"text": "a film", "label": "pos"}\n')
    assert toy.run_main(None, tmp_path / "job", "--mode=evaluate") == 2
    assert f"holds {FILE}, which podtune did not write" in capsys.readouterr().err
    assert mine.read_text() == '{"text": "a film", "label": "pos"}\n'


def test_what_utf8_and_json_have_not_is_still_json():
    line = _line({"text": "a \ud800 film, 好看"})
    assert line.encode() and json.loads(line) == {"text": "a \ud800 film, 好看"}
    assert _line({"loss": float("nan"), "all": [1.0, float("inf")], "of": {"a": 0.5}}) == (
        '{"loss": null, "all": [1.0, null], "of": {"a": 0.5}}\n'
    )
