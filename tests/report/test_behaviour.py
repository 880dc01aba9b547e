"""Behavioural tests: what a file may say, the cases that it makes, and what the model answers."""

import json
import shutil

import pytest

import podtune
from tests import toy
from trainer.errors import ConfigError, UnmetError
from trainer.heads.classification import Settings as Classification
from trainer.heads.token_classification import Settings as Tagging
from trainer.report.behaviour.ask import _has, _tried, labels_of, try_tests
from trainer.report.behaviour.suite import (
    BehaviouralTest,
    Case,
    cases_of,
    read_suite,
    require_askable,
    require_labels,
)

SUITE = """
tests:
  - name: praise
    kind: minimum_functionality
    templates: ["a {good} {thing}"]
    slots: {good: [great, awful], thing: [film, house]}
    expect: pos
    at_least: 0.5
  - name: places do not matter
    kind: invariance
    templates: ["{where} a {good} film"]
    slots: {where: [we saw, the house, the dog], good: [great, awful]}
    vary: where
  - name: capital letters do not matter
    kind: invariance
    templates: [a great film]
    change: upper_case
  - name: from awful to great
    kind: direction
    templates: ["a {good} film", "the {good} house"]
    slots: {good: [awful, great]}
    vary: good
    raises: pos
"""


def write(folder, text):
    file = folder / "tests.yaml"
    file.write_text(text, "utf-8")
    return str(file)


def test_the_cases_of_a_file(tmp_path):
    praise, places, capitals, awful = read_suite(write(tmp_path, SUITE), ["text"])
    assert [case.asked for case in cases_of(praise, ["text"])] == [
        (("a great film",),),
        (("a great house",),),
        (("a awful film",),),
        (("a awful house",),),
    ]
    assert [case.asked for case in cases_of(places, ["text"])] == [
        (("we saw a great film",), ("the house a great film",)),
        (("we saw a great film",), ("the dog a great film",)),
        (("we saw a awful film",), ("the house a awful film",)),
        (("we saw a awful film",), ("the dog a awful film",)),
    ]
    (case,) = cases_of(capitals, ["text"])
    assert case.asked == (("a great film",), ("A GREAT FILM",))
    assert [case.asked[1][0] for case in cases_of(awful, ["text"])] == [
        "a great film",
        "the great house",
    ]


def test_a_slot_stands_in_both_texts_of_a_pair():
    test = BehaviouralTest(
        name="pair",
        kind="minimum_functionality",
        templates=[{"question": "who is {name}?", "context": "{name} is a cook"}],
        slots={"name": ["Anna", "小明"]},
        expect="a cook",
    )
    assert [case.asked for case in cases_of(test, ["question", "context"])] == [
        (("who is Anna?", "Anna is a cook"),),
        (("who is 小明?", "小明 is a cook"),),
    ]


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        (SUITE, "", "tests.yaml:1: expected `tests:`"),
        ("tests:", "test:", "expected `tests:`"),
        ("kind: minimum_functionality", "kind: mft", "tests.yaml:3: kind: .*Received 'mft'"),
        ("expect: pos", "raises: pos", "it needs expect, and neither vary"),
        ("    expect: pos\n", "", "it needs expect"),
        ("vary: where", "expect: pos", "it needs vary or change"),
        ("raises: pos", "change: typos", "it needs vary and one of raises and lowers"),
        ("thing: [film, house]", "things: [film]", r"slots: \{thing\} stands in a template"),
        ("[film, house]}", "[film], other: [a]}", "slots: other stands in no template"),
        ("where: [we saw, the house, the dog]", "where: [we]", "two values or more"),
        ("upper_case", "louder", "change: expected one of typos, .* Received louder"),
        ("at_least: 0.5", "at_least: 2", "at_least: .*less than or equal to 1. Received 2"),
        ("name: from awful to great", "name: praise", "two tests have the name praise"),
        ("- name: praise", "- name: praise\n    colour: red", "colour: Extra inputs"),
        ("- name: praise\n", "- praise\n  - name: praise\n", "expected a test, with name"),
        ("[a great film]", "[{a: b}]", "a template of this head has text. Received a"),
        ("[film, house]}", f"[{', '.join(map(str, range(6000)))}]}}", "the tests make 12,0"),
        ("tests:", "tests: [", "not valid YAML"),
        ("[a great film]", "[房间]", "capital letters do not matter: it makes no case"),
    ],
)
def test_what_is_no_test_is_told_with_its_line(tmp_path, before, after, said):
    assert before in SUITE
    with pytest.raises(ConfigError, match=said):
        read_suite(write(tmp_path, SUITE.replace(before, after, 1)), ["text"])


def test_a_label_that_there_is_not_and_a_file_that_there_is_not(tmp_path):
    tests = read_suite(write(tmp_path, SUITE), ["text"])
    require_labels(tests, ["neg", "pos"])
    with pytest.raises(ConfigError, match=r"praise: no label 'pos'. The labels: a, b"):
        require_labels(tests, ["a", "b"])
    with pytest.raises(ConfigError, match=r"report.behaviour=.*cannot be read: No such file"):
        read_suite(str(tmp_path / "none.yaml"), ["text"])


def test_what_an_answer_says():
    assert labels_of({"label": "a", "probabilities": {"a": 1.0}}) == ["a"]
    assert labels_of({"label": ["a", "b"]}) == ["a", "b"]
    assert labels_of({"entities": [{"type": "PER", "text": "Anna"}]}) == ["PER"]
    assert labels_of({"answer": "May", "score": 0.5}) == ["May"]
    assert labels_of({"generated_text": "x"}) == ["x"]
    entities = {"entities": [{"type": "PER", "text": "Anna", "score": 0.91}]}
    assert _has(entities, {"entities": [{"type": "PER", "text": "Anna"}]}, 0)
    assert not _has(entities, {"entities": []}, 0)
    assert not _has(entities, {"entities": [{"type": "LOC"}]}, 0)
    assert _has({"value": 2.4}, {"value": 2.5}, 0.2) and not _has({"value": 2.4}, {"value": 2}, 0.2)


def test_what_a_head_cannot_be_asked_is_told(tmp_path):
    tests = read_suite(write(tmp_path, SUITE), ["text"])
    require_askable(tests, Classification(name="classification"))
    with pytest.raises(ConfigError, match=r"from awful to great: answers of head token_class"):
        require_askable(tests, Tagging(name="token_classification"))
    number = Classification(name="classification", kind="regression")
    with pytest.raises(ConfigError, match=r"praise: a number is expected as {value: 2.5}"):
        require_askable(tests[:1], number)
    with pytest.raises(ConfigError, match=r"expected value, which is what a number is called"):
        require_askable(tests[3:], number)
    require_askable([tests[3].model_copy(update={"raises": "value"})], number)


def test_a_share_that_is_reached_is_met():
    """0.55 of 100 cases is 55.00000000000001 in floats."""
    test = BehaviouralTest(
        name="a", kind="minimum_functionality", templates=["x"], expect="pos", at_least=0.55
    )
    answers = [{"label": "pos" if number < 55 else "neg"} for number in range(100)]
    cases = [Case((("x",),))] * 100
    assert _tried(test, cases, lambda asked: answers)["is_met"]
    answers[0] = {"label": "neg"}
    assert not _tried(test, cases, lambda asked: answers)["is_met"]


@pytest.mark.heavy
def test_a_run_fails_for_its_tests_without_a_report_too(trained, tmp_path, capsys):
    job = shutil.copytree(trained, tmp_path / "job")
    suite = write(tmp_path, SUITE.replace("at_least: 0.5", "at_least: 1"))
    flags = ["--mode=evaluate", f"--report.behaviour={suite}"]
    assert toy.run_main(None, job, *flags) == 0
    assert toy.run_main(None, job, *flags, "--report.fail") == 3
    assert "behavioural test praise: 2 of 4 cases pass, wanted 100%" in capsys.readouterr().err
    assert json.loads((job / "behaviour.json").read_text("utf-8"))["praise"]["passed"] == 2
    assert toy.run_main(None, job, "--mode=evaluate", "--report.fail") == 0  # none asked for
    assert "praise" not in (job / "behaviour.json").read_text("utf-8")
    assert toy.run_main(None, job, "--mode=evaluate", "--report.behaviour=none.yaml") == 2


@pytest.mark.heavy
def test_a_model_is_asked(trained, tmp_path):
    kept = podtune.load(trained)._kept
    tests = read_suite(write(tmp_path, SUITE), ["text"])
    found = try_tests(kept, tests)
    praise = found["praise"]
    assert (praise["cases"], praise["passed"], praise["is_met"]) == (4, 2, True)
    assert praise["failures"][0]["asked"] == [["a awful film"]]
    assert praise["failures"][0]["answered"][0]["label"] == "neg"
    for name in list(found)[1:]:
        assert found[name]["is_met"] and not found[name]["failures"]
    lowers = tests[3].model_copy(update={"raises": None, "lowers": "pos"})
    assert try_tests(kept, [lowers])["from awful to great"]["passed"] == 0
    wrong = tests[3].model_copy(update={"raises": "loud"})
    with pytest.raises(ConfigError, match="no probability of loud"):
        try_tests(kept, [wrong])


@pytest.mark.heavy
@pytest.mark.parametrize("least", [0.25, 0.75])
def test_only_what_is_met_is_exported(tmp_path, toy_weights, least, capsys):
    suite = write(tmp_path, SUITE.replace("at_least: 0.5", f"at_least: {least}"))
    config = toy.write_config(
        tmp_path,
        toy_weights,
        toy.write_sentences(tmp_path / "train.jsonl", 128),
        data={"validation": 0.2},
        train={"steps": 30},
        report={"write": True, "behaviour": suite, "explained": 0, "perturbed": 0, "probed": 0},
        export={"format": "huggingface", "only_if_met": True},
    )
    job = tmp_path / "job"
    is_met = least < 0.5
    assert toy.run_main(config, job) == (0 if is_met else 3)
    said = capsys.readouterr().err
    results = json.loads((job / "results.json").read_text("utf-8"))
    facts = json.loads((job / "report.json").read_text("utf-8"))
    assert facts["behaviour"]["praise"]["is_met"] == is_met
    assert (job / "huggingface").exists() == is_met == ("model" in results)
    if is_met:
        return
    assert "behavioural test praise: 2 of 4 cases pass, wanted 75%" in said
    assert "The model is not exported" in said
    assert toy.run_main(None, job, "--mode=export") == 3
    assert not (job / "huggingface").exists()
    assert toy.run_main(None, job, "--mode=export", "--export.only_if_met=false") == 0
    assert (job / "huggingface").exists()


@pytest.mark.heavy
def test_tests_that_are_none_are_told_before_training(tmp_path, toy_weights, capsys):
    train = toy.write_sentences(tmp_path / "train.jsonl", 40)
    for text, said in (
        (SUITE.replace("expect: pos", "expect: good"), "no label 'good'"),
        (SUITE.replace("expect: pos", "colour: red"), "tests.yaml:3: colour"),
    ):
        report = {"behaviour": write(tmp_path, text)}
        config = toy.write_config(tmp_path, toy_weights, train, report=report)
        assert toy.run_main(config, tmp_path / "job") == 2
        assert said in capsys.readouterr().err
        assert not (tmp_path / "job/metrics.jsonl").exists()


def test_unmet_has_its_own_exit_code():
    assert UnmetError.exit_code == 3
