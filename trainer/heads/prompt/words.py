"""The words that stand for the labels of a prompt."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from trainer.data.ledger import Ledger
from trainer.data.reader import Aligned, Label, Vocabulary
from trainer.errors import ConfigError, DataError, shown_labels, shown_value
from trainer.heads._classes.doubts import doubts_of
from trainer.heads._classes.labels import Labels
from trainer.heads._classes.mentions import Mentions
from trainer.heads._classes.names import Spellings
from trainer.heads.prompt.pattern import Pattern
from trainer.lazy import tf
from trainer.sources import Example

if TYPE_CHECKING:  # which would import TensorFlow
    from trainer.data.split import Split
    from trainer.data.store import TokenStore
    from trainer.text.tokenizer import Tokenizer


@dataclasses.dataclass(frozen=True)
class WordLabels(Labels):
    """Labels that have a word each.

    Attributes:
        words: label -> word.
        labels: of a field that names the label of each example.
    """

    words: Mapping[str, str]
    labels: Labels

    @property
    def given(self) -> Sequence[str]:
        """Those that have a word."""
        return list(self.words)

    def read(self, example: Example) -> Label:
        """The name of the label; None where there is no gold label."""
        return self.labels.read(example)

    def learn(
        self, labels: Sequence[Label], names: list[str] | None, origin: Callable[[int], str]
    ) -> dict[str, Any]:
        """The labels that have a word, and how often train has each.

        Raises:
            DataError: train has a label without one, or one label only.
        """
        mentions = Mentions.of(labels)
        spellings = Spellings.of(self.given)
        for name, index in zip(mentions.names, mentions.first, strict=True):
            if spellings.find(name)[0] is None:
                raise DataError(
                    f"{origin(index)}: label {shown_value(name)} has no word. Those with one:"
                    f" {shown_labels(self.given)}. Give it one with --head.label_words."
                )
        return self.labels.learn(labels, names, origin)

    def align(self, split: Split, vocabulary: Vocabulary, ledger: Ledger) -> Aligned:
        """The labels of a split as numbers."""
        return self.labels.align(split, vocabulary, ledger)

    def counts(self, vocabulary: Vocabulary, store: TokenStore) -> dict[str, int]:
        """How often each label occurs in a split."""
        return self.labels.counts(vocabulary, store)

    def warnings(self, vocabulary: Vocabulary, splits: Mapping[str, TokenStore]) -> list[str]:
        """What may be wrong with the labels; a few examples of each will do.

        Where train has no example of a label, the file may be sorted.
        """
        train_counts = vocabulary["train_counts"]
        counts = {split: self.counts(vocabulary, store) for split, store in splits.items()}
        doubts = doubts_of(counts, train_counts, named=True, few=True)
        absent = [name for name, count in train_counts.items() if not count]
        if not absent:
            return doubts
        return [
            f"data.train: no example has the label {shown_labels(absent)}. data.limit takes the"
            " first examples: shuffle the file",
            *doubts,
        ]

    def shown(self, label: Label) -> str:
        """The label, and the word that stands for it."""
        return f"{label} ({self.words.get(label, '')})"


def tokens_of_words(
    words: Mapping[str, str], tokenizer: Tokenizer, pattern: Pattern
) -> tuple[int, ...]:
    """(C,) the token of each label's word.

    Args:
        words: label -> word.
        tokenizer: of the texts.
        pattern: that has the mask.
    Raises:
        ConfigError: a word has several tokens, is unknown, or is that of another label.
    """
    with tf.init_scope():
        tokens = tuple(token_of_word(word, tokenizer, pattern) for word in words.values())
    if len(set(tokens)) < len(tokens):
        raise ConfigError(f"head.label_words: expected different words. Received {dict(words)}.")
    return tokens


def token_of_word(word: str, tokenizer: Tokenizer, pattern: Pattern) -> int:
    """The token of a word as it would stand at the mask, or as the vocabulary names it.

    Args:
        word: that stands for a label.
        tokenizer: of the texts.
        pattern: has the mask.
    Raises:
        ConfigError: it has several tokens, or is unknown.
    """
    space = " " if pattern.has_space_before_mask else ""
    pieces = tokenizer.tokenize(tf.constant([space + word])).values.numpy().tolist()
    is_one = len(pieces) == 1 and pieces[0] != tokenizer.unk_id
    written = pieces if is_one else []
    vocabulary = tokenizer.vocabulary
    named = [vocabulary.index(word)] if word in vocabulary else []
    # Where no space stands before the mask, SentencePiece's token has no mark of one, as the
    # vocabulary's own name has none.
    begins_word = pattern.has_space_before_mask or pattern.opens_with_mask
    tokens = [*written, *named] if begins_word else [*named, *written]
    if not tokens:
        raise ConfigError(
            f"head.label_words: {word!r} is no single token of this vocabulary, but"
            f" {[vocabulary[piece] for piece in pieces]}. Choose another word."
        )
    return tokens[0]
