"""The public face of podtune: the command and the Python API. The work is done in `trainer`.

import podtune

run = podtune.train("reviews.csv", text="text", label="label", epochs=2)
run.metrics["test"]
run.predict(["A lovely film."])
model = podtune.load("runs/reviews")
model.embed(["A lovely film."])
model.keras_model.summary()
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

from trainer import __version__
from trainer.errors import (
    ConfigError,
    DataError,
    JobDirError,
    TrainingError,
    UserError,
    WeightsError,
)

if TYPE_CHECKING:
    from podtune.model import Model, Reading
    from podtune.model import load as load
    from podtune.training import Run as Run
    from podtune.training import train as train

# Imported when they are first asked for: TensorFlow takes seconds.
HOMES = {
    "train": "podtune.training",
    "Run": "podtune.training",
    "load": "podtune.model",
    "Model": "podtune.model",
    "Reading": "podtune.model",
}
__all__ = [
    "ConfigError",
    "DataError",
    "JobDirError",
    "Model",
    "Reading",
    "Run",
    "TrainingError",
    "UserError",
    "WeightsError",
    "__version__",
    "load",
    "train",
]


def __getattr__(name: str) -> object:
    if name not in HOMES:
        raise AttributeError(f"module 'podtune' has no attribute {name!r}")
    return getattr(importlib.import_module(HOMES[name]), name)


def __dir__() -> list[str]:
    return __all__
