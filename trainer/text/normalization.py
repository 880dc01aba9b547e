"""BERT's normaliser and pre-tokeniser as small tables for the graph.

Both act on one code point at a time, so their whole effect is a table, built by asking Hugging
Face's `tokenizers`. The table also renames characters: those of the vocabulary get code points
whose word-or-punctuation class no release of ICU disputes, all others become one unknown letter or
one unknown punctuation mark. So whatever ICU the serving binary links, words are split where
Hugging Face splits them.

Known difference, in offsets only: where an accent stands before a spacing mark that NFD would put
first (U+0301 before the Hangul tone mark U+302E), Hugging Face reorders the two and gives the mark
the accent's place; here it keeps its own.
"""

from __future__ import annotations

import dataclasses
import functools
import itertools
from collections.abc import Iterable, Iterator

import numpy as np
from tokenizers import normalizers, pre_tokenizers

from trainer.text.characters import CODE_POINTS, PAGE_SIZE, two_levels

# Start, stop, size: within a block of that size all code points are treated alike, so only its ends
# are asked.
_BLOCKS = (
    (0, 0x20000, 1),
    (0x20000, 0x2F800, 16),  # ideographs
    (0x2F800, 0x2FB00, 1),
    (0x2FB00, 0xE0000, 256),
    (0xE0000, 0xE0200, 1),
    (0xE0200, 0xFFF00, 256),
    (0xFFF00, 0x100000, 2),  # private use, and two noncharacters at the end
    (0x100000, 0x10FF00, 256),
    (0x10FF00, CODE_POINTS, 2),
)
SPACE = 32
UNKNOWN_LETTER = 0xE000  # private use
UNKNOWN_ISOLATED = 0x3400  # ideograph
_LETTER_KIND, _ISOLATED_KIND, _SPACE_KIND = 0, 1, 2  # to the pre-tokeniser
_SAME, _REMOVED, _SPACED, _OTHER = 0, 1, 2, 3  # by the normaliser
_LENGTH_BITS = 3  # of a sequence's length, in an entry of the table
_MOST_CHARACTERS = (1 << _LENGTH_BITS) - 1


@dataclasses.dataclass(frozen=True)
class Normalization:
    """Settings of Hugging Face's BertNormalizer; `strip_accents` None means: as `lowercase`."""

    clean_text: bool = True
    handle_chinese_chars: bool = True
    strip_accents: bool | None = None
    lowercase: bool = True

    def normalize(self, text: str) -> str:
        """The text as Hugging Face normalises it."""
        return self._normalizer().normalize_str(text)

    def _normalizer(self) -> normalizers.BertNormalizer:
        return normalizers.BertNormalizer(**dataclasses.asdict(self))


@dataclasses.dataclass(frozen=True)
class CodePointTable:
    """Two-level table from a code point to the renamed characters it becomes.

    `entries[pages[c >> PAGE_BITS] << PAGE_BITS | c & mask]` is one renamed code point where it is
    not negative. Else its complement e says: the `e & 7` values of `sequences` from `e >> 3` on;
    there are none for a removed character.
    """

    pages: np.ndarray  # (4352,) int32
    entries: np.ndarray  # (pages in use * 256,) int32
    sequences: np.ndarray  # int32

    def rename(self, text: str) -> str:
        """The normalised, renamed text; in Python, for the few that building a graph needs."""
        return "".join(map(self._rename_character, text))

    def _rename_character(self, character: str) -> str:
        number, within_page = divmod(ord(character), PAGE_SIZE)
        page_start = self.pages[number] * PAGE_SIZE
        entry = int(self.entries[page_start + within_page])
        if entry >= 0:
            return chr(entry)
        start, length = _unpack(entry)
        renamed = self.sequences[start : start + length]
        return "".join(map(chr, renamed))


@dataclasses.dataclass(frozen=True)
class Alphabet:
    """New names of the characters that a vocabulary can match.

    Attributes:
        letters: of those inside words.
        isolated: of those that stand alone.
    """

    letters: dict[str, str]
    isolated: dict[str, str]

    def word(self, text: str) -> str | None:
        """`text` as part of a word, renamed; None when it can never be one."""
        if not text or not self.letters.keys() >= set(text):
            return None
        return "".join(self.letters[character] for character in text)


@dataclasses.dataclass(frozen=True)
class _Effects:
    """What the normaliser does to each code point.

    Attributes:
        kinds: (1114112,) uint8, one of _SAME, _REMOVED, _SPACED (itself with a space on either
            side) and _OTHER.
        others: what each of kind _OTHER becomes.
    """

    kinds: np.ndarray
    others: dict[int, str]


@functools.lru_cache(maxsize=4)
def _effects(normalization: Normalization) -> _Effects:
    asked = _ends_of_blocks()
    # One call for all: the separator, which no setting changes, keeps neighbours from being
    # composed or reordered.
    parted = "|".join(map(chr, asked))
    answers = normalization.normalize(parted).split("|")
    kinds = np.zeros(CODE_POINTS, np.uint8)
    others = {}
    for code_point, answer in zip(asked, answers, strict=True):
        kind = _kind_of_effect(chr(code_point), answer)
        kinds[code_point] = kind
        if kind == _OTHER:
            others[code_point] = answer
    for start, stop, size in _BLOCKS:
        blocks = kinds[start:stop].reshape(-1, size)
        _fill_blocks(blocks, start, stop)
    return _Effects(kinds, others)


def _ends_of_blocks() -> list[int]:
    """The code points that the normaliser is asked for, in order."""
    asked: set[int] = set()
    for start, stop, size in _BLOCKS:
        last_of_first = start + size - 1
        asked.update(range(start, stop, size))
        asked.update(range(last_of_first, stop, size))
    asked.difference_update(range(0xD800, 0xE000))  # surrogates
    asked.discard(ord("|"))  # the separator
    return sorted(asked)


def _kind_of_effect(character: str, answer: str) -> int:
    if answer == character:
        return _SAME
    if not answer:
        return _REMOVED
    return _SPACED if answer == f" {character} " else _OTHER


def _fill_blocks(kinds: np.ndarray, start: int, stop: int) -> None:
    """Gives all code points of a block the kind of its ends.

    Args:
        kinds: (blocks, size) uint8, changed in place.
        start, stop: the code points, for the message.
    """
    size = kinds.shape[1]
    if size == 1:
        return
    first = kinds[:, 0]
    last = kinds[:, -1]
    if (first != last).any() or (first == _OTHER).any():
        raise AssertionError(
            f"this release of tokenizers treats U+{start:X} to U+{stop - 1:X} unevenly:"
            " refine _BLOCKS"
        )
    kinds[:] = kinds[:, :1]


@functools.cache
def _kinds() -> np.ndarray:
    """(1114112,) uint8: letter, isolated or space, as Hugging Face's pre-tokeniser splits."""
    # the rest: ideographs, Hangul, private use, no punctuation
    ranges = ((0, 0x4E00), (0xA000, 0xAC00), (0xF900, 0x20000))
    asked: list[str] = []
    for start, stop in ranges:
        asked += map(chr, range(start, stop))
    between_letters = "a" + "a".join(asked) + "a"
    split = pre_tokenizers.BertPreTokenizer().pre_tokenize_str(between_letters)
    kinds = np.zeros(CODE_POINTS, np.uint8)
    spaces = set(asked)
    for piece, _ in split:
        spaces.difference_update(piece)
        if len(piece) == 1 and piece != "a":
            kinds[ord(piece)] = _ISOLATED_KIND
    for character in spaces:
        kinds[ord(character)] = _SPACE_KIND
    return kinds


@functools.lru_cache(maxsize=4)
def _standing_alone(normalization: Normalization) -> tuple[frozenset[str], frozenset[str]]:
    """Letters that are always spaced out (ideographs), and which of them are also in words."""
    effects = _effects(normalization)
    spaced_codes = np.flatnonzero(effects.kinds == _SPACED)
    spaced = set(map(chr, spaced_codes))
    in_words: set[str] = set()
    for answer in effects.others.values():
        if _is_spaced(answer):
            spaced.update(answer.strip(" "))
        else:
            in_words.update(answer)
    return frozenset(spaced), frozenset(spaced & in_words)


def _is_spaced(answer: str) -> bool:
    return len(answer) == 3 and answer[0] == answer[2] == " "


def make_alphabet(characters: Iterable[str], normalization: Normalization) -> Alphabet:
    """Names the characters of a vocabulary.

    Args:
        characters: every character that occurs in a vocabulary piece or a normalised added token.
        normalization: decides which ideographs are spaced out.
    """
    kinds = _kinds()
    spaced, also_in_words = _standing_alone(normalization)
    letters = {}
    isolated = {}
    letter_names = map(chr, _letter_names())
    isolated_names = map(chr, _isolated_names())
    for character in sorted(set(characters)):
        kind = kinds[ord(character)]
        is_spaced = character in spaced
        if kind == _ISOLATED_KIND or is_spaced:
            keeps_name = character.isascii()
            isolated[character] = character if keeps_name else next(isolated_names)
        is_in_words = character in also_in_words or not is_spaced
        if kind == _LETTER_KIND and is_in_words:
            keeps_name = character.isascii() and character.isalnum()
            letters[character] = character if keeps_name else next(letter_names)
    return Alphabet(letters, isolated)


def _letter_names() -> Iterator[int]:
    """Code points that are word characters to every ICU, shortest in UTF-8 first."""
    return itertools.chain(
        # Latin, without the signs of multiplication and division
        range(0xC0, 0xD7),
        range(0xD8, 0xF7),
        range(0xF8, 0x250),
        # Cyrillic, without its marks
        range(0x400, 0x482),
        range(0x48A, 0x530),
        # private use
        range(UNKNOWN_LETTER + 1, 0xF900),
        range(0xF0000, 0xFFFFE),
    )


def _isolated_names() -> Iterator[int]:
    """Ideographs: code points that FastWordpiece splits off by number, whatever its ICU."""
    return itertools.chain(
        range(UNKNOWN_ISOLATED + 1, 0x4DC0),
        range(0x4E00, 0xA000),
        range(0x20000, 0x2A6E0),
    )


def make_table(alphabet: Alphabet, normalization: Normalization) -> CodePointTable:
    """Normalisation, classification and renaming of every code point, in one table."""
    names = _names(alphabet)
    effects = _effects(normalization)
    entries = names.copy()
    entries[effects.kinds == _REMOVED] = _pack(0, 0)
    # FastWordpiece needs no spaces to split these off
    entries[effects.kinds == _SPACED] = UNKNOWN_ISOLATED
    isolated = {}
    for character, new_name in alphabet.isolated.items():
        isolated[character] = ord(new_name)
        if effects.kinds[ord(character)] == _SPACED:
            entries[ord(character)] = ord(new_name)
    sequences: list[int] = []
    packed: dict[str, int] = {}
    for code_point, answer in effects.others.items():
        if len(answer) == 1:
            entries[code_point] = names[ord(answer)]
        elif _is_spaced(answer):
            entries[code_point] = isolated.get(answer[1], UNKNOWN_ISOLATED)
        else:
            if answer not in packed:
                packed[answer] = _add_sequence(answer, names, sequences)
            entries[code_point] = packed[answer]
    pages, page_entries = two_levels(entries)
    return CodePointTable(pages, page_entries, np.array(sequences or [SPACE], np.int32))


def _names(alphabet: Alphabet) -> np.ndarray:
    """(1114112,) int32, the new name of each code point, were it not normalised."""
    kinds = _kinds()
    names = np.full(CODE_POINTS, UNKNOWN_LETTER, np.int32)
    names[kinds == _ISOLATED_KIND] = UNKNOWN_ISOLATED
    names[kinds == _SPACE_KIND] = SPACE
    for character, new_name in alphabet.isolated.items():
        code = ord(character)
        if kinds[code] == _ISOLATED_KIND:
            names[code] = ord(new_name)
    for character, new_name in alphabet.letters.items():
        names[ord(character)] = ord(new_name)
    return names


def _add_sequence(answer: str, names: np.ndarray, sequences: list[int]) -> int:
    """The table's entry for several characters, which are added to the sequences.

    Args:
        answer: what a character becomes.
        names: (1114112,) int32, the new name of each code point.
        sequences: changed in place.
    """
    renamed = [int(names[ord(character)]) for character in answer]
    if UNKNOWN_LETTER in renamed and all(map(_is_letter, renamed)):
        # a word with an unknown letter is [UNK] however long: one letter says it
        return UNKNOWN_LETTER
    if len(renamed) > _MOST_CHARACTERS:
        raise AssertionError(
            f"{answer!r} has {len(renamed)} characters; the table packs the length into"
            f" {_LENGTH_BITS} bits"
        )
    entry = _pack(len(sequences), len(renamed))
    sequences += renamed
    return entry


def _pack(start: int, length: int) -> int:
    return ~(start << _LENGTH_BITS | length)


def _unpack(entry: int) -> tuple[int, int]:
    packed = ~entry
    return packed >> _LENGTH_BITS, packed & _MOST_CHARACTERS


def _is_letter(name: int) -> bool:
    if name < 0x80:
        return chr(name).isalnum()
    is_ideograph = 0x3400 <= name < 0xE000 or 0x20000 <= name < 0x30000
    return not is_ideograph
