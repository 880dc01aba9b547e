"""What a section of the config may be: its class, or one of several, each of a head or a source."""

from __future__ import annotations

import functools
import importlib
import pkgutil
import types
from typing import Annotated, Any, Union

import pydantic
from pydantic import ConfigDict, Field

from trainer.settings import schema
from trainer.settings.annotations import Annotation

STRICT = ConfigDict(extra="forbid")
# The key of a section that names a module, and the package that holds the modules.
PLUGIN_KEYS = {"head": ("name", "trainer.heads"), "data": ("source", "trainer.sources")}


def plugin_module(package: str, name: str) -> types.ModuleType:
    """The module behind a config value: head.name or data.source."""
    return importlib.import_module(f"{package}.{name}")


@functools.cache
def plugins(package: str) -> dict[str, type[schema.Section]]:
    """The modules of `trainer.heads` or `trainer.sources` that have a `Settings`, by name."""
    folder = importlib.import_module(package).__path__
    classes = {}
    for file in sorted(pkgutil.iter_modules(folder), key=lambda file: file.name):
        module = plugin_module(package, file.name)
        if hasattr(module, "Settings"):
            classes[file.name] = module.Settings
    return classes


def section_classes(section: str) -> dict[str, type[schema.Section]]:
    """The classes that a section may have: one by the name "", or one a module."""
    if section in PLUGIN_KEYS:
        return plugins(PLUGIN_KEYS[section][1])
    return {"": declared_class(section)}


def declared_class(section: str) -> type[schema.Section]:
    """The class that Config itself gives a section; of a head or a source, what all have."""
    annotation = schema.Config.model_fields[section].annotation
    if not (isinstance(annotation, type) and issubclass(annotation, schema.Section)):
        raise TypeError(f"{section}: expected a Section. Received {annotation}.")
    return annotation


@functools.cache
def annotations_of(section: str, key: str) -> tuple[Annotation, ...]:
    """The types of a setting in the classes that have it; none where no class has."""
    annotations = []
    for cls in section_classes(section).values():
        if key in cls.model_fields:
            annotations.append(cls.model_fields[key].annotation)
    return tuple(annotations)


def _any_class_of(section: str) -> Annotation:
    """The class of a section; of a head or a source, any of its classes, told by its key."""
    classes = tuple(section_classes(section).values())
    if len(classes) == 1:
        return classes[0]
    discriminator = Field(discriminator=PLUGIN_KEYS[section][0])
    return Annotated[Union[classes], discriminator]  # noqa: UP007


def json_schema() -> dict[str, object]:
    """JSON Schema of a config file, for editors (configs/schema.json)."""
    sections: dict[str, Any] = {}
    for section, field in schema.Config.model_fields.items():
        default = ... if field.is_required() else field.default
        sections[section] = (_any_class_of(section), default)
    whole = pydantic.create_model("podtune config", __config__=STRICT, **sections)
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **whole.model_json_schema()}
