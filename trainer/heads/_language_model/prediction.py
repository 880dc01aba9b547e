"""The places at which a language model predicts a token: what they weigh, lose and get right."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from trainer.data.batch import Batch, Predicted
from trainer.heads._language_model import projection
from trainer.lazy import tf

if TYPE_CHECKING:
    from trainer.backbones.config import BackboneConfig


class Projection(NamedTuple):
    """What makes the logits of the predicted places, which would not fit in memory.

    Attributes:
        hidden: (M, E) in the compute dtype.
        embeddings: (V, E) in the same.
        bias: (V,) float32, or None.
    """

    hidden: tf.Tensor
    embeddings: tf.Tensor
    bias: tf.Tensor | None

    def whole(self) -> tf.Tensor:
        """(M, V) float32, the logits themselves: for few places."""
        logits = tf.cast(tf.matmul(self.hidden, self.embeddings, transpose_b=True), tf.float32)
        return logits if self.bias is None else logits + self.bias


def predicted_of(batch: Batch) -> Predicted:
    """The places of a batch. Raises ValueError where it has none."""
    if batch.predicted is None:
        raise ValueError("expected a batch with predicted places. Received one without")
    return batch.predicted


def total_weight(batch: Batch) -> tf.Tensor:
    """() float32, how many tokens are predicted."""
    return tf.reduce_sum(predicted_of(batch).weight)


def total_loss(logits: Projection, batch: Batch) -> tf.Tensor:
    """() float32, the sum of the losses of the predicted tokens."""
    predicted = predicted_of(batch)
    return projection.weighted_loss(*logits, predicted.target, predicted.weight)


def results_of_examples(logits: Projection, batch: Batch) -> dict[str, tf.Tensor]:
    """Sums over the predicted tokens of each example.

    Returns:
        `loss` (E,); `predicted` (E,), how many tokens; `correct` (E,), of how many the target was
        likeliest.
    """
    predicted = predicted_of(batch)
    losses, hits = projection.losses_and_hits(*logits, predicted.target)
    examples = tf.shape(batch.examples.row)[0]

    def total(numbers: tf.Tensor) -> tf.Tensor:
        weighed = numbers * predicted.weight
        return tf.math.unsorted_segment_sum(weighed, predicted.example, examples)

    return {
        "loss": total(losses),
        "predicted": total(tf.ones_like(losses)),
        "correct": total(tf.cast(hits, tf.float32)),
    }


def operations_of_prediction(config: BackboneConfig, *, frozen_embeddings: bool) -> float:
    """Of a training step for each predicted token.

    Forward it is compared with all embeddings; backward there are a gradient of the token, and one
    of the embeddings unless they are frozen.
    """
    products = 2 if frozen_embeddings else 3
    return 2 * products * config.vocabulary_size * config.embedding_size
