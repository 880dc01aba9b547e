"""Which tokens the gold words of a split have, and what is learnt at each."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from trainer.data.ledger import Ledger
from trainer.data.reader import Columns
from trainer.heads.token_classification.gold import Gold, origin_of
from trainer.heads.token_classification.gold_spans import opened, remaining_spans
from trainer.heads.token_classification.vocabulary import TagNumbers
from trainer.heads.token_classification.words import TEXT_BITS, Tokens, Words, tokens_of_texts

if TYPE_CHECKING:
    from trainer.data.split import Split
    from trainer.files.spool import Numbers

# The words of a split, as its store keeps them for the scorer; see `align_split`.
WORD_COLUMNS = {
    "word_tag": np.int32,
    "word_token": np.int64,
    "word_shares": np.bool_,
    "word_splits": np.int64,
}
UNSEEN_TAGS = "unseen_tags"
# as the ledger has them
LOST = ("words_without_tokens", "spans_without_tokens", "borders_inside_tokens")


class Tags(NamedTuple):
    """What tags there are.

    Attributes:
        known: how many of them train has; those of the split alone come after.
        spans: whether they are O, B-x, I-x, B-y, I-y, …, or a tag a word.
    """

    known: int
    spans: bool

    def follow(self, tag: np.ndarray) -> np.ndarray:
        """The tag of what follows inside the same word as a tag: I- behind B-."""
        return tag + tag % 2 if self.spans else tag


class AlignedWords(NamedTuple):
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
        """Where a word was found.

        Args:
            golds: of the texts.
            word: its number.
            origin: says it of one of the texts.
        """
        text = int(np.searchsorted(self.splits, word, side="right")) - 1
        place = word - int(self.splits[text])
        return origin_of(golds[text], functools.partial(origin, text), place)


def align_split(split: Split, numbers: TagNumbers, tags: Tags, ledger: Ledger) -> Columns:
    """Finds the tokens of each gold word, and gives the split's writer the column `label`.

    Args:
        split: what is being written.
        numbers: its tags.
        tags: what they are.
        ledger: takes words and spans without tokens, and borders inside of one.
    Returns:
        what the scorer needs: of each gold word its tag `word_tag`, its token in the store
        `word_token` (-1: none) and whether it shares it with the word before, `word_shares`;
        `word_splits` (texts + 1,) int64; `unseen_tags`, the tags that train does not have: their
        words are scored, as missed, and not learnt. Words without a token are not scored.
    """
    kept: dict[str, Numbers] = {
        name: split.writer.scratch(dtype) for name, dtype in WORD_COLUMNS.items()
    }
    kept["word_splits"].append(0)
    first_lost: dict[str, str] = {}  # kind -> where
    lost: dict[str, int] = dict.fromkeys(LOST, 0)
    for texts, golds, aligned in _aligned_texts(split, numbers, tags):
        split.writer.append_tokens("label", aligned.label)
        kept["word_splits"].extend(len(kept["word_tag"]) + aligned.splits[1:])
        kept["word_tag"].extend(aligned.tag)
        kept["word_token"].extend(aligned.token)
        kept["word_shares"].extend(aligned.shares)
        for kind, words in aligned.lost.items():
            if len(words) and kind not in first_lost:
                origin = functools.partial(_origin, split, texts)
                first_lost[kind] = aligned.origin(golds, int(words[0]), origin)
            lost[kind] += len(words)
    for kind, where in sorted(first_lost.items(), key=lambda item: LOST.index(item[0])):
        ledger.add(split.name, kind, where, lost[kind])
    return {
        **{name: column.mapped() for name, column in kept.items()},
        UNSEEN_TAGS: np.array(numbers.unseen, np.str_),
    }


def _origin(split: Split, texts: range, text: int) -> str:
    return split.origin(texts[text])


def _aligned_texts(
    split: Split, numbers: TagNumbers, tags: Tags
) -> Iterator[tuple[range, Sequence[Gold], AlignedWords]]:
    """Some whole texts at a time: which they are, and their words."""
    done = 0  # tags
    for tokens in tokens_of_texts(split.writer):
        golds = split.labels[tokens.texts.start : tokens.texts.stop]
        ends = np.cumsum([len(gold.tags) for gold in golds])
        count = int(ends[-1])
        of_texts = np.split(numbers.tags[done : done + count], ends[:-1])
        done += count
        yield tokens.texts, golds, align(golds, of_texts, tokens, tags)


def align(
    golds: Sequence[Gold], numbers: Sequence[np.ndarray], tokens: Tokens, tags: Tags
) -> AlignedWords:
    """Finds the tokens of the gold words of some texts.

    Args:
        golds: of each text.
        numbers: of each text its tags as numbers.
        tokens: of the texts.
        tags: what they are.
    """
    words = Words.of(golds, numbers, tokens)
    word, is_first = _words_of_tokens(words, tokens)
    own_token = np.full(len(words.end), -1, np.int64)
    own_token[word[is_first]] = tokens.place[is_first]
    around = _tokens_around(words, tokens)
    shares = (own_token < 0) & (around >= 0)
    token = np.where(shares, around, own_token)
    is_lost = token < 0
    tag = words.tag
    gone = np.zeros(0, np.int64)
    if tags.spans and is_lost.any():
        tag, gone = remaining_spans(words.tag, words.text(), is_lost)
    kept = np.flatnonzero(~is_lost)
    tag_before = np.append(tag[kept[:1]], tag[kept[:-1]])
    is_border = shares[kept] & (tag[kept] != tags.follow(tag_before))
    token[kept] += tokens.first
    return AlignedWords(
        label=_labels(tag, word, is_first, tokens, tags),
        tag=tag,
        token=token,
        shares=shares,
        splits=words.splits,
        lost={
            "words_without_tokens": np.flatnonzero(is_lost),
            "spans_without_tokens": gone,
            "borders_inside_tokens": kept[is_border],
        },
    )


def _labels(
    tag: np.ndarray, word: np.ndarray, is_first: np.ndarray, tokens: Tokens, tags: Tags
) -> np.ndarray:
    """What is learnt at each token of some texts: (tokens,) int32, 1 + a tag's number, or 0.

    Args:
        tag: (W,) of the words.
        word, is_first: see `_words_of_tokens`.
        tokens: of the texts.
        tags: what they are.
    """
    inside = word >= 0
    tag_of_token = tag[word[inside]]
    learnt = np.where(is_first[inside], tag_of_token, tags.follow(tag_of_token))
    if tags.spans:
        learnt = opened(learnt, tokens.start[inside] >> TEXT_BITS)
    label = np.zeros(tokens.count, np.int32)
    label[tokens.place[inside]] = np.where(learnt < tags.known, 1 + learnt, 0)
    return label


def _words_of_tokens(words: Words, tokens: Tokens) -> tuple[np.ndarray, np.ndarray]:
    """Of each token its word, or -1, and whether it is that word's first token.

    (N,) int64 and (N,) bool.
    """
    count = len(words.end)
    if not count:
        return np.full(len(tokens.start), -1), np.zeros(len(tokens.start), bool)
    # A token belongs to the first word that ends behind its start, if that word begins before the
    # token ends. Else it is between two words, where they are joined by something else.
    word = np.searchsorted(words.end, tokens.start, side="right")
    begins_before = words.start[np.minimum(word, count - 1)] < tokens.end
    inside = (word < count) & begins_before
    word[~inside] = -1
    is_new = np.diff(word, prepend=-1) != 0
    return word, inside & is_new


def _tokens_around(words: Words, tokens: Tokens) -> np.ndarray:
    """The token that each word begins inside, as several characters to a Chinese tagger may.

    (W,) int64; -1 where it is none, or the word shows nothing.
    """
    last = np.searchsorted(tokens.start, words.start, side="right") - 1
    around = np.full(len(last), -1, np.int64)
    known = np.flatnonzero(last >= 0)
    last_known = last[known]
    has_start = tokens.end[last_known] > words.start[known]
    around[known[has_start]] = tokens.place[last_known[has_start]]
    around[words.invisible] = -1
    return around
