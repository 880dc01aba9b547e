"""Figures with intervals: the same as other libraries give, and as sure as they say."""

import numpy as np
import pytest

from tests.report import lines
from trainer.report import intervals
from trainer.report.tasks import multi_label, regression, single_label, spans

NAMES = ("a", "b", "c")


def test_a_measure_is_what_scikit_learn_says():
    from sklearn.metrics import accuracy_score, f1_score

    answers = lines.drawn(300, NAMES)
    gold, answer = ([line[name] for line in answers] for name in ("gold", "answer"))
    accuracy, f1_macro = single_label.TASK.measures(answers)
    assert accuracy.value == pytest.approx(accuracy_score(gold, answer))
    assert f1_macro.value == pytest.approx(f1_score(gold, answer, average="macro"))


def test_a_resampled_measure_is_that_of_the_drawn_examples():
    answers = lines.drawn(40, NAMES)
    of_macro = single_label.TASK.measures(answers)[1]
    weights = np.random.default_rng((0, 40)).multinomial(40, np.full(40, 1 / 40), size=1000)
    again = [answers[place] for place in np.repeat(np.arange(40), weights[7])]
    known = single_label.TASK.measures([*again])[1]
    if {line["gold"] for line in again} == set(NAMES):
        assert of_macro.resampled()[7] == pytest.approx(known.value)


def test_of_numbers_it_is_what_scipy_says():
    from scipy import stats

    generator = np.random.default_rng(3)
    gold = 1e4 + generator.normal(size=200)
    answer = gold + generator.normal(size=200)
    rows = [
        {"gold": a, "answer": b, "loss": (a - b) ** 2} for a, b in zip(gold, answer, strict=True)
    ]
    pearson, mse = regression.TASK.measures(rows)
    assert pearson.value == pytest.approx(stats.pearsonr(gold, answer).statistic)
    assert mse.value == pytest.approx(np.mean((gold - answer) ** 2))
    constant = [{**row, "answer": 1.0} for row in rows]
    assert regression.TASK.measures(constant)[0].value == 0


def test_of_spans_it_is_what_seqeval_says():
    from seqeval.metrics import f1_score
    from seqeval.scheme import IOB2

    texts = [
        lines.tagged(0, "B-x I-x O B-y", "B-x I-x O B-x"),
        lines.tagged(1, "O B-x I-x", "O B-x O"),
        lines.tagged(2, "O O", "B-y B-y"),
    ]
    gold, answer = ([line[name] for line in texts] for name in ("gold_tags", "answer_tags"))
    strict = f1_score(gold, answer, mode="strict", scheme=IOB2)
    assert spans.TASK.measures(texts)[0].value == pytest.approx(strict)


def test_of_several_labels_it_is_what_scikit_learn_says():
    rows = [
        {"gold": ["a"], "answer": ["a", "b"]},
        {"gold": ["b", "c"], "answer": ["b"]},
        {"gold": [], "answer": []},
    ]
    f1, accuracy = multi_label.TASK.measures(rows)
    assert f1.value == pytest.approx(2 * 2 / (3 + 3)) and accuracy.value == pytest.approx(1 / 3)


@pytest.mark.parametrize("share", [0.6, 0.9])
def test_the_interval_holds_the_truth_about_as_often_as_it_says(share):
    generator = np.random.default_rng(1)
    held = 0
    for _ in range(400):
        right = (generator.random(150) < share).astype(float)
        low, high = intervals.percentiles(
            intervals.mean_of("accuracy", right).resampled(resamples=400)
        )
        held += low <= share <= high
    assert 0.91 <= held / 400 <= 0.98


def test_shares_have_wilsons_interval():
    assert intervals.wilson(8, 10) == pytest.approx((0.4901625, 0.9433178), abs=1e-6)
    assert intervals.wilson(0, 0) == (0, 1)
