"""config.json, read as what a backbone is made of."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from trainer.backbones.config import BackboneConfig
from trainer.backbones.families import families
from trainer.backbones.family import Family
from trainer.backbones.huggingface.checkpoint_folder import CONFIG_FILE, Folder, read_content
from trainer.errors import WeightsError, shown_name, shown_value

Content = Mapping[str, object]  # of config.json
Fields = dict[str, Any]  # of BackboneConfig: their keys have checked the values

INTERMEDIATE_TO_HIDDEN = 4  # where config.json leaves the intermediate size open


def read_config(folder: Folder) -> BackboneConfig:
    """Reads a checkpoint's config.json.

    Args:
        folder: with the checkpoint.
    Returns:
        The backbone's sizes and rates; the classifiers' dropouts fall back on the hidden one, as in
        Hugging Face.
    Raises:
        WeightsError: there is no such file, it is not JSON, or it asks for something that is not
            implemented.
    """
    return parse_config(read_content(Path(folder)), where=str(Path(folder) / CONFIG_FILE))


def read_eos_id(folder: Folder) -> int | None:
    """The token that config.json says ends a text.

    Returns:
        The first where there are several; None where it names none of the vocabulary.
    Raises:
        WeightsError: see `read_config`.
    """
    eos = read_content(Path(folder)).get("eos_token_id")
    vocabulary_size = read_config(folder).vocabulary_size
    if isinstance(eos, list) and eos:
        eos = eos[0]
    if isinstance(eos, bool) or not isinstance(eos, int):
        return None
    return eos if 0 <= eos < vocabulary_size else None


def parse_config(content: Content, *, where: str) -> BackboneConfig:
    """The sizes and rates that the content of a config.json describes.

    Args:
        content: with its model_type.
        where: it is from, for messages.
    Raises:
        WeightsError: see `read_config`.
    """
    family = _named_family(content, where)
    keys = family.config_keys
    fields: Fields = {**family.fixed}
    fields.update({field: key.value(content) for field, key in keys.items()})
    problems = _unsupported(family, content) + _invalid(family, fields)
    if problems:
        raise WeightsError(f"{where}: " + "; ".join(problems))
    _fill_in(fields)
    if family.positions_behind_padding:
        _begin_behind_padding(fields, where)
    _require_pad_token(fields, where)
    try:
        return BackboneConfig(architecture=family.model_type, **fields)
    except WeightsError as error:
        raise WeightsError(f"{where}: {error}") from None


def _named_family(content: Content, where: str) -> Family:
    model_type = content.get("model_type")
    if isinstance(model_type, str) and model_type in families():
        return families()[model_type]
    raise WeightsError(
        f"{where}: model_type is {shown_value(model_type)}, which is not implemented: expected one"
        f" of {', '.join(families())}. Choose another checkpoint in backbone.weights"
    )


def _unsupported(family: Family, content: Content) -> list[str]:
    return [
        f"{key} is {_as_json(content[key])}: only {json.dumps(required)} is implemented; choose"
        " another checkpoint in backbone.weights"
        for key, required in family.required.items()
        if content.get(key) not in (None, required)
    ]


def _invalid(family: Family, fields: Fields) -> list[str]:
    return [
        f"{key.name} is {shown_value(fields[field])}: expected a value like {key.example!r}"
        for field, key in family.config_keys.items()
        if not key.is_valid(fields[field])
    ]


def _fill_in(fields: Fields) -> None:
    """Sets what config.json leaves open."""
    hidden_size = fields["hidden_size"]
    fields.setdefault("embedding_size", hidden_size)
    if fields["intermediate_size"] is None:
        fields["intermediate_size"] = INTERMEDIATE_TO_HIDDEN * hidden_size
    for field in ("classifier_dropout", "token_classifier_dropout"):
        if fields[field] is None:
            fields[field] = fields["hidden_dropout"]


def _begin_behind_padding(fields: Fields, where: str) -> None:
    """Leaves out the rows of the position embeddings that no token takes."""
    pad_token_id = fields["pad_token_id"]
    fields["first_position"] = 1 + (pad_token_id or 0)
    fields["max_positions"] -= fields["first_position"]
    if fields["max_positions"] < 1:
        raise WeightsError(
            f"{where}: max_position_embeddings leaves no position behind pad_token_id"
            f" {pad_token_id}: correct them"
        )


def _require_pad_token(fields: Fields, where: str) -> None:
    pad_token_id = fields["pad_token_id"]
    vocabulary_size = fields["vocabulary_size"]
    if pad_token_id is not None and pad_token_id >= vocabulary_size:
        raise WeightsError(
            f"{where}: pad_token_id is {pad_token_id}: expected one of the"
            f" {vocabulary_size:,} tokens of vocab_size"
        )


def _as_json(value: object) -> str:
    if isinstance(value, str | bool | int | float):
        return shown_name(json.dumps(value))
    return shown_value(value)
