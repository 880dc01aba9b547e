"""pkg://module/folder: folders of installed packages, found without running the package's code."""

from __future__ import annotations

import difflib
import importlib.machinery
import importlib.util
import os
import pathlib
import pkgutil

from trainer.errors import ConfigError


def package_path(path: str, *, key: str) -> pathlib.Path:
    """Where a path of pkg:// points to, whether or not something is there.

    Args:
        path: pkg://module/folder, as written in the config.
        key: the setting it comes from, for messages.
    Raises:
        ConfigError: there is no such package, or it is a single file.
    """
    module, _, inside = path.partition("://")[2].partition("/")
    spec = _find_package(module)
    if spec is None:
        raise _not_installed(path, module, inside, key)
    folders = [pathlib.Path(folder) for folder in spec.submodule_search_locations or []]
    if not folders:
        raise ConfigError(
            f"{key}: {module!r} in {path!r} is a single-file module: it holds no folders. Name a"
            " package."
        )
    # a namespace package has several folders
    matching = [folder for folder in folders if os.path.exists(folder / inside)]
    return (matching or folders)[0] / inside


def _not_installed(path: str, module: str, inside: str, key: str) -> ConfigError:
    installed = [info.name for info in pkgutil.iter_modules()]
    near = difflib.get_close_matches(module, installed, n=1)
    hint = f"Did you mean pkg://{near[0]}/{inside}? " if near else ""
    distribution = module.split(".")[0].replace("_", "-") or "NAME"
    return ConfigError(
        f"{key}: no package {module!r} is installed, asked for by {path!r}. {hint}To install"
        f" it: pip install {distribution}"
    )


def _find_package(module: str) -> importlib.machinery.ModuleSpec | None:
    # A step at a time: find_spec("a.b") would execute a/__init__.py.
    top, *below = module.split(".")
    try:
        spec = importlib.util.find_spec(top) if top else None
    except ValueError:  # a module made by hand, like __main__
        return None
    for part in below:
        if spec is not None:
            folders = spec.submodule_search_locations or []
            spec = importlib.machinery.PathFinder.find_spec(part, folders)
    return spec
