"""Hugging Face's fast ALBERT and XLM-R tokenizers, to compare with."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence

import tensorflow as tf
from tokenizers import Tokenizer

from trainer.text.sentencepiece import SentencePieceTokenizer

NAMES = {"xlm-roberta": ("XLMRobertaTokenizer", "sentencepiece.bpe.model"), "albert": ("AlbertTokenizer", "spiece.model")}


def assert_same_tokens(tokenizer: SentencePieceTokenizer, backend: Tokenizer, texts: Sequence[str]) -> None:
    """Ids of all; places where Hugging Face's are unquestionable: of tokens that have characters, in texts without marks on letters."""
    batch = tf.constant(list(texts), tf.string)
    tokens = tokenizer.tokenize_with_offsets(batch)
    plain = tokenizer.tokenize(batch).to_list()
    encodings = backend.encode_batch(list(texts), add_special_tokens=False)
    for text, *row, ids, encoding in zip(texts, *(values.to_list() for values in tokens), plain, encodings, strict=True):
        assert row[0] == encoding.ids, f"ids of {text!r}: expected {encoding.tokens}"
        assert ids == encoding.ids, f"ids without offsets of {text!r}"
        places = list(zip(*row[1:3], strict=True))
        assert all(0 <= start <= end <= len(text) for start, end in places)
        if unicodedata.normalize("NFKD", text) == text and not any(unicodedata.category(ch)[0] in "CM" or ch in "`'" for ch in text.replace("\n", "")):
            for token, ours, theirs in zip(encoding.tokens, places, encoding.offsets, strict=True):
                assert ours == theirs or token == "▁", f"{token} of {text!r}"
