"""Whether answers stay where the meaning does."""

import numpy as np
import pytest

import podtune
from tests import toy
from trainer.report.robustness import words
from trainer.report.robustness.attack import attack
from trainer.report.robustness.flips import answerer, flips, short_enough
from trainer.report.robustness.perturbations import PERTURBATIONS, perturbed
from trainer.report.robustness.words import homophones


@pytest.mark.parametrize(
    ("name", "text", "changed"),
    [
        ("upper_case", "A lovely film.", "A LOVELY FILM."),
        ("lower_case", "A Lovely film.", "a lovely film."),
        ("no_punctuation", "It's a good, old-style film!", "It's a good old-style film"),
        ("no_punctuation", "房间很干净，早餐不错。", "房间很干净早餐不错"),
        ("other_width", "房间很干净，早餐不错！", "房间很干净,早餐不错!"),
        ("other_width", "房间很干净,OK", "房间很干净，ＯＫ"),
        ("other_sentence", "A film.", "A film. It was a Wednesday."),
        ("other_sentence", "好看。", "好看。那天是星期三。"),
    ],
)
def test_a_text_changes(name, text, changed):
    assert perturbed(name, text, 0) == changed


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("upper_case", "房间"),
        ("lower_case", "a film"),
        ("no_punctuation", "a film"),
        ("no_punctuation", "?!"),
        ("other_width", "a film!"),
        ("typos", "a b c"),
        ("typos", "房间很干净"),
    ],
)
def test_what_stays_as_it_is_is_not_tried(name, text):
    assert perturbed(name, text, 0) is None


def test_typos_swap_letters_within_words():
    text = "the committee considered several alternatives yesterday evening"
    seen = set()
    for seed in range(50):
        changed = perturbed("typos", text, seed)
        seen.add(changed)
        words = zip(text.split(), changed.split(), strict=True)
        differing = [(old, new) for old, new in words if old != new]
        assert len(differing) == 1  # a tenth of six, and at least one
        ((old, new),) = differing
        assert sorted(old) == sorted(new) and old[0] == new[0]
    assert len(seen) > 10
    assert perturbed("typos", text, 7) == perturbed("typos", text, 7)


@pytest.mark.heavy
def test_answers_that_change_are_counted_and_shown(trained):
    lines = toy.read_jsonl(trained / "predictions.jsonl")
    names = list(lines[0]["probabilities"])
    probabilities = answerer(podtune.load(trained)._kept)
    found = probabilities([(line["inputs"]["text"],) for line in lines])
    kept = np.array([list(line["probabilities"].values()) for line in lines])
    assert found == pytest.approx(kept, abs=1e-5)
    found = flips(lines, 30, names, probabilities)
    assert set(found) <= set(PERTURBATIONS) and "other_width" not in found
    # an uncased tokenizer does not see case; a word with letters changed is unknown
    assert found["upper_case"]["flipped"] == 0
    assert found["typos"]["texts"] == 30
    for each in found.values():
        examples = each["examples"]
        assert len(examples) == min(5, each["flipped"])
        for example in examples:
            assert example["answer_before"] != example["answer_after"]


@pytest.mark.heavy
def test_the_word_that_decides_is_attacked(trained):
    """The toy model looks for great and awful: another spelling is a word that it does not know."""
    lines = toy.read_jsonl(trained / "predictions.jsonl")
    names = list(lines[0]["probabilities"])
    found = attack(lines[:10], names, answerer(podtune.load(trained)._kept))
    assert found["texts"] == sum(line["answer"] == line["gold"] for line in lines[:10])
    for example in found["examples"]:
        before, after = (example[name].split() for name in ("before", "after"))
        changed = [(one, other) for one, other in zip(before, after, strict=True) if one != other]
        assert changed and example["answer_before"] != example["answer_after"]


def test_a_search_finds_what_flips():
    """Of a model that counts one word, as it is written: any swap within it flips the answer."""

    def probabilities(texts):
        good = np.array([min(0.2 + 0.35 * text.count("lovely"), 0.9) for (text,) in texts])
        return np.stack([1 - good, good], axis=1)

    line = {"inputs": {"text": "this is surely a lovely film"}, "origin": "a:1"}
    of_good = {**line, "gold": "good", "answer": "good"}
    found = attack([of_good], ["bad", "good"], probabilities)
    assert (found["texts"], found["flipped"], found["changes"]) == (1, 1, 1)
    (example,) = found["examples"]
    assert example["answer_after"] == "bad"
    assert example["after"].startswith("this is surely a l") and "lovely" not in example["after"]
    wrong = {**of_good, "answer": "bad"}
    assert attack([wrong], ["bad", "good"], probabilities) is None
    nothing = {**of_good, "inputs": {"text": "a b 1"}}
    assert attack([nothing], ["bad", "good"], probabilities) is None
    two = {**of_good, "inputs": {"text": "this lovely film is a lovely film"}}
    of_two = attack([two], ["bad", "good"], probabilities)
    assert (of_two["flipped"], of_two["changes"]) == (0, 0)  # a fifth of its words is one
    of_bad = {**line, "inputs": {"text": "this is surely dull"}, "gold": "bad", "answer": "bad"}
    assert attack([of_bad], ["bad", "good"], probabilities)["flipped"] == 0
    long = "lovely " + " ".join(["this film was made with some care"] * 3) + " lovely"
    of_long = attack([{**of_good, "inputs": {"text": long}}], ["bad", "good"], probabilities)
    assert (of_long["flipped"], of_long["changes"]) == (1, 2)  # none alone, both together
    assert "lovely" not in of_long["examples"][0]["after"]


def test_of_long_texts_fewer_are_attacked():
    def lines(size):
        return [{"inputs": {"text": "x" * size, "text_pair": ""}} for _ in range(20)]

    assert len(short_enough(lines(100))) == 20
    assert len(short_enough(lines(1000))) == 10
    assert len(short_enough(lines(9000))) == 4
    assert short_enough([]) == []


def test_characters_that_sound_the_same_in_their_word():
    others = homophones("银行,在哪?")
    assert "航" in others[1] and "形" not in others[1]  # háng, not xíng
    assert list(others[2]) == [] == list(others[5])
    assert all(other != "行" for other in others[1])
    changed = perturbed("same_sound", "房间很干净，早餐不错。", 3)
    pairs = list(zip("房间很干净，早餐不错。", changed, strict=True))
    assert sum(one != other for one, other in pairs) == 1
    assert perturbed("same_sound", "a film", 0) is None


def test_synonyms_are_those_of_the_lexicon(tmp_path, monkeypatch):
    """A lexicon of one word with two senses: those of the first are taken."""
    import wn

    monkeypatch.setattr(wn.config, "_data_directory", tmp_path / "wn", raising=False)
    wn.config.data_directory = tmp_path / "wn"
    (tmp_path / "tiny.xml").write_text(LEXICON, "utf-8")
    wn.add(tmp_path / "tiny.xml", progress_handler=None)
    for cached in (words.synonyms, words._lexicon):
        cached.cache_clear()
    try:
        assert words.synonyms("film") == ("movie",)
        assert words.synonyms("Film") == ("Movie",) and words.synonyms("FILM") == ("MOVIE",)
        assert words.synonyms("house") == ()
        assert perturbed("other_words", "a film, a house", 0) == "a movie, a house"
    finally:
        for cached in (words.synonyms, words._lexicon):
            cached.cache_clear()


LEXICON = """<?xml version="1.0" encoding="UTF-8"?>
<!DOCTYPE LexicalResource SYSTEM "http://globalwordnet.github.io/schemas/WN-LMF-1.0.dtd">
<LexicalResource xmlns:dc="http://purl.org/dc/elements/1.1/">
  <Lexicon id="tiny" label="tiny" language="en" email="a@b.c" license="x" version="1">
    <LexicalEntry id="w1"><Lemma writtenForm="film" partOfSpeech="n"/>
      <Sense id="s1" synset="tiny-1"/><Sense id="s2" synset="tiny-2"/></LexicalEntry>
    <LexicalEntry id="w2"><Lemma writtenForm="movie" partOfSpeech="n"/>
      <Sense id="s3" synset="tiny-1"/></LexicalEntry>
    <LexicalEntry id="w3"><Lemma writtenForm="motion picture" partOfSpeech="n"/>
      <Sense id="s4" synset="tiny-1"/></LexicalEntry>
    <LexicalEntry id="w4"><Lemma writtenForm="layer" partOfSpeech="n"/>
      <Sense id="s5" synset="tiny-2"/></LexicalEntry>
    <Synset id="tiny-1" ili="" partOfSpeech="n"/>
    <Synset id="tiny-2" ili="" partOfSpeech="n"/>
  </Lexicon>
</LexicalResource>
"""
