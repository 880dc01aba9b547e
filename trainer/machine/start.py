"""Gets a process ready for TensorFlow, and imports it."""

from __future__ import annotations

import logging
import os
import sys
import tempfile

from trainer.lazy import hidden
from trainer.machine.allocator import keep_memory
from trainer.machine.kernels import prefer_onednn

# Packages that TensorFlow and Keras look for as they are imported, for what no run does, such as a
# Keras model in a scikit-learn pipeline. To import them takes half as long as TensorFlow itself.
NOT_NEEDED = ("jax", "matplotlib", "pandas", "sklearn")


def start_tensorflow() -> None:
    """Sets what counts only before the import, and imports TensorFlow, which takes seconds."""
    # its errors reach us as exceptions; its notes frighten people
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ["KERAS_BACKEND"] = "tensorflow"
    prefer_onednn()
    keep_memory()
    _import_quietly()
    logger = logging.getLogger("tensorflow")
    if logger.level == logging.INFO:  # as TensorFlow sets it in notebooks, and in no script
        logger.setLevel(logging.WARNING)


def _import_quietly() -> None:
    """Imports it without the notes that it writes on stderr before its log level counts; shown if
    it fails.
    """
    sys.stderr.flush()
    kept = os.dup(2)
    with tempfile.TemporaryFile() as notes:
        os.dup2(notes.fileno(), 2)
        try:
            with hidden(NOT_NEEDED):
                import tensorflow  # noqa: F401
                import tensorflow_text  # noqa: F401
        except BaseException:
            notes.seek(0)
            os.write(kept, notes.read())
            raise
        finally:
            os.dup2(kept, 2)
            os.close(kept)
