"""Cross-entropy over a large vocabulary: hidden states are compared with every token's embedding, a
block of places at a time.

Logits of all places at once would need more memory than the rest of the model: 32 rows of 1,024
tokens with 50,257 words are 6.6 GB, and as much again for their gradient. So neither is ever whole.
"""

from __future__ import annotations

from collections.abc import Callable

from trainer.lazy import tf

BLOCK_BYTES = 2**27  # of logits


def _blocks(x: tf.Tensor, words: int) -> tuple[int | tf.Tensor, int | tf.Tensor]:
    """How many places a block has, all blocks about as many, and how many blocks there are; numbers
    where x has a known shape.
    """
    places = x.shape[0] if x.shape[0] is not None else tf.maximum(tf.shape(x)[0], 1)
    count = -(-places // max(8, BLOCK_BYTES // (4 * words)))
    return -(-places // count), count


def _block(values: tf.Tensor, index: tf.Tensor, size: int | tf.Tensor) -> tf.Tensor:
    rest = values.shape[1:].as_list()
    return tf.slice(values, [index * size, *[0] * len(rest)], [size, *rest])


def _known(size: int | tf.Tensor) -> int | None:
    return size if isinstance(size, int) else None


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
    def of(
        x: tf.Tensor, embeddings: tf.Tensor, offset: tf.Tensor
    ) -> tuple[tf.Tensor, Callable[[tf.Tensor], tuple[tf.Tensor, ...]]]:
        words, wide = embeddings.shape[0], x.dtype
        size, count = _blocks(x, words)
        padded, targets, weights = (
            tf.pad(values, [[0, size], *[[0, 0]] * (len(values.shape) - 1)])
            for values in (x, target, weight)
        )

        def block(
            index: tf.Tensor,
            total: tf.Tensor,
            d_x: tf.Tensor,
            d_embeddings: tf.Tensor,
            d_offset: tf.Tensor,
        ) -> tuple[tf.Tensor, ...]:
            part, gold, share = (
                _block(values, index, size) for values in (padded, targets, weights)
            )
            logits = tf.cast(tf.matmul(part, embeddings, transpose_b=True), tf.float32) + offset
            losses, slopes = tf.raw_ops.SparseSoftmaxCrossEntropyWithLogits(
                features=logits, labels=gold
            )
            slopes *= share[:, None]
            narrow = tf.cast(slopes, wide)
            d_x = d_x.write(index, tf.matmul(narrow, embeddings))
            d_embeddings += tf.cast(tf.matmul(narrow, part, transpose_a=True), tf.float32)
            return (
                index + 1,
                total + tf.reduce_sum(losses * share),
                d_x,
                d_embeddings,
                d_offset + tf.reduce_sum(slopes, 0),
            )

        rows = tf.TensorArray(wide, count, element_shape=[_known(size), x.shape[1]])
        start = (
            tf.constant(0),
            tf.constant(0.0),
            rows,
            tf.zeros([words, x.shape[1]]),
            tf.zeros([words]),
        )
        _, total, d_x, d_embeddings, d_offset = tf.while_loop(
            lambda index, *_: index < count, block, start, parallel_iterations=1
        )
        d_x = tf.reshape(d_x.concat(), [-1, x.shape[1]])[: tf.shape(x)[0]]

        def gradient(upstream: tf.Tensor) -> tuple[tf.Tensor, ...]:
            return (
                tf.cast(upstream, wide) * d_x,
                tf.cast(upstream * d_embeddings, wide),
                upstream * d_offset,
            )

        return total, gradient

    return of(x, embeddings, offset)


def losses_and_hits(
    x: tf.Tensor, embeddings: tf.Tensor, bias: tf.Tensor | None, target: tf.Tensor
) -> tuple[tf.Tensor, tf.Tensor]:
    """Of each place the cross-entropy, (M,) float32, and whether the target is the likeliest word,
    (M,) bool.
    """
    size, count = _blocks(x, embeddings.shape[0])
    padded = tf.pad(x, [[0, size], [0, 0]])
    targets = tf.pad(target, [[0, size]])

    def block(index: tf.Tensor, losses: tf.TensorArray, hits: tf.TensorArray) -> tuple:
        part = _block(padded, index, size)
        gold = _block(targets, index, size)
        logits = tf.cast(tf.matmul(part, embeddings, transpose_b=True), tf.float32)
        logits = logits if bias is None else logits + bias
        losses = losses.write(index, tf.nn.sparse_softmax_cross_entropy_with_logits(gold, logits))
        return (
            index + 1,
            losses,
            hits.write(index, tf.argmax(logits, axis=1, output_type=tf.int32) == gold),
        )

    arrays = [
        tf.TensorArray(dtype, count, element_shape=[_known(size)])
        for dtype in (tf.float32, tf.bool)
    ]
    _, losses, hits = tf.while_loop(
        lambda index, *_: index < count, block, (tf.constant(0), *arrays), parallel_iterations=1
    )
    return tuple(tf.reshape(array.concat(), [-1])[: tf.shape(x)[0]] for array in (losses, hits))
