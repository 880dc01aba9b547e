"""A filled pattern as tokens: texts are cut, the pattern never."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING

from trainer.data.reader import EncodedTensors, Value
from trainer.errors import ConfigError
from trainer.heads._classes.reader import Encoding
from trainer.heads.prompt.pattern import TEXTS, Filled, Pattern, fill
from trainer.lazy import tf

if TYPE_CHECKING:  # which would import TensorFlow
    from trainer.text.added_tokens import Tokens
    from trainer.text.tokenizer import Template, Tokenizer

ASKED = "asked"  # the token column that is 1 at the mask


@dataclasses.dataclass(frozen=True)
class PatternEncoding(Encoding):
    """The tokens of a filled pattern, cut to seq_len.

    Attributes:
        tokenizer: of the texts.
        mask: the token of the mask.
        pattern: that they are set into.
        room: tokens beside the special ones, at most.
    """

    tokenizer: Tokenizer
    mask: int
    pattern: Pattern
    room: int

    def encode(self, *texts: tf.Tensor) -> EncodedTensors:
        """Token columns and counts of what was lost.

        Args:
            texts: one or two (B,) string.
        Returns:
            token_ids, and `asked`, 1 at the mask: each ragged (B, None) int32; truncated_tokens,
            unknown_tokens (B,) int32.
        """
        filled, tokens = self._filled(texts)
        inside = [self._is_inside(tokens, filled, place) for place in TEXTS[: len(texts)]]
        stays = self._stays(inside)
        template = self.tokenizer.template
        columns = {
            "token_ids": _row(tokens.ids, stays, template),
            ASKED: _row(self._asked(tokens, filled), stays, template.filled(0)),
        }
        counts = {
            "truncated_tokens": _count(tokens.ids.with_values(~stays)),
            "unknown_tokens": self._unknown(tokens, inside),
        }
        return columns, counts

    def places(self, *texts: tf.Tensor) -> tf.RaggedTensor:
        """The characters of the tokens of `encode`; see `PlacesTokens`. The pattern has none."""
        from trainer.text.places import places_of

        filled, tokens = self._filled(texts)
        row = tokens.ids.value_rowids()
        nowhere = -tf.ones_like(tokens.ids)
        starts = ends = numbers = nowhere.values
        inside = []
        for number, place in enumerate(TEXTS[: len(texts)]):
            of_text = self._is_inside(tokens, filled, place)
            begin, _ = filled.borders(self.pattern.parts.index(place), row)
            starts = tf.where(of_text.values, tokens.starts.values - begin, starts)
            ends = tf.where(of_text.values, tokens.ends.values - begin, ends)
            numbers = tf.where(of_text.values, number, numbers)
            inside.append(of_text)
        stays = self._stays(inside)
        template = self.tokenizer.template.filled(-1)
        columns = [nowhere.with_values(values) for values in (starts, ends, numbers)]
        return places_of(*(_row(column, stays, template) for column in columns))

    def _filled(self, texts: Sequence[tf.Tensor]) -> tuple[Filled, Tokens]:
        """The pattern with texts in it, and its tokens."""
        # bytes that are no UTF-8 have as many characters here as in the tokenizer
        valid = [tf.strings.unicode_transcode(text, "UTF-8", "UTF-8") for text in texts]
        mask = self.tokenizer.vocabulary[self.mask]
        filled = fill(self.pattern, dict(zip(TEXTS, valid, strict=False)), mask)
        return filled, self.tokenizer.tokenize_with_offsets(filled.text)

    def shown(self, values: Sequence[Value]) -> list[tuple[str, str]]:
        """The filled pattern."""
        return [("pattern", self.pattern.shown([str(text) for text in values]))]

    def _asked(self, tokens: Tokens, filled: Filled) -> tf.RaggedTensor:
        """(B, None) int32: 1 at the mask of the pattern, not at one of a text."""
        row = tokens.ids.value_rowids()
        begin, end = filled.borders(self.pattern.masked, row)
        is_mask = tokens.ids.values == self.mask
        # it may have taken in spaces
        begins_before = tokens.starts.values <= begin
        ends_behind = tokens.ends.values >= end
        is_asked = is_mask & begins_before & ends_behind
        return tokens.ids.with_values(tf.cast(is_asked, tf.int32))

    def _is_inside(self, tokens: Tokens, filled: Filled, place: str) -> tf.RaggedTensor:
        """(B, None) bool: the tokens of a text alone; those that reach into the pattern stay."""
        part = self.pattern.parts.index(place)
        row = tokens.ids.value_rowids()
        begin, end = filled.borders(part, row)
        begins_inside = tokens.starts.values >= begin
        ends_inside = tokens.ends.values <= end
        return tokens.ids.with_values(begins_inside & ends_inside)

    def _stays(self, inside: Sequence[tf.RaggedTensor]) -> tf.Tensor:
        """(T,) bool: which tokens are left when the texts are cut to the room.

        Args:
            inside: (B, None) bool of each text, its tokens.
        """
        from trainer.text.assemble import keep_ranges, stays

        texts = [tf.ragged.boolean_mask(tokens, tokens) for tokens in inside]
        of_texts = tf.add_n([text.row_lengths() for text in texts])
        fixed = tf.cast(inside[0].row_lengths() - of_texts, tf.int32)
        kept = keep_ranges(
            texts[0],
            texts[1] if len(texts) > 1 else None,
            room=tf.maximum(self.room - fixed, 0),
            overflow="truncate",
        )
        left = tf.ones_like(inside[0].values)
        for tokens, part in zip(inside, kept, strict=False):
            if part is not None:
                left &= stays(tokens, part)
        return left

    def _unknown(self, tokens: Tokens, inside: Sequence[tf.RaggedTensor]) -> tf.Tensor:
        """(B,) int32: how many tokens of the texts are unknown."""
        is_unknown = tokens.ids.values == self.tokenizer.unk_id
        counts = []
        for text in inside:
            unknown = text.with_values(text.values & is_unknown)
            counts.append(_count(unknown))
        return tf.add_n(counts)


def _row(column: tf.RaggedTensor, stays: tf.Tensor, template: Template) -> tf.RaggedTensor:
    """(B, None): what stays of a column, among the special tokens or what is in their places."""
    from trainer.text.assemble import join

    kept = tf.ragged.boolean_mask(column, column.with_values(stays))
    return join(kept, template=template)


def _count(is_counted: tf.RaggedTensor) -> tf.Tensor:
    """(B, None) bool -> how many of each row, (B,) int32."""
    return tf.reduce_sum(tf.cast(is_counted, tf.int32), axis=1)


def encoding_of(
    tokenizer: Tokenizer, pattern: Pattern, texts: int, seq_len: int
) -> PatternEncoding:
    """Sets texts into a pattern.

    Args:
        tokenizer: of the texts.
        pattern: that they are set into.
        texts: how many there are.
        seq_len: S.
    Raises:
        ConfigError: the tokenizer has no mask, or the pattern leaves no room for a text.
    """
    if tokenizer.mask_id is None:
        raise ConfigError(
            "head.name: prompt needs a tokenizer with a mask token, and this one has none."
        )
    written = pattern.fixed(tokenizer.vocabulary[tokenizer.mask_id])
    fixed = len(tokenizer.tokenize(tf.constant([written])).values)
    special = tokenizer.template.size(pair=False)
    needed = special + fixed + 2 * texts  # a token may reach over a border
    if seq_len < needed:
        raise ConfigError(
            f"data.seq_len: {seq_len} has no room for the {fixed} tokens of"
            f" head.pattern, the {special} special tokens and a text. Allowed: {needed} or"
            " more, up to the backbone's longest."
        )
    return PatternEncoding(tokenizer, tokenizer.mask_id, pattern, seq_len - special)
