"""Settings as keywords: by their own names, or by their key where only one section has it."""

from __future__ import annotations

from collections.abc import Mapping

from trainer.errors import ConfigError
from trainer.settings import flags
from trainer.settings.setting import Setting, Settings
from trainer.settings.suggestions import suggest_setting

# What is said most often, under the word that people use.
WORDS = {"model": "backbone.weights", "head": "head.name"}


def settings_of(keywords: Mapping[str, object]) -> Settings:
    """The settings that keywords are.

    Args:
        keywords: such as epochs=2, or {"train.epochs": 2}.
    Raises:
        ConfigError: lists every keyword that is no setting, or may be several.
    """
    names = flags.setting_names()
    settings: Settings = {}
    problems = []
    for keyword, value in keywords.items():
        wanted = WORDS.get(keyword, keyword)
        found = [name for name in names if wanted in (name, name.partition(".")[2])]
        if len(found) == 1:
            section, _, key = found[0].partition(".")
            settings[section, key] = Setting(_plain(value), f"{keyword}=")
        elif found:
            whole = " or ".join(f'**{{"{name}": …}}' for name in found)
            problems.append(f"{keyword}: may be {' or '.join(found)}. Say which: {whole}.")
        else:
            problems.append(f"{keyword}: no such setting.{suggest_setting(keyword, names)}")
    if problems:
        raise ConfigError("\n".join(problems))
    return settings


def _plain(value: object) -> object:
    """A tuple as the list that YAML would have."""
    return list(value) if isinstance(value, tuple) else value
