"""A backbone, made of a checkpoint."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING

from trainer.backbones.config import BackboneConfig
from trainer.backbones.huggingface.checkpoint import Checkpoint
from trainer.backbones.huggingface.checkpoint_folder import (
    CONFIG_FILE,
    Folder,
    has_weights,
    read_raw_config,
)
from trainer.backbones.huggingface.config_file import read_config
from trainer.backbones.huggingface.counterparts import counterpart
from trainer.backbones.initial_values import initial_value
from trainer.backbones.sizes import require_memory
from trainer.errors import shown_name

if TYPE_CHECKING:  # which would import TensorFlow
    from trainer.backbones.backbone import Backbone


@dataclasses.dataclass(frozen=True)
class LoadReport:
    """How a backbone was made of a checkpoint; tensors have Hugging Face's names.

    Attributes:
        new: tensors that the checkpoint did not have, freshly initialised.
        unused: those that were not taken from it.
        notes: on how they were read, where that is not plain.
    """

    new: list[str]
    unused: list[str]
    notes: list[str] = dataclasses.field(default_factory=list)


def load_backbone(
    folder: Folder,
    *,
    dtype: str = "float32",
    seed: int = 0,
    hidden_dropout: float | None = None,
    attention_dropout: float | None = None,
    pooler: bool = True,
) -> tuple[Backbone, LoadReport]:
    """Builds the encoder or decoder of a checkpoint and fills it.

    Args:
        folder: with config.json and the weights; without weights everything is freshly initialised.
        dtype: "float32" or "mixed_bfloat16"; the weights themselves are float32.
        seed: of what the checkpoint does not have.
        hidden_dropout: in place of what config.json says.
        attention_dropout: in place of what config.json says.
        pooler: False leaves BERT's pooler out, for heads that do not use it.
    Returns:
        backbone; report of what is new and what was left unused.
    Raises:
        WeightsError: see `read_config` and `has_weights`; or the tensors are damaged, missing,
            unknown or of another shape, all of them listed.
    """
    config = read_config(folder)
    if hidden_dropout is not None:
        config = dataclasses.replace(
            config, hidden_dropout=hidden_dropout, embedding_dropout=hidden_dropout
        )
    if attention_dropout is not None:
        config = dataclasses.replace(config, attention_dropout=attention_dropout)
    if not pooler:
        config = dataclasses.replace(config, pooler=False)
    checkpoint = Checkpoint({})
    unused: list[str] = []
    if has_weights(folder):
        checkpoint = Checkpoint.open(folder, config.family)
        unused = checkpoint.require_fit(config)
    require_memory(config, str(Path(folder) / CONFIG_FILE))
    backbone = _empty_backbone(config, dtype)
    new = _fill(backbone, checkpoint, seed)
    return backbone, LoadReport(new, unused, _notes(Path(folder), config, checkpoint))


def _empty_backbone(config: BackboneConfig, dtype: str) -> Backbone:
    from trainer.backbones.decoder import Decoder
    from trainer.backbones.encoder import Encoder

    network = Decoder if config.causal else Encoder
    return network(config, seed=None, dtype=dtype)


def _fill(backbone: Backbone, checkpoint: Checkpoint, seed: int) -> list[str]:
    """Sets every weight; returns the tensors that the checkpoint does not have."""
    config = backbone.config
    new: list[str] = []
    for path, weight in backbone.weights_by_path().items():
        theirs = counterpart(config.family, path)
        if checkpoint.tensors.keys() >= set(theirs.names):
            parts = [checkpoint.read(name) for name in theirs.names]
            weight.assign(theirs.fuse(parts))
        else:
            shape = tuple(weight.shape)
            weight.assign(initial_value(config, path, shape, seed))
            new += theirs.names
    return new


def _notes(folder: Path, config: BackboneConfig, checkpoint: Checkpoint) -> list[str]:
    """What was concluded rather than read."""
    notes = []
    if "model_type" not in read_raw_config(folder):
        evidence = "tensors" if checkpoint.tensors else "architectures"
        notes.append(
            f"{CONFIG_FILE} has no model_type: by its {evidence} it is {config.architecture}"
        )
    if checkpoint.removed:
        notes.append(
            f"read without {shown_name(checkpoint.removed)}, which stands before its tensors' names"
        )
    return notes


def require_weights_that_fit(folder: Folder) -> None:
    """Compares config.json with the weights' headers, or with this machine's memory.

    Nothing is allocated.

    Raises:
        WeightsError: see `read_config` and `has_weights`; or the tensors are damaged, missing,
            unknown or of another shape; or there are none, and what config.json describes is too
            large to make.
    """
    config = read_config(folder)
    if has_weights(folder):
        Checkpoint.open(folder, config.family).require_fit(config)
    require_memory(config, str(Path(folder) / CONFIG_FILE))


def tensor_names(folder: Folder) -> set[str]:
    """The names of a checkpoint's tensors, without the prefix of its backbone.

    None of the tensors is read.

    Raises:
        WeightsError: see `read_config` and `has_weights`, or the file is damaged.
    """
    return set(Checkpoint.open(folder, read_config(folder).family).tensors)
