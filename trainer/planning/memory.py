"""How much memory a step takes, estimated from the backbone and the plan's rows."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

from trainer.backbones.config import BackboneConfig
from trainer.data.batching import Layout
from trainer.run.update_rules import OPTIMIZERS
from trainer.settings.schema import TrainSettings

FLOAT32_BYTES = 4
HALF_BYTES = 2


@dataclasses.dataclass(frozen=True)
class MemoryEstimate:
    """What one replica needs for its largest step, in MB.

    Attributes:
        optimizer_mb: of the optimizer's slots, and of the moving average if there is one.
        activations_mb: what is kept for the backward pass.
    """

    weights_mb: int
    gradients_mb: int
    optimizer_mb: int
    activations_mb: int
    total_mb: int


def estimate(
    config: BackboneConfig, layouts: Sequence[Layout], settings: TrainSettings
) -> MemoryEstimate:
    """Estimates the memory of one replica.

    Args:
        config: of the backbone.
        layouts: of the steps, of which the largest counts.
        settings: name the optimizer and the precision.
    """
    weights = _weight_bytes(config)
    optimizer = _optimizer_bytes(config, settings, weights)
    number_bytes = FLOAT32_BYTES if settings.precision == "float32" else HALF_BYTES
    activations = number_bytes * max(_kept_numbers(config, layout) for layout in layouts)
    return MemoryEstimate(
        weights_mb=_megabytes(weights),
        gradients_mb=_megabytes(weights),
        optimizer_mb=_megabytes(optimizer),
        activations_mb=_megabytes(activations),
        total_mb=_megabytes(2 * weights + optimizer + activations),
    )


def _optimizer_bytes(config: BackboneConfig, settings: TrainSettings, weights: int) -> int:
    """Of what the optimizer remembers of all weights, as if they were one matrix."""
    width = config.hidden_size
    rows = weights // (FLOAT32_BYTES * width)
    slots = OPTIMIZERS[settings.optimizer].slots((rows, width))
    numbers = sum(math.prod(shape) for shape in slots.values())
    number_bytes = FLOAT32_BYTES if settings.moments == "float32" else HALF_BYTES
    averages = weights if settings.ema_decay else 0
    return number_bytes * numbers + averages


def _kept_numbers(config: BackboneConfig, layout: Layout) -> int:
    """How many numbers a step keeps for the backward pass.

    Per layer and token: the inputs of the matrix products and of the nonlinear functions (about
    8 H + 2 I numbers, for the norms, projections and the activation), and the attention
    probabilities, 2 N numbers a pair of tokens.
    """
    tokens = layout.rows * layout.row_length
    of_products = 8 * config.hidden_size + 2 * config.intermediate_size
    of_attention = 2 * config.heads * layout.row_length
    return config.layers * tokens * (of_products + of_attention)


def evaluation_mb(config: BackboneConfig, layout: Layout) -> int:
    """The least that one batch of an evaluation takes, in MB.

    That is a layer's four projections and its attention scores.
    """
    tokens = layout.index.shape[0] * layout.rows * layout.row_length  # of all replicas
    of_projections = 4 * config.hidden_size
    of_attention = config.heads * layout.row_length
    numbers = tokens * (of_projections + of_attention)
    return _megabytes(FLOAT32_BYTES * numbers)


def _megabytes(size: int) -> int:
    return round(size / 1e6)


def _weight_bytes(config: BackboneConfig) -> int:
    width = config.hidden_size
    inner = config.intermediate_size
    attention = 4 * width * width
    feed_forward = 2 * width * inner
    biases_and_norms = 9 * width + inner
    layer = attention + feed_forward + biases_and_norms
    rows = config.vocabulary_size + config.max_positions + config.segment_types
    embeddings = rows * config.embedding_size
    pooler = width * width
    return FLOAT32_BYTES * (embeddings + config.own_layers * layer + pooler)
