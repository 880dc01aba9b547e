"""A row of one or two texts' tokens: special tokens added, cut to seq_len.

What to keep of each text is decided once, by `keep_ranges`. `keep` applies it to ids, offsets or
any other value per token, so that they stay aligned, and `join` lays out what was kept:

    room = room_for_text(seq_len, template.size(pair=False), pair=False)
    kept, _ = keep_ranges(ids, None, room=room, overflow=overflow)
    starts = join(keep(starts, kept), template=template.filled(-1))
"""

from __future__ import annotations

from typing import NamedTuple

import tensorflow as tf

from trainer.errors import ConfigError
from trainer.text.flat_arrays import end_to_end, make_ragged, rows_of, splits_of
from trainer.text.tokenizer import Template

OVERFLOWS = ("truncate", "head_tail", "error")


class Kept(NamedTuple):
    """What is kept of each text: its first `head` and its last `tail` tokens, none twice.

    Attributes:
        head, tail: (B,) int32.
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
    special = template.size(pair=pair)
    room = room_for_text(seq_len, special, pair=pair)
    first_kept, second_kept = keep_ranges(first, second, room=room, overflow=overflow)
    tokens = first.row_lengths()
    first = keep(first, first_kept)
    tokens_kept = first.row_lengths()
    first_segment = tf.zeros_like(first)
    if second is None or second_kept is None:
        segment_ids = join(first_segment, template=template.filled(0))
    else:
        tokens += second.row_lengths()
        second = keep(second, second_kept)
        tokens_kept += second.row_lengths()
        second_segment = tf.ones_like(second)
        segments = template.filled(0, last=1)
        segment_ids = join(first_segment, second_segment, template=segments)
    token_ids = join(first, second, template=template)
    truncated = tf.cast(tokens - tokens_kept, tf.int32)
    return token_ids, segment_ids, truncated


def room_for_text(seq_len: int, special: int, *, pair: bool) -> int:
    """How many of S tokens are left beside the special ones.

    Args:
        seq_len: S.
        special: how many special tokens a row has.
        pair: whether a row is of two texts, for the message.
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
    Raises:
        ValueError: `overflow` is none of these.
    Source: Hugging Face's `truncation="longest_first"`; Sun et al. 2019, "How to Fine-Tune BERT for
        Text Classification?", section 5.3.1 (head 128, tail 382 of 510).
    """
    if overflow not in OVERFLOWS:
        raise ValueError(
            f"overflow: expected one of {', '.join(OVERFLOWS)}. Received: {overflow!r}."
        )
    lengths = tf.cast(first.row_lengths(), tf.int32)
    if second is None:
        share = tf.minimum(lengths, room)
        return _split(lengths, share, overflow), None
    second_lengths = tf.cast(second.row_lengths(), tf.int32)
    first_share, second_share = _share_room(lengths, second_lengths, room)
    first_kept = _split(lengths, first_share, overflow)
    second_kept = _split(second_lengths, second_share, overflow)
    return first_kept, second_kept


def _share_room(
    first: tf.Tensor, second: tf.Tensor, room: int | tf.Tensor
) -> tuple[tf.Tensor, tf.Tensor]:
    """How many tokens of each text of a pair are kept, longest first; (B,) int32 each."""
    shorter = tf.minimum(first, second)
    longer = tf.maximum(first, second)
    shorter_kept = tf.minimum(shorter, room // 2)
    longer_kept = tf.minimum(longer, room - shorter_kept)
    first_is_longer = first > second
    first_kept = tf.where(first_is_longer, longer_kept, shorter_kept)
    second_kept = tf.where(first_is_longer, shorter_kept, longer_kept)
    return first_kept, second_kept


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
    row_start = splits[:-1]
    row_end = splits[1:]
    starts = tf.stack([row_start, row_end - tail], 1)  # (B, 2)
    limits = tf.stack([row_start + head, row_end], 1)
    places = tf.ragged.range(
        tf.reshape(starts, [-1]),
        tf.reshape(limits, [-1]),
        row_splits_dtype=splits.dtype,
    )
    kept_values = tf.gather(values.values, places.values)
    return make_ragged(kept_values, places.row_splits[::2])


def stays(inside: tf.RaggedTensor, kept: Kept) -> tf.Tensor:
    """Which tokens stay where a text stands among others that are never cut, as in a prompt.

    Args:
        inside: (B, None) bool, the tokens of the text.
        kept: what is kept of it, as `keep_ranges` decides.
    Returns:
        (T,) bool, of the tokens of all rows.
    """
    row = rows_of(inside.row_splits)
    # tokens of texts before each token, and before the end
    before = splits_of(tf.cast(inside.values, tf.int32))
    before_token = before[:-1]
    at_border = tf.gather(before, inside.row_splits)
    at_row_start = tf.gather(at_border, row)
    at_row_end = tf.gather(at_border, row + 1)
    place = before_token - at_row_start  # among its own text's
    left = at_row_end - before_token  # of its own text's, itself included
    in_head = place < tf.gather(kept.head, row)
    in_tail = left <= tf.gather(kept.tail, row)
    return ~inside.values | in_head | in_tail


def join(
    first: tf.RaggedTensor, second: tf.RaggedTensor | None = None, *, template: Template
) -> tf.RaggedTensor:
    """Lays out values per token as the model reads them.

    Before, first, after; of a pair before, first, between, second, after.

    Args:
        first: (B, None), any value per token.
        second: the same, or None.
        template: the special tokens, or the values in their places (`Template.filled`).
    Returns:
        (B, None) of the type of `first`.
    """
    pieces: list[tf.RaggedTensor | tuple[int, ...]] = [template.before, first]
    if second is not None:
        pieces += [template.between, second]
    pieces.append(template.after)
    rows = end_to_end(pieces, first)
    if template.before or template.after:
        return rows
    return _fill_empty(rows, template.empty)


def _fill_empty(rows: tf.RaggedTensor, value: int) -> tf.RaggedTensor:
    """Puts one value into each row that has none."""
    lengths = tf.cast(rows.row_lengths() == 0, tf.int64)
    splits = splits_of(lengths)
    filler = tf.constant(value, rows.dtype)
    fillers = tf.fill(splits[-1:], filler)
    one_where_empty = make_ragged(fillers, splits)
    return end_to_end([rows, one_where_empty], rows)


def _split(lengths: tf.Tensor, kept: tf.Tensor, overflow: str) -> Kept:
    """How many of the kept tokens are at the start, and how many at the end."""
    if overflow != "head_tail":
        return Kept(kept, tf.zeros_like(kept))
    is_cut = kept < lengths
    head = tf.where(is_cut, kept // 4, kept)
    return Kept(head, kept - head)
