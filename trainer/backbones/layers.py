"""What encoders and decoders are built of.

Matrix products run in the compute dtype; layer norms and softmax in float32.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import TypeVar

import keras
import tensorflow as tf

from trainer.backbones.config import BackboneConfig
from trainer.backbones.dropout import Masks, kept_scale, only_kept
from trainer.backbones.parts import (
    Part,
    activation_part,
    compiled,
    norm_part,
    sum_and_norm_part,
    sum_part,
)

SITES_OF_A_LAYER = 3  # dropouts of one layer, each with a number of its own
Inputs = Mapping[str, tf.Tensor]
Outputs = dict[str, tf.Tensor | list[tf.Tensor]]
Shape = list[int | tf.Tensor]  # sizes: numbers where the graph knows them, else scalars
PieceT = TypeVar("PieceT", bound="Piece")


@dataclasses.dataclass(frozen=True)
class Rows:
    """What the layers need to know of the rows that they read.

    Attributes:
        shape: [B, S].
        mask: to add to the scores, (B or 1, 1, S or 1, T); None: all tokens see all.
        masks: of dropout; None: nothing is dropped.
        compile_parts: whether XLA compiles what is no matrix product.
    """

    shape: Shape
    mask: tf.Tensor | None
    masks: Masks | None
    compile_parts: bool = False

    def run(self, part: Part, *arguments: tf.Tensor) -> tf.Tensor:
        """What a part makes of its arguments, compiled or not."""
        return compiled(part)(*arguments) if self.compile_parts else part(*arguments)

    def drop(self, x: tf.Tensor, rate: float, site: int) -> tf.Tensor:
        """Drops values of all tokens; see `dropout.dropout`.

        Args:
            x: (B*S, width).
            rate: of the dropout.
            site: of the dropout.
        """
        kept = self.kept(x.shape[-1], rate, site)
        return x if kept is None else only_kept(x, kept) * kept_scale(rate)

    def kept(
        self, width: int, rate: float, site: int, places: tf.Tensor | None = None
    ) -> tf.Tensor | None:
        """Which values of the tokens dropout keeps; None where it drops nothing.

        A token's mask does not depend on which others are read.

        Args:
            width: values of a token.
            rate: of the dropout.
            site: of the dropout.
            places: (M,) int32, of the tokens that are read; None: all, M = B*S.
        Returns:
            (M, width) bool.
        """
        if self.masks is None or not rate:
            return None
        kept = self.masks.kept([*self.shape, width], rate, site)
        kept = tf.reshape(kept, [-1, width])
        return kept if places is None else tf.gather(kept, places)


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
        return tf.nn.bias_add(self.product(x), self.compute(self.bias))

    def product(self, x: tf.Tensor) -> tf.Tensor:
        """(T, inputs) -> (T, outputs), without the bias."""
        return x @ self.compute(self.kernel)

    def activate(self, x: tf.Tensor, rows: Rows) -> tf.Tensor:
        """(T, inputs) -> (T, outputs), with the activation of the backbone behind it."""
        part = activation_part(self.config.activation)
        return rows.run(part, self.product(x), self.compute(self.bias))


class LayerNorm(Piece):
    """Over the last axis, whose size it takes, in float32."""

    def build(self) -> None:
        """Makes the weights."""
        (size,) = self.sizes
        self.scale = self.weight("scale", size)
        self.bias = self.weight("bias", size)

    def apply(self, x: tf.Tensor, rows: Rows) -> tf.Tensor:
        """(T, size) -> the same."""
        part = norm_part(self.config.layer_norm_epsilon, self.compute_dtype)
        return rows.run(part, x, *self.weights_read())

    def weights_read(self) -> tuple[tf.Tensor, tf.Tensor]:
        """Scale and bias, (size,) float32: a gradient that is written out takes no variables."""
        return tf.convert_to_tensor(self.scale.value), tf.convert_to_tensor(self.bias.value)


def add_dense(
    x: tf.Tensor,
    dense: Dense,
    y: tf.Tensor,
    rows: Rows,
    *,
    rate: float,
    site: int,
    places: tf.Tensor | None = None,
    norm: LayerNorm | None = None,
) -> tf.Tensor:
    """x + dropout(dense(y)), and the norm of that where one is given.

    Args:
        x: (M, outputs).
        dense: inputs to outputs.
        y: (M, inputs).
        rows: that are read.
        rate: of the dropout.
        site: of the dropout.
        places: (M,) int32, where these tokens stand; None: they are all, M = B*S.
        norm: over the outputs.
    Returns:
        (M, outputs).
    """
    product = dense.product(y)
    arguments = [x, product, dense.compute(dense.bias)]
    scale = None
    kept = rows.kept(dense.sizes[1], rate, site, places)
    if kept is not None:
        scale = kept_scale(rate)
        arguments.append(kept)
    if norm is None:
        return rows.run(sum_part(scale), *arguments)
    part = sum_and_norm_part(scale, norm.config.layer_norm_epsilon, norm.compute_dtype)
    return rows.run(part, *norm.weights_read(), *arguments)


def at_places(x: tf.Tensor, places: tf.Tensor) -> tf.Tensor:
    """The vectors of some tokens.

    Its gradient is a tensor. That of a gather is a list of rows, and TensorFlow warns where it
    makes a large tensor of one.

    Args:
        x: (T, H).
        places: (M,) int32, in [0, T).
    Returns:
        (M, H).
    """

    @tf.custom_gradient
    def gather(x: tf.Tensor) -> tuple[tf.Tensor, Callable[[tf.Tensor], tf.Tensor]]:
        def gradient(upstream: tf.Tensor) -> tf.Tensor:
            return tf.math.unsorted_segment_sum(upstream, places, tf.shape(x)[0])

        return tf.gather(x, places), gradient

    return gather(x)


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


def make_masks(
    config: BackboneConfig,
    training: bool,
    dropout_seed: tf.Tensor | None,
    rows_before: tf.Tensor | None,
) -> Masks | None:
    """The masks of dropout; None where nothing is dropped.

    Args:
        config: of the backbone, with its rates.
        training: whether to drop out.
        dropout_seed: (2,) int32; None where the caller has none.
        rows_before: as that of `Masks`.
    Raises:
        ValueError: training with dropout and no seed.
    """
    rates = config.hidden_dropout, config.attention_dropout
    if training and any(rates) and dropout_seed is None:
        raise ValueError(
            f"expected dropout_seed, (2,) int32, for training with dropout rates {rates}. Received"
            " None"
        )
    if not training or dropout_seed is None:
        return None
    return Masks(dropout_seed, rows_before)


def look_up(table: keras.Variable, ids: tf.Tensor) -> tf.Tensor:
    """Rows of a table of embeddings.

    It is read as a tensor: a variable that TensorFlow looks up itself is from then on copied
    whenever all of it is read or assigned, as its update does.

    Args:
        table: (V, E).
        ids: (...) int32, in [0, V).
    Returns:
        (..., E).
    """
    return tf.gather(tf.convert_to_tensor(table.value), ids)


def look_up_words(word: keras.Variable, inputs: Inputs) -> tf.Tensor:
    """The word embeddings of rows, (B, S, E): those that are given, else those of the tokens.

    Args:
        word: all of them, (V, E).
        inputs: of the backbone; `word_vectors`, or token_ids.
    """
    if "word_vectors" in inputs:
        return tf.cast(inputs["word_vectors"], word.dtype)
    return look_up(word, inputs["token_ids"])


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
        return look_up(position, inputs["position_ids"] + config.first_position)
    tokens = inputs["token_ids"]
    width = tokens.shape[1]
    if width is not None and width > config.max_positions:
        raise ValueError(
            f"expected token_ids of at most {config.max_positions} positions. Received shape"
            f" {tokens.shape}"
        )
    behind = config.first_position + tf.shape(tokens)[1]
    return position.value[config.first_position : behind]
