"""The settings that a YAML file gives, each with its line."""

from __future__ import annotations

import contextlib
import difflib
import functools
import itertools
import os
import pathlib
from collections.abc import Iterator

import yaml

from trainer.errors import ConfigError, shown_name, shown_value
from trainer.settings import plain_yaml, schema, sections
from trainer.settings.plain_yaml import YamlProblemError, hint
from trainer.settings.problems import Problems
from trainer.settings.setting import Setting, Settings
from trainer.settings.settings_file import read_settings, shown_path
from trainer.settings.suggestions import suggest_section

FILES_SEARCHED = 2000
SHOWN_OF_FILE = 40  # characters of its beginning


def read_yaml(file: pathlib.Path, problems: Problems) -> Settings:
    """The settings of a file; what is wrong with a single one goes to the problems.

    Raises:
        ConfigError: the file as a whole cannot be read.
    """
    if not os.path.lexists(file):
        raise ConfigError(f"--config={shown_path(file)}: no such file.{_nearest_file(file)}")
    text = read_settings(file, key="--config")
    try:
        root = plain_yaml.compose(text)
    except YamlProblemError as error:
        raise ConfigError(f"{_place(file, error.line)}: {error}") from None
    if root is None:
        problems.add(f"{shown_path(file)}: has no settings.")
        return {}
    if not isinstance(root, yaml.MappingNode):
        start = text.strip()[:SHOWN_OF_FILE]
        raise ConfigError(
            f"{shown_path(file)}:1: expected sections ({', '.join(schema.Config.model_fields)}),"
            f" each with its keys. Received {shown_value(start)}.{hint(start)}"
        )
    settings: Settings = {}
    for section, node in _pairs(root, file, "", problems):
        settings |= _section_settings(section, node, file, problems)
    return settings


def _nearest_file(file: pathlib.Path) -> str:
    with contextlib.suppress(OSError, ValueError):
        files = itertools.islice(file.parent.glob("*.yaml"), FILES_SEARCHED)
        names = [path.name for path in files]
        near = difflib.get_close_matches(file.name, names, n=1)
        if near:
            nearest = shown_path(file.parent / near[0])
            return f" Did you mean {nearest}?"
    return ""


def _section_settings(
    section: str, node: yaml.Node, file: pathlib.Path, problems: Problems
) -> Settings:
    if section not in schema.Config.model_fields:
        problems.add(functools.partial(_unknown_section, section, node, file))
        return {}
    if not isinstance(node, yaml.MappingNode):
        _add_no_section(section, node, file, problems)
        return {}
    settings: Settings = {}
    for key, value_node in _pairs(node, file, f"{section}.", problems):
        line = plain_yaml.line_of(value_node)
        value = _value(value_node, section, key, file, problems)
        settings[section, key] = Setting(value, _place(file, line))
    return settings


def _unknown_section(section: str, node: yaml.Node, file: pathlib.Path) -> str:
    place = _place(file, plain_yaml.line_of(node))
    suggestion = hint(section) or suggest_section(section)
    return f"{shown_name(section)}: unknown section ({place}).{suggestion}"


def _add_no_section(section: str, node: yaml.Node, file: pathlib.Path, problems: Problems) -> None:
    """Tells of a value where a section with keys belongs; a section without any is empty."""
    value = _value(node, section, "", file, problems)
    if value is None:
        return
    place = _place(file, plain_yaml.line_of(node))
    suggestion = hint(value) if isinstance(value, str) else ""
    problems.add(
        f"{section}: expected a section with keys. Received {shown_value(value)}"
        f" ({place}).{suggestion}"
    )


def _place(file: pathlib.Path, line: int | None) -> str:
    return f"{shown_path(file)}:{line}" if line else shown_path(file)


def _pairs(
    node: yaml.MappingNode, file: pathlib.Path, prefix: str, problems: Problems
) -> Iterator[tuple[str, yaml.Node]]:
    first_places: dict[str, str] = {}
    for key_node, value_node in node.value:
        place = _place(file, plain_yaml.line_of(key_node))
        try:
            key = plain_yaml.name_of(key_node)
        except YamlProblemError as error:
            whole = prefix.rstrip(".") or "the config"
            problems.add(f"{whole}: {error} ({place}).")
            continue
        if key in first_places:  # YAML readers keep the last one and say nothing
            both = f"{first_places[key]} and {place}"
            problems.add(f"{prefix}{shown_name(key)}: given twice ({both}). Keep one.")
        first_places[key] = place
        yield key, value_node


def _value(
    node: yaml.Node, section: str, key: str, file: pathlib.Path, problems: Problems
) -> object:
    """None where it is no plain value, which is then a problem."""
    annotation = sections.annotations_of(section, key)
    try:
        return plain_yaml.construct(node, annotation)
    except YamlProblemError as error:
        name = f"{section}.{shown_name(key)}" if key else section
        place = _place(file, error.line)
        problems.add(f"{name}: not a plain value: {error} ({place}).", (section, key))
        return None
