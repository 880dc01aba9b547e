"""What a folder is that is no checkpoint in Hugging Face's format, and what to give instead."""

from __future__ import annotations

import json
from pathlib import Path

from trainer.errors import UserError, shown_name, shown_value
from trainer.files.json_file import read_object

ADAPTER_FILE = "adapter_config.json"
_MODULES_FILE = "modules.json"  # of sentence-transformers
SHOWN_FOLDERS = 3


def advice(folder: Path, found: list[str]) -> str | None:
    """What is said of a folder of a known kind, behind its name; None where it is of none.

    Args:
        found: the names in it.
    """
    if ADAPTER_FILE in found:
        return _of_an_adapter(folder)
    inside = _module_folder(folder, found)
    if inside is not None:
        return (
            f"it is a folder of sentence-transformers, whose model is in {inside.name}: set"
            f" backbone.weights to {inside}"
        )
    below = [name for name in found if (folder / name / "config.json").is_file()]
    if below:
        return (
            "a folder in it is one: set backbone.weights to"
            f" {', or '.join(str(folder / name) for name in below[:SHOWN_FOLDERS])}"
        )
    return None


def _of_an_adapter(folder: Path) -> str:
    try:
        settings = read_object(folder / ADAPTER_FILE)
    except UserError:
        settings = {}
    base = settings.get("base_model_name_or_path")
    kind = settings.get("peft_type")
    kind = f" ({shown_name(kind, 20)})" if isinstance(kind, str) else ""
    base = f" of {shown_value(base)}" if isinstance(base, str) else ""
    return (
        f"it has an adapter of PEFT{kind}, a change{base}, and not the model itself. Merge the two"
        " where PEFT is installed,"
        " AutoPeftModel.from_pretrained(FOLDER).merge_and_unload().save_pretrained(NEW), and set"
        " backbone.weights to NEW"
    )


def _module_folder(folder: Path, found: list[str]) -> Path | None:
    """The subfolder that sentence-transformers has its model in, where it is one."""
    if _MODULES_FILE not in found:
        return None
    try:
        modules = json.loads((folder / _MODULES_FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return None
    for module in modules if isinstance(modules, list) else []:
        path = module.get("path") if isinstance(module, dict) else None
        if (
            isinstance(path, str)
            and 0 < len(path) < 256
            and path == Path(path).name
            and (folder / path / "config.json").is_file()
        ):
            return folder / path
    return None
