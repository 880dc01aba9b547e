"""One config with several seeds."""

import dataclasses

import numpy as np
import pytest

from podtune import modes, seeds
from tests import toy
from tests.report import lines
from trainer.errors import ConfigError
from trainer.report.page import page
from trainer.report.say import speaker
from trainer.report.stability import spread_of, stability


def of_seed(seed, answers, **metrics):
    """The run of a seed."""
    found = lines.evidence(answers, {"name": "classification"}, test=metrics)
    return dataclasses.replace(found, name=f"seed {seed}")


def test_the_interval_is_students():
    from scipy import stats

    values = [0.81, 0.84, 0.79, 0.86, 0.83]
    found = spread_of(values)
    expected = stats.t.interval(0.95, 4, np.mean(values), stats.sem(values))
    assert (found.low, found.high) == pytest.approx(expected)
    assert found.deviation == pytest.approx(np.std(values, ddof=1))


def test_scores_and_agreement():
    first = list(lines.drawn(50, ("a", "b")))
    second = list(first)
    for place in (3, 7):
        other = "b" if first[place]["answer"] == "a" else "a"
        second[place] = {**first[place], "answer": other}
    runs = [
        of_seed(0, first, accuracy=0.8, loss=0.5),
        of_seed(1, second, accuracy=0.7, loss=0.6),
        of_seed(2, first, accuracy=0.9, loss=0.4),
    ]
    sections = {each.key: each for each in stability(runs, speaker("en"))}
    assert sections["verdict"].facts["metrics"]["accuracy"]["mean"] == pytest.approx(0.8)
    agreement = sections["agreement"].facts
    assert sorted(agreement["differing"]) == [3, 7]
    assert agreement["agreed"] == pytest.approx(48 / 50)
    for language in ("en", "zh"):
        assert "seed 1" in page("seeds", stability(runs, speaker(language)), language)


def test_numbers_do_not_agree_or_disagree():
    rows = [{**lines.place(n, text="a"), "gold": 1.0, "answer": 2.0, "loss": 1.0} for n in range(9)]
    runs = [
        dataclasses.replace(
            lines.evidence(rows, {"name": "classification", "kind": "regression"}), name=name
        )
        for name in ("seed 0", "seed 1")
    ]
    assert [each.key for each in stability(runs, speaker("en"))] == ["verdict"]


@pytest.mark.parametrize(
    ("text", "numbers"),
    [("0..4", [0, 1, 2, 3, 4]), ("7, 1,3..4", [7, 1, 3, 4]), ("5..5,6", [5, 6])],
)
def test_seeds_are_numbers_or_ranges(text, numbers):
    assert seeds.seeds_of(text) == numbers


@pytest.mark.parametrize("text", ["", "x", "1", "3..1", "0,0", "0..3,2", "-1..2", "0..1000000000"])
def test_seeds_that_are_none_are_told(text):
    with pytest.raises(ConfigError, match=r"--seeds: expected .* Received"):
        seeds.seeds_of(text)


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--train.seed=3"], "--train.seed and --mode are said by it"),
        (["--data.validation=null"], "the config has neither"),
        (["--report.predictions=false"], "report.predictions, which is false"),
    ],
)
def test_what_has_no_seeds_is_told_at_once(tmp_path, flags, said):
    config = tmp_path / "c.yaml"
    config.write_text(
        "head: {name: classification}\nbackbone: {weights: w}\n"
        "data: {source: jsonl, train: t.jsonl, validation: 0.5}\n"
    )
    with pytest.raises(ConfigError, match=said):
        modes.train([str(config), "--seeds=0..1", *flags])


@pytest.mark.slow
def test_each_seed_is_a_run_that_goes_on(tmp_path, toy_weights, capfd):
    config = toy.write_config(
        tmp_path,
        toy_weights,
        toy.write_sentences(tmp_path / "train.jsonl", 40),
        train={"steps": 2},
        data={"validation": 0.5},
    )
    arguments = [str(config), "--seeds", "0,3", f"--job_dir={tmp_path}/job"]
    assert modes.train(arguments) == 0
    written = (tmp_path / "job/stability.html").read_text("utf-8")
    assert "seed 0" in written and "seed 3" in written
    losses = [toy.read_jsonl(tmp_path / f"job/seed_{n}/metrics.jsonl")[0]["loss"] for n in (0, 3)]
    assert losses[0] != losses[1]
    before = (tmp_path / "job/seed_0/metrics.jsonl").read_bytes()
    assert modes.train(arguments) == 0
    assert (tmp_path / "job/seed_0/metrics.jsonl").read_bytes() == before
    assert f"stability: {tmp_path}/job/stability.html" in capfd.readouterr().out
