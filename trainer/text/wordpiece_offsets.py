"""Where WordPiece tokens stand in the original texts."""

from __future__ import annotations

import functools
import unicodedata

import numpy as np
import tensorflow as tf

from trainer.text.added_tokens import Spans
from trainer.text.characters import utf8_widths
from trainer.text.flat_arrays import (
    begins_row,
    count_before,
    following,
    indices_of,
    of_row,
    ranges,
)


def to_source(
    spans: Spans,
    codes: tf.Tensor,
    splits: tf.Tensor,
    sources: tf.Tensor,
    characters: tf.RaggedTensor,
) -> Spans:
    """Offsets in bytes of the normalised strings into characters of the original ones.

    Args:
        spans: T tokens of B normalised strings.
        codes: (M,) int32, the characters of those strings.
        splits: (B + 1,) int64, where each string's begin.
        sources: (M,) int32, the original character that each was made from.
        characters: (B, None) int32, the original texts.
    """
    source_of_byte, string_splits = _sources_of_bytes(codes, splits, sources)
    text = spans.rows()
    string_start = of_row(string_splits, text)
    first_byte = string_start + spans.starts
    last_byte = string_start + spans.ends - 1
    starts = tf.gather(source_of_byte, first_byte)
    ends = tf.gather(source_of_byte, last_byte) + 1
    text_start = of_row(characters.row_splits, text)

    def with_marks() -> tf.Tensor:
        """A token takes in the marks behind it, up to the next token."""
        text_end = of_row(characters.row_splits, text + 1)
        is_last = following(begins_row(spans.splits), True)
        next_start = following(starts, 0)
        limit = tf.where(is_last, text_end, next_start)
        next_base = _next_base_character(characters.values, ends)
        ends_with_marks = tf.minimum(next_base, limit)
        return tf.maximum(ends, ends_with_marks)

    first_mark = _mark_borders()[0]
    any_mark = tf.reduce_any(characters.values >= first_mark)
    ends = tf.cond(any_mark, with_marks, lambda: ends)
    return spans._replace(
        starts=starts - text_start,
        ends=ends - text_start,
    )


def _sources_of_bytes(
    codes: tf.Tensor, splits: tf.Tensor, sources: tf.Tensor
) -> tuple[tf.Tensor, tf.Tensor]:
    """The original character of each byte of the normalised strings.

    Returns:
        (bytes,) int32, and (B + 1,) int64, where the bytes of each string begin.
    """
    # One range op: v >> 2 is the code that has a byte, as none has more than four.
    numbers = 4 * tf.range(tf.size(codes))
    limits = numbers + utf8_widths(codes)
    by_byte = ranges(numbers, limits)
    code_of_byte = tf.bitwise.right_shift(by_byte.values, 2)
    byte_splits = tf.gather(by_byte.row_splits, splits)
    return tf.gather(sources, code_of_byte), byte_splits


def _next_base_character(codes: tf.Tensor, places: tf.Tensor) -> tf.Tensor:
    """The first place from each one on that has no mark: (T,) int32 of (M,) characters."""
    borders_before = tf.searchsorted(_mark_borders(), codes, side="right")
    is_base = borders_before % 2 == 0
    bases = tf.cast(indices_of(is_base), tf.int32)
    end = tf.size(codes)
    bases_and_end = tf.concat([bases, [end]], 0)
    bases_before = count_before(is_base)
    number = tf.gather(bases_before, places)
    return tf.gather(bases_and_end, number)


@functools.cache
def _mark_borders() -> np.ndarray:
    """(2 x ranges,) int32, where characters that stand on the one before (Mn) begin, end, …"""
    borders = []
    was_mark = False
    for code in range(0x1F000):
        is_mark = unicodedata.category(chr(code)) == "Mn"
        if is_mark != was_mark:
            borders.append(code)
        was_mark = is_mark
    return np.array([*borders, 0xE0100, 0xE01F0], np.int32)
