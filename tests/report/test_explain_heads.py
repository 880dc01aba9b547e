"""Why, of every head whose answers are sums of logits: spans, answers, words at a mask."""

import json

import numpy as np
import pytest
import tensorflow as tf

import podtune
from podtune import explain as verb
from tests import toy
from trainer.data.batch import Batch
from trainer.heads.contract import Target
from trainer.report.explain.kept import gold_of, is_right
from trainer.report.explain.texts import Explainer

pytestmark = pytest.mark.heavy  # runs train
HEADS = ("tags", "questions", "prompt", "last token")
REPORT = {"write": True, "explained": 4, "perturbed": 0}
TEXTS = {
    "text": "we saw the great film of the house, awful",
    "question": "film?",
    "context": "the great film of the house 房间",
}


@pytest.fixture(scope="module", params=HEADS)
def job(request, tmp_path_factory):
    """The job_dir of a run with that head."""
    folder = tmp_path_factory.mktemp("explained")
    train = {"steps": 30, "learning_rate": 1e-2, "global_batch_size": 16}
    train["evaluate_every_steps"] = 30
    config = toy.write_head_config(folder, request.param, 60, train=train, report=REPORT)
    assert toy.run_main(config, folder / "job") == 0
    return folder / "job"


def test_the_report_explains_some_answers(job):
    found = json.loads((job / "explanations.json").read_text("utf-8"))["examples"]
    assert found
    for each in found:
        total = sum(share["value"] for share in each["shares"])
        difference = each["score"] - each["baseline"]
        assert total == pytest.approx(difference, abs=0.02 * abs(difference) + 1e-2)
        assert each["gap"] <= 0.01 or abs(difference) < 1e-2
        for share in each["shares"]:
            assert each["texts"][share["text"]][share["start"] : share["end"]].strip()
    assert "Why it answers so" in (job / "report.html").read_text("utf-8")


def test_places_are_those_of_the_tokens_that_are_read(job):
    """Of many texts at once, long ones among them: as many tokens, and their characters."""
    kept = podtune.load(job)._kept
    reader = kept.parts.head.reader
    texts = ["a film", "the house 房间 of the dog, " * 30, "", "great"]
    raw = [tf.constant(texts[::-1] if n else texts) for n in range(len(reader.inputs))]
    columns, _ = reader.encode(*raw)
    places = reader.places(*raw)
    ids = columns["token_ids"]
    assert places.row_lengths().numpy().tolist() == ids.row_lengths().numpy().tolist()
    text_of_row = columns.get("example", tf.range(len(texts))).numpy()
    placed = [[_placed(reader.tokenizer, text) for text in each.numpy()] for each in raw]
    seen = 0
    for row, text in enumerate(text_of_row):
        for token, (start, end, number) in zip(ids[row].numpy(), places[row].numpy(), strict=True):
            if start >= 0:
                assert (start, end, token) in placed[number][text]
                seen += 1
    assert seen > 10


def _placed(tokenizer, text):
    """The tokens of a text with the characters that they stand for."""
    tokens = tokenizer.tokenize_with_offsets(tf.constant([text]))
    columns = (tokens.starts, tokens.ends, tokens.ids)
    return set(zip(*(column.values.numpy().tolist() for column in columns), strict=True))


def test_each_answer_is_a_sum_of_logits(job):
    """The score that is explained is that of the logits of the row by itself."""
    kept = podtune.load(job)._kept
    explainer = Explainer(kept)
    texts = tuple(TEXTS[item.name] for item in kept.parts.head.reader.inputs)
    answers = list(explainer.answers(texts))
    assert answers
    for answer in answers:
        found = explainer.explain(answer)
        logits = kept.model.logits(Batch.one_a_row(answer.columns))[0].numpy()
        assert found.score == pytest.approx(np.sum(logits * answer.target.weights), abs=1e-4)
        if found.start >= 0:
            assert texts[-1][found.start : found.end]


def test_the_verb_takes_the_inputs_of_the_head(job, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    names = [item.name for item in podtune.load(job)._kept.parts.head.reader.inputs]
    flags = [f"--{name}={TEXTS[name]}" for name in names]
    assert verb.run([str(job), *flags]) == 0
    said = capsys.readouterr().out
    assert said.endswith("explanation: explanation.html\n")
    facts = json.loads((tmp_path / "explanation.json").read_text("utf-8"))
    assert {"verdict", "attention"} <= set(facts)


def test_right_and_wrong_parts_of_answers():
    def target(label, start=-1, end=-1):
        return Target(label, 0, start, end, 0, np.zeros(2, np.float32))

    places = [("PER", 0, 4), ("LOC", 9, 12)]
    spans = {"gold": [dict(zip(("type", "start", "end"), place, strict=True)) for place in places]}
    assert is_right(target("PER", 0, 4), spans) and not is_right(target("PER", 0, 3), spans)
    assert gold_of(spans, target("PER", 3, 10)) == "PER, LOC"
    assert gold_of(spans, target("PER", 5, 8)) == "–"
    assert is_right(target("a"), {"gold": "a"}) and not is_right(target("a"), {"gold": "ab"})
    assert is_right(target("a"), {"gold": ["b", "a"]}) and not is_right(target("a"), {"gold": []})
    assert is_right(target(""), {"gold": 2.5}) and gold_of({"gold": 2.5}, target("")) == "2.5"
    assert not is_right(target("x", 0, 1), {"gold": ["y"], "f1": 0.0})
