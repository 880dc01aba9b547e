"""How much memory a step takes, before it is made:
estimated from the backbone and the plan's rows.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from trainer.backbones.config import BackboneConfig
from trainer.data.batching import Layout
from trainer.run.optimization import OPTIMIZERS
from trainer.settings.schema import TrainSettings

FLOAT32_BYTES = 4


def estimate(
    config: BackboneConfig, layouts: Sequence[Layout], settings: TrainSettings
) -> dict[str, int]:
    """Of one replica, in MB: weights, gradients, optimizer slots, and what the largest step keeps.

    Per layer and token, for the backward pass: the inputs of the matrix products and of the
    nonlinear functions (about 8 H + 2 I numbers, for the norms, projections and the activation),
    and the attention probabilities, 2 N numbers a pair of tokens.
    """
    weights = _weight_bytes(config)
    width = config.hidden_size
    inner = config.intermediate_size
    heads = config.heads
    slots = OPTIMIZERS[settings.optimizer].slots((weights // (FLOAT32_BYTES * width), width))
    kept = FLOAT32_BYTES * sum(math.prod(shape) for shape in slots.values())
    kept += weights if settings.ema_decay else 0
    number = FLOAT32_BYTES if settings.precision == "float32" else 2
    activations = (
        number
        * config.layers
        * max(
            layout.rows
            * layout.row_length
            * (8 * width + 2 * inner + 2 * heads * layout.row_length)
            for layout in layouts
        )
    )
    parts = {
        "weights": weights,
        "gradients": weights,
        "optimizer": kept,
        "activations": activations,
    }
    megabytes = {f"{name}_mb": round(value / 1e6) for name, value in parts.items()}
    return {**megabytes, "total_mb": round(sum(parts.values()) / 1e6)}


def evaluation_mb(config: BackboneConfig, layout: Layout) -> int:
    """The least that one batch of an evaluation takes, in MB: a layer's four projections and
    attention scores.
    """
    tokens = layout.index.shape[0] * layout.rows * layout.row_length  # of all replicas
    numbers = tokens * (4 * config.hidden_size + config.heads * layout.row_length)
    return round(FLOAT32_BYTES * numbers / 1e6)


def _weight_bytes(config: BackboneConfig) -> int:
    width = config.hidden_size
    inner = config.intermediate_size
    per_layer = 4 * width * width + 2 * width * inner + 9 * width + inner
    rows = config.vocabulary_size + config.max_positions + config.segment_types
    embeddings = rows * config.embedding_size
    return FLOAT32_BYTES * (embeddings + config.own_layers * per_layer + width * width)
