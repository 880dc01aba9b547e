"""Raw texts as rows of tokens, in the graph: the very function that serves."""

from __future__ import annotations

from typing import TYPE_CHECKING

from trainer.data.reader import Column, EncodedTensors
from trainer.heads.token_classification.text_words import find_words
from trainer.lazy import tf

if TYPE_CHECKING:
    from trainer.text.tokenizer import Tokenizer
    from trainer.text.windows import Windows

COLUMNS = (
    Column("words"),
    Column("owned", fed=False),
    Column("start", fed=False),
    Column("end", fed=False),
    Column("label", encoded=False),
)


def encode_texts(
    text: tf.Tensor, tokenizer: Tokenizer, *, seq_len: int, overlap: int
) -> EncodedTensors:
    """Token columns and counts.

    Args:
        text: (B,) string.
        tokenizer: of the texts.
        seq_len: S, of a window.
        overlap: tokens that neighbouring windows share.
    Returns:
        token_ids; `words`, one of `word_kinds` each; `owned`, whether this window answers for the
        token; `start`, `end`, the characters of the text that the token's word has: each ragged
        (U, None) int32, -1 or 0 at special tokens. `example` (U,) int32, the text of each window.
        Counts, (B,) int32 each.
    """
    from trainer.text.assemble import join

    tokens = tokenizer.tokenize_with_offsets(text)
    words = find_words(text, tokens)
    template = tokenizer.template
    windows = _windows(tokens.ids.row_lengths(), seq_len - template.size(pair=False), overlap)
    kind = windows.take(tokens.words.with_values(words.kind))
    end = windows.take(tokens.ends.with_values(words.end))
    nothing = template.filled(0)
    nowhere = template.filled(-1)
    columns = {
        "token_ids": join(windows.take(tokens.ids), template=template),
        "words": join(kind, template=nothing),
        "owned": join(windows.owned(), template=nothing),
        "start": join(windows.take(tokens.starts), template=nowhere),
        "end": join(end, template=nowhere),
        "example": tf.cast(windows.text, tf.int32),
    }
    is_unknown = tf.cast(tokens.ids == tokenizer.unk_id, tf.int32)
    return columns, {
        "unknown_tokens": tf.reduce_sum(is_unknown, axis=1),
        "extra_windows": _extra_windows(windows, tf.size(text)),
    }


def places_of_texts(
    text: tf.Tensor, tokenizer: Tokenizer, *, seq_len: int, overlap: int
) -> tf.RaggedTensor:
    """The characters of the tokens of `encode_texts`; see `PlacesTokens`."""
    from trainer.text.assemble import join
    from trainer.text.places import places_of

    tokens = tokenizer.tokenize_with_offsets(text)
    template = tokenizer.template
    windows = _windows(tokens.ids.row_lengths(), seq_len - template.size(pair=False), overlap)
    columns = (tokens.starts, tokens.ends, tf.zeros_like(tokens.ids))
    nowhere = template.filled(-1)
    return places_of(*(join(windows.take(column), template=nowhere) for column in columns))


def _windows(lengths: tf.Tensor, room: int, overlap: int) -> Windows:
    from trainer.text.windows import make_windows

    rooms = tf.fill(tf.shape(lengths), tf.constant(room, tf.int64))
    overlaps = tf.fill(tf.shape(lengths), tf.constant(overlap, tf.int64))
    return make_windows(lengths, rooms, overlaps)


def _extra_windows(windows: Windows, texts: tf.Tensor) -> tf.Tensor:
    """(B,) int32, how many windows each text has beyond one."""
    text = tf.cast(windows.text, tf.int32)
    return tf.math.bincount(text, minlength=texts, maxlength=texts) - 1
