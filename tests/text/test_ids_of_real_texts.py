"""Every text of a folder of real data, against Hugging Face: PODTUNE_DATA=FOLDER pytest -m slow
(minutes).
"""

from __future__ import annotations

import json
import os
import pathlib
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import tensorflow as tf
from tokenizers import Tokenizer
from transformers import AutoTokenizer

from tests.text import byte_bpe_reference, sentencepiece_reference, wordpiece_reference
from trainer.text import load_tokenizer

DATA = pathlib.Path(os.environ.get("PODTUNE_DATA", "/nowhere"))
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not DATA.is_dir(), reason="PODTUNE_DATA names no folder"),
]


def _lines(path: pathlib.Path) -> list[str]:
    return path.read_text(encoding="utf-8").split("\n")


def _fields(path: pathlib.Path) -> Iterator[str]:
    for line in _lines(path):
        yield from line.split("\t")


def _sentences(path: pathlib.Path, separator: str) -> Iterator[str]:
    words: list[str] = []
    for line in _lines(path):
        if line.strip():
            words.append(line.split("\t")[0] if "\t" in line else line.split(" ")[0])
        elif words:
            yield separator.join(words)
            words = []


def _squad(path: pathlib.Path) -> Iterator[str]:
    for article in json.loads(path.read_text(encoding="utf-8"))["data"]:
        for paragraph in article["paragraphs"]:
            yield paragraph["context"]
            yield from (question["question"] for question in paragraph["qas"])


READERS: dict[str, Callable[[pathlib.Path], Iterator[str] | list[str]]] = {
    "imdb/*.tsv": _fields,
    "glue/*/*": _fields,
    "stsb/*.csv": _lines,
    "sms_spam/*.tsv": _fields,
    "chnsenticorp/*.tsv": _fields,
    "multi30k/*": _lines,
    "msra_ner/*.txt": lambda path: _sentences(path, ""),
    "conll2003/*.txt": lambda path: _sentences(path, " "),
    "atis/*/seq.in": _lines,
    "squad/*.json": _squad,
    "tinyshakespeare/*.txt": _lines,
    "wikitext2/*.txt": _lines,
}


def _bert(folder: pathlib.Path, vocabulary: str) -> tuple[Any, Tokenizer, Callable[..., None]]:
    lowercase = vocabulary.endswith("uncased")
    (folder / "vocab.txt").write_bytes((DATA / "vocab" / vocabulary / "vocab.txt").read_bytes())
    (folder / "tokenizer_config.json").write_text(json.dumps({"do_lower_case": lowercase}))
    tokenizer = load_tokenizer(folder)
    pieces = {piece: id for id, piece in enumerate(tokenizer.vocabulary)}
    return (
        tokenizer,
        wordpiece_reference.reference_tokenizer(pieces, lowercase=lowercase),
        wordpiece_reference.assert_same_tokens,
    )


def _gpt2(folder: pathlib.Path, vocabulary: str) -> tuple[Any, Tokenizer, Callable[..., None]]:
    return (
        load_tokenizer(DATA / "vocab" / "gpt2"),
        byte_bpe_reference.reference(DATA / "vocab" / "gpt2", "gpt2"),
        byte_bpe_reference.assert_same_tokens,
    )


def _sentencepiece(folder: pathlib.Path, family: str) -> tuple[Any, Tokenizer, Callable[..., None]]:
    """The Chinese model that there is, in each family's folder."""
    kind, file = sentencepiece_reference.NAMES[family]
    (model,) = (DATA / "vocab" / "sentencepiece").glob("*.model")
    (folder / file).write_bytes(model.read_bytes())
    (folder / "config.json").write_text(json.dumps({"model_type": family}))
    # as this model calls them
    special = (
        {"cls_token": "<cls>", "sep_token": "<sep>", "mask_token": "<mask>"}
        if family == "albert"
        else {}
    )
    (folder / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": kind, **special}))
    return (
        load_tokenizer(folder),
        AutoTokenizer.from_pretrained(folder).backend_tokenizer,
        sentencepiece_reference.assert_same_tokens,
    )


VOCABULARIES = {
    "bert-base-uncased": _bert,
    "bert-base-cased": _bert,
    "bert-base-chinese": _bert,
    "gpt2": _gpt2,
    "albert": _sentencepiece,
    "xlm-roberta": _sentencepiece,
}


@pytest.mark.parametrize("vocabulary", VOCABULARIES)
def test_ids_and_offsets_equal_hugging_face(vocabulary: str, tmp_path: pathlib.Path) -> None:
    tokenizer, reference, assert_same_tokens = VOCABULARIES[vocabulary](tmp_path, vocabulary)
    for pattern, read in READERS.items():
        texts = [text for path in sorted(DATA.glob(pattern)) for text in read(path)]
        assert texts, f"{pattern} has no texts"
        for start in range(0, len(texts), 1024):
            batch = texts[start : start + 1024]
            ids = tokenizer.tokenize(tf.constant(batch)).to_list()
            expected = [
                encoding.ids
                for encoding in reference.encode_batch_fast(batch, add_special_tokens=False)
            ]
            assert ids == expected, next(
                text for text, a, b in zip(batch, ids, expected, strict=True) if a != b
            )
        assert_same_tokens(tokenizer, reference, texts[:: max(1, len(texts) // 5000)])
        print(f"{vocabulary} {pattern}: {len(texts)} texts equal", flush=True)
