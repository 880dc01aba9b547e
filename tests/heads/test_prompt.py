"""Prompting: the pattern, the words, and the masked language model's own answer."""

import functools
import json
import pathlib
import re
import tempfile
from types import SimpleNamespace

import numpy as np
import pytest
import tensorflow as tf
from transformers import AutoTokenizer

from tests import toy
from tests.text.byte_bpe_reference import write_byte_bpe
from tests.text.sentencepiece_reference import NAMES, learnt_folder
from trainer.backbones import huggingface
from trainer.data.batch import Batch
from trainer.errors import ConfigError, DataError
from trainer.heads import masked_lm, prompt
from trainer.heads.prompt.words import token_of_word
from trainer.run.model import Model
from trainer.settings.schema import DataSettings
from trainer.text import load_tokenizer

WORDS = {"pos": "great", "neg": "awful"}


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    return toy.write_checkpoint(tmp_path_factory.mktemp("weights"), layers=1)


def head_of(weights, *, text="text", seq_len=32, **settings):
    settings = {"pattern": "{text} it was {mask}.", "label_words": WORDS, **settings}
    return prompt.make_head(
        prompt.Settings(**settings),
        DataSettings(source="jsonl", train="", text=text, seq_len=seq_len),
        tokenizer_of(weights),
    )


@functools.cache
def tokenizer_of(folder):
    return load_tokenizer(folder)


@functools.cache
def folder_of(kind):
    return (
        learnt_folder(kind)
        if kind in NAMES
        else write_byte_bpe(pathlib.Path(tempfile.mkdtemp()), kind)
    )


def word_of(head, word):
    return token_of_word(word, head.reader.tokenizer, head.pattern)


def words_of(head, ids):
    return [" ".join(head.reader.tokenizer.vocabulary[id] for id in row) for row in ids.to_list()]


def test_texts_are_set_into_the_pattern_and_cut_and_it_never_is(weights):
    head = head_of(weights, seq_len=10)
    columns, counts = head.reader.encode(
        tf.constant(["the film", "", "the old book was of the red house"])
    )
    assert words_of(head, columns["token_ids"]) == [
        "[CLS] the film it was [MASK] . [SEP]",
        "[CLS] it was [MASK] . [SEP]",
        "[CLS] the old book was it was [MASK] . [SEP]",
    ]
    assert columns["asked"].to_list() == [
        [0, 0, 0, 0, 0, 1, 0, 0],
        [0, 0, 0, 1, 0, 0],
        [0, 0, 0, 0, 0, 0, 0, 1, 0, 0],
    ]
    assert counts["truncated_tokens"].numpy().tolist() == [0, 0, 4]
    pair = head_of(weights, text=["a", "b"], pattern="{text_pair} ? {mask} , {text}")
    columns, _ = pair.reader.encode(tf.constant(["the film"]), tf.constant(["old [MASK]"]))
    assert words_of(pair, columns["token_ids"]) == ["[CLS] old [MASK] ? [MASK] , the film [SEP]"]
    assert columns["asked"].to_list() == [[0, 0, 0, 0, 1, 0, 0, 0, 0]]  # not the one in the text


def test_roberta_writes_the_space_into_the_word(tmp_path):
    folder = write_byte_bpe(tmp_path, "roberta")
    head = head_of(folder)
    columns, _ = head.reader.encode(tf.constant(["the film"]))
    assert words_of(head, columns["token_ids"])[0].endswith("<mask> . </s>")
    assert [head.reader.tokenizer.vocabulary[word_of(head, word)] for word in ("the", "film")] == [
        "Ġthe",
        "Ġfilm",
    ]


@pytest.mark.parametrize(
    "pattern",
    [
        "{text} it was {mask}.",
        "Review: {text} It was {mask}.",
        "{mask} news: {text}",
        "({mask}) {text}!",
        "{text}. so {mask}",
        "{text}? {mask}, {text_pair}",
        "a {text}{mask}{text_pair}",
        "{mask}\n{text_pair} \t{text}",
        "{text}很{mask}。",
        "({text}){mask}",
    ],
)
@pytest.mark.parametrize("kind", ["roberta", "xlm-roberta", "albert"])
def test_a_filled_pattern_has_hugging_faces_tokens(kind, pattern):
    folder = folder_of(kind)
    backend = AutoTokenizer.from_pretrained(folder).backend_tokenizer
    mask = "<mask>" if kind != "albert" else "[MASK]"
    texts = [
        {"text": "the film was", "text_pair": "a book"},
        {"text": "书", "text_pair": "ing"},
        {"text": "", "text_pair": "we saw\xa0"},
    ]
    head = head_of(
        folder, pattern=pattern, text=["a", "b"] if "pair" in pattern else "text", seq_len=64
    )
    columns, counts = head.reader.encode(
        *(tf.constant([text[item.name] for text in texts]) for item in head.reader.inputs)
    )
    before = len(head.reader.tokenizer.template.before)
    after = len(head.reader.tokenizer.template.after)
    for text, ids, asked in zip(
        texts, columns["token_ids"].to_list(), columns["asked"].to_list(), strict=True
    ):
        assert (
            ids[before:-after]
            == backend.encode(filled_of(pattern, mask, text), add_special_tokens=False).ids
        )
        assert np.flatnonzero(asked).tolist() == [ids.index(head.reader.tokenizer.mask_id)]
    assert not counts["truncated_tokens"].numpy().any()
    for word in toy.FILLER:
        ids = [
            backend.encode(text, add_special_tokens=False).ids
            for text in (pattern.format(mask=word, **texts[0]), filled_of(pattern, mask, texts[0]))
        ]
        place = ids[1].index(head.reader.tokenizer.mask_id)
        # one token there
        if (ids[0][:place], ids[0][place + 1 :]) == (ids[1][:place], ids[1][place + 1 :]):
            assert word_of(head, word) == ids[0][place]


def filled_of(pattern, mask, text):
    """The mask takes the space in front."""
    return re.sub(rf"\s+{re.escape(mask)}", mask, pattern.format(mask=mask, **text))


@pytest.mark.parametrize("kind", ["roberta", "xlm-roberta"])
def test_long_texts_lose_their_end_and_the_pattern_nothing(kind):
    folder = folder_of(kind)
    texts = ["the film was a book " * 8, "a ", "we saw the film, and the film was " * 3]
    whole, cut = (
        head_of(
            folder,
            pattern="so {text}. it was {mask}, {text_pair}",
            text=["a", "b"],
            seq_len=seq_len,
        )
        for seq_len in (512, 40)
    )
    (all_of, _), (kept, counts) = (
        head.reader.encode(tf.constant(texts), tf.constant(texts[::-1])) for head in (whole, cut)
    )
    ids = kept["token_ids"].to_list()
    masks = kept["asked"].to_list()
    for row, full in enumerate(all_of["token_ids"].to_list()):
        assert len(ids[row]) == min(40, len(full)) and counts["truncated_tokens"].numpy()[
            row
        ] == len(full) - len(ids[row])
        steps = iter(full)
        assert all(id in steps for id in ids[row])  # in their order
        place = masks[row].index(1)
        assert sum(masks[row]) == 1 and ids[row][place] == cut.reader.tokenizer.mask_id
        behind = full[: full.index(cut.reader.tokenizer.mask_id)]
        assert ids[row][place - 3 : place] == behind[-3:]  # "it was" with what stands before it


def test_answers_are_the_masked_language_models_own(weights):
    """Beside masked_lm on the pattern written out: its probabilities of the two words."""
    head = head_of(weights)
    backbone, _ = huggingface.load_backbone(weights)
    model = Model(backbone, head.build(backbone, head.reader.learn(["pos", "neg"], None, str), 1))
    masked = masked_lm.make_head(
        masked_lm.Settings(),
        DataSettings(source="text", train="", seq_len=32),
        head.reader.tokenizer,
    )
    other = Model(backbone, masked.build(backbone, {"labels": []}, 1))
    text = ["the film", "we saw the old house of one two three"]
    columns, _ = head.reader.encode(tf.constant(text))
    dense = {name: values.to_tensor() for name, values in columns.items()}
    lengths = tf.cast(columns["token_ids"].row_lengths(), tf.int32)
    mask = tf.sequence_mask(lengths, dtype=tf.int32)
    logits = model.logits(Batch.one_a_row({**dense, "padding_mask": mask}))
    plain, _ = masked.reader.encode(tf.constant([f"{line} it was [MASK]." for line in text]))
    assert plain["token_ids"].to_list() == columns["token_ids"].to_list()
    batch = Batch.one_a_row({"token_ids": dense["token_ids"], "padding_mask": mask})
    hidden, table, bias = other.logits(other.graph.served(batch))
    everything = (tf.matmul(hidden, table, transpose_b=True) + bias).numpy()
    np.testing.assert_allclose(
        logits,
        everything[:, [head.reader.tokenizer.vocabulary.index(word) for word in WORDS.values()]],
        atol=1e-5,
    )


def test_it_is_trained_exported_and_asked(weights, tmp_path):
    (tmp_path / "job").mkdir()
    config = toy.write_config(
        tmp_path,
        weights,
        toy.write_sentences(tmp_path / "train.jsonl", 60),
        head={"name": "prompt", "pattern": "{text} it was {mask}.", "label_words": WORDS},
        data={"validation": 0.3},
        train={"steps": 3},
        export={"format": "savedmodel"},
    )
    assert toy.run_main(config, tmp_path / "job") == 0
    validation = json.loads((tmp_path / "job" / "results.json").read_text())["validation"]
    assert {"accuracy", "f1_macro", "loss", "auc_roc"} <= set(validation)
    answer = tf.saved_model.load(str(tmp_path / "job" / "model")).signatures["serving_default"](
        text=tf.constant(["this great film", ""])
    )
    assert set(answer["label"].numpy()) <= {b"pos", b"neg"} and answer["probabilities"].shape == (
        2,
        2,
    )


@pytest.mark.slow
def test_a_pretrained_masked_model_classifies_from_few_examples(tmp_path):
    """First it learns what follows "it was", then labels from sixteen sentences, better than one
    that has not.
    """
    folder = toy.write_checkpoint(tmp_path / "weights", layers=1)
    rows = toy.sentences(400)
    pretrain = toy.write_jsonl(
        tmp_path / "pretrain.jsonl",
        [{"text": f"{row['text']} it was {toy.KEYWORDS[row['label']]}."} for row in rows],
    )
    config = toy.write_config(
        tmp_path,
        folder,
        pretrain,
        head={"name": "masked_lm", "documents": "separate", "mask_probability": 0.3},
        train={"steps": 700, "learning_rate": 1e-2, "evaluate_every_steps": 100},
    )
    assert toy.run_main(config, tmp_path / "job") == 0
    assert toy.run_main(None, tmp_path / "job", "--mode=export", "--export.format=huggingface") == 0
    scores = []
    for name, start in (("few", tmp_path / "job" / "huggingface"), ("none", folder)):
        (tmp_path / name).mkdir()
        validation = toy.write_sentences(tmp_path / name / "val.jsonl", 100, seed=2)
        few = toy.write_config(
            tmp_path / name,
            start,
            toy.write_sentences(tmp_path / name / "train.jsonl", 16, seed=1),
            head={"name": "prompt", "pattern": "{text} it was {mask}.", "label_words": WORDS},
            data={"validation": str(validation)},
            train={"steps": 20, "learning_rate": 2e-3},
            export={"format": "savedmodel"},
        )
        assert toy.run_main(few, tmp_path / name / "job") == 0
        scores.append(
            json.loads((tmp_path / name / "job" / "results.json").read_text())["validation"][
                "accuracy"
            ]
        )
    assert scores[0] > 0.9 > scores[1] + 0.1, scores
    answer = tf.saved_model.load(str(tmp_path / "few" / "job" / "model")).signatures[
        "serving_default"
    ](text=tf.constant(["this great film"]))
    assert answer["label"].numpy().tolist() == [b"pos"]


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        (
            {"pattern": "{text} it was"},
            r"head\.pattern: expected \{mask\}, \{text\}, each once\. Received '\{text\} it was'",
        ),
        ({"pattern": "{text} {mask} {mask}"}, "each once"),
        (
            {"label_words": {"pos": "great"}},
            "head.label_words: expected a word for each of two labels or more",
        ),
        ({"labels": ["a", "b"]}, "Leave head.labels out"),
        (
            {"dropout": 0.2},
            "head.dropout: head prompt has no dropout before its output. Received 0.2.",
        ),
        (
            {"threshold": 0.9},
            (
                "head.threshold: is of several labels an example, and a prompt gives one. Leave it"
                " out."
            ),
        ),
        ({"label_separator": "#"}, "head.label_separator: is of several labels an example"),
        (
            {"seq_len": 6},
            (
                r"data\.seq_len: 6 has no room for the 4 tokens of head\.pattern, the 2 special"
                r" tokens and a text\. Allowed: 8 or more"
            ),
        ),
    ],
)
def test_wrong_settings_are_refused(weights, settings, said):
    with pytest.raises(ConfigError, match=said):
        head_of(weights, **settings)


def test_words_and_labels_must_fit(weights):
    backbone, _ = huggingface.load_backbone(weights)
    for words, said in (
        (
            {"pos": "housely", "neg": "awful"},
            r"'housely' is no single token of this vocabulary, but \['house', '##ly'\]",
        ),
        ({"pos": "great", "neg": "great"}, "expected different words"),
    ):
        head = head_of(weights, label_words=words)
        with pytest.raises(ConfigError, match=said):
            Model(backbone, head.build(backbone, {"labels": list(words), "train_counts": {}}, 0))
    with pytest.raises(
        DataError,
        match=(
            r"every one of the 2 examples has the label 'pos' \(first: x:1\)\. A classifier needs"
            r" two or more\."
        ),
    ):
        head_of(weights).reader.learn(["pos", "pos"], None, lambda index: f"x:{index + 1}")
    words = {**WORDS, "neutral": "ordinary"}
    warned = head_of(weights, label_words=words).reader.warnings(
        {"train_counts": {"pos": 1, "neg": 2, "neutral": 0}}, {}
    )
    assert warned == [
        "data.train: no example has the label neutral. data.limit takes the first examples: shuffle"
        " the file"
    ]
    with pytest.raises(
        DataError, match=r"x:2: label 'neutral' has no word\. Those with one: pos, neg\."
    ):
        head_of(weights).reader.learn(["pos", "neutral"], None, lambda index: f"x:{index + 1}")
    later = SimpleNamespace(
        name="validation", labels=["pos", "neutral"], origin=lambda index: f"y:{index + 1}"
    )
    with pytest.raises(
        DataError,
        match=(
            r"y:2: label 'neutral' of validation is not among the labels of head\.label_words: pos,"
            r" neg\. Correct it, or"
        ),
    ):
        head_of(weights).reader.align(later, {"labels": list(WORDS), "train_counts": {}}, None)
    decoder, _ = huggingface.load_backbone(toy.write_gpt2(weights.parent / "decoder"))
    with pytest.raises(
        ConfigError,
        match=(
            r"head\.name: prompt needs an encoder such as BERT\. Received a backbone of kind gpt2\."
        ),
    ):
        Model(
            decoder, head_of(weights).build(decoder, {"labels": list(WORDS), "train_counts": {}}, 0)
        )
    with pytest.raises(
        ConfigError,
        match=r"data\.overflow: head prompt takes truncate or error\. Received 'window'\.",
    ):
        prompt.make_head(
            prompt.Settings(pattern="{text} {mask}", label_words=WORDS),
            DataSettings(source="jsonl", train="", overflow="window"),
            toy.TEMPLATE,
        )
    with pytest.raises(ConfigError, match="prompt needs a tokenizer with a mask token"):
        prompt.make_head(
            prompt.Settings(pattern="{text} {mask}", label_words=WORDS),
            DataSettings(source="jsonl", train=""),
            SimpleNamespace(mask_id=None),
        )
