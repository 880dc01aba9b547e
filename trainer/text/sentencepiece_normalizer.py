"""The normaliser of a SentencePiece tokenizer in the graph.

It is made of tables, built by asking Hugging Face.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import NamedTuple, TypedDict

import numpy as np
import tensorflow as tf
from tokenizers import Tokenizer as BackendTokenizer
from tokenizers import models, normalizers

from trainer.text.characters import (
    ASSIGNED_CODES,
    CODE_POINTS,
    WHITE_SPACE,
    CodePointMap,
    two_levels,
)
from trainer.text.flat_arrays import (
    begins_row,
    every_other,
    following,
    places_of,
    previous,
    ranges,
    splits_of,
)
from trainer.text.letters_with_marks import SEPARATOR, LettersWithMarks
from trainer.text.normalized import Normalized

MARK = "\u2581"  # how a piece writes the space before a word
# steps that are a table
BY_CHARACTER = ("NFKD", "NFD", "StripAccents", "Lowercase", "Precompiled")
_LENGTH_BITS = 5  # of the characters that one becomes, in an entry of the table
_LENGTH_MASK = (1 << _LENGTH_BITS) - 1


class Step(TypedDict, total=False):
    """A step of a normaliser in tokenizer.json, as far as it is read here."""

    type: str
    pattern: dict[str, str]
    content: str


class _CharacterTable(NamedTuple):
    """What becomes of each character alone.

    Attributes:
        pages, entries: int32, of a `CodePointMap`: -1 for one that stays itself, else where its
            characters begin in `sequences`, and how many there are.
        sequences: int32.
    """

    pages: np.ndarray
    entries: np.ndarray
    sequences: np.ndarray


class SentencePieceNormalizer:
    """Normalises texts, and puts a mark before each word."""

    def __init__(self, steps: Sequence[Step]) -> None:
        """Builds the constants of the graph.

        Args:
            steps: each `Replace` of two equal characters by one, or one of BY_CHARACTER.
        """
        self.pairs = [_pair(step) for step in steps if step["type"] == "Replace"]
        self.steps = [step for step in steps if step["type"] in BY_CHARACTER]
        kinds = {step["type"] for step in self.steps}
        answers = _answers(self.steps)
        table = _character_table(answers)
        self.table_bytes = b"".join(array.tobytes() for array in table)
        self._entries = CodePointMap(table.pages, table.entries)
        self._sequences = tf.constant(table.sequences)
        self._letters_with_marks = None
        # Where accents are gone before it, the character map meets no marks.
        if "Precompiled" in kinds and "StripAccents" not in kinds:
            normalizer = hugging_face_normalizer(self.steps)
            self._letters_with_marks = LettersWithMarks(normalizer.normalize_str, answers)

    def normalize(self, characters: tf.RaggedTensor) -> Normalized:
        """The normalised texts of (B, None) int32."""
        texts = Normalized.unchanged(characters)
        for double, single in self.pairs:
            texts = _replace_pairs(texts, double, single)
        to_map = texts.codes
        if self._letters_with_marks is not None:
            texts, to_map = self._letters_with_marks.join(texts)

        packed = self._entries.look_up(to_map)
        stays = packed < 0
        packed = tf.where(stays, 1, packed)  # one character, which is not looked at
        first = tf.bitwise.right_shift(packed, _LENGTH_BITS)
        length = packed & _LENGTH_MASK
        taken = ranges(first, first + length)
        origin = taken.value_rowids()
        unmapped = tf.gather(texts.codes, origin)
        mapped = tf.gather(self._sequences, taken.values)
        is_unmapped = tf.gather(stays, origin)
        return Normalized(
            codes=tf.where(is_unmapped, unmapped, mapped),
            splits=tf.gather(taken.row_splits, texts.splits),
            sources=tf.gather(texts.sources, origin),
        )


def mark_words(texts: Normalized) -> Normalized:
    """White space left out, and a mark before each word that has none of its own."""
    mark = ord(MARK)
    is_white = _is_white(texts.codes)
    opens = begins_row(texts.splits) | previous(is_white, True)
    begins_word = opens & ~is_white
    gets_mark = begins_word & (texts.codes != mark)
    is_kept = tf.cast(~is_white, tf.int64)
    copies = is_kept + tf.cast(gets_mark, tf.int64)
    origin = tf.repeat(places_of(copies), copies)
    first_copy = splits_of(copies)
    is_first_copy = places_of(origin) == tf.gather(first_copy, origin)
    is_mark = is_first_copy & tf.gather(gets_mark, origin)
    codes = tf.gather(texts.codes, origin)
    sources = tf.gather(texts.sources, origin)
    nowhere = sources[:, :1]  # from a character to itself: the mark has no length
    return Normalized(
        codes=tf.where(is_mark, mark, codes),
        splits=tf.gather(first_copy, texts.splits),
        sources=tf.where(is_mark[:, None], nowhere, sources),
    )


def _is_white(codes: tf.Tensor) -> tf.Tensor:
    """(M,) int32 -> (M,) bool."""
    white_codes = list(map(ord, WHITE_SPACE))
    return tf.reduce_any(codes[:, None] == white_codes, 1)


def hugging_face_normalizer(steps: Sequence[Mapping[str, object]]) -> normalizers.Normalizer:
    """The normaliser of some steps, as the `tokenizers` library runs it."""
    any_model = models.WordLevel({"": 0}, "")
    content = json.loads(BackendTokenizer(any_model).to_str())
    content["normalizer"] = {"type": "Sequence", "normalizers": list(steps)}
    return BackendTokenizer.from_str(json.dumps(content)).normalizer


def _pair(step: Step) -> tuple[int, int]:
    """The character that stands twice, and the one that takes their place."""
    double = step["pattern"]["String"]
    return ord(double[0]), ord(step["content"])


def _replace_pairs(texts: Normalized, double: int, single: int) -> Normalized:
    """A character that stands twice becomes another one, as ALBERT writes quotation marks.

    Args:
        texts: to be changed.
        double: the code point that stands twice.
        single: the one that takes their place.
    """

    def replace() -> Normalized:
        ends_text = following(begins_row(texts.splits), True)
        is_followed = following(is_double, False) & ~ends_text
        opens_pair = every_other(is_double & is_followed)
        ends = texts.end_sources + tf.cast(opens_pair, tf.int32)
        replaced = Normalized(
            codes=tf.where(opens_pair, single, texts.codes),
            splits=texts.splits,
            sources=tf.stack([texts.first_sources, ends], 1),
        )
        is_gone = previous(opens_pair, False)
        return replaced.keep(~is_gone)

    is_double = texts.codes == double
    return tf.cond(tf.reduce_any(is_double), replace, lambda: texts)


def _answers(steps: Sequence[Step]) -> dict[str, str]:
    """What becomes of each character alone."""
    asked = list(map(chr, ASSIGNED_CODES))
    if not steps:
        return dict(zip(asked, asked, strict=True))
    normalizer = hugging_face_normalizer(steps)
    answer_of_all = normalizer.normalize_str(SEPARATOR.join(asked))
    answers = answer_of_all.split(SEPARATOR)
    index = asked.index(SEPARATOR)  # itself two empty answers
    answers[index : index + 2] = [SEPARATOR]
    return dict(zip(asked, answers, strict=True))


def _character_table(answers: Mapping[str, str]) -> _CharacterTable:
    entries = np.full(CODE_POINTS, -1, np.int32)
    sequences: list[int] = []
    packed: dict[str, int] = {}
    for character, answer in answers.items():
        if answer == character:
            continue
        if answer not in packed:
            start = len(sequences) << _LENGTH_BITS
            packed[answer] = start | len(answer)
            sequences += map(ord, answer)
        entries[ord(character)] = packed[answer]
    pages, page_entries = two_levels(entries)
    return _CharacterTable(pages, page_entries, np.array(sequences or [0], np.int32))
