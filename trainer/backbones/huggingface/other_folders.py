"""Folders of known kinds that are no checkpoints, and what to give instead."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TypeGuard

from trainer.errors import UserError, shown_name, shown_value
from trainer.files.json_file import read_object

ADAPTER_FILE = "adapter_config.json"
FOLDERS_SHOWN = 3
LONGEST_NAME = 255  # of a file, in characters
_MODULES_FILE = "modules.json"  # of sentence-transformers


def advice(folder: Path, files: list[str]) -> str | None:
    """What is said of a folder of a known kind, behind its name.

    Args:
        folder: that is no checkpoint.
        files: the names in it.
    Returns:
        None where it is of no known kind.
    """
    if ADAPTER_FILE in files:
        return _of_an_adapter(folder)
    module = _module_folder(folder) if _MODULES_FILE in files else None
    if module is not None:
        return (
            f"it is a folder of sentence-transformers, whose model is in {module.name}: set"
            f" backbone.weights to {module}"
        )
    checkpoints = [str(folder / name) for name in files if _has_config(folder / name)]
    if checkpoints:
        return (
            "a folder in it is one: set backbone.weights to"
            f" {', or '.join(checkpoints[:FOLDERS_SHOWN])}"
        )
    return None


def _has_config(folder: Path) -> bool:
    return (folder / "config.json").is_file()


def _of_an_adapter(folder: Path) -> str:
    try:
        settings = read_object(folder / ADAPTER_FILE)
    except UserError:
        settings = {}
    base = settings.get("base_model_name_or_path")
    kind = settings.get("peft_type")
    of_kind = f" ({shown_name(kind, 20)})" if isinstance(kind, str) else ""
    of_base = f" of {shown_value(base)}" if isinstance(base, str) else ""
    return (
        f"it has an adapter of PEFT{of_kind}, a change{of_base}, and not the model itself. Merge"
        " the two where PEFT is installed,"
        " AutoPeftModel.from_pretrained(FOLDER).merge_and_unload().save_pretrained(NEW), and set"
        " backbone.weights to NEW"
    )


def _module_folder(folder: Path) -> Path | None:
    """The subfolder that sentence-transformers has its model in; None where there is none."""
    try:
        modules = json.loads((folder / _MODULES_FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return None
    for module in modules if isinstance(modules, list) else []:
        name = module.get("path") if isinstance(module, dict) else None
        if _is_file_name(name) and _has_config(folder / name):
            return folder / name
    return None


def _is_file_name(name: object) -> TypeGuard[str]:
    if not isinstance(name, str) or not 0 < len(name) <= LONGEST_NAME:
        return False
    return name == Path(name).name
