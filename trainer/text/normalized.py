"""Normalised texts in the graph, and which original characters they are made from."""

from __future__ import annotations

from typing import NamedTuple

import tensorflow as tf

from trainer.text.flat_arrays import count_before


class Normalized(NamedTuple):
    """M characters of B texts.

    Attributes:
        codes: (M,) int32.
        splits: (B + 1,) int64, where each text's begin.
        sources: (M, 2) int32, the first original character that each was made from, and the last
            one + 1.
    """

    codes: tf.Tensor
    splits: tf.Tensor
    sources: tf.Tensor

    @classmethod
    def unchanged(cls, characters: tf.RaggedTensor) -> Normalized:
        """Texts as they are, (B, None) int32."""
        codes = characters.values
        place = tf.range(tf.size(codes))
        sources = tf.stack([place, place + 1], 1)
        return cls(codes, characters.row_splits, sources)

    @property
    def first_sources(self) -> tf.Tensor:
        """(M,) int32, the first original character of each."""
        return self.sources[:, 0]

    @property
    def end_sources(self) -> tf.Tensor:
        """(M,) int32, the last original character of each + 1."""
        return self.sources[:, 1]

    def keep(self, kept: tf.Tensor) -> Normalized:
        """Some of the characters, where (M,) bool is true."""
        return Normalized(
            tf.boolean_mask(self.codes, kept),
            tf.gather(count_before(kept), self.splits),
            tf.boolean_mask(self.sources, kept),
        )
