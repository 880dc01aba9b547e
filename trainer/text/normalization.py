"""What BERT's normaliser and pre-tokeniser do to each Unicode code point, as small tables for the
graph.

Both act on one code point at a time, so their whole effect is a table, built by asking Hugging
Face's `tokenizers`.
The table also renames characters: those of the vocabulary get code points whose word-or-punctuation
class no release of ICU disputes, all others become one unknown letter or one unknown punctuation
mark. So whatever ICU the serving binary links, words are split where Hugging Face splits them.

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

from trainer.text.characters import PAGE_BITS, two_levels

CODE_POINTS = 0x110000
# Start, stop, size: within a block of that size all code points are treated alike, so its ends are
# asked only.
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
    >= 0; else its
    complement e says: the `e & 7` values of `sequences` from `e >> 3` on (none of them for a
    removed character).
    """

    pages: np.ndarray  # (4352,) int32
    entries: np.ndarray  # (pages in use * 256,) int32
    sequences: np.ndarray  # int32

    def rename(self, text: str) -> str:
        """The normalised, renamed text; in Python, for the few strings needed when a graph is
        built.
        """
        codes: list[int] = []
        for code_point in map(ord, text):
            page = int(self.pages[code_point >> PAGE_BITS]) << PAGE_BITS
            entry = int(self.entries[page | code_point & ((1 << PAGE_BITS) - 1)])
            start, length = ~entry >> 3, ~entry & 7
            codes += [entry] if entry >= 0 else self.sequences[start : start + length].tolist()
        return "".join(map(chr, codes))


@dataclasses.dataclass(frozen=True)
class Alphabet:
    """New names of the characters that a vocabulary can match: inside words, and standing alone."""

    letters: dict[str, str]
    isolated: dict[str, str]

    def word(self, text: str) -> str | None:
        """`text` as part of a word, renamed; None when it can never be one."""
        renamed = [self.letters.get(character) for character in text]
        return None if not renamed or None in renamed else "".join(renamed)


@dataclasses.dataclass(frozen=True)
class _Effects:
    """What the normaliser does to each code point.

    `kinds`: (1114112,) uint8, one of _SAME, _REMOVED, _SPACED (itself with a space on either side)
    and _OTHER, which `others` spells out.
    """

    kinds: np.ndarray
    others: dict[int, str]


@functools.lru_cache(maxsize=4)
def _effects(normalization: Normalization) -> _Effects:
    blocks = [range(start, stop, size) for start, stop, size in _BLOCKS]
    asked = sorted(
        {c for block in blocks for first in block for c in (first, first + block.step - 1)}
        - {*range(0xD800, 0xE000), ord("|")}
    )
    # One call for all: the separator, which no setting changes, keeps neighbours from being
    # composed or reordered.
    answers = normalization.normalize("|".join(map(chr, asked))).split("|")
    kinds, others = np.zeros(CODE_POINTS, np.uint8), {}
    for code_point, answer in zip(asked, answers, strict=True):
        character = chr(code_point)
        if answer == character:
            continue
        if not answer:
            kinds[code_point] = _REMOVED
        elif answer == f" {character} ":
            kinds[code_point] = _SPACED
        else:
            kinds[code_point], others[code_point] = _OTHER, answer
    for start, stop, size in _BLOCKS:
        block = kinds[start:stop].reshape(-1, size)
        if size > 1:
            if (block[:, 0] != block[:, -1]).any() or (block[:, 0] == _OTHER).any():
                raise AssertionError(
                    f"this release of tokenizers treats U+{start:X} to U+{stop - 1:X} unevenly:"
                    " refine _BLOCKS"
                )
            block[:] = block[:, :1]
    return _Effects(kinds, others)


@functools.cache
def _kinds() -> np.ndarray:
    """(1114112,) uint8: letter, isolated or space, as Hugging Face's pre-tokeniser splits."""
    # the rest: ideographs, Hangul, private use, no punctuation
    ranges = ((0, 0x4E00), (0xA000, 0xAC00), (0xF900, 0x20000))
    asked = [chr(c) for start, stop in ranges for c in range(start, stop)]
    pieces = [
        piece
        for piece, _ in pre_tokenizers.BertPreTokenizer().pre_tokenize_str(
            "a" + "a".join(asked) + "a"
        )
    ]
    kinds = np.zeros(CODE_POINTS, np.uint8)
    kinds[[ord(piece) for piece in pieces if len(piece) == 1 and piece != "a"]] = _ISOLATED_KIND
    kinds[[ord(character) for character in set(asked).difference("".join(pieces))]] = _SPACE_KIND
    return kinds


@functools.lru_cache(maxsize=4)
def _standing_alone(normalization: Normalization) -> tuple[frozenset[str], frozenset[str]]:
    """Letters that are always spaced out (ideographs), and those of them that also occur inside
    words.
    """
    effects = _effects(normalization)
    spaced = set(map(chr, np.flatnonzero(effects.kinds == _SPACED).tolist()))
    inside = set()
    for answer in effects.others.values():
        (spaced if _is_spaced(answer) else inside).update(
            answer.strip(" ") if _is_spaced(answer) else answer
        )
    return frozenset(spaced), frozenset(spaced & inside)


def _is_spaced(answer: str) -> bool:
    return len(answer) == 3 and answer[0] == answer[2] == " "


def make_alphabet(characters: Iterable[str], normalization: Normalization) -> Alphabet:
    """Names the characters of a vocabulary.

    Args:
        characters: every character that occurs in a vocabulary piece or a normalised added token.
        normalization: decides which ideographs are spaced out.
    """
    kinds, (spaced, also_in_words) = _kinds(), _standing_alone(normalization)
    letters, isolated = {}, {}
    letter_names = _letter_names()
    isolated_names = _isolated_names()
    for character in sorted(set(characters)):
        kind = kinds[ord(character)]
        if kind == _ISOLATED_KIND or character in spaced:
            isolated[character] = character if character.isascii() else chr(next(isolated_names))
        if kind == _LETTER_KIND and (character not in spaced or character in also_in_words):
            keeps_name = character.isascii() and character.isalnum()
            letters[character] = character if keeps_name else chr(next(letter_names))
    return Alphabet(letters, isolated)


def _letter_names() -> Iterator[int]:
    """Code points that are word characters to every ICU, shortest in UTF-8 first: Latin, Cyrillic,
    private use.
    """
    latin = (c for c in range(0xC0, 0x250) if c not in (0xD7, 0xF7))
    cyrillic = (c for c in range(0x400, 0x530) if not 0x482 <= c <= 0x489)
    return itertools.chain(
        latin, cyrillic, range(UNKNOWN_LETTER + 1, 0xF900), range(0xF0000, 0xFFFFE)
    )


def _isolated_names() -> Iterator[int]:
    """Code points that FastWordpiece splits off by number, whatever its ICU:
    the ideograph blocks.
    """
    return itertools.chain(
        range(UNKNOWN_ISOLATED + 1, 0x4DC0), range(0x4E00, 0xA000), range(0x20000, 0x2A6E0)
    )


def make_table(alphabet: Alphabet, normalization: Normalization) -> CodePointTable:
    """Normalisation, classification and renaming of every code point, in one table."""
    kinds = _kinds()
    names = np.full(CODE_POINTS, UNKNOWN_LETTER, np.int32)
    names[kinds == _ISOLATED_KIND] = UNKNOWN_ISOLATED
    names[kinds == _SPACE_KIND] = SPACE
    isolated = {character: ord(name) for character, name in alphabet.isolated.items()}
    for character, name in isolated.items():
        if kinds[ord(character)] == _ISOLATED_KIND:
            names[ord(character)] = name
    for character, name in alphabet.letters.items():
        names[ord(character)] = ord(name)
    effects = _effects(normalization)
    entries = names.copy()
    sequences = []
    known = {}
    entries[effects.kinds == _REMOVED] = ~0
    # FastWordpiece needs no spaces to split these off
    entries[effects.kinds == _SPACED] = UNKNOWN_ISOLATED
    for character, name in isolated.items():
        if effects.kinds[ord(character)] == _SPACED:
            entries[ord(character)] = name
    for code_point, answer in effects.others.items():
        if len(answer) == 1:
            entries[code_point] = names[ord(answer)]
        elif _is_spaced(answer):
            entries[code_point] = isolated.get(answer[1], UNKNOWN_ISOLATED)
        else:
            entries[code_point] = (
                known[answer] if answer in known else _add_sequence(answer, names, sequences, known)
            )
    return CodePointTable(*two_levels(entries), np.array(sequences or [SPACE], np.int32))


def _add_sequence(
    answer: str, names: np.ndarray, sequences: list[int], known: dict[str, int]
) -> int:
    renamed = [int(names[ord(character)]) for character in answer]
    if UNKNOWN_LETTER in renamed and all(_is_letter(name) for name in renamed):
        # a word with an unknown letter is [UNK] however long: one letter says it
        known[answer] = UNKNOWN_LETTER
        return UNKNOWN_LETTER
    if len(renamed) > 7:
        raise AssertionError(
            f"{answer!r} has {len(renamed)} characters; the table packs the length into 3 bits"
        )
    known[answer] = ~(len(sequences) << 3 | len(renamed))
    sequences += renamed
    return known[answer]


def _is_letter(name: int) -> bool:
    return (
        chr(name).isalnum()
        if name < 0x80
        else not (0x3400 <= name < 0xE000 or 0x20000 <= name < 0x30000)
    )
