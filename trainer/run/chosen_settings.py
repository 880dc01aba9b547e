"""The settings that tell runs apart: what tables of many runs show."""

from __future__ import annotations

import json
from typing import TypeAlias

from trainer.run.job_config import FREE_SETTINGS
from trainer.settings.schema import Config

Plain: TypeAlias = bool | int | float | str
# Shown whatever their value.
ALWAYS = (
    "head.name",
    "backbone.weights",
    "data.source",
    "data.train",
    "data.seq_len",
    "train.epochs",
    "train.steps",
    "train.global_batch_size",
    "train.seed",
    "train.precision",
    "train.optimizer",
    "train.learning_rate",
    "train.schedule",
    "train.warmup_fraction",
    "train.weight_decay",
)


def chosen_settings(config: Config) -> dict[str, Plain]:
    """`ALWAYS`, and those that are not at their default and change what is learnt.

    By their dotted names; null only where it is not the default.
    """
    chosen: dict[str, Plain] = {}
    for section, values in config.model_dump().items():
        fields = type(getattr(config, section)).model_fields
        for key, value in values.items():
            name = f"{section}.{key}"
            is_telling = name not in FREE_SETTINGS and value != fields[key].default
            if is_telling or (name in ALWAYS and value is not None):
                chosen[name] = _plain(value)
    return chosen


def _plain(value: object) -> Plain:
    """A list, a mapping or null as JSON."""
    if isinstance(value, bool | int | float | str):
        return value
    return json.dumps(value, ensure_ascii=False)
