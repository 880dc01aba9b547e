"""Several runs on the same examples."""

import dataclasses

import numpy as np
import pytest

from podtune import compare as verb
from tests.report import lines
from trainer.errors import ConfigError
from trainer.files.writing import write_text
from trainer.report.compare import compare, paired
from trainer.report.intervals import mean_of
from trainer.report.page import page
from trainer.report.say import speaker

NAMES = ("a", "b", "c")
ENGLISH = speaker("en")


def run(name, answers, head="classification"):
    """A run by a name."""
    return dataclasses.replace(lines.evidence(answers, {"name": head}), name=name)


def two(count=300, better=0.3):
    """Answers to the same questions, of which the second ones are better."""
    first = list(lines.drawn(count, NAMES, right=0.6))
    second = list(first)
    generator = np.random.default_rng(3)
    for place in range(count):
        if generator.random() < better:
            gold = first[place]["gold"]
            second[place] = {**first[place], "answer": gold}
    return first, second


def test_the_better_run_is_told_with_its_interval_and_what_it_gained():
    first, second = two()
    sections = {
        each.key: each for each in compare([run("old", first), run("new", second)], ENGLISH)
    }
    facts = sections["verdict"].facts
    gained = sum(
        one["answer"] != one["gold"] == other["answer"]
        for one, other in zip(first, second, strict=True)
    )
    (pair,) = facts["pairs"]
    assert facts["best"] == "new" and pair["name"] == "old"
    assert pair["difference"] == pytest.approx(gained / 300)
    assert (pair["only_best"], pair["only_other"]) == (gained, 0)
    assert pair["interval"][0] > 0 and pair["p_value"] < 0.01
    assert len(sections["flips"].facts["new over old"]) == gained
    for language in ("en", "zh"):
        made = compare([run("old", first), run("new", second)], speaker(language))
        assert "old" in page("new, old", made, language)


def test_mcnemar_is_what_scipy_says_and_the_bootstrap_is_paired():
    from scipy.stats import binomtest

    generator = np.random.default_rng(0)
    best = (generator.random(400) < 0.8).astype(float)
    other = np.where(generator.random(400) < 0.1, 1 - best, best)
    found = paired("other", mean_of("a", best), mean_of("a", other), best, other)
    only_best, only_other = int(np.sum(best > other)), int(np.sum(best < other))
    expected = binomtest(only_best, only_best + only_other).pvalue
    assert found.p_value == pytest.approx(expected)
    error = np.sqrt(np.mean((best - other - (best - other).mean()) ** 2) / 400)
    width = found.interval.high - found.interval.low
    assert width == pytest.approx(2 * 1.96 * error, rel=0.15)  # unpaired, it would be twice that


def test_the_same_answers_are_not_better():
    first, _ = two()
    (section, *_) = compare([run("a", first), run("b", first)], ENGLISH)
    (pair,) = section.facts["pairs"]
    assert pair["difference"] == 0 and pair["p_value"] == 1


def test_lower_is_better_where_it_is():
    def rows(loss):
        return [
            {"split": "test", "id": n, "origin": "t:1", "tokens": 9, "correct": 1, "loss": loss}
            for n in range(30)
        ]

    runs = [run("bad", rows(3.0), "causal_lm"), run("good", rows(2.0), "causal_lm")]
    assert compare(runs, ENGLISH)[0].facts["best"] == "good"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda one: run("x", two()[0][:-1]), "have 299 and 300 examples"),
        (lambda one: run("x", [{**one[0], "inputs": {"text": "?"}}, *one[1:]]), "differ at test"),
        (lambda one: run("x", one, "their_own"), "expected runs of one task"),
        (
            lambda one: dataclasses.replace(run("x", one), splits={"validation": one}),
            "share no split",
        ),
    ],
)
def test_what_cannot_be_compared_is_told(change, said):
    first, _ = two()
    with pytest.raises(ConfigError, match=said):
        compare([run("a", first), change(first)], ENGLISH)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "expected two runs or more. Received nothing"),
        (["runs/a"], "expected two runs or more. Received runs/a"),
        (["runs/a", "runs/a"], "runs/a is named twice"),
        (["a", "b", "--language=de"], "expected en or zh. Received 'de'"),
        (["a", "b", "--output=x.pdf"], "ends in .html. Received 'x.pdf'"),
        (["a", "b", "--train.epochs=3"], "takes no settings"),
        (["a", "b"], "no config.yaml there"),
    ],
)
def test_mistakes_of_the_command_are_told(arguments, said, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match=said):
        verb.run(arguments)


@pytest.mark.parametrize("name", ["page.html", "page.json"])
def test_a_persons_page_is_not_replaced(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_text(tmp_path / name, "mine")
    with pytest.raises(ConfigError, match="was not written by podtune"):
        verb.run(["a", "b", "--output=page.html"])
