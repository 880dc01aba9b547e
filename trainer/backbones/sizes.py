"""The shapes that a config asks for, without building anything, and how a checkpoint's tensors
differ from them.
"""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Iterator, Mapping
from typing import TYPE_CHECKING

from trainer.backbones.families import families
from trainer.backbones.tensor_files import few
from trainer.errors import WeightsError
from trainer.machine.hardware import memory_bytes

if TYPE_CHECKING:  # which would import TensorFlow
    from trainer.backbones.config import BackboneConfig

Shape = tuple[int, ...]
FLOAT_BYTES = 4
MOST_LAYERS = 1000  # more is a mistake in config.json


def weight_shapes(config: BackboneConfig) -> Iterator[tuple[str, Shape]]:
    """The path and the shape of each weight of a backbone,
    as `Backbone.weights_by_path` has them.
    """
    hidden = config.hidden_size
    yield from _embedding_shapes(config)
    for layer in range(config.own_layers):
        place = f"layer_{layer}"
        yield from _dense(f"{place}/attention/query_key_value", hidden, 3 * hidden)
        yield from _dense(f"{place}/attention/output", hidden, hidden)
        yield from _norm(f"{place}/attention/norm", hidden)
        yield from _dense(f"{place}/feed_forward/intermediate", hidden, config.intermediate_size)
        yield from _dense(f"{place}/feed_forward/output", config.intermediate_size, hidden)
        yield from _norm(f"{place}/feed_forward/norm", hidden)
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
    """Raises WeightsError where the weights alone, in float32, are more than this machine's memory,
    or the layers too many to build.
    """
    if config.layers > MOST_LAYERS:
        raise WeightsError(
            f"{where}: it describes {config.layers:,} layers: expected at most {MOST_LAYERS:,}."
            " Correct it"
        )
    need = FLOAT_BYTES * sum(math.prod(shape) for _, shape in weight_shapes(config))
    machine = memory_bytes()
    if machine is not None and need > machine:
        raise WeightsError(
            f"{where}: a backbone of {config.layers:,} layers, {config.hidden_size:,} wide, with"
            f" {config.vocabulary_size:,} tokens takes {need / 2**30:,.1f} GiB in float32, and this"
            f" machine has {machine / 2**30:,.1f}: correct its sizes, or take a larger machine"
        )


def sizes_found(shapes: Mapping[str, Shape], architecture: str) -> dict[str, int]:
    """The sizes that a checkpoint's tensors have, by the keys of its family's config.json.

    Args:
        shapes: by bare names of tensors.
    """
    family = families()[architecture]
    keys = {field: key.name for field, key in family.config_keys.items()}
    found: dict[str, int] = {}

    def note(field: str, tensor: str, axis: int) -> None:
        shape = shapes.get(tensor, ())
        if field in keys and len(shape) > axis:
            found[keys[field]] = shape[axis]

    modules = family.modules
    note("vocabulary_size", f"{modules['embeddings/word']}.weight", 0)
    note("embedding_size", f"{modules['embeddings/word']}.weight", 1)
    note("max_positions", f"{modules['embeddings/position']}.weight", 0)
    note("segment_types", f"{modules.get('embeddings/segment')}.weight", 0)
    output, intermediate = (
        str(modules[f"layer_#/{part}"])
        for part in ("attention/output", "feed_forward/intermediate")
    )
    note("hidden_size", f"{output.replace('#', '0')}.bias", 0)
    note("intermediate_size", f"{intermediate.replace('#', '0')}.bias", 0)
    before, behind = map(re.escape, output.split("#"))
    layers = {
        match[1]
        for name in shapes
        if (match := re.fullmatch(rf"{before}(\d+){behind}\.bias", name))
    }
    counted = "layer_groups" if "layer_groups" in keys else "layers"
    if layers:
        found[keys[counted]] = len(layers)
    return found


def misfit(
    config: BackboneConfig,
    said: Mapping[str, int | None],
    found: Mapping[str, int],
    groups: Mapping[str, Collection[str]],
) -> str:
    """The message on tensors that do not fit.

    Args:
        config: what config.json describes.
        said: its sizes, by its keys.
        found: those of the tensors.
        groups: names of tensors by what is wrong with them.
    """
    lines = [
        f"the tensors do not fit config.json ({config.architecture}, {config.layers:,} layers,"
        f" hidden size {config.hidden_size:,}): use the config.json that came with the weights"
    ]
    differing = [
        key for key, size in found.items() if said.get(key) is not None and said[key] != size
    ]
    lines += [
        f"  {key} is {said[key]:,} in config.json, the tensors have {found[key]:,}"
        for key in differing
    ]
    if differing == ["vocab_size"]:
        lines.append(
            "  If the embeddings were resized and config.json was not saved again, set vocab_size"
            f" to {found['vocab_size']} in it"
        )
    return "\n".join(
        [
            *lines,
            *(
                f"  {group} ({len(names):,}): {few(list(names))}"
                for group, names in groups.items()
                if names
            ),
        ]
    )
