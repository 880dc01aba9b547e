"""What a model's arithmetic costs, and what the device could do: model-FLOP utilisation."""

from __future__ import annotations

import time

import numpy as np
import tensorflow as tf

from trainer.backbones.encoder import EncoderConfig
from trainer.distribution import hosts

PEAK_SIZES = {"CPU": 2048, "GPU": 8192}  # rows of the square matrices: enough to reach the peak, in a second at most
PEAK_TRIALS = 5


def forward_flops(config: EncoderConfig, lengths: np.ndarray) -> float:
    """Floating-point operations of the encoder's matrix products over examples of `lengths` real tokens; padding is no work.

    Source: Chowdhery et al. 2022, appendix B: 2 a multiply-add, norms and activations left out.
    """
    tokens, squares = float(lengths.sum()), float(np.square(lengths, dtype=np.float64).sum())
    width, inner = config.hidden_size, config.intermediate_size
    project = 2 * tokens * config.embedding_size * width if config.embedding_size != width else 0.0
    return config.layers * (2 * tokens * (4 * width * width + 2 * width * inner) + 4 * squares * width) + project


def training_flops(config: EncoderConfig, lengths: np.ndarray) -> float:
    """Of a training step: the forward pass, and twice as much backward."""
    return 3 * forward_flops(config, lengths)


def peak_flops(strategy: tf.distribute.Strategy, precision: str) -> float | None:
    """Operations per second that this kind of device reached on a large matrix product just now, over all replicas.

    Returns:
        None on a TPU, where a single product says little: use the published figure.
    """
    if tf.config.list_logical_devices("TPU"):
        return None
    kind = "GPU" if tf.config.list_logical_devices("GPU") else "CPU"
    dtype = {"mixed_bfloat16": tf.bfloat16, "mixed_float16": tf.float16 if kind == "GPU" else tf.float32}.get(precision, tf.float32)
    size = PEAK_SIZES[kind]
    with tf.device(f"{kind}:0"):
        matrix = tf.ones((size, size), dtype)
        product = tf.function(lambda x: tf.reduce_sum(tf.matmul(x, x)[:1]))
        product(matrix).numpy()
        seconds = []
        for _ in range(PEAK_TRIALS):
            start = time.perf_counter()
            product(matrix).numpy()
            seconds.append(time.perf_counter() - start)
    devices = strategy.num_replicas_in_sync if kind == "GPU" else hosts(strategy)  # virtual CPUs share the cores
    return devices * 2.0 * size**3 / min(seconds)
