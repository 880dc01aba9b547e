"""TensorFlow and Keras, imported at first use.

A head or a source keeps its settings beside its graph code. The settings are needed for `--help`
and for a bad config, which answer within a second, so their files must not import TensorFlow. They
say `from trainer.lazy import keras, tf`. What TensorFlow itself imports and nobody here needs is
`hidden` meanwhile.
"""

from __future__ import annotations

import contextlib
import importlib
import sys
import types
import warnings
from collections.abc import Iterator, Sequence
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

__all__ = ["hidden", "keras", "tf"]


@contextlib.contextmanager
def hidden(packages: Sequence[str]) -> Iterator[None]:
    """Within it, packages that were not imported before cannot be: to those who ask, they are not
    installed.
    """
    absent = [name for name in packages if name not in sys.modules]
    for name in absent:
        # of such a module Python says that it cannot be found
        sys.modules[name] = None  # type: ignore[assignment]
    try:
        yield
    finally:
        for name in absent:
            del sys.modules[name]


@contextlib.contextmanager
def quiet_imports() -> Iterator[None]:
    """Within it, imports do not say what progress bars want in a notebook, of which it has none."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "IProgress not found")
        yield
