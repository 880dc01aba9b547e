"""What encoders and decoders are built of.

Matrix products run in the compute dtype; layer norms and softmax in float32.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

import keras
import tensorflow as tf

from trainer.backbones.config import BackboneConfig

SITES_OF_A_LAYER = 3  # dropouts of one layer, each with a number of its own
DRAWS = 1 << 16  # how finely a dropout rate is honoured
Inputs = Mapping[str, tf.Tensor]
Shape = list[int | tf.Tensor]  # sizes: numbers where the graph knows them, else scalars
PieceT = TypeVar("PieceT", bound="Piece")


def dropout(x: tf.Tensor, rate: float, seed: tf.Tensor | None, site: int) -> tf.Tensor:
    """Zeroes a share of the values and scales the rest up.

    The mask is a pure function of the seed and the site.

    Args:
        x: any shape, floating.
        rate: the share, in [0, 1), honoured to 1/65536.
        seed: (2,) int32; None: nothing is dropped.
        site: which dropout of the model this is. Heads count from FIRST_HEAD_SITE (sites.py).
    Returns:
        The shape and dtype of x.
    """
    if seed is None or not rate:
        return x
    threshold = min(round(rate * DRAWS), DRAWS - 1)
    # Attention over a large batch has more values than int32 can count.
    count = tf.size(x, tf.int64)
    bits = tf.random.stateless_uniform(
        [(count + 1) // 2],  # each 32 bits are two draws
        seed=tf.random.experimental.stateless_fold_in(seed, site),
        minval=None,
        maxval=None,
        dtype=tf.uint32,
    )
    draws = tf.bitcast(bits, tf.uint16)
    draws = tf.reshape(draws, [-1])[:count]
    kept = draws >= tf.constant(threshold, tf.uint16)
    scale = DRAWS / (DRAWS - threshold)
    mask = tf.cast(kept, x.dtype) * scale
    return x * tf.reshape(mask, tf.shape(x))


class Piece(keras.layers.Layer):
    """A part of a backbone.

    It is a Keras layer for its weights, which `build` makes. It is called by `apply`, as Keras' own
    call takes tensors only.
    """

    def __init__(
        self,
        config: BackboneConfig,
        *sizes: int,
        dtype: keras.DTypePolicy | str,
        name: str,
    ) -> None:
        super().__init__(dtype=dtype, name=name, autocast=False)
        self.config = config
        self.sizes = sizes

    def part(self, kind: type[PieceT], name: str, *sizes: int) -> PieceT:
        """A piece inside this one, with its weights; `build` calls it."""
        piece = kind(self.config, *sizes, dtype=self.dtype_policy, name=name)
        piece.build()
        return piece

    def weight(self, name: str, *shape: int) -> keras.Variable:
        """Makes a weight, zero until it is loaded."""
        return self.add_weight(shape=shape, initializer="zeros", name=name, autocast=False)

    def compute(self, weight: keras.Variable) -> tf.Tensor:
        """The weight in the compute dtype."""
        return tf.cast(weight.value, self.compute_dtype)


class Dense(Piece):
    """x @ kernel + bias; its sizes are inputs and outputs."""

    def build(self) -> None:
        """Makes the weights."""
        inputs, outputs = self.sizes
        self.kernel = self.weight("kernel", inputs, outputs)
        self.bias = self.weight("bias", outputs)

    def apply(self, x: tf.Tensor) -> tf.Tensor:
        """(T, inputs) -> (T, outputs)."""
        product = x @ self.compute(self.kernel)
        return tf.nn.bias_add(product, self.compute(self.bias))


class LayerNorm(Piece):
    """Over the last axis, whose size it takes, in float32."""

    def build(self) -> None:
        """Makes the weights."""
        (size,) = self.sizes
        self.scale = self.weight("scale", size)
        self.bias = self.weight("bias", size)

    def apply(self, x: tf.Tensor) -> tf.Tensor:
        """(T, size) -> the same."""
        centred = tf.cast(x, tf.float32)
        centred -= tf.reduce_mean(centred, -1, keepdims=True)
        variance = tf.reduce_mean(tf.square(centred), -1, keepdims=True)
        epsilon = self.config.layer_norm_epsilon
        y = centred * tf.math.rsqrt(variance + epsilon)
        y = y * self.scale.value + self.bias.value
        return tf.cast(y, self.compute_dtype)


def given_inputs(inputs: Mapping[str, object]) -> Inputs:
    """The inputs as tensors, without those that are None."""
    return {
        name: tf.convert_to_tensor(x)  # of numpy, too
        for name, x in inputs.items()
        if x is not None
    }


def known_shape(x: tf.Tensor) -> Shape:
    """The sizes of a tensor."""
    sizes = zip(x.shape, tf.unstack(tf.shape(x)), strict=True)
    return [static or dynamic for static, dynamic in sizes]


def checked_seed(
    config: BackboneConfig, training: bool, dropout_seed: tf.Tensor | None
) -> tf.Tensor | None:
    """The seed of the masks; None where nothing is dropped.

    Args:
        config: of the backbone, with its rates.
        training: whether to drop out.
        dropout_seed: (2,) int32; None where the caller has none.
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


def look_up_positions(
    position: keras.Variable, inputs: Inputs, config: BackboneConfig
) -> tf.Tensor:
    """The position embeddings of rows.

    Args:
        position: all of them, (positions, E).
        inputs: of the backbone; position_ids, or the width of token_ids.
        config: of the backbone.
    Returns:
        (B, S, E), or (S, E) where the rows have no position_ids.
    Raises:
        ValueError: more positions than the backbone has.
    """
    if "position_ids" in inputs:
        return tf.gather(position.value, inputs["position_ids"] + config.first_position)
    tokens = inputs["token_ids"]
    width = tokens.shape[1]
    if width is not None and width > config.max_positions:
        raise ValueError(
            f"expected token_ids of at most {config.max_positions} positions. Received shape"
            f" {tokens.shape}"
        )
    behind = config.first_position + tf.shape(tokens)[1]
    return position.value[config.first_position : behind]
