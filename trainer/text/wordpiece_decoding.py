"""WordPiece tokens back into text."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import NamedTuple

import tensorflow as tf

from trainer.text.flat_arrays import begins_row, keep_ids_below, previous

_EAST_ASIAN = "\u2e80"  # from this character on scripts do not part words by spaces
# marks that no space stands before, or behind
_CLINGING = tuple(".,!?:;)]}%")
_OPENING = tuple("([{")


class _Written(NamedTuple):
    """A piece's text, whether a space stands before it, and whether none stands behind it."""

    text: str
    opens: bool
    closes: bool


class WordPieceDecoder:
    """Writes the texts of WordPiece tokens."""

    def __init__(self, pieces: Sequence[str], prefix: str, silent: Collection[int | None]) -> None:
        """Builds the constants of the graph.

        Args:
            pieces: the token of each id.
            prefix: of a piece that goes on with a word, such as ##.
            silent: ids that write nothing.
        """
        texts = []
        opens = []
        closes = []
        for id, piece in enumerate(pieces):
            written = _write(piece, prefix)
            texts.append("" if id in silent else written.text)
            opens.append(written.opens)
            closes.append(written.closes)
        self._texts = tf.constant(texts)
        self._opens = tf.constant(opens)
        self._closes = tf.constant(closes)

    @property
    def token_bytes(self) -> list[bytes]:
        """What each token writes, with the space before it; made when asked for: few runs do."""
        texts = self._texts.numpy().tolist()
        opens = self._opens.numpy().tolist()
        return [
            text and b" " * space_before + text
            for text, space_before in zip(texts, opens, strict=True)
        ]

    def decode(self, ids: tf.RaggedTensor) -> tf.Tensor:
        """(B, None) int32 -> (B,) string."""
        ids = keep_ids_below(ids, tf.size(self._texts))
        is_written = tf.gather(self._texts, ids.values) != ""
        ids = tf.ragged.boolean_mask(ids, ids.with_values(is_written))
        opens = tf.gather(self._opens, ids.values)
        closes = tf.gather(self._closes, ids.values)
        after_closing = previous(closes, True)
        is_first = begins_row(ids.row_splits)
        space_before = opens & ~after_closing & ~is_first
        spaces = tf.where(space_before, " ", "")
        texts = tf.gather(self._texts, ids.values)
        spaced = tf.strings.join([spaces, texts])
        return tf.strings.reduce_join(ids.with_values(spaced), axis=1)


def _write(piece: str, prefix: str) -> _Written:
    ends_east_asian = piece[-1:] >= _EAST_ASIAN
    if piece.startswith(prefix):
        return _Written(piece.removeprefix(prefix), opens=False, closes=ends_east_asian)
    first = piece[:1]
    return _Written(
        piece,
        opens=first < _EAST_ASIAN and first not in _CLINGING,
        closes=ends_east_asian or piece in _OPENING,
    )
