"""Tags of words: every gold word scored once, spans that are slices of the text,
seqeval's figures.
"""

import gzip
import io
import json
import random
import re
import string
import types

import numpy as np
import pytest
import sentencepiece
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from seqeval.metrics import accuracy_score, f1_score
from seqeval.scheme import IOB2

from tests import bio, toy
from tests.text.byte_bpe_reference import write_byte_bpe
from tests.text.sentencepiece_reference import learnt_folder
from trainer.backbones import huggingface
from trainer.data.batch import Batch
from trainer.data.prepare import prepare
from trainer.errors import ConfigError, DataError
from trainer.heads.token_classification import Settings, make_head
from trainer.heads.token_classification.scorer import scored_words
from trainer.run.model import Model
from trainer.serve.server import make_server
from trainer.settings.schema import DataSettings
from trainer.sources import Example, Origin, conll, jsonl
from trainer.text import load_tokenizer

NAMES = ["PER", "LOC"]
# more than one token, or none
UNKNOWN_WORDS = ["U.S.", "Anglo-Irish", "O'Neil", "(", "1,000.5", "\u200b", "n\u0303ame"]


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    return toy.write_checkpoint(tmp_path_factory.mktemp("weights"), layers=1, hidden=16)


def tagged(count, *, seed=0, longest=30, odd=True):
    """Sentences of words with BIO tags; some words are many tokens, some none."""
    rng = random.Random(seed)
    rows = []
    for _ in range(count):
        words = [
            rng.choice(UNKNOWN_WORDS if odd and rng.random() < 0.2 else toy.FILLER)
            for _ in range(rng.randrange(1, longest))
        ]
        tags, before = [], "O"
        for _ in words:
            name = rng.choice(NAMES)
            before = rng.choice(
                ["O", "O", f"B-{name}", *([f"I-{before[2:]}"] * 2 if before != "O" else [])]
            )
            tags.append(before)
        rows.append({"words": words, "tags": tags})
    return rows


def data_of(folder, train, **keys):
    return jsonl.Settings(
        train=str(train),
        cache_dir=str(folder / "cache"),
        **{"seq_len": 16, "text": "words", "label": "tags", **keys},
    )


def prepared_of(folder, weights, rows, *, head=None, name="train.jsonl", **keys):
    data = data_of(folder, toy.write_jsonl(folder / name, rows), **keys)
    tokenizer = load_tokenizer(weights)
    made = make_head(Settings(**(head or {})), data, tokenizer)
    return made, prepare(data, made.reader, tokenizer.fingerprint)


def graph_of(head, vocabulary):
    """The head's graph on a backbone that is none: what answers of results alone."""
    config = types.SimpleNamespace(
        family=None, hidden_size=4, initializer_range=0.1, token_classifier_dropout=0.0
    )
    return head.build(types.SimpleNamespace(config=config), vocabulary, 1)


def tags_of(graph, results, store):
    """Gold and predicted tags of each text's words that have a token."""
    blocks = list(scored_words(results, store, graph.rule))
    names = np.array([*graph.vocabulary["labels"], *store.extras["unseen_tags"].tolist()])
    splits = store.extras["word_splits"]
    text = np.repeat(np.arange(len(splits) - 1), np.diff(splits))
    text = text[np.asarray(store.extras["word_token"]) >= 0]
    return tuple(
        [names[tags[text == number]].tolist() for number in range(len(splits) - 1)]
        for tags in (
            np.concatenate([words.gold for words in blocks]),
            np.concatenate([words.predicted for words in blocks]),
        )
    )


def answered(graph, texts, tags):
    """What the graph answers where each token has these tags."""
    columns, _ = graph.reader.encode(texts)
    like = columns["token_ids"]
    results = {
        "tag": like.with_values(tf.constant(tags, tf.int32)),
        "score": like.with_values(tf.ones(len(tags))),
    }
    answers = graph.answers(results, columns, [texts])
    return {name: column.numpy() for name, column in answers.items()}


def model_of(weights, head, vocabulary):
    encoder, _ = huggingface.load_backbone(weights)
    return Model(encoder, head.build(encoder, vocabulary, 1))


@pytest.mark.parametrize("seq_len", [8, 16, 64])
def test_every_gold_word_is_scored_once_whatever_the_length(tmp_path, weights, seq_len):
    rows = tagged(60)
    head, prepared = prepared_of(tmp_path, weights, rows, seq_len=seq_len)
    graph = graph_of(head, prepared.vocabulary)
    store = prepared.splits["train"]
    assert (store.lengths <= seq_len).all()
    results = {
        "tag": np.zeros(store.row_splits[-1], np.int32),
        "loss": np.zeros(store.row_splits[-1], np.float32),
    }
    gold, _ = tags_of(graph, results, store)
    assert gold == [without(row, "\u200b") for row in rows]
    tokens = store.extras["word_token"]
    own = tokens[(tokens >= 0) & ~store.extras["word_shares"]]
    assert len(np.unique(own)) == len(own) and (np.asarray(store.tokens["label"])[own] > 0).all()
    # What was learnt comes back: each label as the prediction gives the gold tags, but where a word
    # has no token.
    learnt = {"tag": np.maximum(np.asarray(store.tokens["label"]) - 1, 0), "loss": results["loss"]}
    gold, predicted = tags_of(graph, learnt, store)
    words = [word for row in rows for word in row["words"]]
    assert prepared.ledger.count("train", "words_without_tokens") == words.count("\u200b") > 0
    assert sum(map(len, gold)) == len(words) - words.count("\u200b")
    assert predicted == gold


def without(row, *lost):
    """The tags of a row's other words, spans taken word by word: what remains of each span begins
    with B-.
    """
    tags = list(row["tags"])
    for name, first, last in bio.spans_of(tags):
        kept = [place for place in range(first, last + 1) if row["words"][place] not in lost]
        for place in kept:
            tags[place] = f"{'B' if place == kept[0] else 'I'}-{name}"
    return [tag for word, tag in zip(row["words"], tags, strict=True) if word not in lost]


@pytest.mark.parametrize(
    ("rows", "separator"),
    [
        (
            [
                {
                    "words": ["the", "\u200b", "film", "red"],
                    "tags": ["O", "B-LOC", "I-LOC", "I-LOC"],
                },
                {"words": ["\u200b", "red"], "tags": ["B-LOC", "I-LOC"]},
            ],
            " ",
        ),
        (
            [
                {"words": "16film red", "tags": [{"start": 2, "end": 10, "label": "LOC"}]},
                {"words": "red film", "tags": [{"start": 1, "end": 8, "label": "LOC"}]},
            ],
            " ",
        ),
        (
            [
                {"words": list("A98天"), "tags": ["O", "B-T", "I-T", "I-T"]},
                {"words": list("今A98天"), "tags": ["B-X", "O", "B-T", "I-T", "I-T"]},
            ],
            "",
        ),
        (None, " "),
    ],
    ids=["lost words", "spans inside words", "shared tokens", "random"],
)
@pytest.mark.parametrize("crf", [False, True])
def test_what_is_learnt_never_breaks_the_scheme(tmp_path, weights, rows, separator, crf):
    """A CRF forbids the moves that BIO has not: one of them in the gold tags would be a loss of ten
    thousand.
    """
    rows = rows or tagged(60)
    head, prepared = prepared_of(
        tmp_path, weights, rows, head={"crf": crf, "word_separator": separator}
    )
    store = prepared.splits["train"]
    names = ["", *prepared.vocabulary["labels"]]
    for text in range(len(rows)):
        mine = np.flatnonzero(np.repeat(store.columns["example"], store.lengths) == text)
        tags = [names[label] for label in store.tokens["label"][mine] if label]
        assert bio.repaired(tags) == tags
    model = model_of(weights, head, prepared.vocabulary)
    tokens = {
        name: tf.RaggedTensor.from_row_splits(values, store.row_splits).to_tensor()
        for name, values in store.tokens.items()
    }
    results = model.results(
        Batch.one_a_row({**tokens, "padding_mask": tf.sequence_mask(store.lengths, dtype=tf.int32)})
    )
    assert results["loss"].numpy().max() < 100


def test_a_word_of_several_parts_is_labelled_at_each_and_scored_at_its_first(tmp_path, weights):
    head, prepared = prepared_of(
        tmp_path, weights, [{"words": ["the", "U.S.", "film"], "tags": ["O", "B-LOC", "I-LOC"]}] * 2
    )
    store = prepared.splits["train"]
    labels = ["-", *prepared.vocabulary["labels"]]
    assert (
        prepared.vocabulary["labels"] == ["O", "B-LOC", "I-LOC"]
        and prepared.vocabulary["scheme"] == "bio"
    )
    assert head.reader.notes(prepared.vocabulary) == ["tags: spans, scheme bio"]
    found = [labels[label] for label in store.example(0)["label"]]
    assert found[0] == found[-1] == "-"  # special tokens
    assert found[1:-1] == ["O", "B-LOC", "I-LOC", "I-LOC", "I-LOC", "I-LOC"]  # the, u . s ., film
    assert store.extras["word_token"][:3].tolist() == [1, 2, 6]


@pytest.mark.parametrize("crf", [False, True])
@pytest.mark.parametrize("separator", [" ", ""])
def test_metrics_are_seqevals_on_random_predictions(tmp_path, weights, crf, separator):
    rows = tagged(1000, odd=False, longest=12)
    head, prepared = prepared_of(
        tmp_path, weights, rows, head={"crf": crf, "word_separator": separator}, seq_len=64
    )
    graph = graph_of(head, prepared.vocabulary)
    store = prepared.splits["train"]
    results = {
        "tag": np.random.default_rng(0).integers(0, 5, store.row_splits[-1]).astype(np.int32),
        "loss": np.ones(store.row_splits[-1], np.float32),
    }
    gold, predicted = tags_of(graph, results, store)
    metrics = head.scorer(graph).metrics(results, store)
    assert gold == [row["tags"] for row in rows]
    assert metrics["f1"] == pytest.approx(f1_score(gold, predicted, mode="strict", scheme=IOB2))
    # repaired tags: both readings agree
    assert metrics["f1"] == pytest.approx(f1_score(gold, predicted))
    assert metrics["accuracy"] == pytest.approx(accuracy_score(gold, predicted))
    assert 0 < metrics["precision"] < 1 and 0 < metrics["recall"] < 1 and metrics["loss"] > 0
    gold, predicted = (
        {(number, *span) for number, tags in enumerate(texts) for span in bio.spans_of(tags)}
        for texts in (gold, predicted)
    )
    for name, scores in head.scorer(graph).per_label(results, store).items():
        ours, theirs = ({span for span in spans if span[1] == name} for spans in (predicted, gold))
        assert scores["support"] == len(theirs) and scores["precision"] == pytest.approx(
            len(ours & theirs) / len(ours)
        )
        assert (
            scores["recall"] == pytest.approx(len(ours & theirs) / len(theirs))
            and 0 < scores["f1"] < 1
        )
    assert set(head.scorer(graph).per_label(results, store)) == set(NAMES)


def test_words_joined_by_a_mark_that_is_a_token_keep_their_own(tmp_path, weights):
    _, prepared = prepared_of(
        tmp_path,
        weights,
        [{"words": ["red", "film"], "tags": ["O", "B-X"]}] * 2,
        head={"word_separator": " , "},
    )
    store = prepared.splits["train"]
    assert store.extras["word_token"][:2].tolist() == [1, 3] and store.example(0)[
        "label"
    ].tolist() == [0, 1, 0, 2, 0]
    assert prepared.ledger.count("train", "words_without_tokens") == 0


def test_tags_without_spans_are_scored_by_accuracy(tmp_path, weights):
    rows = [{"words": ["the", "film", "\u200b"], "tags": ["DT", "NN", "SYM"]}] * 3
    head, prepared = prepared_of(tmp_path, weights, rows)
    assert (
        prepared.vocabulary["labels"] == ["DT", "NN", "SYM"]
        and prepared.vocabulary["scheme"] == "none"
    )
    assert head.reader.notes(prepared.vocabulary) == ["tags: one a word, no spans"]
    graph = graph_of(head, prepared.vocabulary)
    store = prepared.splits["train"]
    assert head.available_metrics()[0].name == "f1"
    assert [metric.name for metric in head.available_metrics() if metric.lower_is_better] == [
        "loss"
    ]
    assert [metric.name for metric in head.available_metrics(prepared.vocabulary)] == [
        "accuracy",
        "loss",
    ]
    learnt = {
        "tag": np.maximum(np.asarray(store.tokens["label"]) - 1, 0),
        "loss": np.zeros(store.row_splits[-1], np.float32),
    }
    # of the words that the tokenizer leaves something of
    assert head.scorer(graph).metrics(learnt, store) == {"loss": 0, "accuracy": 1}
    assert prepared.ledger.count("train", "words_without_tokens") == 3
    right = {"precision": 1, "recall": 1, "f1": 1, "support": 3}
    assert {
        name: scores
        for name, scores in head.scorer(graph).per_label(learnt, store).items()
        if scores["support"]
    } == {"DT": right, "NN": right}


def test_one_slip_among_the_tags_is_named_instead_of_taking_the_spans_away(tmp_path, weights):
    unknown = (
        "has a prefix that no scheme has beside the others (bio B I, iob1 B I, bioes B I E S, bmes"
        " B M E S, bilou B I L U)"
    )
    missing = "has no prefix, and most others have, such as B-… and I-…"
    for slip, problem in {
        "0": missing,
        "LOC": missing,
        "B": missing,
        "b-LOC": unknown,
        "M-LOC": unknown,
    }.items():
        with pytest.raises(DataError) as caught:
            prepared_of(tmp_path, weights, [*tagged(20), {"words": ["a"], "tags": [slip]}])
        assert (
            str(caught.value)
            == f"{tmp_path / 'train.jsonl'}:21: tag {slip!r} {problem}. Correct it (O is for words"
            " outside of spans), or set --head.scheme=none for a tag a word."
        )
    # what stands outside may be the most frequent
    with pytest.raises(DataError, match=r"train.jsonl:1: tag '_' has no prefix"):
        prepared_of(
            tmp_path, weights, [{"words": ["a", "b", "c", "d"], "tags": ["_", "B-X", "_", "_"]}]
        )
    _, prepared = prepared_of(
        tmp_path,
        weights,
        [*tagged(20), {"words": ["a", "U.S."], "tags": ["0", "B-NEW"]}],
        head={"scheme": "none"},
    )
    assert prepared.vocabulary["scheme"] == "none" and {"0", "B-NEW", "I-LOC"} <= set(
        prepared.vocabulary["labels"]
    )


@pytest.mark.parametrize("spelling", ["{}_{}", "{}:{}", "{1}-{0}", "{1}_{0}"])
def test_spans_in_another_spelling_are_no_single_tags(tmp_path, weights, spelling):
    rows = [
        {
            **row,
            "tags": [
                tag if tag == "O" else spelling.format(*tag.split("-")) for tag in row["tags"]
            ],
        }
        for row in tagged(20)
    ]
    first = next(
        (number, tag) for number, row in enumerate(rows, 1) for tag in row["tags"] if tag != "O"
    )
    with pytest.raises(
        DataError,
        match=re.escape(
            f"train.jsonl:{first[0]}: tag {first[1]!r} marks a span in another spelling than B-X,"
            " I-X and O. Write the"
        ),
    ):
        prepared_of(tmp_path, weights, rows)
    lower = [
        {**row, "tags": [tag if tag == "O" else tag.lower() for tag in row["tags"]]}
        for row in tagged(20)
    ]
    with pytest.raises(DataError, match="in another spelling"):
        prepared_of(tmp_path, weights, lower)
    _, prepared = prepared_of(tmp_path, weights, rows, head={"scheme": "none"})
    assert first[1] in prepared.vocabulary["labels"]


def test_a_split_in_another_scheme_is_converted(tmp_path, weights):
    """Train's BIO, test's BIOES: the same spans are scored."""
    train = tagged(30)
    test = [{"words": ["we", "saw", "the", "film"], "tags": ["O", "S-PER", "B-LOC", "E-LOC"]}]
    same = [{**test[0], "tags": ["O", "B-PER", "B-LOC", "I-LOC"]}]
    stores = [
        prepared_of(
            tmp_path,
            weights,
            train,
            validation=str(toy.write_jsonl(tmp_path / f"{name}.jsonl", rows)),
        )[1]
        for name, rows in (("bioes", test), ("bio", same))
    ]
    one, other = (prepared.splits["validation"] for prepared in stores)
    assert (
        one.extras["word_tag"].tolist() == other.extras["word_tag"].tolist()
        and stores[0].ledger.count("validation", "scheme_violations") == 0
    )
    wrong = toy.write_jsonl(
        tmp_path / "wrong.jsonl", [{"words": ["we", "saw"], "tags": ["O", "X-PER"]}]
    )
    with pytest.raises(
        DataError,
        match=r"wrong.jsonl:1: tag 'X-PER' is none of scheme bio: O, B-…, I-…\. Correct it\.$",
    ):
        prepared_of(tmp_path, weights, train, validation=str(wrong))


def test_a_tagger_of_words_is_judged_on_raw_text_also_without_spans(tmp_path, weights):
    rows = [
        {"words": "we saw the film", "tags": [{"start": 7, "end": 15, "label": "LOC"}]},
        {"words": "we saw it", "tags": []},
    ]
    _, prepared = prepared_of(
        tmp_path, weights, tagged(30), validation=str(toy.write_jsonl(tmp_path / "dev.jsonl", rows))
    )
    store = prepared.splits["validation"]
    labels = prepared.vocabulary["labels"]
    assert [labels[tag] for tag in store.extras["word_tag"]] == [
        "O",
        "O",
        "B-LOC",
        "I-LOC",
        "O",
        "O",
        "O",
    ]


@pytest.mark.parametrize("crf", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_parts_of_speech_may_have_a_crf(tmp_path, weights, crf):
    """Nothing is forbidden there, also where a tag looks like one inside a span."""
    rows = [
        {
            "words": row["words"],
            "tags": [["DT", "NN", "I-X"][len(word) % 3] for word in row["words"]],
        }
        for row in tagged(40, odd=False)
    ]
    config = toy.write_config(
        tmp_path,
        weights,
        toy.write_jsonl(tmp_path / "train.jsonl", rows),
        head={"name": "token_classification", "crf": crf, "scheme": "none"},
        data={"validation": 0.3, "text": "words", "label": "tags"},
        train={"steps": 60, "learning_rate": 1e-2, "evaluate_every_steps": 60},
        export={"format": "savedmodel"},
    )
    assert toy.run_main(config, tmp_path / "job") == 0
    assert (
        json.loads((tmp_path / "job" / "results.json").read_text())["validation"]["accuracy"] > 0.9
    )


KINDS = ["bert", "gpt2", "roberta", "xlm-roberta", "albert"]


@pytest.fixture(scope="module")
def folders(weights, tmp_path_factory):
    """A folder with a tokenizer of each kind."""
    learnt = {kind: learnt_folder(kind) for kind in ("xlm-roberta", "albert")}
    return {
        "bert": weights,
        **learnt,
        **{
            kind: write_byte_bpe(tmp_path_factory.mktemp(kind), kind)
            for kind in ("gpt2", "roberta")
        },
    }


@pytest.mark.parametrize("kind", KINDS)
def test_a_perfect_tagger_serves_the_gold_spans_of_words(tmp_path, folders, kind):
    """With every tokenizer: spans end at punctuation and at white space, whatever pieces the words
    have.
    """
    rng, rows = random.Random(1), []
    for row in tagged(60):
        words = [
            rng.choice(["№5", "ｆ", "’s", "Zürich", "tree.", "I'm", "–", word])
            for word in row["words"]
        ]
        rows.append(
            {
                **row,
                "words": [word for word in words if word.strip("\u200b")],
                "tags": [
                    tag
                    for word, tag in zip(words, row["tags"], strict=True)
                    if word.strip("\u200b")
                ],
            }
        )
    rows = [{**row, "tags": bio.repaired(row["tags"])} for row in rows if row["words"]]
    head, prepared = prepared_of(tmp_path, folders[kind], rows, seq_len=512)
    store = prepared.splits["train"]
    texts = tf.constant([" ".join(row["words"]).encode() for row in rows])
    graph = graph_of(head, prepared.vocabulary)
    columns, _ = head.reader.encode(texts)
    label = np.asarray(store.tokens["label"])
    assert len(label) == len(columns["token_ids"].values)  # a window each
    outputs = answered(graph, texts, np.maximum(label - 1, 0))
    assert (
        prepared.ledger.count("train", "words_without_tokens")
        == prepared.ledger.count("train", "borders_inside_tokens")
        == 0
    )
    for number, row in enumerate(rows):
        starts = np.cumsum([0, *(len(word) + 1 for word in row["words"])])
        expected = []
        for place, tag in enumerate(row["tags"]):
            if tag.startswith("B-"):
                expected.append([int(starts[place]), 0, tag[2:]])
            if tag != "O":
                expected[-1][1] = int(starts[place + 1] - 1)
        found = [
            [span["start"], span["end"], span["type"]]
            for span in graph.decode(outputs, number)["entities"]
        ]
        assert found == expected, row


SCHEMES = {"bio": "BIIB", "iob1": "IIII", "bioes": "BIES", "bmes": "BMES", "bilou": "BILU"}
LOST_WORDS = [" ", "\n", "\u00a0", "\u200b", "\ufe0f", "\u3000"]


def spans_with_lost_words(scheme, separator, seed):
    """Sentences of words and spans, words that show nothing anywhere among them, in the tags of a
    scheme.
    """
    rng, rows = random.Random(seed), []
    begin, inside, end, single = SCHEMES[scheme]
    shown = ["red", "film", "今", "天", "U.S."] if separator else ["今", "天", "很", "."]
    for _ in range(40):
        words, tags = [], []
        before = None
        for _ in range(rng.randrange(1, 8)):
            size = rng.choice([1, 1, 2, 3, 4])
            name = rng.choice([None, *NAMES])
            part = [
                rng.choice(LOST_WORDS) if rng.random() < 0.4 else rng.choice(shown)
                for _ in range(size)
            ]
            marks = [single] if size == 1 else [begin, *[inside] * (size - 2), end]
            if scheme == "iob1" and name == before:
                marks[0] = "B"  # right behind a span of its type
            words += part
            tags += [f"{mark}-{name}" if name else "O" for mark in marks]
            before = name
        rows.append({"words": words, "tags": tags})
    return [*rows, {"words": shown[:2], "tags": ["O", f"{single}-{NAMES[0]}"]}]


def entities_of(tags, words, separator):
    """(start, end, type) of the spans of BIO tags, in characters."""
    starts = np.cumsum([0, *(len(word) + len(separator) for word in words)]).tolist()
    return [
        (starts[first], starts[last] + len(words[last]), name)
        for name, first, last in bio.spans_of(tags)
    ]


@pytest.mark.parametrize(
    ("kind", "scheme", "separator", "crf"),
    [
        ("bert", "bio", " ", True),
        ("bert", "bioes", "", False),
        ("roberta", "iob1", " ", False),
        ("xlm-roberta", "bilou", " ", False),
        ("xlm-roberta", "bmes", " ", True),
    ],
)
def test_a_tagger_that_is_right_at_each_token_is_perfect_whatever_words_show_nothing(
    tmp_path, folders, kind, scheme, separator, crf
):
    """Its score is 1, and what predict says of a sentence, tags and entities, is the same."""
    rows = spans_with_lost_words(scheme, separator, seed=len(kind))
    head, prepared = prepared_of(
        tmp_path,
        folders[kind],
        rows,
        head={"scheme": scheme, "word_separator": separator, "crf": crf},
        seq_len=256,
    )
    store = prepared.splits["train"]
    graph = graph_of(head, prepared.vocabulary)
    assert (
        prepared.ledger.count("train", "scheme_violations")
        == prepared.ledger.count("train", "borders_inside_tokens")
        == 0
    )
    learnt = np.maximum(np.asarray(store.tokens["label"]) - 1, 0)
    metrics = head.scorer(graph).metrics(
        {"tag": learnt, "loss": np.zeros(len(learnt), np.float32)}, store
    )
    assert metrics == {"loss": 0, "accuracy": 1, "precision": 1, "recall": 1, "f1": 1}
    texts = tf.constant([separator.join(row["words"]).encode() for row in rows])
    outputs = answered(graph, texts, learnt)
    for number, row in enumerate(rows):
        said = graph.decode(outputs, number, Example({"words": row["words"]}, Origin("x", 1)))
        entities = [(span["start"], span["end"], span["type"]) for span in said["entities"]]
        assert entities_of(said["tags"], row["words"], separator) == entities, row


def test_a_span_of_nothing_that_shows_is_neither_scored_nor_silent(tmp_path, weights):
    rows = [
        {"words": ["red", "\u200b", "\ufeff", "film"], "tags": ["B-X", "B-X", "I-X", "I-X"]},
        {"words": ["red", "\u200b", "film"], "tags": ["O", "B-X", "O"]},
    ]
    head, prepared = prepared_of(tmp_path, weights, rows)
    graph = graph_of(head, prepared.vocabulary)
    entries = {kind: entry["count"] for kind, entry in prepared.ledger.entries["train"].items()}
    assert entries["words_without_tokens"] == 3 and entries["spans_without_tokens"] == 1
    assert prepared.ledger.entries["train"]["spans_without_tokens"]["first"].endswith(
        "train.jsonl:2"
    )
    store = prepared.splits["train"]
    learnt = {
        "tag": np.maximum(np.asarray(store.tokens["label"]) - 1, 0),
        "loss": np.zeros(store.row_splits[-1], np.float32),
    }
    # film begins what is left of its span
    assert tags_of(graph, learnt, store) == ([["B-X", "B-X"], ["O", "O"]],) * 2


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "text",
    [
        "tree. film, house!",
        "red\nblue\tone\u00a0two three",
        "one (three) U.S. – «old»",
        "Paris\r\nLondon",
        " the , film ",
    ],
)
def test_words_end_at_punctuation_and_white_space_with_every_tokenizer(folders, kind, text):
    data = DataSettings(source="jsonl", train="", text="words", seq_len=64)
    columns, _ = make_head(Settings(), data, load_tokenizer(folders[kind])).reader.encode(
        tf.constant([text.encode()])
    )
    words, starts, ends = (
        columns[name].values.numpy().tolist() for name in ("words", "start", "end")
    )
    begins = {start for word, start in zip(words, starts, strict=True) if word}
    for place, character in enumerate(text):
        before = text[place - 1] if place else " "
        if not character.isspace() and (
            before.isspace()
            or character in string.punctuation + "–«»"
            or before in string.punctuation + "–«»"
        ):
            assert place in begins, (
                text[place:],
                [text[start:end] for start, end in zip(starts, ends, strict=True)],
            )
    for word, start in zip(words, starts, strict=True):
        assert word < 3 or not text[start - 1].isspace(), text[start:]


@pytest.mark.parametrize(
    ("kind", "text", "span"),
    [
        ("bert", "看了今天book电影", (4, 8)),
        ("gpt2", "これはソニーのくるま", (3, 6)),
        ("roberta", "서울에서 왔다", (0, 2)),
        ("gpt2", "ไปกรุงเทพมา", (2, 9)),
    ],
)
def test_a_span_may_begin_and_end_where_no_space_parts_words(tmp_path, folders, kind, text, span):
    row = {"words": text, "tags": [{"start": span[0], "end": span[1], "label": "LOC"}]}
    head, prepared = prepared_of(
        tmp_path, folders[kind], [row, {"words": text[: span[0]], "tags": []}], seq_len=64
    )
    assert prepared.ledger.count("train", "borders_inside_tokens") == 0
    graph = graph_of(head, prepared.vocabulary)
    texts = tf.constant([text.encode()])
    columns, _ = head.reader.encode(texts)
    label = np.asarray(prepared.splits["train"].tokens["label"])[: len(columns["token_ids"].values)]
    outputs = answered(graph, texts, np.maximum(label - 1, 0))
    assert [(found["start"], found["end"]) for found in graph.decode(outputs, 0)["entities"]] == [
        span
    ]


MEETING = [  # where scripts meet: a text, and the span in it
    ("彼はBMW JAPANに入社した。", "BMW JAPAN"),
    ("次にGoogleを使う。", "Google"),
    ("私は3Di社で働く。", "3Di社"),
    ("ฉันใช้Googleทุกวัน", "Google"),
    ("그는KBS에서일한다", "KBS"),
    ("他用Google搜索", "Google"),
    ("彼は Google を使う。", "Google"),
    ("東京でトヨタを見た。", "トヨタ"),
    ("新型iPhoneのケース", "iPhoneのケース"),
    ("約20000人が", "20000人"),
    ("ໃຊ້Google", "Google"),
    ("ប្រើGoogleនៅ", "Google"),
    ("သုံးGoogleကို", "Google"),
    ("ལGoogleལ", "Google"),
    ("彼はＢＭＷに", "ＢＭＷ"),
    ("ＢＭＷは車", "車"),
    ("カフェABCカフェ", "カフェABC"),
    ("가NHK가", "NHK"),
    ("ㄅNHKㄅ", "NHK"),
    ("あ\u200bNHK", "NHK"),
    ("か\u3099NHKか\u3099", "NHK"),
]


@pytest.fixture(scope="module")
def meeting_folders(tmp_path_factory):
    """A tokenizer of each kind that has a token for each character."""
    characters = sorted({*"".join(text for text, _ in MEETING), *"BMWNHKbmw"} - {" ", "\u200b"})
    folder = toy.write_checkpoint(tmp_path_factory.mktemp("bert"), weights=False)
    (folder / "vocab.txt").write_text(
        "\n".join(
            [
                "[PAD]",
                "[UNK]",
                "[CLS]",
                "[SEP]",
                "[MASK]",
                *characters,
                *(f"##{letter}" for letter in characters),
            ]
        )
    )
    (folder / "tokenizer_config.json").write_text(
        json.dumps({"do_lower_case": False, "tokenizer_class": "BertTokenizer"})
    )
    pieces = tmp_path_factory.mktemp("sentencepiece")
    content = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(characters * 9),
        model_writer=content,
        vocab_size=len(characters) + 9,
        minloglevel=2,
        hard_vocab_limit=False,
        character_coverage=1.0,
        normalization_rule_name="nmt_nfkc",
    )
    (pieces / "sentencepiece.bpe.model").write_bytes(content.getvalue())
    (pieces / "config.json").write_text(json.dumps({"model_type": "xlm-roberta"}))
    (pieces / "tokenizer_config.json").write_text(
        json.dumps({"tokenizer_class": "XLMRobertaTokenizer"})
    )
    return {
        "bert": folder,
        "xlm-roberta": pieces,
        "gpt2": write_byte_bpe(tmp_path_factory.mktemp("gpt2"), "gpt2"),
    }


@pytest.mark.parametrize("kind", ["bert", "gpt2", "xlm-roberta"])
def test_a_span_may_begin_and_end_where_scripts_meet(tmp_path, meeting_folders, kind):
    """Latin letters and digits right behind kana, Thai or Hangul, and the other way round: learnt,
    scored and served.
    """
    rows = [
        {
            "words": text,
            "tags": [
                {"start": (start := text.index(span)), "end": start + len(span), "label": "ORG"}
            ],
        }
        for text, span in MEETING
    ]
    head, prepared = prepared_of(tmp_path, meeting_folders[kind], rows, seq_len=128)
    graph = graph_of(head, prepared.vocabulary)
    texts = tf.constant([row["words"] for row in rows])
    assert (
        prepared.ledger.count("train", "borders_inside_tokens")
        == prepared.ledger.count("train", "unknown_tokens")
        == 0
    )
    label = np.maximum(np.asarray(prepared.splits["train"].tokens["label"]) - 1, 0)
    assert (
        head.scorer(graph).metrics(
            {"tag": label, "loss": np.zeros(len(label), np.float32)}, prepared.splits["train"]
        )["f1"]
        == 1
    )
    outputs = answered(graph, texts, label)
    for number, (_, span) in enumerate(MEETING):
        assert [found["text"] for found in graph.decode(outputs, number)["entities"]] == [span]


def test_tags_without_spans_and_spans_do_not_go_together(tmp_path, weights):
    row = {"words": "in red film", "tags": [{"start": 3, "end": 6, "label": "LOC"}]}
    with pytest.raises(
        DataError,
        match=(
            r"head.scheme: none is for a tag a word, and .*train.jsonl:1 has spans. Leave"
            r" head.scheme out."
        ),
    ):
        prepared_of(tmp_path, weights, [row], head={"scheme": "none"})
    other = toy.write_jsonl(tmp_path / "dev.jsonl", [{"words": "in", "tags": ["DT"]}, row])
    with pytest.raises(
        DataError,
        match=(
            r"dev.jsonl:2: has spans, and train has a tag for each word. Give each word one, or"
            r" leave the text out."
        ),
    ):
        prepared_of(
            tmp_path,
            weights,
            [{"words": "in red", "tags": ["DT", "NN"]}] * 2,
            validation=str(other),
        )


@pytest.mark.parametrize(
    ("text", "span", "tags"),
    [
        ("in red film house", (2, 11), ["O", "B-LOC", "I-LOC", "O"]),
        ("in red film house", (3, 12), ["O", "B-LOC", "I-LOC", "O"]),
        ("in \u200bred film", (3, 12), ["O", "B-LOC", "I-LOC"]),
        ("in \u200b red", (3, 4), ["O", "O"]),
    ],
)
def test_a_span_begins_at_its_first_token(tmp_path, weights, text, span, tags):
    row = {"words": text, "tags": [{"start": span[0], "end": span[1], "label": "LOC"}]}
    head, prepared = prepared_of(tmp_path, weights, [row, {"words": "red", "tags": []}])
    graph = graph_of(head, prepared.vocabulary)
    store = prepared.splits["train"]
    learnt = {
        "tag": np.maximum(np.asarray(store.tokens["label"]) - 1, 0),
        "loss": np.zeros(store.row_splits[-1], np.float32),
    }
    gold, predicted = tags_of(graph, learnt, store)
    assert gold[0] == tags and prepared.ledger.count("train", "spans_trimmed") == (
        " " in (text[span[0]], text[span[1] - 1])
    )
    assert predicted == gold and prepared.ledger.count("train", "spans_without_tokens") == (
        span == (3, 4)
    )


def test_no_tags_are_no_spans_only_where_there_are_spans(tmp_path, weights):
    span = {"words": "in red", "tags": [{"start": 3, "end": 6, "label": "LOC"}]}
    words = {"words": "in red", "tags": ["O", "B-LOC"]}
    message = (
        r":2: has no tags, and the other texts have one for each word. Give each word one, or leave"
        r" the text out."
    )
    assert (
        prepared_of(tmp_path, weights, [span, {"words": "red", "tags": []}])[1].vocabulary["tagged"]
        == "text"
    )
    with pytest.raises(DataError, match="train.jsonl" + message):
        prepared_of(tmp_path, weights, [words, {"words": "red", "tags": []}])
    other = toy.write_jsonl(tmp_path / "dev.jsonl", [words, {"words": "red", "tags": []}])
    with pytest.raises(DataError, match="dev.jsonl" + message):
        prepared_of(tmp_path, weights, [words, words], validation=str(other))


def test_tags_that_break_the_scheme_are_counted_with_their_place(tmp_path, weights):
    (tmp_path / "train.txt").write_text("the O\nred B-LOC\n\nred I-LOC\nfilm I-LOC\nhouse I-X\n")
    data = conll.Settings(
        train=str(tmp_path / "train.txt"), cache_dir=str(tmp_path / "cache"), seq_len=16
    )
    tokenizer = load_tokenizer(weights)
    head = make_head(Settings(scheme="bio"), data, tokenizer)
    prepared = prepare(data, head.reader, tokenizer.fingerprint)
    assert prepared.ledger.entries["train"]["scheme_violations"] == {
        "count": 2,
        "first": f"{tmp_path / 'train.txt'}:4",
    }


def test_words_of_a_line_are_parted_by_spaces_alone(tmp_path, weights):
    _, prepared = prepared_of(
        tmp_path, weights, [{"words": "the\u00a0film \t red", "tags": "B-X O"}]
    )
    assert np.diff(prepared.splits["train"].extras["word_splits"]).tolist() == [2]


def test_a_field_called_lines_is_the_users_own(tmp_path, weights):
    _, prepared = prepared_of(tmp_path, weights, [{**row, "lines": 3} for row in tagged(4)])
    assert len(prepared.splits["train"].extras["word_splits"]) == 5


def test_chinese_characters_and_the_digits_that_share_a_token(tmp_path, weights):
    rows = [
        {"words": list("今天1998很"), "tags": ["O", "O", "B-T", "I-T", "I-T", "I-T", "O"]},
        {"words": list("今98"), "tags": ["O", "O", "B-T"]},
    ]
    head, prepared = prepared_of(tmp_path, weights, rows, head={"word_separator": ""})
    graph = graph_of(head, prepared.vocabulary)
    store = prepared.splits["train"]
    assert store.extras["word_shares"].tolist() == [
        False,
        False,
        False,
        True,
        True,
        True,
        False,
        False,
        False,
        True,
    ]
    learnt = {
        "tag": np.maximum(np.asarray(store.tokens["label"]) - 1, 0),
        "loss": np.zeros(store.row_splits[-1], np.float32),
    }
    assert tags_of(graph, learnt, store)[1] == [rows[0]["tags"], ["O", "O", "O"]]
    assert prepared.ledger.entries["train"]["borders_inside_tokens"]["count"] == 1


def test_spans_over_raw_text_are_found_by_their_characters(tmp_path, weights):
    text = "the film, the\tgreat house"
    spans = [{"start": 4, "end": 8, "label": "ART"}, {"start": 14, "end": 25, "label": "LOC"}]
    head, prepared = prepared_of(
        tmp_path,
        weights,
        [
            {"words": text, "tags": spans},
            {"words": "a red film", "tags": [{"start": 3, "end": 5, "label": "LOC"}]},
        ],
    )
    graph = graph_of(head, prepared.vocabulary)
    store = prepared.splits["train"]
    learnt = {
        "tag": np.maximum(np.asarray(store.tokens["label"]) - 1, 0),
        "loss": np.zeros(store.row_splits[-1], np.float32),
    }
    gold, predicted = tags_of(graph, learnt, store)
    assert gold[0] == predicted[0] == ["O", "B-ART", "O", "O", "B-LOC", "I-LOC"]
    # a span that begins inside "red" cannot be met, and counts
    assert gold[1] == ["O", "O", "B-LOC", "O"] and predicted[1] != gold[1]


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (
            {"words": ["a", "b"], "tags": ["O"]},
            "train.jsonl:2: field 'tags' has 1 tags for 2 words. Give each word one tag.",
        ),
        (
            {"words": ["a", ""], "tags": ["O", "O"]},
            "train.jsonl:2: field 'words': word 2 is empty.",
        ),
        (
            {"words": 3, "tags": ["O"]},
            "train.jsonl:2: field 'words' should be text or a list of words. Received 3.",
        ),
        (
            {"words": ["a"], "tags": [3]},
            (
                "Received [3]. Write the tags' names in place of their numbers; data.source: tfds"
                " does so by itself."
            ),
        ),
        ({"words": ["a"], "tags": [""]}, "field 'tags' should be a tag for each word, or spans"),
        (
            {"words": ["a"], "tags": ["X-PER"]},
            (
                "train.jsonl:2: tag 'X-PER' is none of scheme bio: O, B-…, I-…. Correct it, or set"
                " --head.scheme."
            ),
        ),
        (
            {
                "words": "New York City",
                "tags": [
                    {"start": 0, "end": 13, "label": "LOC"},
                    {"start": 4, "end": 8, "label": "ORG"},
                ],
            },
            (
                "spans overlap: LOC 'New York City' (0 to 13) and ORG 'York' (4 to 8). A word has"
                " one tag: keep one of them."
            ),
        ),
        (
            {"words": "ab", "tags": [{"start": 0, "end": 3, "label": "LOC"}]},
            (
                "a span must lie in the text, which has 2 characters, and hold one at least."
                " Received 0 to 3."
            ),
        ),
        (
            {"words": "ab", "tags": [{"start": 1, "end": 1, "label": "LOC"}]},
            "and hold one at least. Received 1 to 1.",
        ),
        (
            {
                "words": "😀 in Rome",
                "tags": [{"start": 6, "end": 10, "label": "LOC", "text": "Rome"}],
            },
            "must lie in the text",
        ),
        (
            {
                "words": "😀 in Rome, Italy",
                "tags": [{"start": 6, "end": 10, "label": "LOC", "text": "Rome"}],
            },
            (
                "the span from 6 to 10 says that its text is 'Rome', and 'ome,' stands there. They"
                " count UTF-16 units, as JavaScript does: count characters."
            ),
        ),
        (
            {"words": "in Rome", "tags": [{"start": 2, "end": 6, "label": "LOC", "text": "Rome"}]},
            (
                "the span from 2 to 6 says that its text is 'Rome', and ' Rom' stands there."
                " Correct its place, or its text."
            ),
        ),
        (
            {"words": "ab", "tags": [{"start": 0.0, "end": True, "label": "LOC"}]},
            (
                "start and end of a span must be whole numbers, of characters of the text. Received"
                " 0.0 and True."
            ),
        ),
        (
            {"words": "a  b", "tags": [{"start": 1, "end": 3, "label": "LOC"}]},
            "the span from 1 to 3 holds white space alone: '  '.",
        ),
        (
            {"words": "ab", "tags": [{"start": 0, "end": 2, "label": ""}]},
            "the span from 0 to 2 has no label.",
        ),
        (
            {"words": "ab", "tags": [{"start": 0}]},
            'expected spans {"start", "end", "label"}. Received {\'start\': 0}',
        ),
    ],
)
def test_what_cannot_be_tagged_is_refused_with_its_place(tmp_path, weights, row, message):
    with pytest.raises(DataError) as caught:
        prepared_of(
            tmp_path, weights, [{"words": ["a"], "tags": ["B-PER"]}, row], head={"scheme": "bio"}
        )
    assert message in str(caught.value)


@pytest.mark.parametrize("field", ["label", "labels", "entities", "spans"])
def test_spans_are_found_where_other_tools_write_them(field):
    head = make_head(Settings(), jsonl.Settings(train=""), toy.TEMPLATE)
    gold = head.reader.label(
        Example({"text": "in Rome", field: [[3, 7, "LOC"]], "meta": [1]}, Origin("x", 1))
    )
    assert (gold.start, gold.end, gold.tags) == ((3,), (7,), ("B-LOC",))
    assert head.reader.values(Example({"text": "in Rome"}, Origin("x", 1))) == ("in Rome",)
    unclear = Example({"text": "in Rome", "entities": [], "spans": []}, Origin("x", 1))
    with pytest.raises(
        DataError,
        match="unknown field 'label' at x:1; fields there are: 'text', 'entities', 'spans'",
    ):
        head.reader.label(unclear)
    named = make_head(Settings(), jsonl.Settings(train="", label="tags"), toy.TEMPLATE)
    with pytest.raises(DataError, match="unknown field 'tags'"):  # what is named is meant
        named.reader.label(Example({"text": "in Rome", "entities": []}, Origin("x", 1)))


@pytest.mark.parametrize("spans", [False, True])
def test_a_tag_that_only_a_later_split_has_is_scored_as_missed(tmp_path, weights, spans):
    words = ["red", "film", "house", "tree"]
    tags = ["B-LOC", "O", "B-ORG", "I-ORG"]
    row = (
        {
            "words": " ".join(words),
            "tags": [
                {"start": 0, "end": 3, "label": "LOC"},
                {"start": 9, "end": 19, "label": "ORG"},
            ],
        }
        if spans
        else {"words": words, "tags": tags}
    )
    other = toy.write_jsonl(tmp_path / "dev.jsonl", [{"words": ["film"], "tags": ["O"]}, row])
    head, prepared = prepared_of(tmp_path, weights, tagged(5), validation=str(other))
    assert prepared.vocabulary["labels"] == ["O", "B-LOC", "I-LOC", "B-PER", "I-PER"]
    assert prepared.ledger.entries["validation"]["unseen_tags"] == {
        "count": 1 if spans else 2,
        "first": f"{other}:2",
    }
    graph = graph_of(head, prepared.vocabulary)
    store = prepared.splits["validation"]
    assert store.tokens["label"][-6:].tolist() == [0, 2, 1, 0, 0, 0]
    learnt = {
        "tag": np.maximum(np.asarray(store.tokens["label"]) - 1, 0),
        "loss": np.zeros(store.row_splits[-1], np.float32),
    }
    assert tags_of(graph, learnt, store) == ([["O"], tags], [["O"], ["B-LOC", "O", "O", "O"]])
    assert (
        head.scorer(graph).metrics(learnt, store)["recall"] == 0.5
        and head.scorer(graph).per_label(learnt, store)["ORG"]["support"] == 1
    )


def test_a_split_without_any_tag_of_train_is_refused(tmp_path, weights):
    other = toy.write_jsonl(tmp_path / "dev.jsonl", [{"words": ["a", "b"], "tags": ["O", "B-ORG"]}])
    with pytest.raises(DataError) as caught:
        prepared_of(tmp_path, weights, tagged(5), validation=str(other))
    assert (
        str(caught.value)
        == f"data.validation: its tags are none of those of train (first: {other}:1). Received"
        " B-ORG, I-ORG. Expected some of O, B-LOC, I-LOC, B-PER, I-PER. Is it the right file,"
        " and are text and tags the right fields or columns?"
    )


def test_a_fraction_held_out_may_have_none_of_trains_types(tmp_path, weights):
    """Each sentence of its own type: what falls into the fraction is never that of train."""
    rows = [{"words": [word], "tags": [f"B-{word}"]} for word in toy.FILLER]
    _, prepared = prepared_of(tmp_path, weights, rows, validation=0.2)
    assert (
        prepared.ledger.count("validation", "unseen_tags")
        == len(prepared.splits["validation"].meta["samples"])
        > 0
    )


@pytest.mark.parametrize(
    ("head", "data", "message"),
    [
        (
            {},
            {"overflow": "truncate"},
            (
                "data.overflow: head token_classification takes window or error, so that no word"
                " goes unseen. Received 'truncate'."
            ),
        ),
        ({}, {"text": ["a", "b"]}, "data.text: head token_classification takes one field."),
    ],
)
def test_settings_that_do_not_go_together_are_refused(tmp_path, head, data, message):
    with pytest.raises(ConfigError) as caught:
        make_head(
            Settings(**head), DataSettings(**{"source": "jsonl", "train": "", **data}), toy.TEMPLATE
        )
    assert message in str(caught.value)


def test_overflow_error_refuses_a_text_of_several_windows(tmp_path, weights):
    with pytest.raises(
        DataError,
        match=(
            r"train.jsonl:1: more tokens than data.seq_len = 8, and data.overflow is error.*or"
            r" choose data.overflow window."
        ),
    ):
        prepared_of(
            tmp_path,
            weights,
            [{"words": ["the"] * 9, "tags": ["B-X"] * 9}],
            seq_len=8,
            overflow="error",
        )


@pytest.fixture(scope="module")
def served(tmp_path_factory, weights):
    """Without and with CRF: the head, its server, which tags at random but decidedly, and the
    prepared data.
    """
    made = {}
    for crf in (False, True):
        folder = tmp_path_factory.mktemp("served")
        head, prepared = prepared_of(folder, weights, tagged(40, odd=False), head={"crf": crf})
        model = model_of(weights, head, prepared.vocabulary)
        kernel = model.graph.output.kernel
        kernel.assign(np.random.default_rng(0).normal(size=kernel.shape))
        made[crf] = types.SimpleNamespace(
            head=head,
            graph=model.graph,
            model=model,
            server=make_server(model, head),
            rows=toy.read_jsonl(folder / "train.jsonl"),
            prepared=prepared,
        )
    return made


def entities(made, texts):
    outputs = {
        name: value.numpy()
        for name, value in made.server.texts(tf.constant([text.encode() for text in texts])).items()
    }
    return [made.graph.decode(outputs, row)["entities"] for row in range(len(texts))]


@pytest.mark.parametrize("crf", [False, True])
def test_raw_text_gives_the_spans_that_the_words_give(served, crf):
    """Texts of up to 30 words in windows of 14 tokens:
    stitched alike in evaluation and in serving.
    """
    made = served[crf]
    store = served[crf].prepared.splits["train"]
    results = made.model.results
    tokens = {
        name: tf.RaggedTensor.from_row_splits(values, store.row_splits).to_tensor()
        for name, values in store.tokens.items()
    }
    mask = tf.ones_like(
        tf.RaggedTensor.from_row_splits(store.tokens["token_ids"], store.row_splits)
    ).to_tensor()
    found = results(
        Batch.one_a_row(
            {
                "token_ids": tokens["token_ids"],
                "words": tokens["words"],
                "label": tokens["label"],
                "padding_mask": mask,
            }
        )
    )
    flat = {
        name: tf.RaggedTensor.from_tensor(values, lengths=store.lengths).values.numpy()
        for name, values in found.items()
    }
    assert np.diff(store.columns["example"]).max() == 1 and len(store) > len(made.rows)
    _, predicted = tags_of(made.graph, flat, store)
    for row, tags, spans in zip(
        made.rows,
        predicted,
        entities(made, [" ".join(row["words"]) for row in made.rows]),
        strict=True,
    ):
        starts = np.cumsum([0, *(len(word) + 1 for word in row["words"])])
        expected = []
        for place, tag in enumerate(tags):
            if tag.startswith("B-"):
                expected.append([int(starts[place]), 0, tag[2:]])
            if tag != "O":
                expected[-1][1] = int(starts[place + 1] - 1)
        assert [[span["start"], span["end"], span["type"]] for span in spans] == expected


@pytest.mark.parametrize("crf", [False, True])
@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.text(
            st.one_of(
                st.sampled_from("the red film 今天 \t\n.,\u0301\u200b\ufeffé😀ｆ"),
                st.characters(exclude_categories=["Cs"]),
            )
        ),
        min_size=1,
        max_size=3,
    )
)
def test_a_span_is_always_a_slice_of_the_text(served, crf, texts):
    for text, spans in zip(texts, entities(served[crf], texts), strict=True):
        assert [span["text"] for span in spans] == [
            text[span["start"] : span["end"]] for span in spans
        ]
        edges = [edge for span in spans for edge in (span["start"], span["end"])]
        assert edges == sorted(edges) and all(span["start"] < span["end"] for span in spans)
        assert all(0 < span["score"] <= 1 and span["type"] in NAMES for span in spans)


@pytest.mark.parametrize(
    ("text", "tags", "spans", "separator"),
    [
        *(
            (*case, " ")
            for case in [
                ("the U.S. film", "O B O B O O", [("U.S", "x")]),
                ("the U.S. film", "O B I I I B", [("U.S.", "x"), ("film", "x")]),
                ("the U.S. film", "O B Y B Y I", [("U.S. film", "x")]),
                ("(red) film", "O B O O", [("red", "x")]),
                ("red film", "B B", [("red", "x"), ("film", "x")]),
                ("the red-film", "O B O Y", [("red-film", "x")]),
                ("the red/film", "O B O B", [("red", "x"), ("film", "x")]),
                ("red,film", "B O Y", [("red", "x"), ("film", "y")]),
                ("red-", "B O", [("red", "x")]),
                ("-red", "O B", [("red", "x")]),
                ("今天很", "B B I", [("今", "x"), ("天很", "x")]),
                ("film今", "B Y", [("film", "x"), ("今", "y")]),
            ]
        ),
        ("film-red今", "B O Y B", [("film", "x"), ("red", "y"), ("今", "x")], ""),
    ],
)
def test_parts_that_no_space_parts_are_one_span_unless_words_are(
    tmp_path, weights, text, tags, spans, separator
):
    head, _ = prepared_of(tmp_path, weights, tagged(4), head={"word_separator": separator})
    graph = graph_of(
        head, {"labels": ["O", "B-x", "I-x", "B-y", "I-y"], "scheme": "bio", "tagged": "words"}
    )
    texts = tf.constant(["the film", text, ""])
    columns, _ = head.reader.encode(texts)
    numbers = iter([0, 0, *({"O": 0, "B": 1, "I": 2, "Y": 3}[tag] for tag in tags.split())])
    tag = [next(numbers) if word else 0 for word in columns["words"].values.numpy().tolist()]
    assert next(numbers, None) is None
    outputs = answered(graph, texts, tag)
    assert [(span["text"], span["type"]) for span in graph.decode(outputs, 1)["entities"]] == spans
    assert graph.decode(outputs, 0)["entities"] == graph.decode(outputs, 2)["entities"] == []


def test_words_that_are_made_of_one_character_are_one(weights):
    """ﷺ is four words to SentencePiece's normalization: not four spans at one place."""
    tokenizer = load_tokenizer(learnt_folder("xlm-roberta"))
    head = make_head(
        Settings(),
        DataSettings(source="jsonl", train="", text="words", label="tags", seq_len=64),
        tokenizer,
    )
    columns, _ = head.reader.encode(tf.constant(["the \ufdfa film", "\ufdfb \ufdfa ㍿ a", "a"]))
    for words, starts, ends, places in zip(
        *(columns[name].to_list() for name in ("words", "start", "end")),
        [[(0, 3), (4, 5), (6, 10)], [(0, 1), (2, 3), (4, 5), (6, 7)], [(0, 1)]],
        strict=True,
    ):
        assert [
            (start, end) for word, start, end in zip(words, starts, ends, strict=True) if word > 0
        ] == places


def test_spans_of_raw_text_are_served_as_they_are_scored(tmp_path, weights):
    """Whatever was learnt: what is answered is what `metrics` counts, also where no space parts two
    spans.
    """
    rng, rows = random.Random(0), []
    for _ in range(40):
        words = [rng.choice(toy.FILLER) for _ in range(rng.randrange(2, 20))]
        text = "".join(word + rng.choice([" ", "/", ",", "-", "."]) for word in words)
        starts = np.cumsum([0, *(len(word) + 1 for word in words)]).tolist()
        rows.append(
            {
                "words": text,
                "tags": [
                    {"start": start, "end": start + len(word), "label": rng.choice(NAMES)}
                    for start, word in zip(starts[:-1], words, strict=True)
                    if rng.random() < 0.5
                ],
            }
        )
    head, prepared = prepared_of(tmp_path, weights, rows)
    assert prepared.vocabulary["tagged"] == "text"
    graph = graph_of(head, prepared.vocabulary)
    texts = tf.constant([row["words"] for row in rows])
    learnt = np.maximum(np.asarray(prepared.splits["train"].tokens["label"]) - 1, 0)
    outputs = answered(graph, texts, learnt)
    for number, row in enumerate(rows):
        found = [
            {"start": span["start"], "end": span["end"], "label": span["type"]}
            for span in graph.decode(outputs, number)["entities"]
        ]
        assert found == row["tags"]


@pytest.mark.parametrize(
    ("words", "spans", "tags"),
    [
        (["the", "U.S.", "film"], [(4, 8, "x")], ["O", "B-x", "O"]),
        (["New", "York", "film"], [(0, 8, "x")], ["B-x", "I-x", "O"]),
        (["a", "b"], [], ["O", "O"]),
        (["in-red", "b"], [(3, 6, "x")], ["O", "O"]),
        (["red-film", "b"], [(0, 3, "x"), (4, 10, "y")], ["B-x", "B-y"]),
        (["the", "\u200bfilm", "\u0301red"], [(5, 14, "x")], ["O", "B-x", "I-x"]),
        (["\u200b", "\ufefffilm"], [(3, 7, "x")], ["O", "B-x"]),
        (["\u200b"], [], ["O"]),
        (["a", "\u200b", " ", "b", "\ufe0f"], [(0, 7, "x")], ["B-x", "I-x", "I-x", "I-x", "O"]),
        (["\u200b", "a", "\u200b", "b"], [(2, 3, "x"), (6, 7, "x")], ["O", "B-x", "O", "B-x"]),
    ],
)
def test_the_tag_of_a_word_is_that_of_what_begins_it(weights, words, spans, tags):
    labels = ["O", "B-x", "I-x", "B-y", "I-y"]
    assert predicted_tags(weights, words, spans, labels, "bio") == tags


def test_the_tag_of_a_word_without_spans_is_its_own(weights):
    spans = [(0, 1, "DT"), (2, 3, "NN"), (3, 4, ".")]
    labels = [".", "DT", "NN"]
    assert predicted_tags(weights, ["a", "b."], spans, labels, "none") == ["DT", "NN"]
    assert predicted_tags(weights, ["a", "\u200b"], spans[:1], labels, "none") == ["DT", ""]


def predicted_tags(weights, words, spans, labels, scheme):
    """What predict says of each word where these spans are answered."""
    data = DataSettings(source="jsonl", train="", text="words", label="tags", seq_len=64)
    head = make_head(Settings(), data, load_tokenizer(weights))
    graph = graph_of(head, {"labels": labels, "scheme": scheme, "tagged": "words"})
    padded = [*spans, (-1, -1, "")]
    answers = {
        "start": np.array([[start for start, _, _ in padded]], np.int32),
        "end": np.array([[end for _, end, _ in padded]], np.int32),
        "type": np.array([[name.encode() for _, _, name in padded]], object),
        "text": np.array([[b""] * len(padded)], object),
        "score": np.ones((1, len(padded)), np.float32),
    }
    return graph.decode(answers, 0, Example({"words": words}, Origin("x", 1)))["tags"]


def test_windows_go_through_the_encoder_a_few_at_a_time(served, monkeypatch):
    texts = [" ".join(row["words"]) for row in tagged(6, seed=8)]
    whole = entities(served[True], texts)
    monkeypatch.setattr("trainer.serve.server.ROWS_AT_ONCE", 2)
    parts = entities(
        types.SimpleNamespace(
            graph=served[True].graph, server=make_server(served[True].model, served[True].head)
        ),
        texts,
    )
    assert [[(span["start"], span["end"], span["type"]) for span in spans] for spans in whole] == [
        [(span["start"], span["end"], span["type"]) for span in spans] for spans in parts
    ] and any(whole)


def test_the_labels_of_another_train_are_refused(tmp_path, weights, capsys):
    config = toy.write_config(
        tmp_path,
        weights,
        toy.write_jsonl(tmp_path / "train.jsonl", tagged(40)),
        head={"name": "token_classification"},
        data={"text": "words", "label": "tags", "validation": 0.3, "seq_len": 32},
        train={"steps": 2},
    )
    assert toy.run_main(config, tmp_path / "job") == 0
    renamed = [
        {**row, "tags": [tag.replace("PER", "AAA") for tag in row["tags"]]} for row in tagged(40)
    ]
    other = toy.write_jsonl(tmp_path / "other.jsonl", renamed)
    assert toy.run_main(None, tmp_path / "job", "--mode=evaluate", f"--data.train={other}") == 2
    assert (
        "its model was trained with labels ['O', 'B-LOC', 'I-LOC', 'B-PER', 'I-PER'], and"
        " data.train now has ['O', 'B-AAA', 'I-AAA', 'B-LOC', 'I-LOC']. Give --data.train as in"
        " training" in capsys.readouterr().err
    )


@pytest.mark.parametrize("crf", [False, True])
def test_no_text_and_no_span_are_answers_too(served, crf):
    outputs = served[crf].server.texts(tf.constant([], tf.string))
    assert all(value.shape[0] == 0 for value in outputs.values())
    assert entities(served[crf], ["", " \n"]) == [[], []]


def test_a_crf_for_hugging_face_is_refused_before_it_is_trained(tmp_path, weights, capsys):
    config = toy.write_config(
        tmp_path,
        weights,
        toy.write_jsonl(tmp_path / "train.jsonl", tagged(20)),
        head={"name": "token_classification", "crf": True},
        data={"text": "words", "label": "tags", "seq_len": 32},
        train={"steps": 2},
        export={"format": "huggingface"},
    )
    assert toy.run_main(config, tmp_path / "job") == 2
    assert (
        "export.format: Hugging Face's models for token classification have no CRF. Export a"
        " savedmodel, or train with" in capsys.readouterr().err
    )
    assert not (tmp_path / "job" / "metrics.jsonl").exists()


def test_a_checkpoints_classifier_is_taken_over_in_the_order_of_our_labels(
    tmp_path, served, weights
):
    made = served[False]
    tensors, updates = made.graph.save_tensors()
    assert updates["architectures"] == ["BertForTokenClassification"]
    order = [3, 0, 4, 2, 1]
    shuffled = {name: tensor[order] for name, tensor in tensors.items()}
    other = model_of(weights, made.head, made.graph.vocabulary).graph
    theirs = {row: made.graph.vocabulary["labels"][index] for row, index in enumerate(order)}
    assert other.load_tensors(huggingface.TaskHead(shuffled, id2label=theirs)).tensors == [
        "classifier.weight",
        "classifier.bias",
    ]
    np.testing.assert_array_equal(other.output.kernel.numpy(), made.graph.output.kernel.numpy())
    assert (
        other.load_tensors(
            huggingface.TaskHead(shuffled, id2label=dict.fromkeys(range(5), "x"))
        ).tensors
        == []
    )


@pytest.mark.parametrize("crf", [pytest.param(False, marks=pytest.mark.slow), True])
def test_a_tagger_learns_exports_and_predicts(tmp_path, weights, capsys, crf):
    """Through the entry point: names are entities."""
    rng, rows = random.Random(0), []
    for _ in range(160):
        words = [
            rng.choice(["great", "awful"]) if rng.random() < 0.3 else rng.choice(toy.FILLER)
            for _ in range(rng.randrange(1, 24))
        ]
        rows.append(
            {
                "words": words,
                "tags": [{"great": "B-GOOD", "awful": "B-BAD"}.get(word, "O") for word in words],
            }
        )
    config = toy.write_config(
        tmp_path,
        weights,
        toy.write_jsonl(tmp_path / "train.jsonl", rows),
        head={"name": "token_classification", "crf": crf},
        data={"text": "words", "label": "tags", "validation": 0.2, "seq_len": 16},
        train={"steps": 60, "evaluate_every_steps": 30},
        export={"format": "savedmodel", "check_examples": 8},
    )
    assert toy.run_main(config, tmp_path / "job") == 0
    results = json.loads((tmp_path / "job" / "results.json").read_text())
    assert results["validation"]["f1"] > 0.9
    toy.write_jsonl(tmp_path / "in.jsonl", [{"words": "a great, very awful film"}])
    assert (
        toy.run_main(
            None,
            tmp_path / "job",
            "--mode=predict",
            f"--input={tmp_path / 'in.jsonl'}",
            f"--output={tmp_path / 'out.jsonl'}",
        )
        == 0
    )
    spans = toy.read_jsonl(tmp_path / "out.jsonl")[0]["entities"]
    assert [(span["text"], span["type"], span["start"]) for span in spans] == [
        ("great", "GOOD", 2),
        ("awful", "BAD", 14),
    ]
    lines = [
        {"words": ["a", "great", ",", "\u200b", "film", "awful"], "tags": ["O"] * 6},
        {"words": "a   very\tgreat  film", "tags": "O O O O", "text": "mine"},
        {"text": "so great"},
    ]
    source = tmp_path / "in.jsonl.gz"
    source.write_bytes(gzip.compress("".join(json.dumps(line) + "\n" for line in lines).encode()))
    assert (
        toy.run_main(
            None,
            tmp_path / "job",
            "--mode=predict",
            f"--input={source}",
            f"--output={tmp_path / 'out.jsonl'}",
        )
        == 0
    )
    words, raw, other = toy.read_jsonl(tmp_path / "out.jsonl")
    # the SavedModel's name of it
    assert [(span["text"], span["start"]) for span in other["entities"]] == [("great", 3)]
    assert (
        words["predicted_tags"] == ["O", "B-GOOD", "O", "O", "O", "B-BAD"]
        and words["tags"] == ["O"] * 6
        and words["text"] == "a great , \u200b film awful"
    )
    assert [(span["text"], span["start"]) for span in raw["entities"]] == [("great", 9)] and raw[
        "text"
    ] == "mine"
    toy.write_jsonl(tmp_path / "in.jsonl", [{"txt": "so great"}])
    assert (
        toy.run_main(
            None,
            tmp_path / "job",
            "--mode=predict",
            f"--input={tmp_path / 'in.jsonl'}",
            f"--output={tmp_path / 'out2.jsonl'}",
        )
        == 2
    )
    assert (
        "fields there are: 'txt'. Correct data.text. Where a model is asked, 'text' will do as"
        " well.\n" in capsys.readouterr().err
    )
    source.write_bytes(source.read_bytes()[:-9])
    assert (
        toy.run_main(
            None,
            tmp_path / "job",
            "--mode=predict",
            f"--input={source}",
            f"--output={tmp_path / 'out2.jsonl'}",
        )
        == 2
    )
    assert (
        "cannot be read beyond this line: Compressed file ended before" in capsys.readouterr().err
    )


def test_a_train_without_any_tag_is_refused(tmp_path, weights):
    with pytest.raises(DataError, match=r"data\.train: no example has a tag in field 'tags'\."):
        prepared_of(tmp_path, weights, [{"words": [], "tags": []}, {"words": [], "tags": []}])
