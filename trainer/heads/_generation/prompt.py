"""A text in its prompt, as tokens that there is room for."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from trainer.lazy import tf

if TYPE_CHECKING:
    from trainer.text.assemble import Kept
    from trainer.text.tokenizer import Tokenizer


@dataclasses.dataclass(frozen=True)
class Prompt:
    """What stands around a text that goes on.

    Attributes:
        tokenizer: of the texts.
        before: the text.
        behind: it, without the space at the end.
        opening: this space, or "". It belongs to the first token of what follows, as a byte-level
            vocabulary writes words.
        overflow: how a long text is cut, as data.overflow says; None: at its beginning, as its end
            goes on.
    """

    tokenizer: Tokenizer
    before: str
    behind: str
    opening: str
    overflow: str | None = None

    @classmethod
    def of(cls, pattern: str, tokenizer: Tokenizer, overflow: str | None = None) -> Prompt:
        """The prompt of a setting.

        Args:
            pattern: with {text} once.
            tokenizer: of the texts.
            overflow: see the class.
        """
        before, behind_and_space = pattern.split("{text}")
        behind = behind_and_space.removesuffix(" ")
        opening = behind_and_space[len(behind) :]
        return cls(tokenizer, before, behind, opening, overflow)

    def around(self, text: str) -> str:
        """The whole prompt of a text."""
        return self.before + text + self.behind + self.opening

    def fitted(self, text: tf.Tensor, room: tf.Tensor) -> tuple[tf.RaggedTensor, tf.Tensor]:
        """The prompts' tokens, as many as there is room for.

        What is too much is cut from the text, as `overflow` says. Only where the rest of the prompt
        has no room either does that lose its beginning.

        Args:
            text: (B,) string.
            room: (B,) int64, 1 or more.
        Returns:
            (B, None) int32, one token at least; (B,) int32, how many tokens each has lost.
        """
        from trainer.text.assemble import stays

        ids, is_of_text = self._tokens(text)
        whole = ids.row_lengths()
        of_text = tf.ragged.boolean_mask(ids, is_of_text)
        around = whole - of_text.row_lengths()
        free = tf.cast(room - around, tf.int32)
        kept = self._kept(of_text, tf.maximum(free, 0))
        stay = is_of_text.with_values(stays(is_of_text, kept))
        fitting = tf.ragged.boolean_mask(ids, stay)
        count = tf.minimum(fitting.row_lengths(), room)
        last = _last(fitting, count, self.tokenizer.template.empty)
        return last, tf.cast(whole - count, tf.int32)

    def _tokens(self, text: tf.Tensor) -> tuple[tf.RaggedTensor, tf.RaggedTensor]:
        """(B, None) int32, the tokens of whole prompts, and bool, whether each is of the text."""
        text = tf.strings.unicode_transcode(text, "UTF-8", "UTF-8")
        whole = tf.strings.join([self.before, text, self.behind])
        tokens = self.tokenizer.tokenize_with_offsets(whole)
        row = tokens.ids.value_rowids()
        characters = tf.strings.length(text, unit="UTF8_CHAR")
        start = len(self.before)
        stop = start + tf.gather(characters, row)
        end = tokens.ends.values
        is_of_text = (end > start) & (end <= stop)
        return tokens.ids, tokens.ids.with_values(is_of_text)

    def _kept(self, of_text: tf.RaggedTensor, free: tf.Tensor) -> Kept:
        from trainer.text.assemble import Kept, keep_ranges

        if self.overflow is None:
            lengths = tf.cast(of_text.row_lengths(), tf.int32)
            fitting = tf.minimum(lengths, free)
            return Kept(head=tf.zeros_like(free), tail=fitting)
        kept, _ = keep_ranges(of_text, None, room=free, overflow=self.overflow)
        return kept


def _last(rows: tf.RaggedTensor, count: tf.Tensor, empty: int) -> tf.RaggedTensor:
    """The last so many tokens of each row; one where there is none."""
    from trainer.text.assemble import join
    from trainer.text.tokenizer import Template

    limits = rows.row_splits[1:]
    places = tf.ragged.range(limits - count, limits, row_splits_dtype=tf.int64)
    last = places.with_values(tf.gather(rows.values, places.values))
    return join(last, template=Template(empty=empty))
