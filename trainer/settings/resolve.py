"""From a YAML file, the environment and flags to one validated Config.

It knows where each value came from.
"""

from __future__ import annotations

import dataclasses
import pathlib
from collections.abc import Mapping

from trainer.settings import schema, sections
from trainer.settings.config_file import read_yaml
from trainer.settings.contradictions import contradictions
from trainer.settings.one_line_yaml import as_yaml
from trainer.settings.problems import Problems
from trainer.settings.setting import DEFAULT, Settings
from trainer.settings.validation import plugin_class, section_class, validate


@dataclasses.dataclass(frozen=True)
class Resolved:
    """A validated config and the origin of each of its values."""

    config: schema.Config
    origins: Mapping[tuple[str, str], str]

    def with_value(self, section: str, key: str, value: object, origin: str) -> Resolved:
        """Another config with one value changed, which must be valid.

        Args:
            section: of the value.
            key: of the value, in its section.
            value: in its place.
            origin: where it is from.
        """
        changed = getattr(self.config, section).model_copy(update={key: value})
        config = self.config.model_copy(update={section: changed})
        return Resolved(config, {**self.origins, (section, key): origin})

    def to_yaml(self) -> str:
        """The whole config as YAML, each value followed by its origin in a comment.

        It reads back to the same config.
        """
        lines = []
        for section, values in self.config.model_dump().items():
            lines.append(f"{section}:")
            for key, value in values.items():
                origin = self.origins.get((section, key), DEFAULT)
                lines.append(f"  {key}: {as_yaml(value)}  # {origin}")
        return "\n".join(lines) + "\n"


def resolve(file: pathlib.Path | None, overrides: Settings | None = None) -> Resolved:
    """Reads the config file, lays `overrides` (flags, environment) over it and validates the whole.

    Args:
        file: None where the overrides say everything.
        overrides: win over the file.
    Raises:
        ConfigError: lists every problem, each with its place, the value met, what is allowed and a
            suggestion.
    """
    problems = Problems()
    settings: Settings = {}
    if file is not None:
        settings.update(read_yaml(file, problems))
    _drop_replaced_plugin_keys(settings, overrides or {})
    settings.update(overrides or {})
    config = _validated(settings, problems)
    return Resolved(config, {name: setting.origin for name, setting in settings.items()})


def _validated(settings: Settings, problems: Problems) -> schema.Config:
    # all classes first: a head or a source that is not known is told before other problems
    classes = {
        section: section_class(section, settings, problems)
        for section in schema.Config.model_fields
    }
    sections = {
        section: validate(section, cls, settings, problems)
        for section, cls in classes.items()
        if cls is not None
    }
    problems.refuse()
    config = schema.Config.model_validate(sections)
    for problem in contradictions(config):
        problems.add(problem)
    problems.refuse()
    return config


def _drop_replaced_plugin_keys(settings: Settings, overrides: Settings) -> None:
    """Leaves out the file's keys of a head or source that a flag replaces.

    These are the keys that only the file's head or source has.
    """
    for section, (key, _) in sections.PLUGIN_KEYS.items():
        before = settings.get((section, key))
        after = overrides.get((section, key))
        if before is None or after is None:
            continue
        old = plugin_class(section, before.value)
        new = plugin_class(section, after.value)
        if old is not None and new is not None:
            for name in set(old.model_fields) - set(new.model_fields):
                settings.pop((section, name), None)
