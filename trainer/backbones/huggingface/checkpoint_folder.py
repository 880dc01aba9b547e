"""A folder with a checkpoint: its files, and its config.json as it stands."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from trainer.backbones.families import families
from trainer.backbones.huggingface.other_folders import ADAPTER_FILE, advice
from trainer.backbones.huggingface.recognition import family_of
from trainer.backbones.huggingface.safetensors_files import INDEX_FILE, WEIGHTS_FILE, read_headers
from trainer.errors import WeightsError, shown_name
from trainer.files.json_file import read_object

Folder = str | os.PathLike[str]

CONFIG_FILE = "config.json"
FILES_SHOWN = 20
_CONVERT_PICKLE = (
    'Where PyTorch is installed, in that folder: python -c "import torch, safetensors.torch as s; '
    "tensors = torch.load('pytorch_model.bin', weights_only=True); "
    "s.save_file({k: v.clone() for k, v in tensors.items()}, "
    "'model.safetensors', {'format': 'pt'})\""
)
_CONVERT_SHARDS = (
    "Where PyTorch is installed, transformers writes safetensors:"
    " AutoModel.from_pretrained(FOLDER).save_pretrained(NEW)."
)
_CONVERT_TENSORFLOW = (
    "Convert it with transformers below 5: from_pretrained(FOLDER, from_tf=True), then"
    " save_pretrained."
)
_CONVERT_FLAX = (
    "Convert it with transformers below 5: from_pretrained(FOLDER, from_flax=True), then"
    " save_pretrained."
)
# Formats that are not read, and how to get out of each.
OTHER_FORMATS = {
    "pytorch_model.bin": _CONVERT_PICKLE,
    "pytorch_model.bin.index.json": _CONVERT_SHARDS,
    "tf_model.h5": _CONVERT_TENSORFLOW,
    "flax_model.msgpack": _CONVERT_FLAX,
    "model.ckpt.index": _CONVERT_TENSORFLOW,
}


def has_weights(folder: Folder) -> bool:
    """Whether the folder has safetensors weights.

    Raises:
        WeightsError: it has weights in a pickled or otherwise unsupported format only.
    """
    files = list_files(Path(folder))
    if has_safetensors(files):
        return True
    others = [name for name in OTHER_FORMATS if name in files]
    if others:
        raise WeightsError(
            f"{folder} has {', '.join(others)} but no {WEIGHTS_FILE}: only safetensors are read,"
            f" as a pickled file can run code. {OTHER_FORMATS[others[0]]}"
        )
    if ADAPTER_FILE in files:
        raise WeightsError(f"{folder}: {advice(Path(folder), files)}")
    return False


def has_safetensors(files: list[str]) -> bool:
    """Whether weights that are read are among the files of a folder."""
    return WEIGHTS_FILE in files or INDEX_FILE in files


def list_files(folder: Path) -> list[str]:
    """The names in a folder, sorted.

    Raises:
        WeightsError: there is no such folder, or it cannot be read.
    """
    if not folder.is_dir():
        raise WeightsError(
            f"there is no folder {folder}: expected one with {CONFIG_FILE} and {WEIGHTS_FILE};"
            " correct backbone.weights"
        )
    try:
        return sorted(entry.name for entry in folder.iterdir())
    except OSError as error:
        raise WeightsError(
            f"{folder} cannot be read: {error.strerror or error}. Correct its permissions"
        ) from None


def read_raw_config(folder: Path) -> dict[str, object]:
    """What config.json says.

    Raises:
        WeightsError: there is no such file, or it holds no JSON object.
    """
    files = list_files(folder)
    if CONFIG_FILE in files:
        return read_object(folder / CONFIG_FILE)
    listed = ", ".join(map(shown_name, files[:FILES_SHOWN])) or "nothing"
    remedy = advice(folder, files) or f"found {listed}; correct backbone.weights"
    raise WeightsError(
        f"{folder} has no {CONFIG_FILE}, so it is not a checkpoint in Hugging Face's format:"
        f" {remedy}"
    )


def named_class(content: Mapping[str, object]) -> str:
    """The class that a config.json names first, such as BertModel; "" where it names none."""
    classes = content.get("architectures")
    if not isinstance(classes, list) or not classes:
        return ""
    return classes[0] if isinstance(classes[0], str) else ""


def read_content(folder: Path) -> dict[str, object]:
    """What config.json says, and its model_type where the tensors or the class tell it instead.

    Raises:
        WeightsError: see `read_raw_config`; or nothing tells the model_type.
    """
    content = read_raw_config(folder)
    if content.get("model_type") is not None:
        return content
    files = list_files(folder)
    remedy = None if has_safetensors(files) else advice(folder, files)
    if remedy is not None:
        raise WeightsError(f"{folder / CONFIG_FILE} has no model_type: {remedy}")
    tensors = read_headers(folder) if has_weights(folder) else {}
    model_type = family_of(tensors, named_class(content))
    if model_type is None:
        raise WeightsError(
            f"{folder / CONFIG_FILE} has no model_type, and the tensors' names do not tell it. Set"
            f" it in {CONFIG_FILE}, to one of {', '.join(families())}, or choose another checkpoint"
            " in backbone.weights"
        )
    return {**content, "model_type": model_type}
