"""One or two texts' tokens into a row, with the special tokens of the tokenizer's template, cut to
seq_len.

What to keep of each text is decided once, by `keep_ranges`, and applied by `keep` to ids, offsets
or any other value per token, so that they stay aligned; `join` then lays out whichever values were
kept:

    kept, _ = keep_ranges(ids, None, room=room_for_text(seq_len, template.size(pair=False),
    pair=False), overflow=overflow) starts = join(keep(starts, kept), template=template.filled(-1))
"""

from __future__ import annotations

from typing import NamedTuple

import tensorflow as tf

from trainer.errors import ConfigError
from trainer.text.tokenizer import Template

OVERFLOWS = ("truncate", "head_tail", "error")


class Kept(NamedTuple):
    """What is kept of each text: its first `head` and its last `tail` tokens, each (B,) int32;
    nothing twice.
    """

    head: tf.Tensor
    tail: tf.Tensor


def assemble(
    first: tf.RaggedTensor,
    second: tf.RaggedTensor | None,
    *,
    seq_len: int,
    overflow: str,
    template: Template,
) -> tuple[tf.RaggedTensor, tf.RaggedTensor, tf.Tensor]:
    """Cuts, adds the special tokens and numbers the segments.

    Args:
        first: (B, None) int32 token ids.
        second: (B, None) int32, or None for single texts.
        seq_len: S, in tokens, special tokens included; these are always kept.
        template: the special tokens.
        overflow: see `keep_ranges`. With "error" ids are cut as well; it is for the caller to
            refuse `truncated` > 0.
    Returns:
        token_ids: (B, None) int32, at most S a row.
        segment_ids: (B, None) int32, 1 for the second text and its [SEP].
        truncated: (B,) int32, tokens cut off.
    Raises:
        ConfigError: seq_len has no room for the special tokens.
    Source: Devlin et al. 2019, section 3; cutting: `keep_ranges`.
    """
    pair = second is not None
    first_kept, second_kept = keep_ranges(
        first,
        second,
        room=room_for_text(seq_len, template.size(pair=pair), pair=pair),
        overflow=overflow,
    )
    before = first.row_lengths() + (0 if second is None else second.row_lengths())
    first = keep(first, first_kept)
    second = None if second is None else keep(second, second_kept)
    after = first.row_lengths() + (0 if second is None else second.row_lengths())
    segment_ids = join(
        tf.zeros_like(first),
        None if second is None else tf.ones_like(second),
        template=template.filled(0, last=None if second is None else 1),
    )
    token_ids = join(first, second, template=template)
    return token_ids, segment_ids, tf.cast(before - after, tf.int32)


def room_for_text(seq_len: int, special: int, *, pair: bool) -> int:
    """How many of S tokens are left beside those that are always kept.

    Raises:
        ConfigError: less than none.
    """
    if seq_len < max(special, 1):
        raise ConfigError(
            f"data.seq_len: {seq_len} has no room for the {special} special tokens of"
            f" {'a pair of texts' if pair else 'a text'}. Allowed: {special} or more, up to the"
            " backbone's longest."
        )
    return seq_len - special


def keep_ranges(
    first: tf.RaggedTensor, second: tf.RaggedTensor | None, *, room: int | tf.Tensor, overflow: str
) -> tuple[Kept, Kept | None]:
    """Decides which tokens of each text are kept.

    Args:
        first: (B, None), any value per token.
        second: the same, or None.
        room: for how many tokens there is room, in each row or (B,) int32.
        overflow: "truncate" and "error" keep the start; "head_tail" the first quarter and the last
            three quarters of the room. A pair shares the room longest-first: tokens go from the
            longer text until both are equal, then from both, an odd token staying with the longer
            (the second when equal).
    Returns:
        Kept for each text; None for no text.
    Source: Hugging Face's `truncation="longest_first"`; Sun et al. 2019, "How to Fine-Tune BERT for
    Text
        Classification?", section 5.3.1 (head 128, tail 382 of 510).
    """
    if overflow not in OVERFLOWS:
        raise ValueError(
            f"overflow: expected one of {', '.join(OVERFLOWS)}. Received: {overflow!r}."
        )
    lengths = tf.cast(first.row_lengths(), tf.int32)
    if second is None:
        return _split(lengths, tf.minimum(lengths, room), overflow), None
    second_lengths = tf.cast(second.row_lengths(), tf.int32)
    shorter = tf.minimum(lengths, second_lengths)
    longer = tf.maximum(lengths, second_lengths)
    shorter_kept = tf.minimum(shorter, room // 2)
    longer_kept = tf.minimum(longer, room - shorter_kept)
    first_is_longer = lengths > second_lengths
    first_kept = tf.where(first_is_longer, longer_kept, shorter_kept)
    second_kept = tf.where(first_is_longer, shorter_kept, longer_kept)
    fits = lengths + second_lengths <= room
    first_kept = tf.where(fits, lengths, first_kept)
    second_kept = tf.where(fits, second_lengths, second_kept)
    return _split(lengths, first_kept, overflow), _split(second_lengths, second_kept, overflow)


def keep(values: tf.RaggedTensor, kept: Kept) -> tf.RaggedTensor:
    """The kept values of each row.

    Args:
        values: (B, None), with the row lengths that `kept` was decided for.
        kept: one of the results of `keep_ranges`.
    Returns:
        (B, None), row lengths kept.head + kept.tail.
    """
    splits = values.row_splits
    head = tf.cast(kept.head, splits.dtype)
    tail = tf.cast(kept.tail, splits.dtype)
    starts = tf.stack([splits[:-1], splits[1:] - tail], 1)  # (B, 2)
    limits = tf.stack([splits[:-1] + head, splits[1:]], 1)
    places = tf.ragged.range(
        tf.reshape(starts, [-1]), tf.reshape(limits, [-1]), row_splits_dtype=splits.dtype
    )
    return tf.RaggedTensor.from_row_splits(
        tf.gather(values.values, places.values), places.row_splits[::2], validate=False
    )


def stays(inside: tf.RaggedTensor, kept: Kept) -> tf.Tensor:
    """Which tokens stay where a text stands among others that are never cut, as in a prompt.

    Args:
        inside: (B, None) bool, the tokens of the text.
        kept: what is kept of it, as `keep_ranges` decides.
    Returns:
        (T,) bool, of the tokens of all rows.
    """
    row = inside.value_rowids()
    mine = tf.cast(inside.values, tf.int32)
    # tokens of texts before each token, and before the end
    before = tf.concat([[0], tf.cumsum(mine)], 0)
    # among its own text's
    place = before[:-1] - tf.gather(tf.gather(before, inside.row_splits), row)
    # its own included
    behind = tf.gather(tf.gather(before, inside.row_splits[1:]), row) - before[:-1]
    return (
        ~inside.values | (place < tf.gather(kept.head, row)) | (behind <= tf.gather(kept.tail, row))
    )


def join(
    first: tf.RaggedTensor, second: tf.RaggedTensor | None = None, *, template: Template
) -> tf.RaggedTensor:
    """Lays out values per token as the model reads them: before, first, after; of a pair before,
    first, between, second, after.

    Args:
        first: (B, None), any value per token.
        second: the same, or None.
        template: the special tokens, or the values in their places (`Template.filled`).
    Returns:
        (B, None) of the type of `first`.
    """

    def column(values: tuple[int, ...]) -> list[tf.Tensor]:
        return [tf.tile(tf.constant([values], first.dtype), [first.nrows(), 1])] if values else []

    middle = [] if second is None else [*column(template.between), second]
    parts = [*column(template.before), first, *middle, *column(template.after)]
    row = tf.concat(parts, 1) if len(parts) > 1 else first
    return row if template.before or template.after else _fill_empty(row, template.empty)


def _fill_empty(rows: tf.RaggedTensor, value: int) -> tf.RaggedTensor:
    empty = rows.row_lengths() == 0
    one = tf.RaggedTensor.from_row_lengths(
        tf.fill([tf.math.count_nonzero(empty)], tf.constant(value, rows.dtype)),
        tf.cast(empty, tf.int64),
        validate=False,
    )
    return tf.concat([rows, one], 1)


def _split(lengths: tf.Tensor, kept: tf.Tensor, overflow: str) -> Kept:
    if overflow != "head_tail":
        return Kept(kept, tf.zeros_like(kept))
    head = tf.where(kept < lengths, kept // 4, kept)
    return Kept(head, kept - head)
