"""What a model's arithmetic costs, and what the device could do: model-FLOP utilisation."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
import tensorflow as tf

from trainer.backbones.config import BackboneConfig
from trainer.run.workers import hosts

# rows of the square matrices: enough to reach the peak, in a second or two
PEAK_SIZES = {"TPU": 8192, "GPU": 8192, "CPU": 2048}
PEAK_PRODUCTS = 2
PEAK_TRIALS = 5


def training_flops(
    config: BackboneConfig,
    lengths: np.ndarray,
    *,
    frozen_embeddings: bool = False,
    frozen_layers: int = 0,
    places: float | None = None,
) -> float:
    """Floating-point operations of the backbone's matrix products in one training step.

    Forward, every product once; backward, once more for each factor that has a gradient. Padding is
    no work, and neither is what frozen layers need no gradient for.

    Args:
        config: the backbone's sizes.
        lengths: (n,) real tokens of each example of the step.
        frozen_embeddings: whether these are not trained.
        frozen_layers: how many of the lowest layers are not trained.
        places: tokens that the head reads, so that the last layer computes no others; None: all.
    Source: Chowdhery et al. 2022, appendix B: 2 a multiply-add, norms and activations left out.
    """
    tokens = float(lengths.sum())
    squares = float(np.square(lengths, dtype=np.float64).sum())
    width = config.hidden_size
    inner = config.intermediate_size
    # of a layer
    weights = 2 * tokens * (4 * width * width + 2 * width * inner)
    attention = 4 * squares * width
    projection = 0.0
    if config.embedding_size != width:
        projection = 2 * tokens * config.embedding_size * width
    unread = 0.0  # what the last layer leaves out
    if places is not None:
        unread = 2 * (tokens - places) * (width * width + 2 * width * inner)
    forward = projection + config.layers * (weights + attention) - unread
    trained_layers = config.layers - frozen_layers
    trained = trained_layers * 2 * (weights + attention)
    if trained_layers > 0:
        trained -= 2 * unread
    if not frozen_embeddings:
        below = 2 * projection + frozen_layers * (weights + 2 * attention)
        if trained_layers == 0:
            below -= unread
    elif trained_layers > 0:
        # the lowest query, key and value: no gradient of their input
        below = -6 * tokens * width * width
    else:
        below = 0.0
    return forward + trained + below


def peak_flops(strategy: tf.distribute.Strategy, precision: str, *, lanes: int = 1) -> float:
    """Operations per second that this kind of device reached just now, over all replicas.

    Args:
        strategy: its replicas are counted; virtual CPUs share the cores of a host.
        precision: of the products, as in train.precision.
        lanes: how many products run side by side.
    """
    kind = next(kind for kind in PEAK_SIZES if tf.config.list_logical_devices(kind))
    size = PEAK_SIZES[kind]
    products = max(1, PEAK_PRODUCTS // lanes)
    product = tf.function(
        lambda matrix: tf.add_n([_last_of_products(matrix, products) for _ in range(lanes)]),
        autograph=False,
        jit_compile=kind == "TPU",
    )
    device, *_ = tf.config.list_logical_devices(kind)
    with tf.device(device.name):
        entry = tf.constant(1 / size, _dtype(kind, precision))
        matrix = tf.fill((size, size), entry)
        product(matrix).numpy()  # compiles
        seconds = [_seconds(product, matrix) for _ in range(PEAK_TRIALS)]
    devices = hosts(strategy) if kind == "CPU" else strategy.num_replicas_in_sync
    operations = lanes * products * 2.0 * size**3
    return devices * operations / min(seconds)


def _dtype(kind: str, precision: str) -> tf.DType:
    """What a kind of device computes in."""
    if precision == "mixed_bfloat16":
        return tf.bfloat16
    if precision == "mixed_float16" and kind == "GPU":
        return tf.float16
    return tf.float32


def _last_of_products(matrix: tf.Tensor, products: int) -> tf.Tensor:
    """Multiplies a matrix, which is its own square, with itself so many times.

    Each product needs the one before, whole: a compiler can leave none out.
    """
    _, last = tf.while_loop(
        lambda index, _: index < products,
        lambda index, product: (index + 1, tf.matmul(product, matrix)),
        (tf.constant(0), matrix),
    )
    return tf.cast(last[0, 0], tf.float32)


def _seconds(product: Callable[[tf.Tensor], tf.Tensor], matrix: tf.Tensor) -> float:
    start = time.perf_counter()
    product(matrix).numpy()
    return time.perf_counter() - start
