"""How good the graph's answers are, over every gold word of a split once.

The words are those of the data, not those that the tokenizer finds: a gold word has the tag of its
first token. Which spans its tags make the graph's rule says, of a block of whole texts at a time.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import TYPE_CHECKING, cast

import numpy as np

from trainer.files import spool
from trainer.files.mapped import blocks, release
from trainer.heads.contract import Record, Results, Scorer
from trainer.heads.token_classification.alignment import UNSEEN_TAGS
from trainer.heads.token_classification.records import span_records, tag_records
from trainer.heads.token_classification.rule import Rule, TaggedWords
from trainer.heads.token_classification.span_scores import (
    Counts,
    ScoredWords,
    span_counts,
    tag_counts,
)
from trainer.lazy import tf

if TYPE_CHECKING:
    from trainer.data.store import TokenStore


@dataclasses.dataclass(frozen=True)
class TagScorer(Scorer):
    """Tags that are no spans: by accuracy.

    Attributes:
        rule: of the graph.
        labels: the tags of train.
    """

    rule: Rule
    labels: tuple[str, ...]

    def metrics(self, results: Results, store: TokenStore) -> dict[str, float]:
        """loss, a labelled token; accuracy of the tags."""
        counts = self._counts(results, store)
        return {"loss": mean_loss(results, store), "accuracy": counts.accuracy()}

    def per_label(self, results: Results, store: TokenStore) -> dict[str, dict[str, float]]:
        """precision, recall, f1 and support of each tag."""
        return self._counts(results, store).of_each(all_labels(self.labels, store))

    def records(self, results: Results, store: TokenStore) -> Iterator[Record]:
        """`gold` and `answer`, a tag a word each, and the mean loss of a labelled token."""
        labels = all_labels(self.labels, store)
        for words in scored_words(results, store, self.rule):
            yield from tag_records(words, results, store, labels)

    def _counts(self, results: Results, store: TokenStore) -> Counts:
        tags = len(all_labels(self.labels, store))
        counts = Counts.none(tags)
        for words in scored_words(results, store, self.rule):
            counts += tag_counts(words, tags)
        return counts


@dataclasses.dataclass(frozen=True)
class SpanScorer(Scorer):
    """Tags that mark spans: by whole spans, strictly (seqeval).

    Attributes:
        rule: of the graph.
        labels: the tags of train.
    """

    rule: Rule
    labels: tuple[str, ...]

    def metrics(self, results: Results, store: TokenStore) -> dict[str, float]:
        """loss, a labelled token; accuracy of the tags; precision, recall and f1 of spans."""
        tags, spans = self._counts(results, store)
        return {
            "loss": mean_loss(results, store),
            "accuracy": tags.accuracy(),
            **spans.total(),
        }

    def per_label(self, results: Results, store: TokenStore) -> dict[str, dict[str, float]]:
        """precision, recall, f1 and support of each type that has a span."""
        _, spans = self._counts(results, store)
        types = [label[2:] for label in all_labels(self.labels, store)[1::2]]
        scores = spans.of_each(types)
        occurs = spans.predicted + spans.gold > 0
        return {types[number]: scores[types[number]] for number in np.flatnonzero(occurs)}

    def records(self, results: Results, store: TokenStore) -> Iterator[Record]:
        """`gold` and `answer`, spans each; `gold_tags` and `answer_tags`, one a word; the loss."""
        labels = all_labels(self.labels, store)
        for words in scored_words(results, store, self.rule):
            yield from span_records(words, results, store, labels)

    def _counts(self, results: Results, store: TokenStore) -> tuple[Counts, Counts]:
        """Of tags, and of spans."""
        count = len(all_labels(self.labels, store))
        tags = Counts.none(count)
        spans = Counts.none(count // 2)
        for words in scored_words(results, store, self.rule):
            tags += tag_counts(words, count)
            spans += span_counts(words, count)
        return tags, spans


def all_labels(labels: tuple[str, ...], store: TokenStore) -> list[str]:
    """The tags of train, and those that the split has beside them."""
    return [*labels, *store.extras[UNSEEN_TAGS].tolist()]


def mean_loss(results: Results, store: TokenStore) -> float:
    """The mean over the labelled tokens of a split."""
    column = cast("np.ndarray", store.tokens["label"])  # which reads like one
    labelled = sum(int(np.count_nonzero(label)) for label in blocks(column))
    return float(results["loss"].sum(dtype=np.float64) / max(labelled, 1))


def scored_words(results: Results, store: TokenStore, rule: Rule) -> Iterator[ScoredWords]:
    """Gold and predicted tags of the words of some whole texts at a time.

    Words without a token are left out: a span is its other words.

    Args:
        results: of the graph, in the store's order.
        store: the split.
        rule: of the graph.
    """
    splits = store.extras["word_splits"]
    for texts in text_blocks(splits):
        within = splits[texts.start : texts.stop + 1]
        words = slice(int(within[0]), int(within[-1]))
        columns = {
            name: np.array(store.extras[name][words])
            for name in ("word_tag", "word_token", "word_shares")
        }
        is_scored = columns["word_token"] >= 0
        text = np.repeat(np.arange(len(within) - 1, dtype=np.int32), np.diff(within))[is_scored]
        token = columns["word_token"][is_scored]
        shares = columns["word_shares"][is_scored]
        yield ScoredWords(
            gold=columns["word_tag"][is_scored],
            predicted=_read(rule, results["tag"][token], text, shares),
            text=texts.start + text,
            token=token,
            texts=range(texts.start, texts.stop),
        )
        for name in columns:
            release(store.extras[name])


def text_blocks(splits: np.ndarray) -> Iterator[slice]:
    """Some whole texts at a time, of no more than BLOCK_ROWS words or a single text.

    Args:
        splits: (texts + 1,) int64, where the words of each text begin.
    """
    texts = len(splits) - 1
    start = 0
    while start < texts:
        most = splits[start] + spool.BLOCK_ROWS
        fit = int(np.searchsorted(splits, most, side="right")) - 1
        stop = max(start + 1, fit)
        yield slice(start, stop)
        start = stop


def _read(rule: Rule, tag: np.ndarray, text: np.ndarray, shares: np.ndarray) -> np.ndarray:
    """(W,) int32, the tags as the rule reads them.

    Args:
        rule: of the graph.
        tag: (W,) int32, of each word's token.
        text: (W,) int32, which text each word is of.
        shares: (W,) bool, whether it shares its token with the word before.
    """
    with tf.device("CPU:0"):  # where the numbers are, also in a process that has a GPU
        words = TaggedWords(tf.constant(text), tf.constant(tag), tf.constant(shares))
        return rule.tags(rule.mark(words)).numpy()
