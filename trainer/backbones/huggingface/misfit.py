"""How a checkpoint's tensors differ from what its config.json describes."""

from __future__ import annotations

import re
from collections.abc import Mapping

from trainer.backbones.config import BackboneConfig
from trainer.backbones.family import Family
from trainer.backbones.huggingface.counterparts import Shape, counterpart
from trainer.backbones.huggingface.safetensors_files import few

FIRST_LAYER = "layer_0"


def misfit(
    config: BackboneConfig,
    shapes: Mapping[str, Shape],
    problems: Mapping[str, list[str]],
) -> str:
    """The message on tensors that do not fit.

    Args:
        config: what config.json describes.
        shapes: of the tensors, by their bare names.
        problems: the tensors by what is wrong with them.
    """
    said = _sizes_said(config)
    found = _sizes_found(shapes, config.family)
    differing = [key for key, size in found.items() if said[key] not in (None, size)]
    lines = [
        f"the tensors do not fit config.json ({config.architecture}, {config.layers:,} layers,"
        f" hidden size {config.hidden_size:,}): use the config.json that came with the weights"
    ]
    for key in differing:
        lines.append(f"  {key} is {said[key]:,} in config.json, the tensors have {found[key]:,}")
    if differing == ["vocab_size"]:
        lines.append(
            "  If the embeddings were resized and config.json was not saved again, set vocab_size"
            f" to {found['vocab_size']} in it"
        )
    for problem, tensors in problems.items():
        if tensors:
            lines.append(f"  {problem} ({len(tensors):,}): {few(tensors)}")
    return "\n".join(lines)


def _sizes_said(config: BackboneConfig) -> dict[str, int | None]:
    """The sizes in config.json, by its keys."""
    keys = config.family.config_keys
    said = {}
    for field, key in keys.items():
        said[key.name] = getattr(config, field)
    positions = keys["max_positions"].name
    said[positions] = config.max_positions + config.first_position
    return said


def _sizes_found(shapes: Mapping[str, Shape], family: Family) -> dict[str, int]:
    """The sizes of the tensors, by the keys of config.json."""
    keys = family.config_keys
    found: dict[str, int] = {}
    for field, (path, axis) in _places_of_sizes(family).items():
        (tensor,) = counterpart(family, path).names
        shape = shapes.get(tensor, ())
        if field in keys and axis < len(shape):
            key = keys[field].name
            found[key] = shape[axis]
    layers = _count_layers(shapes, family)
    if layers:
        counted = keys.get("layer_groups", keys["layers"])
        found[counted.name] = layers
    return found


def _places_of_sizes(family: Family) -> dict[str, tuple[str, int]]:
    """Field of BackboneConfig -> the weight that shows it, and the axis there."""
    places = {
        "vocabulary_size": ("embeddings/word", 0),
        "embedding_size": ("embeddings/word", 1),
        "max_positions": ("embeddings/position", 0),
        "segment_types": ("embeddings/segment", 0),
        "hidden_size": (f"{FIRST_LAYER}/attention/output/bias", 0),
        "intermediate_size": (f"{FIRST_LAYER}/feed_forward/intermediate/bias", 0),
    }
    if "embeddings/segment" not in family.modules:
        del places["segment_types"]
    return places


def _count_layers(shapes: Mapping[str, Shape], family: Family) -> int:
    path = f"{FIRST_LAYER}/attention/output/bias"
    (bias,) = counterpart(family, path).names
    before, behind = map(re.escape, bias.split("0", maxsplit=1))
    pattern = re.compile(rf"{before}\d+{behind}")
    layers = list(filter(pattern.fullmatch, shapes))
    return len(layers)
