"""Our backbones and heads, written as checkpoints in Hugging Face's format."""

from __future__ import annotations

import dataclasses
import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from trainer.backbones.config import BackboneConfig
from trainer.backbones.families import task_parts
from trainer.backbones.huggingface.checkpoint import POOLER
from trainer.backbones.huggingface.checkpoint_folder import (
    CONFIG_FILE,
    Folder,
    named_class,
    read_content,
)
from trainer.backbones.huggingface.config_file import parse_config
from trainer.backbones.huggingface.counterparts import counterpart
from trainer.backbones.huggingface.safetensors_files import WEIGHTS_FILE
from trainer.files.json_file import read_object
from trainer.files.ownership import CARD
from trainer.files.replacing import replaced_folder

if TYPE_CHECKING:  # which would import TensorFlow
    from trainer.backbones.backbone import Backbone

TOKENIZER_CONFIG_FILE = "tokenizer_config.json"
TOKENIZER_FILES = (
    "vocab.txt",
    "tokenizer.json",
    TOKENIZER_CONFIG_FILE,
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
    "merges.txt",
    "spiece.model",
    "sentencepiece.bpe.model",
)
# How the names of the classes end that are built without a pooler.
_NO_POOLER = ("ForTokenClassification", "ForQuestionAnswering", "ForMaskedLM", "LMHeadModel")


def backbone_tensors(backbone: Backbone) -> dict[str, np.ndarray]:
    """The weights of a backbone as float32 arrays under Hugging Face's names.

    The family's prefix is left out.
    """
    family = backbone.config.family
    tensors: dict[str, np.ndarray] = {}
    for path, weight in backbone.weights_by_path().items():
        tensors |= counterpart(family, path).split(np.asarray(weight.value))
    return tensors


def save_huggingface(
    folder: Folder,
    backbone: Backbone,
    source: Folder | Mapping[str, object],
    *,
    head_tensors: Mapping[str, np.ndarray] | None = None,
    config_updates: Mapping[str, object] | None = None,
    tokenizer_folder: Folder | None = None,
    tokenizer_updates: Mapping[str, object] | None = None,
    card: str | None = None,
) -> None:
    """Writes a folder that `AutoModelFor….from_pretrained` loads; on failure nothing of it is left.

    Args:
        folder: to make; one that exists is replaced once the new one is complete.
        backbone: with the weights.
        source: the folder it came from, or the content of its config.json, which is kept.
        head_tensors: the task head under Hugging Face's names, such as classifier.weight (C, H).
        config_updates: keys of config.json to set, or None to leave out. `architectures` decides
            what is written: with ["BertModel"] the tensors are bare, otherwise prefixed; with a
            class that has no pooler there is none. `id2label` replaces `num_labels`.
        tokenizer_folder: its tokenizer files are copied.
        tokenizer_updates: keys of tokenizer_config.json to set.
        card: what README.md says; the source's own is of another model.
    Raises:
        WeightsError: the source's config.json is missing or wrong.
        ValueError: the source describes another backbone, or the head is not one.
    """
    content = _source_content(source, backbone.config)
    content = _updated(content, config_updates or {})
    tensors = _named_backbone(backbone, content) | _checked_head(head_tensors or {})
    with replaced_folder(folder) as partial:
        _write_json(partial / CONFIG_FILE, {**content, "dtype": "float32"})
        _write_tensors(partial, tensors)
        if tokenizer_folder is not None:
            _copy_tokenizer(Path(tokenizer_folder), partial)
        if tokenizer_updates:
            _update_tokenizer(partial / TOKENIZER_CONFIG_FILE, tokenizer_updates)
        if card is not None:
            (partial / CARD).write_text(card, encoding="utf-8")


def _source_content(
    source: Folder | Mapping[str, object], config: BackboneConfig
) -> dict[str, object]:
    """The content of the source's config.json.

    Raises:
        ValueError: it describes another backbone.
    """
    if isinstance(source, Mapping):
        content = {"model_type": config.architecture, **source}
    else:
        content = read_content(Path(source))
    described = parse_config(content, where="source config.json")
    differing = [
        field.name
        for field in dataclasses.fields(config)
        if _is_of_the_weights(field.name)
        and getattr(described, field.name) != getattr(config, field.name)
    ]
    if differing:
        raise ValueError(
            "expected a source config.json that describes the backbone. Received one that differs"
            f" in {', '.join(differing)}"
        )
    return content


def _is_of_the_weights(field: str) -> bool:
    """Whether a field of BackboneConfig changes the weights; a run may set the others."""
    return "dropout" not in field and field != "pooler"


def _updated(content: dict[str, object], updates: Mapping[str, object]) -> dict[str, object]:
    """A config.json with some keys set, and those left out that are set to None."""
    left_out = {key for key, value in updates.items() if value is None}
    left_out.add("torch_dtype")  # older name of dtype
    left_out.add("_name_or_path")  # a place of the machine that wrote the source
    if "id2label" in updates:
        left_out.add("num_labels")
    merged = {**content, **updates}
    return {key: value for key, value in merged.items() if key not in left_out}


def _named_backbone(backbone: Backbone, content: Mapping[str, object]) -> dict[str, np.ndarray]:
    """The backbone's tensors as the class has them that config.json names."""
    class_name = named_class(content)
    prefix = backbone.config.family.prefix
    if class_name.endswith("Model") and not class_name.endswith("LMHeadModel"):
        prefix = ""  # the backbone alone
    has_pooler = not class_name.endswith(_NO_POOLER)
    return {
        prefix + name: tensor
        for name, tensor in backbone_tensors(backbone).items()
        if has_pooler or not name.startswith(POOLER)
    }


def _checked_head(tensors: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The tensors of a head as float32.

    Raises:
        ValueError: one has a name that no head's tensors have.
    """
    strangers = [name for name in tensors if not name.startswith(task_parts())]
    if strangers:
        raise ValueError(
            f"expected head tensors named {', '.join(task_parts())}…. Received"
            f" {', '.join(strangers)}"
        )
    return {name: np.asarray(tensor, np.float32) for name, tensor in tensors.items()}


def _write_json(path: Path, content: Mapping[str, object]) -> None:
    text = json.dumps(content, indent=2, ensure_ascii=False)
    path.write_text(text + "\n", encoding="utf-8")


def _write_tensors(folder: Path, tensors: Mapping[str, np.ndarray]) -> None:
    from safetensors import SafetensorError
    from safetensors.numpy import save_file

    # safetensors writes the memory as it lies, whatever the strides.
    contiguous = {name: np.ascontiguousarray(tensor) for name, tensor in tensors.items()}
    try:
        save_file(contiguous, folder / WEIGHTS_FILE, metadata={"format": "pt"})
    except SafetensorError as error:  # which is no OSError
        raise OSError(str(error)) from error
    # safetensors lets its owner alone read the file.
    shutil.copymode(folder / CONFIG_FILE, folder / WEIGHTS_FILE)


def _copy_tokenizer(source: Path, target: Path) -> None:
    for name in TOKENIZER_FILES:
        if (source / name).exists():
            shutil.copyfile(source / name, target / name)


def _update_tokenizer(path: Path, updates: Mapping[str, object]) -> None:
    known = read_object(path) if path.exists() else {}
    _write_json(path, {**known, **updates})
