"""What other thresholds give, beside scikit-learn and counting by hand."""

import numpy as np
import pytest
from sklearn.metrics import f1_score, precision_recall_curve, precision_score, recall_score

from tests.report import lines
from trainer.report import thresholds
from trainer.report.say import speaker
from trainer.report.tasks import multi_label, single_label

ENGLISH = speaker("en")


def scored(seed=0, count=400, digits=2):
    """Gold labels and scores with ties."""
    generator = np.random.default_rng(seed)
    gold = generator.random(count) < 0.3
    scores = np.clip(generator.normal(0.35 + 0.3 * gold, 0.2), 0, 1).round(digits)
    return gold, scores


@pytest.mark.parametrize("digits", [1, 2, 12])
def test_counts_are_scikit_learns_at_every_threshold(digits):
    gold, scores = scored(digits=digits)
    counts = thresholds.counts_of(gold, scores)
    precision, recall, places = precision_recall_curve(gold, scores)
    assert np.array_equal(counts.thresholds[:-1], places)
    assert np.allclose(counts.precision, precision)
    assert np.allclose(counts.recall, recall)
    for threshold in (0.0, 0.31, 0.5, 0.999, 1.0):
        given = scores >= threshold
        place = counts.at(threshold)
        assert counts.precision[place] == precision_score(gold, given, zero_division=1)
        assert counts.recall[place] == recall_score(gold, given)
        assert counts.f1[place] == pytest.approx(f1_score(gold, given))


def test_the_best_threshold_is_that_of_trying_all():
    gold, scores = scored()
    counts = thresholds.counts_of(gold, scores)
    facts, _ = thresholds.of_label("spam", counts, None, ENGLISH)
    tried = [f1_score(gold, scores >= threshold) for threshold in np.unique(scores)]
    assert facts["f1_with_it"] == pytest.approx(max(tried))
    for row in facts["costs"]:
        wrong = [
            np.mean((scores >= each) & ~gold) + row["missed"] * np.mean((scores < each) & gold)
            for each in [*np.unique(scores), 2.0]
        ]
        assert row["cost"] == pytest.approx(min(wrong))
        now = np.mean((scores >= 0.5) & ~gold) + row["missed"] * np.mean((scores < 0.5) & gold)
        assert row["cost_with_0.5"] == pytest.approx(now)


def test_the_cost_curve_is_the_lower_envelope():
    gold, scores = scored()
    counts = thresholds.counts_of(gold, scores)
    weight = np.array([0.0, 0.2, 0.5, 1.0])
    best, now = thresholds.cost_curve(counts, weight)
    for place, share in enumerate(weight):
        costs = [
            share * np.mean(scores[gold] < each) + (1 - share) * np.mean(scores[~gold] >= each)
            for each in [*np.unique(scores), 2.0]
        ]
        assert best[place] == pytest.approx(min(costs))
        of_half = share * np.mean(scores[gold] < 0.5) + (1 - share) * np.mean(scores[~gold] >= 0.5)
        assert now[place] == pytest.approx(of_half)
    assert best[0] == best[-1] == 0  # always, and never, costs nothing there


def test_validation_chooses_and_the_judged_split_counts():
    gold, scores = scored(seed=1)
    counts = thresholds.counts_of(gold, scores)
    other = thresholds.counts_of(*scored(seed=2))
    facts, _ = thresholds.of_label("spam", counts, other, ENGLISH)
    assert facts["f1_threshold"] == other.thresholds[other.f1.argmax()]
    assert facts["f1_with_it"] == pytest.approx(f1_score(gold, scores >= facts["f1_threshold"]))


def test_the_surest_answers_are_counted():
    sure = np.array([0.9, 0.5, 0.8, 0.6, 0.7])
    right = np.array([True, False, True, False, False])
    facts, _ = thresholds.sureness(sure, right, ENGLISH)
    assert facts["selective"] == [
        {"answered": 1.0, "right": 0.4, "sure": 0.5},
        {"answered": 0.95, "right": 0.4, "sure": 0.5},
        {"answered": 0.9, "right": 0.5, "sure": 0.6},
        {"answered": 0.8, "right": 0.5, "sure": 0.6},
        {"answered": 0.6, "right": pytest.approx(2 / 3), "sure": 0.7},
    ]


def test_the_report_takes_the_rarer_of_two_labels():
    answers = lines.drawn(200, ("ham", "spam"))
    answers = [line for place, line in enumerate(answers) if line["gold"] == "ham" or place % 3]
    run = lines.evidence(answers, {"name": "classification"})
    sections = {each.key: each for each in single_label.TASK.sections(run, ENGLISH)}
    facts = sections["thresholds"].facts
    assert facts["label"]["label"] == "spam"
    golds, given = zip(*[(a["gold"], a["answer"]) for a in answers], strict=True)
    expected = f1_score(golds, given, pos_label="spam")
    assert facts["label"]["f1_with_0.5"] == pytest.approx(expected)
    of_three = lines.evidence(lines.drawn(60, ("a", "b", "c")), {"name": "classification"})
    sections = {each.key: each for each in single_label.TASK.sections(of_three, ENGLISH)}
    assert "label" not in sections["thresholds"].facts


def test_several_labels_have_one_threshold_and_those_unseen_are_missed():
    answers = [
        {"gold": ["a", "new"], "answer": ["a"], "probabilities": {"a": 0.8, "b": 0.4}},
        {"gold": ["b"], "answer": ["a"], "probabilities": {"a": 0.6, "b": 0.45}},
    ]
    answers = [{**lines.place(n, text="x"), "loss": 1.0, **a} for n, a in enumerate(answers)]
    head = {"name": "classification", "kind": "multi_label", "threshold": 0.5}
    run = lines.evidence(answers, head)
    sections = {each.key: each for each in multi_label.TASK.sections(run, ENGLISH)}
    assert sections["thresholds"].facts == {"threshold": 0.5, "f1_micro": pytest.approx(2 / 5)}
    chosen = lines.evidence(answers, head)
    chosen.splits["validation"] = answers
    sections = {each.key: each for each in multi_label.TASK.sections(chosen, ENGLISH)}
    assert sections["thresholds"].facts["best_threshold"] == 0.425
    assert sections["thresholds"].facts["best_f1_micro"] == pytest.approx(4 / 6)
