"""Which model to take: parts that grow, halves that go on, and what the page says."""

import collections
import json
import shutil

import pytest

from podtune import choose
from tests import toy
from tests.report import lines
from trainer.errors import ConfigError
from trainer.report.choice import Trial, choice, rank
from trainer.report.say import speaker

Done = collections.namedtuple("Done", ["returncode"])


def trial(name, part, right, seconds=10.0, seed=0):
    answers = [{**line, "split": "validation"} for line in lines.drawn(300, ("a", "b"), seed=seed)]
    for place, line in enumerate(answers):
        line["answer"] = line["gold"] if place < right * 300 else {"a": "b", "b": "a"}[line["gold"]]
    run = lines.evidence([], {"name": "classification"})
    run.splits.clear()
    run.splits["validation"] = answers
    run.plan["splits"]["train"]["examples"] = int(1000 * part)
    run.plan["memory"] = {"weights_mb": 90}
    run.results["timeline"] = {"train_s": seconds}
    return Trial(name, part, run)


def test_parts_double_until_all_are_trained_on():
    assert list(choose.parts_of(2)) == [0.5, 1]
    assert list(choose.parts_of(3)) == list(choose.parts_of(4)) == [0.25, 0.5, 1]
    assert list(choose.parts_of(5)) == [0.125, 0.25, 0.5, 1]


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("hf://google-bert/bert-base-cased, weights/small/", ["bert-base-cased", "small"]),
        ("a/model,b/model", ["a", "b"]),
        ("a/large/cased,b/large/cased", ["a_large_cased", "b_large_cased"]),
        ("pkg://one/model,hf://x/two", ["one", "two"]),
    ],
)
def test_names_tell_models_apart(text, names):
    assert list(choose.names_of(text)) == names


@pytest.mark.parametrize("text", ["", "a", "a,a", ",".join(map(str, range(40)))])
def test_backbones_that_are_none_are_told(text):
    with pytest.raises(ConfigError, match="expected 2 to 32 weights"):
        choose.names_of(text)


def test_times():
    assert [choose.seconds_of(text) for text in ("90s", "30m", "1.5h")] == [90, 1800, 5400]
    for text in ("30", "m", "0m", "-3m"):
        with pytest.raises(ConfigError, match="a time such as 30m"):
            choose.seconds_of(text)


def test_the_best_is_taken_and_of_equals_the_quicker():
    trials = [trial("a", 0.5, 0.8), trial("b", 0.5, 0.9), trial("c", 0.5, 0.8, seconds=5)]
    assert rank(trials) == ["b", "c", "a"]


@pytest.mark.parametrize("language", ["en", "zh"])
def test_the_page_says_which_how_surely_and_what_more_data_brings(language):
    trials = [trial("a", 0.5, 0.6), trial("b", 0.5, 0.9), trial("b", 1.0, 0.95)]
    verdict, data = choice(trials, speaker(language))
    assert verdict.facts["best"] == "b" and verdict.facts["value"] == pytest.approx(0.95)
    (pair,) = verdict.facts["pairs"]
    assert (pair["name"], pair["part"], pair["is_better"]) == ("a", 0.5, True)
    assert pair["difference"] == pytest.approx(0.3) and pair["interval"][0] > 0
    (gain,) = data.facts["gains"]
    assert (gain["from"], gain["to"]) == (500, 1000)
    assert gain["gain"] == pytest.approx(0.05) and 0 < gain["interval"][0] < gain["interval"][1]
    assert "mathdefault" not in data.html() and "1,000" in data.html()
    assert "<svg" in data.html() and "b" in verdict.html()


def test_each_training_is_quiet_and_the_last_is_on_all(monkeypatch):
    """Whatever the config says of parts, of tests and of what must be met."""
    seen = []
    monkeypatch.setattr(
        choose.subprocess, "run", lambda command, check: seen.append(command) or Done(0)
    )
    asked = choose.Choice("c.yaml", {"a": "w"}, None, "f", ["--train.epochs=1"], None)
    assert choose._train(asked, "a", 0.5) == choose._train(asked, "a", 1.0) == 0
    assert "--data.part=0.5" in seen[0] and "--data.part=null" in seen[1]
    for command in seen:
        assert {"--report.behaviour=null", "--report.fail=false", "--export.format=none"} <= set(
            command
        )
        assert command[-1].startswith("--data.part=")  # behind those of the user, which it replaces


def test_the_budget_ends_it():
    asked = choose.Choice("c.yaml", {"a": "a", "b": "b"}, 60.0, "f", [], None)
    trials = [trial("a", 0.5, 0.8, seconds=10), trial("b", 0.5, 0.8, seconds=15)]
    assert choose._fits(asked, ["a"], trials, 39) and not choose._fits(asked, ["a"], trials, 41)
    assert choose._fits(asked, ["a"], [], 1000)


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--backbones=a"], "expected 2 to 32 weights"),
        (["--backbones=a,b", "--data.part=0.5"], "--data.part: podtune choose says it itself"),
        (["--backbones=a,b", "--budget=soon"], "a time such as 30m. Received 'soon'"),
        (["--backbones=a,b"], "models are compared on data.validation"),
        (
            ["--backbones=a,b", "--data.validation=0.2", "--head.name=causal_lm"],
            "head causal_lm is scored by token",
        ),
        (["--backbones=a,b", "--train.epochs=-1", "--data.validation=0.2"], "train.epochs"),
    ],
)
def test_mistakes_are_told_before_anything_is_trained(tmp_path, flags, said):
    (tmp_path / "train.jsonl").write_text('{"text": "a", "label": "x"}\n')
    config = toy.write_config(tmp_path, tmp_path / "none", tmp_path / "train.jsonl")
    with pytest.raises(ConfigError, match=said):
        choose.run([str(config), f"--job_dir={tmp_path}/c", *flags])
    assert not (tmp_path / "c").exists()
    with pytest.raises(ConfigError, match=r"expected one CONFIG, a YAML file. Received nothing"):
        choose.run(flags)


@pytest.mark.slow
def test_the_model_that_learns_is_taken(tmp_path, toy_weights, capfd):
    """Beside the same model with all weights frozen but for those above: it cannot look."""
    good = shutil.copytree(toy_weights, tmp_path / "good")
    small = toy.write_checkpoint(tmp_path / "small", hidden=8)
    config = toy.write_config(
        tmp_path,
        toy_weights,
        toy.write_sentences(tmp_path / "train.jsonl", 300),
        data={"validation": 0.3},
        train={"steps": None, "epochs": 3},
    )
    command = [str(config), f"--backbones={good},{small}", f"--job_dir={tmp_path}/choice"]
    assert choose.run(command) == 0
    said = capfd.readouterr().out
    facts = json.loads((tmp_path / "choice/choice.json").read_text("utf-8"))
    trials = facts["verdict"]["trials"]
    assert [(each["name"], each["part"]) for each in trials[:2]] == [("good", 0.5), ("small", 0.5)]
    assert len(trials) == 3 and trials[2]["part"] == 1
    assert 0.35 < trials[0]["examples"] / trials[2]["examples"] < 0.65
    assert f"take {facts['verdict']['best']}: accuracy " in said
    assert (tmp_path / "choice/good/plan/plan.json").exists()
    assert choose.run(command) == 0  # goes on: the page is made again
    again = json.loads((tmp_path / "choice/choice.json").read_text("utf-8"))
    assert again["verdict"]["best"] == facts["verdict"]["best"]
