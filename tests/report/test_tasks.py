"""What is said of each kind of answers, beside other libraries, in both languages."""

import json

import numpy as np
import pytest

from tests.report import lines
from trainer.files.writing import json_text
from trainer.report.make import make_report
from trainer.report.page import page
from trainer.report.parts.setup import setup
from trainer.report.say import speaker
from trainer.report.tasks import questions, single_label, spans
from trainer.settings.schema import ReportSettings

ENGLISH = speaker("en")
HOSTILE = '<script>alert("x")</script> \ud800 & $x^2$ 房间'


def several(number):
    gold = [name for name in "abc" if number % (ord(name) - 90) == 0]
    shares = {name: 0.9 if name in gold else 0.2 for name in "abc"}
    return {
        **lines.place(number, text="a film"),
        "gold": gold,
        "answer": gold if number % 3 else ["a"],
        "loss": 0.1 * number,
        "probabilities": shares,
    }


def number(place):
    return {**lines.place(place, text="a"), "gold": float(place % 5), "answer": 2.0, "loss": 1.0}


def row(place):
    line = {"split": "test", "id": place, "origin": f"t.txt:{place}"}
    return {**line, "tokens": 10 + place, "correct": place, "loss": 2 + 0.01 * place}


def generated(place):
    return {**row(place), **lines.place(place, text="ein Film"), "gold": "a film", "answer": "film"}


TAGS = {"gold": ["N", "V"], "answer": ["N", "N"], "score": 0.5, "loss": 0.2}
QUESTIONS = [
    lines.question(0, "who made it?", ["Anna"], "Anna", 1.0),
    lines.question(1, "when was it made?", ["May", "in May"], "the film", 0.0),
    lines.question(2, "why?", [], "", 1.0),
]
EVERY = {
    "one label": ({"name": "classification"}, lines.drawn(60, ("a", "b", "c"))),
    "two labels": ({"name": "prompt"}, lines.drawn(60, ("a", "b"))),
    "several": ({"name": "classification", "kind": "multi_label"}, list(map(several, range(40)))),
    "numbers": ({"name": "classification", "kind": "regression"}, list(map(number, range(40)))),
    "tags": (
        {"name": "token_classification"},
        [{**lines.place(place, text="a b"), **TAGS} for place in range(30)],
    ),
    "spans": (
        {"name": "token_classification"},
        [lines.tagged(place, "B-x I-x O B-y", "B-x O O B-x") for place in range(30)],
    ),
    "questions": ({"name": "question_answering"}, QUESTIONS * 10),
    "language": ({"name": "causal_lm"}, list(map(row, range(30)))),
    "generation": ({"name": "text_generation"}, list(map(generated, range(30)))),
    "of another": ({"name": "their_own"}, [lines.place(0, text="a")]),
}


@pytest.mark.parametrize("language", ["en", "zh"])
@pytest.mark.parametrize("kind", EVERY)
def test_each_kind_makes_a_page_and_the_same_facts(kind, language):
    head, answers = EVERY[kind]
    settings = ReportSettings(language=language)
    report = make_report(lines.evidence(answers, head), settings)
    facts = json.loads(json_text({section.key: section.facts for section in report.sections}))
    assert list(facts)[:3] == ["verdict", "setup", "learning"]
    assert ("failures" in facts) == (kind != "of another")
    written = page(report.title, report.sections, language)
    assert written.count("<section") == len(report.sections) == written.count("</section>")
    assert "http" not in written.replace("http://www.w3.org", "")  # no network
    said = "Verdict" if language == "en" else "结论"
    assert said in written
    assert len(written.encode()) < 1_500_000


def test_what_the_data_say_is_text():
    answers = [dict(line) for line in lines.drawn(40, ("a", HOSTILE))]
    for line in answers:
        line["inputs"] = {"text": HOSTILE}
    report = make_report(lines.evidence(answers, {"name": "classification"}), ReportSettings())
    written = page(report.title, report.sections, "en")
    assert "<script>alert" not in written and "&lt;script&gt;alert" in written
    assert written.encode()
    assert "房间" in written


def test_labels_and_areas_are_what_scikit_learn_says():
    from sklearn.metrics import classification_report, confusion_matrix, roc_auc_score

    names = ("a", "b", "c")
    answers = lines.drawn(400, names)
    sections = single_label.TASK.sections(
        lines.evidence(answers, {"name": "classification"}), ENGLISH
    )
    facts = {section.key: section.facts for section in sections}
    gold, answer = ([line[name] for line in answers] for name in ("gold", "answer"))
    expected = classification_report(gold, answer, output_dict=True)
    for name in names:
        found = facts["labels"]["per_label"][name]
        assert found["f1"] == pytest.approx(expected[name]["f1-score"])
        assert found["support"] == expected[name]["support"]
    assert facts["labels"]["confusion"] == confusion_matrix(gold, answer, labels=names).tolist()
    shares = np.array([list(line["probabilities"].values()) for line in answers])
    areas = roc_auc_score(gold, shares, multi_class="ovr", average="macro", labels=names)
    assert facts["curves"]["auc_roc"]["macro"] == pytest.approx(areas)


def test_what_became_of_spans():
    texts = [
        lines.tagged(0, "B-x I-x O B-y", "B-x I-x O B-x"),  # right; another type
        lines.tagged(1, "B-x I-x O O", "B-x O O B-y"),  # another border; invented
        lines.tagged(2, "B-x I-x", "B-y O"),  # another type and border
        lines.tagged(3, "B-x", "O"),  # missed
    ]
    (section,) = spans.TASK.sections(
        lines.evidence(texts, {"name": "token_classification"}), ENGLISH
    )
    assert section.facts["fates"] == {
        "right": 1,
        "type": 1,
        "border": 1,
        "both": 1,
        "missed": 1,
        "invented": 1,
    }
    assert section.facts["per_label"]["x"]["support"] == 4
    if not spans.HAS_SCHEMES:  # on Python 3.10
        return
    strict, exact = section.facts["schemes"]["strict"], section.facts["schemes"]["exact"]
    assert strict["f1"] == pytest.approx(2 * 1 / (5 + 5))
    assert exact["f1"] == pytest.approx(2 * 2 / (5 + 5))


def test_questions_by_what_is_asked():
    (section,) = questions.TASK.sections(
        lines.evidence(QUESTIONS, {"name": "question_answering"}), ENGLISH
    )
    words = section.facts["question_words"]
    assert {name: found["f1"] for name, found in words.items()} == {
        "who": 100,
        "when": 0,
        "why": 100,
    }
    assert section.facts["answer_words"]["no answer"]["questions"] == 1


def test_the_worst_come_first():
    answers = lines.drawn(50, ("a", "b"))
    worst = single_label.TASK.mistakes(answers, ENGLISH).lines
    scores = [answers[place]["score"] for place in worst]
    assert scores == sorted(scores, reverse=True)
    assert all(answers[place]["gold"] != answers[place]["answer"] for place in worst)


@pytest.mark.parametrize(
    ("wanted", "met"),
    [
        ({"accuracy": 0.5}, True),
        ({"accuracy": 0.9}, False),
        ({"loss": 0.6}, True),
        ({"x": 1}, False),
    ],
)
def test_what_is_asked_is_met_or_not(wanted, met):
    found = lines.evidence(
        lines.drawn(30, ("a", "b")), {"name": "classification"}, test={"accuracy": 0.7, "loss": 0.5}
    )
    report = make_report(found, ReportSettings(require=wanted))
    assert (report.unmet == []) == met
    written = page(report.title, report.sections, "en")
    assert ("Met: " in written) == met


def test_the_cost_is_there_where_a_price_is():
    run = lines.evidence(lines.drawn(30, ("a", "b")), {"name": "classification"})
    run.results["timeline"] = {"train_s": 3000.0, "evaluate_s": 600.0}
    run.plan["replicas"] = 4
    assert setup(run, ENGLISH).facts["cost"] is None
    run.config["plan"] = {"price_per_chip_hour": 1.5}
    found = setup(run, ENGLISH)
    assert found.facts["cost"] == 6
    assert "cost, by plan.price_per_chip_hour" in found.html()


@pytest.mark.parametrize(
    ("accuracy", "said"),
    [
        (0.97, "is no better than that"),
        (0.7, "is within that interval"),
        (0.4, "is ahead"),
    ],
)
def test_the_verdict_names_the_best_simple_method(accuracy, said):
    run = lines.evidence(
        lines.drawn(30, ("a", "b")), {"name": "classification"}, test={"accuracy": 0.7}
    )
    run.baselines["bag_of_words"] = {"test": {"accuracy": accuracy}, "seconds": 1.0}
    run.baselines["majority"]["test"]["accuracy"] = 0.3
    sections = {each.key: each for each in make_report(run, ReportSettings()).sections}
    assert said in sections["verdict"].html() and "TF-IDF" in sections["verdict"].html()
    assert said in sections["baselines"].html()
