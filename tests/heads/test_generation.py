"""Generation: Hugging Face's tokens, the cache beside no cache, sampling, stop texts."""

import json
import pathlib

import numpy as np
import pytest
import tensorflow as tf

from trainer.backbones import huggingface
from trainer.heads._generation.decoding import Decoding
from trainer.heads._generation.loop import Generator

GOLDEN = pathlib.Path(__file__).parent.parent / "golden"
EXPECTED = json.loads((GOLDEN / "generation.json").read_text())
PAD = 0


@pytest.fixture(scope="module")
def decoder():
    return huggingface.load_backbone(GOLDEN / "backbones" / "gpt2_words")[0]


def padded(prompts):
    lengths = np.array([len(prompt) for prompt in prompts], np.int32)
    ids = np.zeros((len(prompts), lengths.max()), np.int32)
    for row, prompt in zip(ids, prompts, strict=True):
        row[: len(prompt)] = prompt
    return tf.constant(ids), tf.constant(lengths)


PROMPT = (
    tf.TensorSpec([None, None], tf.int32),
    tf.TensorSpec([None], tf.int32),
    tf.TensorSpec([2], tf.int32),
)


def generating(decoder, *, xla=False, **settings):
    """A function of padded prompts, their lengths and a seed, traced once."""
    generator = Generator(
        decoder,
        Decoding(**{"max_new_tokens": 9, "eos_id": None, "pad_id": PAD, **settings}),
        compiled=xla,
    )
    return tf.function(
        generator.generate,
        jit_compile=xla,
        autograph=False,
        input_signature=None if xla else PROMPT,
    )


def generate(decoder, prompts, *, xla=False, seed=(0, 0), **settings):
    function = generating(decoder, xla=xla, **settings)
    return {
        name: values.numpy()
        for name, values in function(*padded(prompts), tf.constant(seed)).items()
    }


@pytest.mark.parametrize("case", EXPECTED["cases"])
def test_tokens_are_hugging_faces(decoder, case):
    expected = EXPECTED["cases"][case]
    found = generate(
        decoder, EXPECTED["prompts"], eos_id=expected["eos_id"], **expected["settings"]
    )
    longest = len(expected["tokens"][0])
    end = expected["eos_id"]
    # behind the end of a beam Hugging Face repeats it, where the padding is token 0
    tokens = [
        (
            row
            if end not in row
            else row[: row.index(end) + 1] + [PAD] * (longest - row.index(end) - 1)
        )
        for row in expected["tokens"]
    ]
    assert found["token_ids"][:, :longest].tolist() == tokens
    assert (found["token_ids"][:, longest:] == PAD).all()
    if expected["scores"]:
        np.testing.assert_allclose(found["score"], expected["scores"], rtol=1e-4)


@pytest.mark.parametrize(
    "settings",
    [
        {},
        pytest.param({"num_beams": 3, "eos_id": 28}, marks=pytest.mark.slow),
        {"repetition_penalty": 1.3},
        {"num_beams": 2, "no_repeat_ngram_size": 2, "min_new_tokens": 3, "eos_id": 28},
    ],
)
def test_compiled_and_not_are_alike(decoder, settings):
    one, two = (
        generate(decoder, EXPECTED["prompts"], xla=xla, **settings) for xla in (False, True)
    )
    assert (one["token_ids"] == two["token_ids"]).all()
    np.testing.assert_allclose(one["score"], two["score"], rtol=1e-4)


def test_the_cache_gives_what_reading_everything_again_gives(decoder):
    prompts = EXPECTED["prompts"]
    found = generate(decoder, prompts, max_new_tokens=8)["token_ids"]
    for prompt, new in zip(prompts, found, strict=True):
        tokens = list(prompt)
        for token in new:
            hidden = decoder({"token_ids": tf.constant([tokens])})["sequence_output"][0, -1]
            assert int(tf.argmax(tf.linalg.matvec(decoder.embeddings.word.value, hidden))) == token
            tokens.append(int(token))


def test_a_prompt_is_continued_alike_in_any_company_and_in_parts(decoder):
    prompts = EXPECTED["prompts"]
    for settings in ({}, {"num_beams": 3, "eos_id": 28}):
        function = generating(decoder, **settings)
        together = function(*padded(prompts), tf.constant([0, 0]))["token_ids"].numpy()
        for number, prompt in enumerate(prompts):
            alone = function(*padded([prompt]), tf.constant([0, 0]))["token_ids"].numpy()
            assert (alone[0] == together[number]).all()
        generator = Generator(
            decoder,
            Decoding(
                max_new_tokens=9,
                eos_id=settings.get("eos_id"),
                pad_id=PAD,
                num_beams=settings.get("num_beams", 1),
            ),
        )
        state = generator.start(*padded(prompts))
        for _ in range(5):
            state = generator.run(state, tf.constant([0, 0]), 2)
        assert (state.tokens.numpy() == together).all()


def test_scores_are_log_probabilities(decoder):
    found = generate(decoder, EXPECTED["prompts"][:3], eos_id=58)
    for prompt, new, score in zip(
        EXPECTED["prompts"], found["token_ids"], found["score"], strict=False
    ):
        new = new[: np.argmax(new == 58) + 1] if 58 in new else new
        hidden = decoder({"token_ids": tf.constant([[*prompt, *new]])})["sequence_output"][0]
        logs = tf.nn.log_softmax(
            tf.matmul(hidden, decoder.embeddings.word.value, transpose_b=True)
        ).numpy()
        assert score == pytest.approx(
            sum(logs[len(prompt) - 1 + place, token] for place, token in enumerate(new)), rel=1e-4
        )


def first_tokens(decoder, draws=600, **settings):
    """The distribution of the first token that is drawn."""
    found = generate(
        decoder,
        EXPECTED["prompts"][1:2] * draws,
        max_new_tokens=1,
        do_sample=True,
        seed=(3, 4),
        **settings,
    )["token_ids"][:, 0]
    return np.bincount(found, minlength=61) / draws


def test_sampling_draws_what_the_model_says(decoder):
    hidden = decoder({"token_ids": tf.constant(EXPECTED["prompts"][1:2])})["sequence_output"][0, -1]
    logits = tf.linalg.matvec(decoder.embeddings.word.value, hidden).numpy()

    def shares(values):
        return np.exp(values - values.max()) / np.exp(values - values.max()).sum()

    drawn = first_tokens(decoder, temperature=5.0)
    np.testing.assert_allclose(drawn, shares(logits / 5), atol=0.07)
    assert np.abs(drawn - shares(logits / 5)).sum() < 0.6 * np.abs(drawn - 1 / 61).sum()
    order = np.argsort(-logits)
    top = np.full_like(logits, -np.inf)
    top[order[:4]] = logits[order[:4]]
    np.testing.assert_allclose(
        first_tokens(decoder, temperature=5.0, top_k=4), shares(top / 5), atol=0.08
    )
    likely = shares(logits / 5)
    nucleus = np.full_like(logits, -np.inf)
    kept = order[: np.searchsorted(np.cumsum(likely[order]), 0.5) + 1]
    nucleus[kept] = logits[kept]
    drawn = first_tokens(decoder, temperature=5.0, top_p=0.5)
    np.testing.assert_allclose(drawn, shares(nucleus / 5), atol=0.08)
    assert (
        set(np.flatnonzero(drawn))
        == set(kept)
        < set(np.flatnonzero(first_tokens(decoder, temperature=5.0)))
    )
    # the likeliest always
    assert np.flatnonzero(first_tokens(decoder, temperature=5.0, top_p=0.001)).tolist() == [
        order[0]
    ]
    assert (first_tokens(decoder, top_k=1) > 0).sum() == 1


def test_sampling_repeats_with_its_seed_and_no_other(decoder):
    prompts = EXPECTED["prompts"]
    runs = [
        generate(decoder, prompts, do_sample=True, temperature=3.0, seed=seed)["token_ids"].tolist()
        for seed in ((0, 0), (0, 0), (0, 1), (1, 0))
    ]
    assert runs[0] == runs[1] and runs[2] != runs[0] != runs[3]


def test_sampling_compiles(decoder):
    # draws other numbers there
    found = generate(
        decoder,
        EXPECTED["prompts"],
        xla=True,
        do_sample=True,
        top_k=1,
        top_p=0.8,
        repetition_penalty=1.3,
    )
    assert (
        found["token_ids"]
        == generate(decoder, EXPECTED["prompts"], repetition_penalty=1.3)["token_ids"]
    ).all()


def test_stop_texts_end_rows_also_across_tokens(decoder):
    # two letters each
    token_bytes = [bytes([97 + number % 26, 97 + number // 26]) for number in range(61)]
    free = generate(decoder, EXPECTED["prompts"])["token_ids"]
    text = b"".join(token_bytes[token] for token in free[1])
    stop = text[3:6]  # begins in the middle of a token and ends in that of another
    at = text.index(stop) + len(stop)
    found = generate(decoder, EXPECTED["prompts"], stop=(b"never", stop), token_bytes=token_bytes)[
        "token_ids"
    ]
    count = -(-at // 2)
    assert found[1][:count].tolist() == free[1][:count].tolist() and (found[1][count:] == PAD).all()
    for row, new in zip(free, found, strict=True):
        whole = b"".join(token_bytes[token] for token in row)
        if stop not in whole:
            assert row.tolist() == new.tolist()


def test_no_stop_is_looked_for_in_what_opens_a_text(decoder):
    """The space before the first word; that before the second ends the text."""
    token_bytes = [b" " + bytes([97 + number % 26, 97 + number // 26]) for number in range(61)]
    settings = {"stop": (b" ",), "token_bytes": token_bytes}
    free = generate(decoder, EXPECTED["prompts"])["token_ids"]
    for opening, kept in ((b"", 1), (b" ", 2)):
        found = generate(decoder, EXPECTED["prompts"], opening=opening, **settings)["token_ids"]
        assert (found[:, :kept] == free[:, :kept]).all() and (found[:, kept:] == PAD).all()
