"""What a model's arithmetic costs, and what the device could do: model-FLOP utilisation."""

from __future__ import annotations

import time

import numpy as np
import tensorflow as tf

from trainer.backbones.config import BackboneConfig
from trainer.run.distribution import hosts

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
) -> float:
    """Floating-point operations of the backbone's matrix products in a training step over examples
    of `lengths` real tokens.

    Forward, every product once; backward, once more for each factor that has a gradient. Padding is
    no work, and neither is what frozen layers need no gradient for.

    Source: Chowdhery et al. 2022, appendix B: 2 a multiply-add, norms and activations left out.
    """
    tokens = float(lengths.sum())
    squares = float(np.square(lengths, dtype=np.float64).sum())
    width = config.hidden_size
    inner = config.intermediate_size
    # of a layer
    weights = 2 * tokens * (4 * width * width + 2 * width * inner)
    attention = 4 * squares * width
    project = 2 * tokens * config.embedding_size * width if config.embedding_size != width else 0.0
    forward = project + config.layers * (weights + attention)
    trained = (config.layers - frozen_layers) * 2 * (weights + attention)
    if frozen_embeddings:
        # the lowest query, key and value: no gradient of their input
        below = -6 * tokens * width * width if frozen_layers < config.layers else 0.0
    else:
        below = 2 * project + frozen_layers * (weights + 2 * attention)
    return forward + trained + below


def peak_flops(strategy: tf.distribute.Strategy, precision: str) -> float:
    """Operations per second that this kind of device reached on large matrix products just now,
    over all replicas.
    """
    kind = next(kind for kind in PEAK_SIZES if tf.config.list_logical_devices(kind))
    dtype = {
        "mixed_bfloat16": tf.bfloat16,
        "mixed_float16": tf.float16 if kind == "GPU" else tf.float32,
    }.get(precision, tf.float32)
    size = PEAK_SIZES[kind]

    # each needs the one before, whole: a compiler can leave none out
    def product(matrix: tf.Tensor) -> tf.Tensor:
        last = tf.while_loop(
            lambda index, _: index < PEAK_PRODUCTS,
            lambda index, x: (index + 1, tf.matmul(x, matrix)),
            (tf.constant(0), matrix),
        )[1]
        return tf.cast(last[0, 0], tf.float32)

    product = tf.function(product, autograph=False, jit_compile=kind == "TPU")
    with tf.device(tf.config.list_logical_devices(kind)[0].name):
        matrix = tf.fill((size, size), tf.constant(1 / size, dtype))  # its own square
        product(matrix).numpy()
        seconds = []
        for _ in range(PEAK_TRIALS):
            start = time.perf_counter()
            product(matrix).numpy()
            seconds.append(time.perf_counter() - start)
    # virtual CPUs share the cores
    devices = hosts(strategy) if kind == "CPU" else strategy.num_replicas_in_sync
    return devices * PEAK_PRODUCTS * 2.0 * size**3 / min(seconds)
