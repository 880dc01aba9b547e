"""The families of checkpoints: one file each, found by its name, with a `FAMILY`.

What all of them are described by is in trainer/backbones/family.py. The networks themselves are in
encoder.py and decoder.py.
"""

import functools
import pkgutil

from trainer.backbones.family import Family
from trainer.settings.schema import plugin_module


@functools.cache
def families() -> dict[str, Family]:
    """Every family by its model_type."""
    modules = [plugin_module(__name__, info.name) for info in pkgutil.iter_modules(__path__)]
    return {module.FAMILY.model_type: module.FAMILY for module in modules}


@functools.cache
def task_parts() -> tuple[str, ...]:
    """How the tensors begin that the task models of any family add to a backbone."""
    return tuple(sorted({part for family in families().values() for part in family.task_parts}))
