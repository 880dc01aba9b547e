"""The schema: defaults, descriptions, configs/ and its JSON Schema."""

import json
from typing import get_origin

import pytest
import yaml
from pydantic_core import PydanticUndefined

from scripts import write_schema
from tests.toy import ROOT
from trainer.settings import schema, sections
from trainer.settings.resolve import resolve
from trainer.settings.types_in_words import describe_type

CLASSES = [
    (f"{section}:{name}" if name else section, section, cls)
    for section in schema.Config.model_fields
    for name, cls in sections.section_classes(section).items()
]
CONFIGS = sorted((ROOT / "configs").glob("*.yaml"))
by_name = pytest.mark.parametrize(
    ("section", "cls"), [case[1:] for case in CLASSES], ids=[case[0] for case in CLASSES]
)


@by_name
def test_every_default_is_valid(section, cls):
    required = {
        name: {"x": "y"} if get_origin(field.annotation) is dict else "x"
        for name, field in cls.model_fields.items()
        if field.is_required()
    }
    defaults = {
        name: field.default
        for name, field in cls.model_fields.items()
        if field.default is not PydanticUndefined
    }
    again = cls.model_validate({**required, **defaults})  # pydantic itself takes defaults unseen
    assert again.model_dump(include=set(defaults)) == defaults


@by_name
def test_every_setting_has_a_type_and_one_line_of_meaning(section, cls):
    for name, field in cls.model_fields.items():
        assert describe_type(field), name
        if not (section in sections.PLUGIN_KEYS and name == sections.PLUGIN_KEYS[section][0]):
            assert field.description and "\n" not in field.description, name


def test_types_are_described_in_words():
    fields = schema.TrainSettings.model_fields
    assert describe_type(fields["steps"]) == "integer >= 1 or null"
    assert describe_type(fields["learning_rate"]) == "number > 0, <= 10"
    assert describe_type(fields["schedule"]) == "one of linear, cosine, constant"
    assert (
        describe_type(schema.DataSettings.model_fields["validation"])
        == "number > 0, < 1 or text or null"
    )
    assert (
        describe_type(schema.BackboneSettings.model_fields["freeze_embeddings"]) == "true or false"
    )


def test_the_json_schema_of_configs_is_current():
    assert write_schema.FILE.read_text(encoding="utf-8") == write_schema.current(), (
        "run: python scripts/write_schema.py"
    )


def test_the_json_schema_knows_every_key_of_every_section():
    document = json.loads(write_schema.FILE.read_text(encoding="utf-8"))
    for _, section, cls in CLASSES:
        definitions = [
            d
            for d in document["$defs"].values()
            if set(d["properties"]) == set(cls.model_fields) and not d["additionalProperties"]
        ]
        assert definitions, (section, cls)
    assert (
        set(document["properties"]) == set(schema.Config.model_fields)
        and document["additionalProperties"] is False
    )


@pytest.mark.parametrize("file", CONFIGS, ids=lambda file: file.stem)
def test_every_config_resolves_and_tells_the_editor_its_schema(file):
    resolve(file)
    lines = file.read_text(encoding="utf-8").splitlines()
    assert lines[0] == "# yaml-language-server: $schema=schema.json"
    assert any(
        "make quickstart" in line or f"--config=configs/{file.name}" in line
        for line in lines
        if line.startswith("#")
    )


@pytest.mark.parametrize("file", CONFIGS, ids=lambda file: file.stem)
def test_a_config_says_only_what_differs_from_the_defaults(file):
    resolved = resolve(file)
    for section, keys in yaml.safe_load(file.read_text(encoding="utf-8")).items():
        fields = type(getattr(resolved.config, section)).model_fields
        plugin = sections.PLUGIN_KEYS.get(section, ("",))[0]
        assert [
            key for key, value in keys.items() if key != plugin and value == fields[key].default
        ] == []
