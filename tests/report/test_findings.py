"""What the report finds by itself: worse parts of the data, and labels that are wrong."""

import json

import numpy as np
import pytest

from tests.report import lines
from trainer.report.calibration import of, temperature
from trainer.report.slices import chance_of_worse, find_slices
from trainer.report.suspects import as_lines, find_suspects
from trainer.report.tasks import single_label

NAMES = ("a", "b")


def test_a_planted_slice_is_found():
    answers = list(lines.drawn(600, NAMES, right=0.9))
    generator = np.random.default_rng(5)
    for place in range(0, 600, 10):
        line = answers[place]
        text = f"{line['inputs']['text']} with a zebra"
        wrong = "b" if line["gold"] == "a" else "a"
        answer = wrong if generator.random() < 0.5 else line["gold"]
        answers[place] = {**line, "inputs": {"text": text}, "answer": answer}
    found = find_slices(answers, single_label.TASK.goodness(answers))
    assert found[0].kind == "word" and found[0].name in ("zebra", "with")
    assert found[0].inside < found[0].outside - 0.2 and found[0].p_value < 0.05
    assert found[0].examples == 60


def test_none_is_found_where_there_is_none():
    vocabulary = [f"word{chr(97 + n // 26)}{chr(97 + n % 26)}" for n in range(60)]
    found = 0
    for seed in range(100):
        generator = np.random.default_rng(seed)
        answers = list(lines.drawn(200, NAMES, seed=seed))
        for line in answers:
            line["inputs"] = {"text": " ".join(generator.choice(vocabulary, 6))}
        found += bool(find_slices(answers, single_label.TASK.goodness(answers)))
    assert found <= 9  # five are to be expected; more than nine once in 35


def test_the_chance_is_that_of_shuffled_examples():
    generator = np.random.default_rng(2)
    goodness = generator.random(80)
    members = generator.random((6, 80)) < 0.4
    worst = []
    for _ in range(2000):
        shuffled = generator.permutation(goodness)
        differences = [
            (shuffled[each].mean() - goodness.mean()) / (goodness.std() * _error(each))
            for each in members
        ]
        worst.append(min(differences))
    observed = [
        (goodness[each].mean() - goodness.mean()) / (goodness.std() * _error(each))
        for each in members
    ]
    expected = [np.mean(np.array(worst) <= value) for value in observed]
    found = chance_of_worse(members.astype(np.float32), goodness)
    assert found == pytest.approx(expected, abs=0.05)


def _error(members):
    """The standard error of a mean of so many of 80 without replacement."""
    size = members.sum()
    return np.sqrt((80 - size) / (80 - 1) / size)


def test_planted_mistakes_of_labels_are_found():
    answers = list(lines.drawn(1000, NAMES, right=0.95))
    flipped = set(range(0, 1000, 20))
    for place in flipped:
        line = answers[place]
        answers[place] = {**line, "gold": "b" if line["gold"] == "a" else "a"}
    suspects = find_suspects({"test": answers})
    first = {suspect.id for suspect in suspects[:100]}
    assert len(first & flipped) >= 0.7 * len(flipped)
    suspect = json.loads(as_lines(suspects).splitlines()[0])
    assert suspect["gold"] != suspect["suggested"] and suspect["origin"].startswith("test.csv:")


def test_labels_that_train_does_not_have_and_a_single_one_are_no_suspects():
    answers = list(lines.drawn(40, NAMES))
    new = [{**line, "gold": "new"} for line in answers]
    assert find_suspects({"test": new}) == []
    assert find_suspects({"test": [{**line, "gold": "a"} for line in answers]}) == []
    assert find_suspects({"test": [{"gold": 1.0, "answer": 2.0}]}) == []


def test_calibration_of_what_says_the_truth_and_of_what_does_not():
    generator = np.random.default_rng(0)
    sure = generator.uniform(0.5, 1, 20_000)
    honest = generator.random(20_000) < sure
    assert of(sure, honest).error < 0.02
    assert of(sure, np.zeros(20_000, bool)).error == pytest.approx(sure.mean(), abs=1e-6)
    assert sum(each.answers for each in of(sure, honest).bins) == 20_000


def test_the_temperature_undoes_a_scale():
    generator = np.random.default_rng(0)
    logits = generator.normal(size=(5000, 3))
    shares = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    gold = np.array([generator.choice(3, p=share) for share in shares])
    scaled = np.exp(2 * logits) / np.exp(2 * logits).sum(1, keepdims=True)
    assert temperature(scaled, gold) == pytest.approx(2, rel=0.1)
