"""Prompts and targets as rows of tokens, of which the target's are predicted."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from trainer.data.ledger import Ledger
from trainer.data.reader import (
    TARGET,
    Aligned,
    Column,
    EncodedTensors,
    Input,
    Reader,
    Value,
    Vocabulary,
)
from trainer.heads._generation.prompt import Prompt
from trainer.heads._language_model.targets import following
from trainer.heads._language_model.words import Part, count_bytes, count_words
from trainer.lazy import tf
from trainer.sources import Example, require_text

if TYPE_CHECKING:
    from trainer.data.split import Split
    from trainer.data.store import TokenStore
    from trainer.text.tokenizer import Tokenizer

JUDGED_SPLITS = ("validation", "test")


@dataclasses.dataclass(frozen=True, kw_only=True)
class TargetReader(Reader):
    """Reads texts and their targets.

    Attributes:
        tokenizer: of the texts; it names an end-of-text token.
        inputs: the text and its target.
        prompt: around a text.
        pattern: of the prompt, as a person writes it.
        seq_len: S, tokens of a row at most.
        judged_examples: how many are generated; None: all.
        new_tokens: of a generated text at most.
    """

    tokenizer: Tokenizer
    inputs: tuple[Input, ...]
    prompt: Prompt
    pattern: str
    seq_len: int
    judged_examples: int | None
    new_tokens: int
    columns = (
        Column(TARGET),
        Column("text_size", per_token=False, fed=False, encoded=False),
    )
    grouping = slice(0, 1)  # the targets of a text stay together
    streams = True
    losses_of_data = {"cut_targets": "targets cut, as data.seq_len leaves no room for them"}

    @property
    def target(self) -> str:
        """The field of the target."""
        return self.inputs[1].field

    def preparation_settings(self) -> dict[str, object]:
        """See `Reader`."""
        return {
            "name": "text_generation",
            "target": self.target,
            "prompt": self.pattern,
            "eos_id": self.tokenizer.eos_id,
        }

    def values(self, example: Example) -> tuple[Value, ...]:
        """The text and its target."""
        return (*self.asked(example), require_text(example, self.target, "head.target"))

    def asked(self, example: Example) -> tuple[Value, ...]:
        """The text alone: no target is asked for."""
        return (require_text(example, self.inputs[0].field),)

    def label(self, example: Example) -> Part:
        """How many words and bytes of text are learnt; each example ends its own."""
        target = example.features[self.target]
        return True, count_words(target), count_bytes(target)

    def shown(
        self, example: Example, values: tuple[Value, ...], label: Part
    ) -> list[tuple[str, str]]:
        """The prompt and its target.

        Args:
            example: as the source has it.
            values: the text and its target.
            label: the size of the target.
        """
        text, target = map(str, values)
        return [("prompt", self.pattern.replace("{text}", text)), (self.target, target)]

    def encode(self, *inputs: tf.Tensor) -> EncodedTensors:
        """A row is the prompt, the target and the end of the text; these two are predicted.

        Where that is more than seq_len, the text is cut as data.overflow says; then the prompt at
        its beginning; then the target at its end.

        Args:
            inputs: (B,) string each, the texts and their targets.
        Returns:
            token_ids; `target`, 1 + the token that follows in the target, else 0: each ragged
            (B, None) int32. Counts, (B,) int32 each.
        """
        text, target = inputs
        whole = self._answer_tokens(target)
        answer = whole[:, : self.seq_len - 1]
        answer_lengths = answer.row_lengths()
        asked, lost = self.prompt.fitted(text, self.seq_len - answer_lengths)
        # The last token of the prompt predicts the first of the answer; the last of all predicts
        # nothing.
        nothing = tf.zeros_like(asked)
        predicted = tf.concat([nothing, answer + 1], 1)
        columns = {
            "token_ids": tf.concat([asked, answer], 1),
            TARGET: following(predicted),
        }
        cut = whole.row_lengths() - answer_lengths
        cut = tf.cast(cut, tf.int32)
        counts = {
            "truncated_tokens": lost + cut,
            "cut_targets": tf.cast(cut > 0, tf.int32),
        }
        return columns, counts

    def learn(
        self, labels: Sequence[Part], names: list[str] | None, origin: Callable[[int], str]
    ) -> dict[str, object]:
        """Nothing: the vocabulary is the tokenizer's."""
        return {"labels": []}

    def align(self, split: Split, vocabulary: Vocabulary, ledger: Ledger) -> Aligned:
        """Of each example the words and bytes that are learnt."""
        text_size = split.writer.scratch(np.int32, (2,))
        for _, words, size in split.labels:
            text_size.append((words, size))
        return Aligned(columns={"text_size": text_size.mapped()}, tokens={}, extras={})

    def warnings(self, vocabulary: Vocabulary, splits: Mapping[str, TokenStore]) -> list[str]:
        """Where a judged text cannot be as long as its target."""
        stores = {name: splits[name] for name in JUDGED_SPLITS if name in splits}
        remarks = (self._long_targets(name, store) for name, store in stores.items())
        return list(filter(None, remarks))

    def judged(self, store: TokenStore) -> int:
        """How many examples of a split are generated, its first ones."""
        return min(len(store), self.judged_examples or len(store))

    def _answer_tokens(self, target: tf.Tensor) -> tf.RaggedTensor:
        """(B,) string -> (B, None) int32, with the end of the text."""
        text = tf.strings.join([self.prompt.opening, target])
        tokens = self.tokenizer.tokenize(text)
        end = tf.fill([tokens.nrows(), 1], self.tokenizer.eos_id)
        return tf.concat([tokens, end], 1)

    def _long_targets(self, name: str, store: TokenStore) -> str:
        is_predicted = np.asarray(store.tokens[TARGET]) > 0
        lengths = np.add.reduceat(is_predicted, store.row_splits[:-1], dtype=np.int64)
        lengths = lengths[: self.judged(store)]
        longer = np.count_nonzero(lengths > self.new_tokens)
        if not longer:
            return ""
        return (
            f"data.{name}: of {len(lengths):,} judged targets {longer:,} have more than"
            f" head.max_new_tokens = {self.new_tokens} tokens (the longest {lengths.max():,}),"
            " which a generated text can not have"
        )
