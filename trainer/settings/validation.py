"""Judges the settings of each section by its schema, and puts into words what is wrong."""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping

import pydantic
from pydantic_core import ErrorDetails

from trainer.errors import shown_name, shown_value
from trainer.settings import schema, sections
from trainer.settings.problems import Problems
from trainer.settings.setting import DEFAULT, Setting, Settings
from trainer.settings.suggestions import PLUGIN_WORDS, suggest, suggest_key
from trainer.settings.types_in_words import describe_type

# in place of what pydantic says of a value
WRONG_BOOLEAN: ErrorDetails = {"type": "bool", "loc": (), "msg": "", "input": None}


def plugin_class(section: str, name: object) -> type[schema.Section] | None:
    """The class of a head's or a source's name; None where it is no such name, or no text."""
    if not isinstance(name, str):
        return None
    return sections.section_classes(section).get(name)


def section_class(
    section: str, settings: Settings, problems: Problems
) -> type[schema.Section] | None:
    """What a section is to be; None where its head or its source is not known, which is told.

    Args:
        section: its name.
        settings: of all sections.
        problems: what is wrong is added here.
    """
    classes = sections.section_classes(section)
    if section not in sections.PLUGIN_KEYS:
        return classes[""]
    key, _ = sections.PLUGIN_KEYS[section]
    if (section, key) in problems.told:
        return None
    choices = ", ".join(classes)
    setting = settings.get((section, key))
    if setting is None:
        problems.add(f"{section}.{key}: missing. Expected one of {choices}.")
        return None
    plugin = plugin_class(section, setting.value)
    if plugin is None:
        suggestion = suggest(str(setting.value), list(classes))
        problems.add(f"{section}.{key}: expected one of {choices}.{_received(setting)}{suggestion}")
    return plugin


def validate(
    section: str, cls: type[schema.Section], settings: Settings, problems: Problems
) -> schema.Section | None:
    """A section of the config; None where one of its settings is wrong, which is told.

    Args:
        section: its name.
        cls: what it is to be.
        settings: of all sections.
        problems: what is wrong is added here.
    """
    given = _given(section, settings)
    told = {key for name, key in problems.told if name == section}

    def tell(key: str, detail: ErrorDetails) -> None:
        told.add(key)
        words = functools.partial(_problem, section, key, cls, detail, given.get(key))
        problems.add(words)

    for key, setting in sorted(given.items()):
        if not _may_be(setting.value, key, cls):
            tell(key, WRONG_BOOLEAN)
    judged = {}
    for key, setting in given.items():
        if key not in told:
            judged[key] = setting.value
    try:
        checked = cls.model_validate(judged)
    except pydantic.ValidationError as error:
        for detail in error.errors():
            place = detail["loc"]
            key = str(place[0]) if place else ""
            if key not in told:  # a union reports each of its members
                tell(key, detail)
        return None
    return None if told else checked


def _given(section: str, settings: Settings) -> dict[str, Setting]:
    """The settings of a section by their keys, without those that an old run did not use."""
    of_section = {}
    for (name, key), setting in settings.items():
        if name == section:
            of_section[key] = setting
    values = {key: setting.value for key, setting in of_section.items()}
    given = {}
    for key, setting in of_section.items():
        if not was_unused(section, values, key):
            given[key] = setting
    return given


def was_unused(section: str, values: Mapping[str, object], key: str) -> bool:
    """Whether a key moved elsewhere, and an old run's config.yaml says that it was not used.

    Args:
        section: its name.
        values: by the keys of the section.
        key: one of them.
    """
    if section not in sections.PLUGIN_KEYS:
        return False
    plugin_key, _ = sections.PLUGIN_KEYS[section]
    cls = plugin_class(section, values.get(plugin_key))
    if cls is None or key not in cls.moved_keys:
        return False
    return cls.moved_keys[key].unused == values[key]


def defaults_of(section: str, values: Mapping[str, object]) -> dict[str, object]:
    """The defaults of a section that is known to be of some class; empty where it is not.

    Args:
        section: its name.
        values: by the keys of the section, one of which may name its class.
    """
    classes = sections.section_classes(section)
    cls = classes.get("")
    if section in sections.PLUGIN_KEYS:
        cls = plugin_class(section, values.get(sections.PLUGIN_KEYS[section][0]))
    if cls is None:
        return {}
    return {
        key: field.get_default(call_default_factory=True)
        for key, field in cls.model_fields.items()
        if not field.is_required()
    }


def _may_be(value: object, key: str, cls: type[schema.Section]) -> bool:
    """Whether pydantic may judge a value: it would read true as 1, or as the text "True"."""
    if not isinstance(value, bool) or key not in cls.model_fields:
        return True
    return "true or false" in describe_type(cls.model_fields[key])


def _problem(
    section: str,
    key: str,
    cls: type[schema.Section],
    detail: ErrorDetails,
    setting: Setting | None,
) -> str:
    kind = detail["type"]
    if kind == "extra_forbidden" and key in cls.moved_keys:
        return _moved(section, key, cls, setting)
    name = f"{section}.{shown_name(key)}" if key else section
    if kind == "extra_forbidden":
        origin = setting.origin if setting else DEFAULT
        return f"{name}: unknown key ({origin}).{suggest_key(section, key)}"
    if kind == "missing":
        field = cls.model_fields[key]
        return f"{name}: missing. Expected {describe_type(field)}: {field.description}."
    received = _received(setting)
    if kind in ("value_error", "assertion_error"):
        return f"{name}: {detail['ctx']['error']}.{received}"
    expected = describe_type(cls.model_fields[key])
    hint = _boolean_hint(expected, setting)
    return f"{name}: expected {expected}.{received}{hint}"


def _received(setting: Setting | None) -> str:
    if setting is None:
        return ""
    return f" Received {shown_value(setting.value)} ({setting.origin})."


def _moved(section: str, key: str, cls: type[schema.Section], setting: Setting | None) -> str:
    """What a key that moved is answered with."""
    plugin_key, _ = sections.PLUGIN_KEYS[section]
    word = PLUGIN_WORDS[section]
    home = cls.moved_keys[key].to
    here = cls.model_fields[plugin_key].default
    return (
        f"{section}.{key}: is of {word} {home} now, and no longer of {word}"
        f" {here}.{_received(setting)}"
        f" Set --{section}.{plugin_key}={home}, or leave it out."
    )


def _boolean_hint(expected: str, setting: Setting | None) -> str:
    if setting is None or not _has_boolean(setting.value):
        return ""
    if not re.search(r"\btext\b|\bone of\b", expected):
        return ""
    return " YAML reads yes, no, on and off as true and false: put them in quotes."


def _has_boolean(value: object) -> bool:
    parts = schema.parts_of(value)
    if isinstance(value, dict):
        parts += value  # its keys
    return any(isinstance(part, bool) for part in parts)
