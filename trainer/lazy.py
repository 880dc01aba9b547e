"""TensorFlow and Keras, imported at first use.

A head or a source keeps its settings beside its graph code. The settings are needed for `--help`
and for a bad config, which answer within a second, so their files must not import TensorFlow. They
say `from trainer.lazy import keras, tf`.
"""

from __future__ import annotations

import importlib
import types
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # a type checker sees the packages themselves
    import keras
    import tensorflow as tf
else:

    class _LazyModule(types.ModuleType):
        def __getattr__(self, name: str) -> object:
            # inspection must not trigger the import
            if name.startswith("__") and name != "__version__":
                raise AttributeError(name)
            return getattr(importlib.import_module(self.__name__), name)

    tf = _LazyModule("tensorflow")
    keras = _LazyModule("keras")

__all__ = ["keras", "tf"]
