"""How scores become tags: each word alone, or whole sequences by a CRF."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Protocol

from trainer.data.batch import Batch
from trainer.heads.token_classification.crf import BestTags, Chain, Moves, Words
from trainer.heads.token_classification.word_kinds import NO_WORD
from trainer.lazy import keras, tf


class Tagger(Protocol):
    """What a graph makes of its logits.

    Attributes:
        layers: of its own.
    """

    layers: Sequence[keras.layers.Layer]

    def losses(self, logits: tf.Tensor, batch: Batch) -> tf.Tensor:
        """(R, L) float32 of the labelled tokens; 0 elsewhere."""
        ...

    def decode(self, logits: tf.Tensor, batch: Batch) -> BestTags:
        """The best tags."""
        ...


@dataclasses.dataclass(frozen=True)
class EachAlone(Tagger):
    """The tag of a word says nothing of the others."""

    layers: Sequence[keras.layers.Layer] = ()

    def losses(self, logits: tf.Tensor, batch: Batch) -> tf.Tensor:
        """See `Tagger`."""
        label = labels_of(batch)
        tag = tf.maximum(label - 1, 0)
        losses = tf.nn.sparse_softmax_cross_entropy_with_logits(tag, logits)
        return tf.where(label > 0, losses, 0.0)

    def decode(self, logits: tf.Tensor, batch: Batch) -> BestTags:
        """See `Tagger`."""
        probabilities = tf.nn.softmax(logits)
        tag = tf.argmax(logits, axis=-1, output_type=tf.int32)
        score = tf.gather(probabilities, tag, batch_dims=2)
        others = probabilities - tf.one_hot(tag, logits.shape[-1])
        next_score = tf.reduce_max(others, axis=-1)
        return BestTags(tag, score, score - next_score)


@dataclasses.dataclass(frozen=True)
class InSequence(Tagger):
    """A CRF scores whole sequences.

    Attributes:
        layers: one, see `moves_layer`.
        forbidden: added to its scores.
    """

    layers: Sequence[keras.layers.Layer]
    forbidden: Moves

    def losses(self, logits: tf.Tensor, batch: Batch) -> tf.Tensor:
        """See `Tagger`."""
        label = labels_of(batch)
        kind = tf.where(label > 0, batch.own["words"], NO_WORD)
        words = Words(logits, kind, _fresh(batch))
        tag = tf.maximum(label - 1, 0)
        return self._chain().losses(words, tag)

    def decode(self, logits: tf.Tensor, batch: Batch) -> BestTags:
        """See `Tagger`."""
        words = Words(logits, batch.own["words"], _fresh(batch))
        return self._chain().decode(words)

    def _chain(self) -> Chain:
        (layer,) = self.layers
        between = layer.between.value + self.forbidden.between
        first = layer.first.value + self.forbidden.first
        return Chain(Moves(between, first))


def moves_layer(classes: int) -> keras.layers.Layer:
    """A layer with the scores of moves between so many tags, `between` and `first`."""
    layer = keras.layers.Layer(name="crf", dtype="float32")
    layer.between = layer.add_weight((classes, classes), initializer="zeros", name="between")
    layer.first = layer.add_weight((classes,), initializer="zeros", name="first")
    layer.built = True
    return layer


def labels_of(batch: Batch) -> tf.Tensor:
    """(R, L) int32, 1 + the tag of each token where one is learnt, or 0."""
    assert batch.label is not None  # whoever asks for losses has labels
    return batch.label


def _fresh(batch: Batch) -> tf.Tensor:
    """(R, L) bool, where an example of a packed row begins."""
    if batch.rows.position_ids is not None:
        return batch.rows.position_ids == 0
    shape = tf.shape(batch.own["words"])
    is_first = tf.range(shape[1]) == 0
    return tf.broadcast_to(is_first, shape)
