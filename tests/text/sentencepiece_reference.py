"""Hugging Face's fast ALBERT and XLM-R tokenizers, to compare with."""

from __future__ import annotations

import functools
import io
import json
import pathlib
import tempfile
import unicodedata
from collections.abc import Sequence

import sentencepiece
import tensorflow as tf
from tokenizers import Tokenizer

from tests.text.byte_bpe_reference import HARD
from tests.text.wordpiece_reference import ADVERSARIAL
from tests.toy import CHINESE, FILLER, KEYWORDS
from trainer.text.sentencepiece import SentencePieceTokenizer

NAMES = {
    "xlm-roberta": ("XLMRobertaTokenizer", "sentencepiece.bpe.model"),
    "albert": ("AlbertTokenizer", "spiece.model"),
}


@functools.cache
def learnt_folder(family: str) -> pathlib.Path:
    """A model learnt from a few texts, in Hugging Face's folder; not to be changed."""
    folder = pathlib.Path(tempfile.mkdtemp())
    content = io.BytesIO()
    words = [*FILLER, *KEYWORDS.values()]
    lines = [" ".join(words[start : start + 7]) for start in range(len(words))] * 3 + [CHINESE] * 4
    lines += [text for text in (*ADVERSARIAL, *HARD) if "\x00" not in text]
    special = {
        "albert": {
            "pad_id": 0,
            "unk_id": 1,
            "bos_id": -1,
            "eos_id": -1,
            "control_symbols": ["[CLS]", "[SEP]", "[MASK]"],
        }
    }.get(family, {})
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(lines),
        model_writer=content,
        vocab_size=400,
        model_type="unigram",
        minloglevel=2,
        character_coverage=0.98,
        hard_vocab_limit=False,
        normalization_rule_name="nmt_nfkc",
        **special,
    )
    kind, file = NAMES[family]
    (folder / file).write_bytes(content.getvalue())
    (folder / "config.json").write_text(json.dumps({"model_type": family}))
    (folder / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": kind}))
    return folder


def assert_same_tokens(
    tokenizer: SentencePieceTokenizer, backend: Tokenizer, texts: Sequence[str]
) -> None:
    """Ids of all; places where Hugging Face's are unquestionable: of tokens that have characters,
    in texts without marks on letters.
    """
    batch = tf.constant(list(texts), tf.string)
    tokens = tokenizer.tokenize_with_offsets(batch)
    plain = tokenizer.tokenize(batch).to_list()
    encodings = backend.encode_batch(list(texts), add_special_tokens=False)
    for text, *row, ids, encoding in zip(
        texts, *(values.to_list() for values in tokens), plain, encodings, strict=True
    ):
        assert row[0] == encoding.ids, f"ids of {text!r}: expected {encoding.tokens}"
        assert ids == encoding.ids, f"ids without offsets of {text!r}"
        places = list(zip(*row[1:3], strict=True))
        assert all(0 <= start <= end <= len(text) for start, end in places)
        if unicodedata.normalize("NFKD", text) == text and not any(
            unicodedata.category(ch)[0] in "CM" or ch in "`'" for ch in text.replace("\n", "")
        ):
            for token, ours, theirs in zip(encoding.tokens, places, encoding.offsets, strict=True):
                assert ours == theirs or token == "▁", f"{token} of {text!r}"
