"""Parts of a step that multiply no matrices, each of which XLA may compile as one loop.

TensorFlow runs one operation after the other, and each of them goes through memory. On a CPU its
matrix products are faster than XLA's, so that only the parts between them are compiled. XLA does so
once for every shape, in less than a tenth of a second.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence

import tensorflow as tf

from trainer.backbones.activations import ACTIVATIONS
from trainer.backbones.dropout import only_kept

# of tensors that have a shape in common, or a part of it; with a gradient where they are floating
Part = Callable[..., tf.Tensor]


@functools.cache
def compiled(part: Part) -> Part:
    """The same function, and its gradient, each compiled as one loop.

    The gradient keeps the arguments, and computes anew what else it needs.

    Args:
        part: of tensors; of one object, as it is remembered.
    """
    forward = tf.function(part, jit_compile=True, reduce_retracing=True, autograph=False)

    @tf.function(jit_compile=True, reduce_retracing=True, autograph=False)
    def backward(arguments: Sequence[tf.Tensor], upstream: tf.Tensor) -> list[tf.Tensor]:
        floating = [x for x in arguments if x.dtype.is_floating]
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(floating)
            y = part(*arguments)
        return tape.gradient(y, floating, output_gradients=upstream)

    @tf.custom_gradient
    def call(*arguments: tf.Tensor) -> tuple[tf.Tensor, Callable[..., list[tf.Tensor | None]]]:
        def gradient(upstream: tf.Tensor) -> list[tf.Tensor | None]:
            gradients = iter(backward(arguments, upstream))
            return [next(gradients) if x.dtype.is_floating else None for x in arguments]

        return forward(*arguments), gradient

    return call


@functools.cache
def activation_part(name: str) -> Part:
    """The part (product, bias) -> activation(product + bias), by the activation's name."""
    activation = ACTIVATIONS[name]

    def activate(product: tf.Tensor, bias: tf.Tensor) -> tf.Tensor:
        return activation(tf.nn.bias_add(product, bias))

    return activate


@functools.cache
def norm_part(epsilon: float, dtype: str) -> Part:
    """The part (x, scale, bias) -> the norm of x over its last axis.

    Args:
        epsilon: what is added to the variance.
        dtype: of the result; the norm is computed in float32.
    """

    def normalize(x: tf.Tensor, scale: tf.Tensor, bias: tf.Tensor) -> tf.Tensor:
        return _norm(x, scale, bias, epsilon, dtype)

    return normalize


def _norm(x: tf.Tensor, scale: tf.Tensor, bias: tf.Tensor, epsilon: float, dtype: str) -> tf.Tensor:
    """The norm of x over its last axis, with half of the operations that its derived gradient has.

    Args:
        x: (T, size).
        scale, bias: (size,) float32.
        epsilon, dtype: as those of `norm_part`.
    Source: Ba et al. 2016.
    """

    @tf.custom_gradient
    def norm(
        x: tf.Tensor, scale: tf.Tensor, bias: tf.Tensor
    ) -> tuple[tf.Tensor, Callable[[tf.Tensor], tuple[tf.Tensor, ...]]]:
        centred = tf.cast(x, tf.float32)
        centred -= tf.reduce_mean(centred, -1, keepdims=True)
        variance = tf.reduce_mean(tf.square(centred), -1, keepdims=True)
        inverse = tf.math.rsqrt(variance + epsilon)
        normed = centred * inverse

        def gradient(upstream: tf.Tensor) -> tuple[tf.Tensor, ...]:
            of_y = tf.cast(upstream, tf.float32)
            of_normed = of_y * scale
            along = tf.reduce_mean(of_normed * normed, -1, keepdims=True)
            of_centred = of_normed - normed * along
            of_x = inverse * (of_centred - tf.reduce_mean(of_normed, -1, keepdims=True))
            of_scale = tf.reduce_sum(of_y * normed, 0)
            return tf.cast(of_x, x.dtype), of_scale, tf.reduce_sum(of_y, 0)

        return tf.cast(normed * scale + bias, dtype), gradient

    return norm(x, scale, bias)


@functools.cache
def sum_part(kept_scale: float | None) -> Part:
    """The part (x, product, bias, kept) -> x + dropout(product + bias).

    Args:
        kept_scale: of dropout, whose mask is `kept`, bool; None: nothing is dropped, and there is
            no mask.
    """

    def add(x: tf.Tensor, product: tf.Tensor, bias: tf.Tensor, *kept: tf.Tensor) -> tf.Tensor:
        y = tf.nn.bias_add(product, bias)
        if kept_scale is not None:
            y = only_kept(y, *kept) * kept_scale
        return x + y

    return add


@functools.cache
def sum_and_norm_part(kept_scale: float | None, epsilon: float, dtype: str) -> Part:
    """The part (scale, bias, *those of `sum_part`) -> the norm of the sum; see `norm_part`."""
    add = sum_part(kept_scale)
    normalize = norm_part(epsilon, dtype)

    def add_and_normalize(scale: tf.Tensor, bias: tf.Tensor, *addends: tf.Tensor) -> tf.Tensor:
        return normalize(add(*addends), scale, bias)

    return add_and_normalize
