"""export.batch_invariant: no answer depends on what is asked along with it."""

import numpy as np
import pytest
import tensorflow as tf

from tests import toy
from trainer.backbones import huggingface
from trainer.heads import classification, masked_lm, token_classification
from trainer.run.model import Model
from trainer.serve.one_by_one import one_by_one
from trainer.serve.server import make_server
from trainer.settings.schema import DataSettings
from trainer.text import load_tokenizer

TEXTS = {
    "classification": [
        "the great film",
        "",
        "今天天气很好！ it is a very long story",
        "awful",
        "the",
    ],
    "token_classification": [
        "the great film",
        "awful",
        "今天天气很好！ it is a very long story",
        "",
    ],
    "masked_lm": ["the [MASK] film", "[MASK] [MASK] awful", "no mask"],
}


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    return toy.write_checkpoint(tmp_path_factory.mktemp("weights"), layers=2, hidden=16)


def servers(weights, name):
    """One that answers all at once, and one that answers each on its own."""
    module = {
        "classification": classification,
        "token_classification": token_classification,
        "masked_lm": masked_lm,
    }[name]
    head = module.make_head(
        module.Settings(name=name),
        DataSettings(source="jsonl", train="", text="text", seq_len=16),
        load_tokenizer(weights),
    )
    labels = {
        "classification": ["neg", "pos", "so"],
        "token_classification": ["O", "B-PER", "I-PER"],
        "masked_lm": [],
    }[name]
    vocabulary = {"labels": labels, "train_counts": {}, "scheme": "bio"}
    encoder, _ = huggingface.load_backbone(weights)
    model = Model(encoder, head.build(encoder, vocabulary, 1))
    return [make_server(model, head, batch_invariant=apart).texts for apart in (False, True)]


def arrays(answers):
    return {name: values.numpy() for name, values in answers.items()}


@pytest.mark.parametrize("name", TEXTS)
def test_an_answer_is_the_same_to_the_last_bit(name, weights):
    together, apart = servers(weights, name)
    texts = TEXTS[name]
    expected = arrays(together(tf.constant(texts)))
    whole = arrays(apart(tf.constant(texts)))
    assert set(whole) == set(expected)
    for key, values in whole.items():
        assert values.dtype == expected[key].dtype and values.shape == expected[key].shape
        if values.dtype == object:
            assert (values == expected[key]).all(), key
        else:
            np.testing.assert_allclose(values, expected[key], rtol=0, atol=1e-5, err_msg=key)
    for some in ([2, 0], [1], [2, 2, 1, 0]):
        found = arrays(apart(tf.constant([texts[index] for index in some])))
        for key, values in found.items():
            for row, index in zip(values, some, strict=True):
                of_all = whole[key][index]
                if np.ndim(row):  # a list, filled up to the longest of its batch
                    width = min(len(row), len(of_all))
                    assert (row[width:] == -1).all() or (row[width:] == b"").all(), key
                    row, of_all = row[:width], of_all[:width]
                assert np.all(row == of_all), key


@pytest.mark.parametrize("name", TEXTS)
def test_no_texts_have_empty_answers(name, weights):
    together, apart = servers(weights, name)
    nothing = tf.constant([], tf.string)
    expected = arrays(together(nothing))
    for key, values in arrays(apart(nothing)).items():
        assert len(values) == 0 and values.ndim == expected[key].ndim


def test_lists_of_any_rank_are_filled_up():
    def answer(text):
        length = tf.strings.length(text)[0]
        return {
            "square": tf.fill([1, length, 2 * length], 7),
            "names": tf.fill([1, length], "a"),
            "fixed": tf.ones([1, 3]),
        }

    spec = tf.TensorSpec([None], tf.string)
    answers = arrays(tf.function(one_by_one(answer, [spec]))(tf.constant(["ab", "", "c"])))
    assert answers["square"].tolist() == [
        [[7] * 4, [7] * 4],
        [[-1] * 4, [-1] * 4],
        [[7, 7, -1, -1], [-1] * 4],
    ]
    assert answers["names"].tolist() == [[b"a", b"a"], [b"", b""], [b"a", b""]]
    assert answers["fixed"].shape == (3, 3)
