"""Byte-level BPE tokenizers in folders, learnt from a few texts, and Hugging Face's own to compare
with.
"""

from __future__ import annotations

import functools
import json
import pathlib
from collections.abc import Iterable, Sequence

import tensorflow as tf
from tokenizers import Tokenizer, models, pre_tokenizers, processors, trainers
from transformers import GPT2Tokenizer, RobertaTokenizer

from tests.text.wordpiece_reference import ADVERSARIAL
from tests.toy import CHINESE, FILLER, KEYWORDS
from trainer.text.byte_bpe import ByteBPETokenizer

SPECIAL = {"gpt2": ["<|endoftext|>"], "roberta": ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]}
HARD = (
    " hello  world\n\nfoo's we'll 'tis ''s 's's !'s \n's  's don't I'VE they're 'r 'v 'lll a'd'm",
    "'",
    "''",
    "'s",
    " 's",
    "x'",
    "\u00a0's",
    "'\u0301s",
    "a\u00a0b \u0085x\u3000y\u2003 z \u00a0",
    "   ",
    " \n",
    "\n ",
    "\t\tx\t",
    "=" * 1000,
    "a" * 33,
    "ab" * 40 + "a",
    "\n" * 50,
    "aaaaab" * 9,
    "今天天气很好，我们去公园吧。Ａ１２３abc中文x",
    "中" * 200,
    "한국어 텍스트",
    "😀👍🏽x😀y 👨‍👩‍👧",
    "\ufffd\x00\x7f",
    "ab12ab１２²½Ⅷ",
    "naïve Straße Köln ÄÖÜ",
    "x<|endoftext|> a<|endoftext|><|endoftext|>",
    "a <mask> b <mask></s> <s>",
    "<|endoftext|",
)


@functools.cache
def learnt(size: int = 700) -> tuple[dict[str, int], list[tuple[str, str]]]:
    """A vocabulary and its merges."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    trainer = trainers.BpeTrainer(
        vocab_size=size, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False
    )
    words = [*FILLER, *KEYWORDS.values()]
    lines = [" ".join(words[start : start + 7]) for start in range(0, len(words), 5)] * 3
    tokenizer.train_from_iterator(
        [
            *lines,
            *ADVERSARIAL,
            *HARD[:-3],
            CHINESE * 3,
            "the other others' others's 12 123 1234 == ==== ======== " * 2,
        ],
        trainer,
    )
    model = json.loads(tokenizer.to_str())["model"]
    return model["vocab"], [tuple(pair) for pair in model["merges"]]


def write_byte_bpe(
    folder: pathlib.Path, family: str = "gpt2", *, whole: bool = False, prefix_space: bool = False
) -> pathlib.Path:
    """vocab.json and merges.txt, or tokenizer.json, and tokenizer_config.json."""
    folder.mkdir(parents=True, exist_ok=True)
    vocabulary, merges = learnt()
    # RoBERTa's special tokens come first
    shift = len(SPECIAL[family]) if family == "roberta" else 0
    ids = {token: id + shift for token, id in vocabulary.items()}
    ids |= {
        token: id + (0 if shift else len(vocabulary)) for id, token in enumerate(SPECIAL[family])
    }
    kind = {"gpt2": GPT2Tokenizer, "roberta": RobertaTokenizer}[family]
    (folder / "vocab.json").write_text(json.dumps(ids, ensure_ascii=False), encoding="utf-8")
    (folder / "merges.txt").write_text(
        "#version: 0.2\n" + "".join(f"{left} {right}\n" for left, right in merges), encoding="utf-8"
    )
    (folder / "tokenizer_config.json").write_text(
        json.dumps({"tokenizer_class": kind.__name__, "add_prefix_space": prefix_space})
    )
    if whole:
        kind.from_pretrained(folder).save_pretrained(folder)
        for name in ("vocab.json", "merges.txt"):
            (folder / name).unlink()
    return folder


def reference(folder: pathlib.Path, family: str) -> Tokenizer:
    """Hugging Face's."""
    kind = {"gpt2": GPT2Tokenizer, "roberta": RobertaTokenizer}[family]
    backend = kind.from_pretrained(folder).backend_tokenizer
    backend.post_processor = processors.ByteLevel(trim_offsets=False)
    return backend


def assert_same_tokens(
    tokenizer: ByteBPETokenizer, backend: Tokenizer, texts: Sequence[str]
) -> None:
    """Compares ids, offsets and the way back, naming the first text that differs."""
    batch = tf.constant(list(texts), tf.string)
    tokens = tokenizer.tokenize_with_offsets(batch)
    plain = tokenizer.tokenize(batch).to_list()
    decoded = tokenizer.decode(tokens.ids, special=True).numpy()
    ids, starts, ends = (values.to_list() for values in tokens[:3])
    encodings = backend.encode_batch(list(texts), add_special_tokens=False)
    for text, *row, back, encoding in zip(
        texts, ids, plain, starts, ends, decoded, encodings, strict=True
    ):
        assert row[0] == encoding.ids, f"ids of {text!r}: expected {encoding.tokens}"
        assert row[1] == encoding.ids, f"ids without offsets of {text!r}"
        expected = [
            _without_spaces(text, token, *span)
            for token, span in zip(encoding.tokens, encoding.offsets, strict=True)
        ]
        assert list(zip(*row[2:], strict=True)) == expected, (
            f"offsets of {text!r}, {encoding.tokens}"
        )
        assert back.decode() == backend.decode(encoding.ids, skip_special_tokens=False), (
            f"decoded {text!r}"
        )


def _without_spaces(text: str, token: str, start: int, end: int) -> tuple[int, int]:
    """As trim_offsets, whose result depends on add_prefix_space where a text begins with a space of
    its own.
    """
    part = text[start:end]
    # the space that was put before the text: it stands nowhere in it
    if token == "Ġ" and " " not in part:
        return start, start
    if part.isspace() and not part.strip(" "):
        return end, end
    return start + len(part) - len(part.lstrip(" ")), end - (len(part) - len(part.rstrip(" ")))


def texts() -> Iterable[str]:
    """All hard ones."""
    return [*ADVERSARIAL, *HARD]
