"""Whether answers stay where the meaning does."""

import numpy as np
import pytest

import podtune
from tests import toy
from trainer.report.robustness.flips import answerer, flips
from trainer.report.robustness.perturbations import PERTURBATIONS, perturbed


@pytest.mark.parametrize(
    ("name", "text", "changed"),
    [
        ("upper_case", "A lovely film.", "A LOVELY FILM."),
        ("lower_case", "A Lovely film.", "a lovely film."),
        ("no_punctuation", "It's a good, old-style film!", "It's a good old-style film"),
        ("no_punctuation", "房间很干净，早餐不错。", "房间很干净早餐不错"),
        ("other_width", "房间很干净，早餐不错！", "房间很干净,早餐不错!"),
        ("other_width", "房间很干净,OK", "房间很干净，ＯＫ"),
        ("other_sentence", "A film.", "A film. It was a Wednesday."),
        ("other_sentence", "好看。", "好看。那天是星期三。"),
    ],
)
def test_a_text_changes(name, text, changed):
    assert perturbed(name, text, 0) == changed


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("upper_case", "房间"),
        ("lower_case", "a film"),
        ("no_punctuation", "a film"),
        ("no_punctuation", "?!"),
        ("other_width", "a film!"),
        ("typos", "a b c"),
        ("typos", "房间很干净"),
    ],
)
def test_what_stays_as_it_is_is_not_tried(name, text):
    assert perturbed(name, text, 0) is None


def test_typos_swap_letters_within_words():
    text = "the committee considered several alternatives yesterday evening"
    seen = set()
    for seed in range(50):
        changed = perturbed("typos", text, seed)
        seen.add(changed)
        words = zip(text.split(), changed.split(), strict=True)
        differing = [(old, new) for old, new in words if old != new]
        assert len(differing) == 1  # a tenth of six, and at least one
        ((old, new),) = differing
        assert sorted(old) == sorted(new) and old[0] == new[0]
    assert len(seen) > 10
    assert perturbed("typos", text, 7) == perturbed("typos", text, 7)


@pytest.mark.heavy
def test_answers_that_change_are_counted_and_shown(trained):
    kept = podtune.load(trained)._kept
    lines = toy.read_jsonl(trained / "predictions.jsonl")
    labels_of = answerer(kept)
    answers = labels_of([(line["inputs"]["text"],) for line in lines])
    assert answers == [line["answer"] for line in lines]
    found = flips(kept, lines, 30)
    assert set(found) <= set(PERTURBATIONS) and "other_width" not in found
    # an uncased tokenizer does not see case; a word with letters changed is unknown
    assert found["upper_case"]["flipped"] == 0
    assert found["typos"]["texts"] == 30
    for each in found.values():
        examples = each["examples"]
        assert len(examples) == min(5, each["flipped"])
        for example in examples:
            assert example["answer_before"] != example["answer_after"]
    again = labels_of(
        [(perturbed("typos", line["inputs"]["text"], line["id"]),) for line in lines[:10]]
    )
    assert np.shape(again) == (10,)
