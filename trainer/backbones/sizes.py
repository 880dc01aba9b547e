"""The shapes of a backbone's weights and the memory that they take, without building anything."""

from __future__ import annotations

import math
from collections.abc import Iterator

from trainer.backbones.config import BackboneConfig
from trainer.errors import WeightsError
from trainer.machine.hardware import memory_bytes

Shape = tuple[int, ...]
FLOAT_BYTES = 4
GIB = 2**30
MOST_LAYERS = 1000  # more is a mistake in config.json


def weight_shapes(config: BackboneConfig) -> Iterator[tuple[str, Shape]]:
    """The path and the shape of each weight, as `Backbone.weights_by_path` has them."""
    hidden = config.hidden_size
    yield from _embedding_shapes(config)
    inner = config.intermediate_size
    for layer in range(config.own_layers):
        attention = f"layer_{layer}/attention"
        yield from _dense(f"{attention}/query_key_value", hidden, 3 * hidden)
        yield from _dense(f"{attention}/output", hidden, hidden)
        yield from _norm(f"{attention}/norm", hidden)
        feed_forward = f"layer_{layer}/feed_forward"
        yield from _dense(f"{feed_forward}/intermediate", hidden, inner)
        yield from _dense(f"{feed_forward}/output", inner, hidden)
        yield from _norm(f"{feed_forward}/norm", hidden)
    if config.causal:
        yield from _norm("norm", hidden)
    if config.pooler:
        yield from _dense("pooler", hidden, hidden)


def _embedding_shapes(config: BackboneConfig) -> Iterator[tuple[str, Shape]]:
    width = config.embedding_size
    yield "embeddings/word", (config.vocabulary_size, width)
    yield "embeddings/position", (config.max_positions + config.first_position, width)
    if config.causal:
        return
    if config.segment_types:
        yield "embeddings/segment", (config.segment_types, width)
    yield from _norm("embeddings/norm", width)
    if config.projects_embeddings:
        yield from _dense("embeddings/project", width, config.hidden_size)


def _dense(path: str, inputs: int, outputs: int) -> Iterator[tuple[str, Shape]]:
    yield f"{path}/kernel", (inputs, outputs)
    yield f"{path}/bias", (outputs,)


def _norm(path: str, size: int) -> Iterator[tuple[str, Shape]]:
    yield f"{path}/scale", (size,)
    yield f"{path}/bias", (size,)


def require_memory(config: BackboneConfig, where: str) -> None:
    """Refuses a backbone that this machine cannot hold.

    Args:
        config: of the backbone.
        where: it is from, for messages.
    Raises:
        WeightsError: the weights alone, in float32, are more than the memory, or the layers are too
            many to build.
    """
    if config.layers > MOST_LAYERS:
        raise WeightsError(
            f"{where}: it describes {config.layers:,} layers: expected at most {MOST_LAYERS:,}."
            " Correct it"
        )
    values = sum(math.prod(shape) for _, shape in weight_shapes(config))
    need = FLOAT_BYTES * values
    machine = memory_bytes()
    if machine is not None and need > machine:
        raise WeightsError(
            f"{where}: a backbone of {config.layers:,} layers, {config.hidden_size:,} wide, with"
            f" {config.vocabulary_size:,} tokens takes {need / GIB:,.1f} GiB in float32, and this"
            f" machine has {machine / GIB:,.1f}: correct its sizes, or take a larger machine"
        )
