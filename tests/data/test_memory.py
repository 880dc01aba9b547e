"""What preparation holds in memory is the same however many examples there are, for every head."""

import gc
import random
import tracemalloc
import types

import numpy as np
import pytest

from tests import toy
from trainer.data import prepare as prepare_module
from trainer.data.encoding import encoder
from trainer.settings.sections import plugin_module
from trainer.sources import folders, jsonl, open_source
from trainer.text import load_tokenizer

FEW, MANY = 1000, 3000
MOST_BYTES = 64  # an example more; its gold alone takes hundreds


def sentence(rng):
    return rng.choices(toy.FILLER, k=rng.randrange(3, 12))


def with_spans(rng):
    words = sentence(rng)
    return {
        "text": " ".join(words),
        "label": [{"start": 0, "end": len(words[0]), "label": rng.choice("XY")}],
    }


def asked(rng):
    words = sentence(rng)
    return {
        "question": " ".join(sentence(rng)),
        "text": " ".join(words),
        "label": [{"text": words[0], "answer_start": 0}],
    }


def with_labels(rng):
    return {
        "text": " ".join(sentence(rng)),
        "label": rng.sample([f"l{number}" for number in range(30)], rng.randrange(5)),
    }


def with_vector(rng):
    return {"text": " ".join(sentence(rng)), "label": [rng.randrange(2) for _ in range(30)]}


def with_target(rng):
    return {"text": " ".join(sentence(rng)), "target": " ".join(sentence(rng))}


CASES = {
    "spans": ("token_classification", {}, with_spans),
    "questions": ("question_answering", {"max_question_tokens": 8}, asked),
    "several labels": ("classification", {"kind": "multi_label"}, with_labels),
    "vectors": ("classification", {"kind": "multi_label"}, with_vector),
    "targets": ("text_generation", {"target": "target"}, with_target),
}

QUICK_CASES = ("several labels",)


SMALL_BLOCKS = {  # so that a few thousand examples are many blocks
    "trainer.files.spool": {"BLOCK_ROWS": 250, "WAITING_ROWS": 250, "RECORDS_BYTES": 5000},
    "trainer.data.store_writer": {"TEXT_ROWS": 250},
    "trainer.data.duplicates": {"PART_ROWS": FEW},
    "trainer.data.split": {"SAMPLES": 8},
    "trainer.data.preparation": {"ENCODE_BATCH": 50},
    "trainer.files.checksums": {"BLOCK_BYTES": 5000},
    "trainer.sources._lines": {"BLOCK_BYTES": 5000},
    "trainer.sources._reading": {"BLOCK_BYTES": 5000},
}


@pytest.fixture
def small_blocks(monkeypatch):
    for module, constants in SMALL_BLOCKS.items():
        for name, value in constants.items():
            monkeypatch.setattr(f"{module}.{name}", value)


def peak_bytes(folder, settings, head, graph):
    """The most that Python and NumPy held at a time while the examples were prepared."""
    folder.mkdir()
    gc.collect()
    sources = {
        split: open_source(settings, split, spec)
        for split in ("train", "test")
        if (spec := getattr(settings, split))
    }
    tracemalloc.start()
    try:
        prepare_module.write_splits(folder / "store", settings, head, sources, graph=graph)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def growth(folder, settings_of, head_of):
    """Bytes that each example more takes, beyond the first ones."""
    settings = settings_of(FEW)
    head = head_of(settings)
    graph = encoder(head)
    graph.get_concrete_function()
    peak_bytes(folder / "first", settings, head, graph)  # what is imported and traced once
    peaks = {FEW: [], MANY: []}
    for turn in range(2):
        for count, found in peaks.items():
            found.append(peak_bytes(folder / f"{count}_{turn}", settings_of(count), head, graph))
        # A busy machine encodes later what is read, so that more of it waits: that is no growth,
        # and the next turn is better.
        grown = (min(peaks[MANY]) - max(peaks[FEW])) / (MANY - FEW)
        if grown < MOST_BYTES:
            break
    return grown


@pytest.mark.parametrize(
    "case",
    [case if case in QUICK_CASES else pytest.param(case, marks=pytest.mark.slow) for case in CASES],
)
def test_memory_does_not_grow_with_the_examples(tmp_path, small_blocks, case):
    name, head, row = CASES[case]
    made = plugin_module("trainer.heads", name)
    folder = tmp_path / "weights"
    tokenizer = load_tokenizer(
        toy.write_gpt2(folder)
        if name == "text_generation"
        else toy.write_checkpoint(folder, weights=False)
    )

    def settings_of(count):
        rng = random.Random(0)
        file = tmp_path / f"{count}.jsonl"
        toy.write_jsonl(file, (row(rng) for _ in range(count)))
        text = ["question", "text"] if name == "question_answering" else "text"
        return jsonl.Settings(train=str(file), test=str(file), text=text, label="label", seq_len=64)

    assert (
        growth(
            tmp_path,
            settings_of,
            lambda settings: made.make_head(made.Settings(**head), settings, tokenizer).reader,
        )
        < MOST_BYTES
    )


def test_scoring_tags_makes_no_objects_of_words():
    made = plugin_module("trainer.heads", "token_classification")
    head = made.make_head(
        made.Settings(),
        jsonl.Settings(train="", text="text", label="label", seq_len=64),
        toy.TEMPLATE,
    )
    config = types.SimpleNamespace(
        family=None, hidden_size=4, initializer_range=0.1, token_classifier_dropout=0.0
    )
    vocabulary = {"labels": ["O", "B-X", "I-X"], "scheme": "bio"}
    scorer = head.scorer(head.build(types.SimpleNamespace(config=config), vocabulary, 1))
    words, rng = 100_000, np.random.default_rng(0)
    extras = {
        "word_tag": rng.integers(0, 2, words, np.int32),
        "word_token": np.arange(words),
        "word_shares": np.zeros(words, bool),
        "word_splits": np.arange(0, words + 1, 10),
        "unseen_tags": np.array([], np.str_),
    }
    split = types.SimpleNamespace(extras=extras, tokens={"label": 1 + extras["word_tag"]})
    results = {"tag": rng.integers(0, 3, words, np.int32), "loss": np.ones(words, np.float32)}
    scorer.metrics(results, split)  # what is imported once
    tracemalloc.start()
    try:
        assert (
            0 < scorer.metrics(results, split)["f1"] < 1
            and scorer.per_label(results, split)["X"]["support"] > 0
        )
        assert tracemalloc.get_traced_memory()[1] < 80 * words
    finally:
        tracemalloc.stop()


def test_memory_does_not_grow_with_the_files(tmp_path, small_blocks, monkeypatch):
    monkeypatch.setattr(folders, "cache_folder", lambda: tmp_path / "cache")
    made = plugin_module("trainer.heads", "classification")
    tokenizer = load_tokenizer(toy.write_checkpoint(tmp_path / "weights", weights=False))

    def settings_of(count):
        rng = random.Random(0)
        for number in range(count):
            path = tmp_path / f"texts_{count}" / f"class_{number % 2}" / f"{number}.txt"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(" ".join(sentence(rng)))
        return folders.Settings(train=str(tmp_path / f"texts_{count}"), seq_len=64)

    assert (
        growth(
            tmp_path,
            settings_of,
            lambda settings: made.make_head(made.Settings(), settings, tokenizer).reader,
        )
        < MOST_BYTES
    )
