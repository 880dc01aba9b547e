"""Cross-entropy over a large vocabulary, a block of places at a time.

Hidden states are compared with every token's embedding. Logits of all places at once would need
more memory than the rest of the model: 32 rows of 1,024 tokens with 50,257 words are 6.6 GB, and as
much again for their gradient. So neither is ever whole.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import NamedTuple

from trainer.lazy import tf

AT_ONCE = 2  # blocks, each on a core of its own where lanes have one each
BLOCK_BYTES = 2**26  # of logits
FEWEST_PLACES = 8  # of a block
WORTH_PARTING = 128  # places that several blocks share


@dataclasses.dataclass(frozen=True)
class _Blocks:
    """Blocks of about as many places each; numbers where the shape is known.

    Attributes:
        size: places of a block.
        count: how many blocks there are.
    """

    size: int | tf.Tensor
    count: int | tf.Tensor

    @property
    def known_size(self) -> int | None:
        """The size, where it is known before the graph runs."""
        return self.size if isinstance(self.size, int) else None

    def part(self, places: tf.Tensor, index: tf.Tensor) -> tf.Tensor:
        """(M + size, …) -> (size, …), the block of a number."""
        inner = places.shape[1:].as_list()
        zeros = [0] * len(inner)
        return tf.slice(places, [index * self.size, *zeros], [self.size, *inner])

    def padded(self, places: tf.Tensor) -> tf.Tensor:
        """(M, …) -> (M + size, …), so that the last block is whole."""
        inner = [[0, 0]] * (len(places.shape) - 1)
        return tf.pad(places, [[0, self.size], *inner])


class _Slopes(NamedTuple):
    """Gradients of a sum of cross-entropies.

    Attributes:
        x: (M, H) in the compute dtype.
        embeddings: (V, H) float32.
        offset: (V,) float32.
    """

    x: tf.Tensor
    embeddings: tf.Tensor
    offset: tf.Tensor


def weighted_loss(
    x: tf.Tensor,
    embeddings: tf.Tensor,
    bias: tf.Tensor | None,
    target: tf.Tensor,
    weight: tf.Tensor,
) -> tf.Tensor:
    """Sum of the weighted cross-entropies.

    Its gradient is computed along with it, for then each block's logits are needed once only.

    Args:
        x: (M, H) in the compute dtype.
        embeddings: (V, H) in the same.
        bias: (V,) float32, or None.
        target: (M,) int32.
        weight: (M,) float32; 0 fills up.
    Returns:
        () float32.
    """
    offset = tf.zeros([embeddings.shape[0]]) if bias is None else bias

    @tf.custom_gradient
    def loss_of(
        x: tf.Tensor, embeddings: tf.Tensor, offset: tf.Tensor
    ) -> tuple[tf.Tensor, Callable[[tf.Tensor], tuple[tf.Tensor, ...]]]:
        loss, slopes = _loss_and_slopes(x, embeddings, offset, target, weight)

        def gradient(upstream: tf.Tensor) -> tuple[tf.Tensor, ...]:
            return (
                tf.cast(upstream, x.dtype) * slopes.x,
                tf.cast(upstream * slopes.embeddings, x.dtype),
                upstream * slopes.offset,
            )

        return loss, gradient

    return loss_of(x, embeddings, offset)


def losses_and_hits(
    x: tf.Tensor, embeddings: tf.Tensor, bias: tf.Tensor | None, target: tf.Tensor
) -> tuple[tf.Tensor, tf.Tensor]:
    """Of each place the cross-entropy, and whether the target is the likeliest word.

    Args:
        x: (M, H) in the compute dtype.
        embeddings: (V, H) in the same.
        bias: (V,) float32, or None.
        target: (M,) int32.
    Returns:
        (M,) float32; (M,) bool.
    """
    blocks = _blocks_of(x, embeddings.shape[0])
    padded_x = blocks.padded(x)
    padded_target = blocks.padded(target)

    def block(
        index: tf.Tensor, losses: tf.TensorArray, hits: tf.TensorArray
    ) -> tuple[tf.Tensor, tf.TensorArray, tf.TensorArray]:
        gold = blocks.part(padded_target, index)
        part = blocks.part(padded_x, index)
        logits = _logits(part, embeddings, bias)
        loss = tf.nn.sparse_softmax_cross_entropy_with_logits(gold, logits)
        likeliest = tf.argmax(logits, axis=1, output_type=tf.int32)
        losses = losses.write(index, loss)
        hits = hits.write(index, likeliest == gold)
        return index + 1, losses, hits

    arrays = [
        tf.TensorArray(dtype, blocks.count, element_shape=[blocks.known_size])
        for dtype in (tf.float32, tf.bool)
    ]
    _, losses, hits = tf.while_loop(
        lambda index, *_: index < blocks.count,
        block,
        (tf.constant(0), *arrays),
        parallel_iterations=AT_ONCE,
    )
    places = tf.shape(x)[0]
    return _joined(losses, [-1])[:places], _joined(hits, [-1])[:places]


def _loss_and_slopes(
    x: tf.Tensor,
    embeddings: tf.Tensor,
    offset: tf.Tensor,
    target: tf.Tensor,
    weight: tf.Tensor,
) -> tuple[tf.Tensor, _Slopes]:
    """The sum of the weighted cross-entropies, and its gradients."""
    words = embeddings.shape[0]
    width = x.shape[1]
    blocks = _blocks_of(x, words)
    padded_x, padded_target, padded_weight = map(blocks.padded, (x, target, weight))

    def block(index: tf.Tensor, loss: tf.Tensor, *before: tf.Tensor) -> tuple[tf.Tensor, ...]:
        part = blocks.part(padded_x, index)
        share = blocks.part(padded_weight, index)
        losses, slopes = tf.raw_ops.SparseSoftmaxCrossEntropyWithLogits(
            features=_logits(part, embeddings, offset),
            labels=blocks.part(padded_target, index),
        )
        loss += tf.reduce_sum(losses * share)
        slopes *= share[:, None]
        narrow = tf.cast(slopes, x.dtype)
        of_x, of_embeddings, of_offset = before
        of_part = tf.matmul(narrow, embeddings)
        of_x = of_x.write(index, of_part)
        products = tf.matmul(narrow, part, transpose_a=True)
        of_embeddings += tf.cast(products, tf.float32)
        of_offset += tf.reduce_sum(slopes, 0)
        return index + 1, loss, of_x, of_embeddings, of_offset

    rows = tf.TensorArray(x.dtype, blocks.count, element_shape=[blocks.known_size, width])
    nothing = (tf.constant(0.0), rows, tf.zeros([words, width]), tf.zeros([words]))
    _, loss, of_x, of_embeddings, of_offset = tf.while_loop(
        lambda index, *_: index < blocks.count,
        block,
        (tf.constant(0), *nothing),
        parallel_iterations=AT_ONCE,
    )
    of_x = _joined(of_x, [-1, width])[: tf.shape(x)[0]]
    return loss, _Slopes(of_x, of_embeddings, of_offset)


def _logits(x: tf.Tensor, embeddings: tf.Tensor, bias: tf.Tensor | None) -> tf.Tensor:
    """(n, V) float32."""
    products = tf.matmul(x, embeddings, transpose_b=True)
    logits = tf.cast(products, tf.float32)
    return logits if bias is None else logits + bias


def _joined(parts: tf.TensorArray, shape: list[int]) -> tf.Tensor:
    return tf.reshape(parts.concat(), shape)


def _blocks_of(x: tf.Tensor, words: int) -> _Blocks:
    """How the places are parted; numbers where x has a known shape."""
    most = max(FEWEST_PLACES, BLOCK_BYTES // (4 * words))  # float32
    places = x.shape[0]
    if places is None:
        places = tf.maximum(tf.shape(x)[0], 1)
        fewest = tf.where(places < WORTH_PARTING, 1, AT_ONCE)
        count = tf.maximum(-(-places // most), fewest)
    else:
        fewest = 1 if places < WORTH_PARTING else AT_ONCE
        count = max(-(-places // most), fewest)
    return _Blocks(-(-places // count), count)
