"""The families of checkpoints: one file each, found by its name, with a `FAMILY`.

What all of them are described by is in trainer/backbones/family.py. The networks themselves are in
encoder.py and decoder.py.
"""

import functools
import pkgutil

from trainer.backbones.family import Family
from trainer.settings.sections import plugin_module


@functools.cache
def families() -> dict[str, Family]:
    """Every family by its model_type."""
    found: dict[str, Family] = {}
    for file in pkgutil.iter_modules(__path__):
        family = plugin_module(__name__, file.name).FAMILY
        found[family.model_type] = family
    return found


@functools.cache
def task_parts() -> tuple[str, ...]:
    """How the tensors begin that the task models of any family add to a backbone."""
    parts: set[str] = set()
    for family in families().values():
        parts.update(family.task_parts)
    return tuple(sorted(parts))
