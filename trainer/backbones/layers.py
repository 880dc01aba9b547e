"""What encoders and decoders are built of.

Matrix products run in the compute dtype; layer norms and softmax in float32.
"""

import keras
import tensorflow as tf

from trainer.backbones.config import BackboneConfig

# added to a score that must not be seen: finite, so that a row with nothing to see is uniform, not
# NaN
MASKED = -1e9


def dropout(x: tf.Tensor, rate: float, seed: tf.Tensor | None, site: int) -> tf.Tensor:
    """Zeroes a share `rate` of the values and scales the rest up, by a mask that is a pure function
    of (seed, site).

    Args:
        x: any shape, floating.
        rate: in [0, 1), honoured to 1/65536.
        seed: (2,) int32; None: nothing is dropped.
        site: which dropout of the model this is. Heads count from FIRST_HEAD_SITE (sites.py).
    Returns:
        The shape and dtype of x.
    """
    if seed is None or not rate:
        return x
    threshold = min(round(rate * 65536), 65535)
    # attention over a large batch has more values than int32 can count
    count = tf.size(x, tf.int64)
    bits = tf.random.stateless_uniform(
        [(count + 1) // 2],
        tf.random.experimental.stateless_fold_in(seed, site),
        None,
        None,
        tf.uint32,
    )
    # two draws from 32 bits
    kept = tf.reshape(tf.bitcast(bits, tf.uint16), [-1])[:count] >= tf.constant(
        threshold, tf.uint16
    )
    return x * tf.reshape(tf.cast(kept, x.dtype) * (65536 / (65536 - threshold)), tf.shape(x))


class Piece(keras.layers.Layer):
    """A part of a backbone: a Keras layer for its weights; called by `apply`, as Keras' own call
    takes tensors only.
    """

    def __init__(self, config: BackboneConfig, *, dtype: keras.DTypePolicy, name: str) -> None:
        super().__init__(dtype=dtype, name=name, autocast=False)
        self.config = config

    def weight(self, name: str, *shape: int) -> keras.Variable:
        """Makes a weight, zero until it is loaded."""
        return self.add_weight(shape=shape, initializer="zeros", name=name, autocast=False)

    def compute(self, weight: keras.Variable) -> tf.Tensor:
        """The weight in the compute dtype."""
        return tf.cast(weight.value, self.compute_dtype)


class Dense(Piece):
    """x @ kernel + bias."""

    def __init__(self, config: BackboneConfig, inputs: int, outputs: int, **layer) -> None:
        super().__init__(config, **layer)
        self.sizes = inputs, outputs

    def build(self) -> None:
        """Makes the weights."""
        self.kernel = self.weight("kernel", *self.sizes)
        self.bias = self.weight("bias", self.sizes[1])

    def apply(self, x: tf.Tensor) -> tf.Tensor:
        """(T, inputs) -> (T, outputs)."""
        return tf.nn.bias_add(x @ self.compute(self.kernel), self.compute(self.bias))


class LayerNorm(Piece):
    """Over the last axis, in float32."""

    def __init__(self, config: BackboneConfig, size: int, **layer) -> None:
        super().__init__(config, **layer)
        self.size = size

    def build(self) -> None:
        """Makes the weights."""
        self.scale = self.weight("scale", self.size)
        self.bias = self.weight("bias", self.size)

    def apply(self, x: tf.Tensor) -> tf.Tensor:
        """(T, size) -> the same."""
        centred = tf.cast(x, tf.float32)
        centred -= tf.reduce_mean(centred, -1, keepdims=True)
        variance = tf.reduce_mean(tf.square(centred), -1, keepdims=True)
        y = (
            centred * tf.math.rsqrt(variance + self.config.layer_norm_epsilon) * self.scale.value
            + self.bias.value
        )
        return tf.cast(y, self.compute_dtype)


def attention_mask(inputs: dict[str, tf.Tensor], *, causal: bool = False) -> tf.Tensor | None:
    """What to add to the scores: None, (B, 1, 1, S) for padding, or (B, 1, S, S) for packed rows;
    (1, 1, S, S) at least where `causal`.
    """
    seen = None
    if causal:
        place = tf.range(tf.shape(inputs["token_ids"])[1])
        seen = (place[:, None] >= place[None, :])[None, None]  # (1, 1, S, S)
    if "padding_mask" in inputs:
        real = tf.cast(inputs["padding_mask"], tf.bool)[:, None, None, :]
        seen = real if seen is None else real & seen
    if "sequence_ids" in inputs:
        ids = inputs["sequence_ids"]
        # (B, 1, S, S)
        same = ((ids[:, :, None] == ids[:, None, :]) & (ids[:, None, :] != 0))[:, None]
        seen = same if seen is None else same & seen
    return None if seen is None else tf.where(seen, 0.0, MASKED)


def checked_seed(
    config: BackboneConfig, training: bool, dropout_seed: tf.Tensor | None
) -> tf.Tensor | None:
    """The seed of the masks; None where nothing is dropped.

    Raises:
        ValueError: training with dropout and no seed.
    """
    rates = config.hidden_dropout, config.attention_dropout
    if training and any(rates) and dropout_seed is None:
        raise ValueError(
            f"expected dropout_seed, (2,) int32, for training with dropout rates {rates}. Received"
            " None"
        )
    return dropout_seed if training else None


def embedding_dropout(config: BackboneConfig) -> float:
    """Of the sum of the embeddings."""
    return config.hidden_dropout if config.embedding_dropout is None else config.embedding_dropout


def look_up_positions(
    position: keras.Variable, inputs: dict[str, tf.Tensor], config: BackboneConfig
) -> tf.Tensor:
    """The position embeddings of rows, (B, S, E), or (S, E) where they have no position_ids.

    Raises:
        ValueError: more positions than the backbone has.
    """
    if "position_ids" in inputs:
        return tf.gather(position.value, inputs["position_ids"] + config.first_position)
    tokens = inputs["token_ids"]
    if tokens.shape[1] is not None and tokens.shape[1] > config.max_positions:
        raise ValueError(
            f"expected token_ids of at most {config.max_positions} positions. Received shape"
            f" {tokens.shape}"
        )
    return position.value[config.first_position : config.first_position + tf.shape(tokens)[1]]
