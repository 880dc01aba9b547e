"""Which tokens the gold words of some texts have, and what is learnt at each.

For token_classification.py.

Places are text << TEXT_BITS | character.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from trainer.files.mapped import release
from trainer.heads._gold import Gold, origin_of
from trainer.heads._lost_words import remaining_spans

if TYPE_CHECKING:
    from trainer.data.store import StoreWriter

TEXT_BITS = 32  # of a place: which text, and which of its characters


class Tags(NamedTuple):
    """What tags there are.

    Attributes:
        known: how many of them train has; those of the split alone come after.
        follow: (C,) int32, of each the tag of what follows inside the same word.
        spans: whether they are O, B-x, I-x, B-y, I-y, …, or a tag a word.
    """

    known: int
    follow: np.ndarray
    spans: bool


class Tokens(NamedTuple):
    """The tokens of some whole texts.

    Attributes:
        texts: which those are.
        first: the number of the first token among those of the split.
        count: how many tokens there are; those below are of words, and owned by their window.
        place, start, end: (N,) int64, of each how many come before it here, and its places.
    """

    texts: range
    first: int
    count: int
    place: np.ndarray
    start: np.ndarray
    end: np.ndarray


class Words(NamedTuple):
    """The gold words of some texts, one after the other: (W,) places, tags; (texts + 1,) splits;
    places of invisible ones.
    """

    start: np.ndarray
    end: np.ndarray
    tag: np.ndarray
    splits: np.ndarray
    invisible: np.ndarray

    @classmethod
    def of(cls, golds: Sequence[Gold], numbers: Sequence[np.ndarray], tokens: Tokens) -> Words:
        """Of words as they are given; where only spans are, the words are what tokens and spans
        begin or end.

        Args:
            golds, numbers: of each text, and its tags as numbers.
        """
        parts = []
        for text, gold, tag in zip(tokens.texts, golds, numbers, strict=True):
            shift = text << TEXT_BITS
            start = np.array(gold.start, np.int64) + shift
            end = np.array(gold.end, np.int64) + shift
            if gold.spans:
                low, high = np.searchsorted(tokens.start, [shift, shift + (1 << TEXT_BITS)])
                start, end, tag = _segments(
                    tokens.start[low:high], tokens.end[low:high], start, end, tag
                )
            parts.append((start, end, tag))
        starts, ends, tags = (np.concatenate(column) for column in zip(*parts, strict=True))
        splits = np.cumsum([0, *(len(start) for start, _, _ in parts)])
        invisible = [
            first + place
            for first, gold in zip(splits.tolist(), golds, strict=False)
            for place in gold.invisible
        ]
        return cls(starts, ends, tags.astype(np.int32), splits, np.array(invisible, np.int64))

    def text(self) -> np.ndarray:
        """(W,) which of the texts each word is of."""
        return np.repeat(np.arange(len(self.splits) - 1), np.diff(self.splits))


class Aligned(NamedTuple):
    """The words of some texts, and where they are among the tokens.

    Attributes:
        label: (tokens,) int32, 1 + the number of the tag that is learnt there, or 0.
        tag: (W,) int32, of each word.
        token: (W,) int64, its token in the split, or -1.
        shares: (W,) bool, whether it shares that with the word before.
        splits: (texts + 1,) int64, where the words of each text begin.
        lost: the ledger's kinds: of each which words.
    """

    label: np.ndarray
    tag: np.ndarray
    token: np.ndarray
    shares: np.ndarray
    splits: np.ndarray
    lost: dict[str, np.ndarray]

    def origin(self, golds: Sequence[Gold], word: int, origin: Callable[[int], str]) -> str:
        """Where a word was found; `origin` says it of one of the texts."""
        text = int(np.searchsorted(self.splits, word, side="right")) - 1
        return origin_of(golds[text], lambda: origin(text), word - int(self.splits[text]))


def tokens_of_texts(writer: StoreWriter) -> Iterator[Tokens]:
    """Those of a split, of some whole texts at a time."""
    mapped = {name: writer.token_column(name) for name in ("words", "owned", "start", "end")}
    for splits, example in writer.whole_texts():
        part = slice(int(splits[0]), int(splits[-1]))
        columns = {name: np.array(values[part]) for name, values in mapped.items()}
        place = np.flatnonzero((columns["words"] > 0) & (columns["owned"] > 0))
        shift = np.repeat(example.astype(np.int64), np.diff(splits))[place] << TEXT_BITS
        yield Tokens(
            range(int(example[0]), int(example[-1]) + 1),
            part.start,
            part.stop - part.start,
            place,
            shift + columns["start"][place],
            shift + columns["end"][place],
        )
        for values in mapped.values():
            release(values)


def align(
    golds: Sequence[Gold], numbers: Sequence[np.ndarray], tokens: Tokens, tags: Tags
) -> Aligned:
    """Finds the tokens of the gold words of some texts.

    Args:
        golds, numbers: of each text, and its tags as numbers.
    """
    words = Words.of(golds, numbers, tokens)
    word, first = _words_of_tokens(words, tokens)
    inside = word >= 0
    token = np.full(len(words.end), -1, np.int64)
    token[word[first]] = tokens.place[first]
    shares = _share_tokens(words, tokens, token)
    lost = token < 0
    tag, gone = (
        remaining_spans(words.tag, words.text(), lost)
        if tags.spans and lost.any()
        else (words.tag, [])
    )
    kept = np.flatnonzero(~lost)
    before = np.concatenate([kept[:1], kept[:-1]])
    borders = kept[shares[kept] & (tag[kept] != tags.follow[tag[before]])]
    learnt = np.where(first[inside], tag[word[inside]], tags.follow[tag[word[inside]]])
    if tags.spans:
        learnt = opened(learnt, tokens.start[inside] >> TEXT_BITS)
    label = np.zeros(tokens.count, np.int32)
    label[tokens.place[inside]] = np.where(learnt < tags.known, 1 + learnt, 0)
    token[~lost] += tokens.first
    return Aligned(
        label,
        tag,
        token,
        shares,
        words.splits,
        {
            "words_without_tokens": np.flatnonzero(lost),
            "spans_without_tokens": np.array(gone, np.int64),
            "borders_inside_tokens": borders,
        },
    )


def _words_of_tokens(words: Words, tokens: Tokens) -> tuple[np.ndarray, np.ndarray]:
    """Of each token its word, or -1, and whether it is that word's first token: (N,) int64 and
    bool.
    """
    if not len(words.end):
        return np.full(len(tokens.start), -1), np.zeros(len(tokens.start), bool)
    # A token belongs to the first word that ends behind its start, if that word begins before the
    # token ends.
    word = np.searchsorted(words.end, tokens.start, side="right")
    inside = (word < len(words.end)) & (
        words.start[np.minimum(word, len(words.end) - 1)] < tokens.end
    )
    word[~inside] = -1  # between two words, where they are joined by something else
    return word, inside & (np.diff(word, prepend=-1) != 0)


def _share_tokens(words: Words, tokens: Tokens, token: np.ndarray) -> np.ndarray:
    """(W,) bool: which words have no token of their own but stand inside that of the word before,
    which `token` then says.

    Several characters to a Chinese tagger may be one token.
    """
    around = np.searchsorted(tokens.start, words.start, side="right") - 1
    shares = (token < 0) & (around >= 0)
    shares[shares] &= tokens.end[around[shares]] > words.start[shares]
    shares[words.invisible] = False
    token[shares] = tokens.place[around[shares]]
    return shares


def opened(tag: np.ndarray, text: np.ndarray) -> np.ndarray:
    """Tags of tokens or words in which no span begins with I-: such a one begins with B-.

    Args:
        tag: (N,) a place in O, B-x, I-x, B-y, I-y, …
        text: (N,), which text each is of.
    """
    inside = (tag > 0) & (tag % 2 == 0)
    same = np.concatenate(
        [[False], ((tag[1:] - 1) // 2 == (tag[:-1] - 1) // 2) & (text[1:] == text[:-1])]
    )[: len(tag)]
    return tag - (inside & ~same)


def _segments(
    place: np.ndarray, finish: np.ndarray, start: np.ndarray, end: np.ndarray, numbers: np.ndarray
) -> tuple[np.ndarray, ...]:
    """Words of a text with spans: its tokens' words, cut where a span begins or ends inside one.

    `numbers`: B- of each span's type, which is odd.
    """
    edges = np.unique(np.concatenate([place, finish, start, end]))
    left, right = edges[:-1], edges[1:]
    token = np.searchsorted(place, left, side="right") - 1
    span = np.searchsorted(start, left, side="right") - 1
    in_token = (token >= 0) & (left < finish[token]) if len(place) else np.zeros(len(left), bool)
    in_span = (span >= 0) & (left < end[span]) if len(start) else np.zeros(len(left), bool)
    # A span begins at its first token; one of which no token is left is a word without a token, so
    # that it is scored all the same.
    first = np.zeros(len(left), bool)
    tokens = np.flatnonzero(in_span & in_token)
    lost = np.flatnonzero(in_span & ~np.isin(span, span[tokens]))
    for places in (tokens, lost):
        first[places[np.unique(span[places], return_index=True)[1]]] = True
    kept = in_token | first
    tag = np.zeros(len(left), np.int64)
    tag[in_span] = numbers[span[in_span]] + ~first[in_span]  # B-, then I-
    return left[kept], right[kept], tag[kept]
