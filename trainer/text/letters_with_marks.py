"""What SentencePiece's character map does to a letter and the marks on it together.

The map looks up a letter with its marks at once where they have few bytes: what is mapped together
is composed, and a letter that is mapped alone loses its marks.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Iterator, Mapping

import numpy as np
import tensorflow as tf

from trainer.text.characters import (
    ASSIGNED_CODES,
    CODE_POINTS,
    CodePointMap,
    two_levels,
    utf8_widths,
)
from trainer.text.flat_arrays import begins_row, places_of, previous
from trainer.text.integer_table import IntegerTable, pair_key, pair_keys
from trainer.text.normalized import Normalized

Normalize = Callable[[str], str]

_MAPPED_TOGETHER = 6  # bytes; a letter with its marks is looked up at once where it has fewer
_EXTENDS, _PREPENDS, _CONTROLS, _MAPPED = 1, 2, 4, 8  # what a character is to its neighbours; bits
# no ideographs, no Hangul syllables
_MAY_ATTACH = (
    *range(0x80, 0x3400),
    *range(0xA000, 0xAC00),
    *range(0xF900, 0x20000),
    *range(0xE0000, 0xE0200),
)
_LINE_END = "\n"  # nothing attaches to it
SEPARATOR = "\ue000"  # private use: nothing becomes it, and it changes nothing beside it


class LettersWithMarks:
    """Joins letters with their marks in the graph."""

    def __init__(self, normalize: Normalize, answers: Mapping[str, str]) -> None:
        """Asks Hugging Face's normaliser what it does.

        Args:
            normalize: what it makes of a text.
            answers: what it makes of each character alone.
        """
        kinds = _kinds(normalize, answers)
        pairs = _composed_pairs(normalize, answers)
        keys = list(pairs)
        composed = list(pairs.values())
        self._kinds = CodePointMap(*two_levels(kinds))
        self._pairs = IntegerTable(np.array(keys, np.int64))
        self._composed = tf.constant(composed, tf.int32)

    def join(self, texts: Normalized) -> tuple[Normalized, tf.Tensor]:
        """Replaces letters with marks by what they are together.

        Short ones whose letter is mapped alone lose the marks.

        Returns:
            The texts, and (M,) int32, which characters of them are still to be mapped: an "a" in
            place of each that is not.
        """
        kinds = self._kinds.look_up(texts.codes)
        any_attached = tf.reduce_any(_has(kinds, _EXTENDS | _PREPENDS))
        return tf.cond(
            any_attached,
            lambda: self._join(texts, kinds),
            lambda: (texts, texts.codes),
        )

    def _join(self, texts: Normalized, kinds: tf.Tensor) -> tuple[Normalized, tf.Tensor]:
        group = _group(kinds, texts.splits)  # (M,), a letter with what is attached to it
        place = places_of(texts.codes)
        group_start = tf.math.segment_min(place, group)
        base = tf.gather(group_start, group)
        is_base = base == place
        group_bytes = tf.math.segment_sum(utf8_widths(texts.codes), group)
        is_short = tf.gather(group_bytes < _MAPPED_TOGETHER, group)
        base_is_mapped = tf.gather(_has(kinds, _MAPPED), base)
        is_mapped_alone = is_short & base_is_mapped
        composed = self._compose(texts.codes, group, base)
        composes = is_short & ~base_is_mapped & (composed >= 0)

        becomes_one = composes | is_mapped_alone
        group_end_source = tf.math.segment_max(texts.end_sources, group)
        end_source = tf.gather(group_end_source, group)
        of_group = tf.stack([texts.first_sources, end_source], 1)
        stands_for_group = is_base & becomes_one
        joined = Normalized(
            codes=tf.where(composes & is_base, composed, texts.codes),
            splits=texts.splits,
            sources=tf.where(stands_for_group[:, None], of_group, texts.sources),
        )
        kept = is_base | ~becomes_one
        joined = joined.keep(kept)
        is_mapped = tf.boolean_mask(composes, kept)
        return joined, tf.where(is_mapped, ord("a"), joined.codes)

    def _compose(self, codes: tf.Tensor, group: tf.Tensor, base: tf.Tensor) -> tf.Tensor:
        """What the first two characters of each group are together.

        Args:
            codes: (M,) int32.
            group: (M,) int32, the number of each character's group.
            base: (M,) int64, the place of its first character.
        Returns:
            (M,) int32, -1 where they are nothing.
        """
        last = tf.size(codes, tf.int64) - 1
        second = tf.minimum(base + 1, last)
        has_second = tf.gather(group, second) == group
        first_code = tf.gather(codes, base)
        second_code = tf.gather(codes, second)
        number = self._pairs.find(pair_keys(first_code, second_code))
        composed = tf.gather(self._composed, tf.maximum(number, 0))
        is_pair = has_second & (number >= 0)
        return tf.where(is_pair, composed, -1)


def _has(kinds: tf.Tensor, bit: int) -> tf.Tensor:
    return kinds & bit > 0


def _group(kinds: tf.Tensor, splits: tf.Tensor) -> tf.Tensor:
    """The number of the group that each character is in.

    Args:
        kinds: (M,) int32, what each character is; not empty.
        splits: (B + 1,) int64, where each text begins.
    Returns:
        (M,) int32.
    """
    is_control = _has(kinds, _CONTROLS)  # nothing attaches to them
    follows_control = previous(is_control, False)
    follows_prepended = previous(_has(kinds, _PREPENDS), False)
    is_prepended_to = follows_prepended & ~is_control
    is_attached = is_prepended_to | _has(kinds, _EXTENDS)
    begins_group = begins_row(splits) | follows_control | ~is_attached
    groups_so_far = tf.cumsum(tf.cast(begins_group, tf.int32))
    return groups_so_far - 1


def _kinds(normalize: Normalize, answers: Mapping[str, str]) -> np.ndarray:
    """(1114112,) int32, bits for each code point."""
    kinds = np.zeros(CODE_POINTS, np.int32)
    extending, prepended = _attaching(normalize, answers)
    kinds[extending] = _EXTENDS
    kinds[prepended] = _PREPENDS
    for code in ASSIGNED_CODES:
        if kinds[code] == 0 and _is_control(chr(code)):
            kinds[code] = _CONTROLS
    for character, answer in answers.items():
        if answer != character:
            kinds[ord(character)] |= _MAPPED
    return kinds


def _is_control(character: str) -> bool:
    return unicodedata.category(character) in ("Cc", "Cf", "Zl", "Zp")


def _composed_pairs(normalize: Normalize, answers: Mapping[str, str]) -> dict[int, int]:
    """Keys of two characters → the one that they become together, where the map has them so."""
    pairs = {}
    for first, second in _decompositions():
        together = normalize(first + second)
        apart = answers[first] + answers[second]
        if len(together) == 1 and together != apart:
            key = pair_key(ord(first), ord(second))
            pairs[key] = ord(together)
    return pairs


def _decompositions() -> Iterator[tuple[str, str]]:
    """The characters that Unicode says are two others."""
    for code in ASSIGNED_CODES:
        decomposition = unicodedata.decomposition(chr(code))
        parts = decomposition.split()
        if len(parts) == 2 and not decomposition.startswith("<"):
            first, second = parts
            yield chr(int(first, 16)), chr(int(second, 16))


def _attaching(normalize: Normalize, answers: Mapping[str, str]) -> tuple[list[int], list[int]]:
    """The characters that are one with what stands before them, and with what stands behind.

    They are asked for, as Unicode adds some every year: a letter that is mapped loses the mark on
    it, unless another character makes the group too long to be looked up together.
    """
    letter = _mapped_letter(answers)
    if letter is None:
        return [], []
    marked = letter + "\u0301"
    unmarked = answers[letter]
    end = answers[_LINE_END]
    characters = [chr(code) for code in _MAY_ATTACH]
    with_each_behind = _normalize_all([marked + character for character in characters], normalize)
    with_each_before = _normalize_all([character + marked for character in characters], normalize)
    extending = []
    prepended = []
    for character, with_it_behind, with_it_before in zip(
        characters, with_each_behind, with_each_before, strict=True
    ):
        alone = answers[character]
        if with_it_behind != unmarked + alone + end:
            extending.append(ord(character))
        if with_it_before != alone + unmarked + end:
            prepended.append(ord(character))
    return extending, prepended


def _mapped_letter(answers: Mapping[str, str]) -> str | None:
    """A letter of two bytes that the map changes."""
    for character in map(chr, range(0x80, 0x800)):
        if answers[character] != character and character.isalpha():
            return character
    return None


def _normalize_all(texts: list[str], normalize: Normalize) -> list[str]:
    """What becomes of each text with a line's end behind it, by one call."""
    joined = SEPARATOR.join(text + _LINE_END for text in texts)
    return normalize(joined).split(SEPARATOR)
