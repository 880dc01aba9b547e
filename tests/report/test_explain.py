"""Why a classifier answers so: attributions that add up, at the right characters."""

import json

import numpy as np
import pytest

import podtune
from podtune import explain as verb
from tests import toy
from trainer.errors import ConfigError
from trainer.report.explain.gradients import Gradients
from trainer.report.explain.kept import chosen
from trainer.report.explain.texts import Explainer, explain
from trainer.report.tasks import single_label


@pytest.fixture(scope="module")
def kept(trained):
    """A model that looks for great and awful."""
    return podtune.load(trained)._kept


@pytest.fixture(scope="module")
def of_pairs(tmp_path_factory, toy_weights):
    """The job_dir of a run on pairs."""
    folder = tmp_path_factory.mktemp("pairs")
    rows = [{**row, "other": "the film is old"} for row in toy.sentences(32)]
    config = toy.write_config(
        folder,
        toy_weights,
        toy.write_jsonl(folder / "train.jsonl", rows),
        data={"text": ["text", "other"]},
    )
    assert toy.run_main(config, folder / "job") == 0
    return folder / "job"


def test_shares_add_up_and_the_word_that_decides_has_most(kept):
    text = "we saw the great film of the house"
    (found,) = explain(kept, [(text,)])
    assert found.answer == "pos" and found.gap <= 0.01
    total = sum(share.value for share in found.shares)
    assert total == pytest.approx(found.score - found.baseline, rel=0.02)
    words = [text[share.start : share.end] for share in found.shares]
    assert words == text.split()
    best = max(found.shares, key=lambda share: share.value)
    assert text[best.start : best.end] == "great"


def test_taking_out_what_matters_is_quicker_than_chance(kept):
    texts = [(row["text"],) for row in toy.sentences(30, seed=8)]
    wins = [sum(found.kept) < sum(found.kept_random) for found in explain(kept, texts)]
    assert np.mean(wins) > 0.9
    for found in explain(kept, texts[:3]):
        assert found.kept[0] == found.kept_random[0] == pytest.approx(found.score, abs=1e-5)
        assert found.kept[-1] == pytest.approx(found.baseline, abs=1e-5)


def test_the_gradient_is_that_of_the_logit(kept):
    """Along a very short path the shares are gradient times difference, by differences too."""
    (answer,) = Explainer(kept).answers(("we saw the great film",))
    gradients = Gradients(kept.model)
    begin = gradients.vectors(answer.columns)
    begin[4] += 1e-3
    found = gradients.attribution(answer.columns, begin, np.array([0, 1], np.float32))
    assert np.delete(found.shares, 4) == pytest.approx(0)
    assert found.shares.sum() == pytest.approx(found.score - found.baseline, rel=0.05, abs=1e-6)


@pytest.mark.parametrize("text", ["今天天气很好 great 电影", "a great\u00a0 film!", "great", "?"])
def test_characters_are_those_of_the_text(kept, text):
    (found,) = explain(kept, [(text,)])
    ends = 0
    for share in found.shares:
        assert ends <= share.start < share.end <= len(text)
        ends = share.end
    assert {text[share.start : share.end].lower() for share in found.shares} <= {
        *text.lower(),
        "great",
        "film",
    }


def test_a_long_text_is_explained_as_far_as_it_is_read(kept):
    text = " ".join(["film"] * 100) + " great"
    (found,) = explain(kept, [(text,)])
    assert len(found.shares) == kept.parts.config.data.seq_len - 2
    assert found.shares[-1].end < len(text) - 6


def test_both_texts_of_a_pair_have_their_own_characters(of_pairs):
    kept = podtune.load(of_pairs)._kept
    (found,) = explain(kept, [("a great film", "the house")])
    texts = [[s for s in found.shares if s.text == number] for number in (0, 1)]
    assert ["a great film"[s.start : s.end] for s in texts[0]] == ["a", "great", "film"]
    assert ["the house"[s.start : s.end] for s in texts[1]] == ["the", "house"]
    assert found.gap <= 0.01


def test_attention_is_shares_and_so_is_its_rollout(kept):
    explainer = Explainer(kept)
    (answer,) = explainer.answers(("we saw the great film",))
    found = explainer.attention(answer)
    assert found.tokens == ("[CLS]", "we", "saw", "the", "great", "film", "[SEP]")
    assert len(found.layers) == 1
    assert found.layers[0].sum(1) == pytest.approx(1, abs=1e-5)
    assert found.rollout.sum() == pytest.approx(1, abs=1e-5)
    # of one layer: half itself, half what it looks at
    expected = (found.layers[0][0] + np.eye(7)[0]) / 2
    assert found.rollout == pytest.approx(expected)


def test_mistakes_and_right_answers_are_explained():
    answers = [
        {"gold": "a", "answer": "b" if n % 5 == 0 else "a", "score": float(n)} for n in range(40)
    ]
    task = single_label.TASK
    places = chosen(task, answers, 8)
    assert places[:4] == [35, 30, 25, 20]
    assert len(places) == 8 and all(answers[n]["answer"] == "a" for n in places[4:])
    assert chosen(task, answers[:1], 8) == [0]
    assert len(chosen(task, answers[1:4], 8)) == 3


def test_the_verb_writes_a_page(trained, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert verb.run([str(trained), "--text=we saw the great film"]) == 0
    said = capsys.readouterr().out
    assert said.startswith("pos: great +") and said.endswith("explanation: explanation.html\n")
    facts = json.loads((tmp_path / "explanation.json").read_text("utf-8"))
    assert facts["verdict"]["answer"] == "pos" and len(facts["attention"]["layers"]) == 1
    page = (tmp_path / "explanation.html").read_text("utf-8")
    assert 'class="for" style="--share:1.00">great' in page
    assert verb.run([str(trained), "--text=awful", "--language=zh"]) == 0  # ours is replaced
    assert "为什么这样回答" in (tmp_path / "explanation.html").read_text("utf-8")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "expected one JOB_DIR. Received nothing"),
        (["runs/a"], "--text: missing"),
        (["runs/a", "--text=a", "--language=de"], "expected en or zh"),
        (["runs/a", "--text=a", "--output=x"], "ends in .html. Received 'x'"),
        (["runs/a", "--text=a", "--train.epochs=3"], "takes no settings"),
        (["TRAINED", "--text=a", "--text_pair=b"], "takes --text. Received --text and --text_pair"),
        (["WRITER", "--text=a"], "head causal_lm cannot be explained: classification, prompt"),
    ],
)
def test_mistakes_of_the_command_are_told(
    arguments, said, trained, tmp_path, monkeypatch, toy_weights
):
    monkeypatch.chdir(tmp_path)
    if "WRITER" in arguments:
        config = toy.write_head_config(tmp_path, "causal", 24)
        assert toy.run_main(config, tmp_path / "writer") == 0
    places = {"TRAINED": str(trained), "WRITER": str(tmp_path / "writer")}
    with pytest.raises(ConfigError, match=said):
        verb.run([places.get(argument, argument) for argument in arguments])
    assert not (tmp_path / "explanation.html").exists()
