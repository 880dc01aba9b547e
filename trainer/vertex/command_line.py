"""The command line of `python -m trainer.vertex`: its own options, and the settings of the run."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence

import pydantic
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from trainer.errors import ConfigError, shown_value
from trainer.settings import flags, plain_yaml
from trainer.settings.one_line_yaml import as_yaml
from trainer.settings.setting import Settings
from trainer.settings.types_in_words import describe_type
from trainer.vertex.option_rules import contradictions
from trainer.vertex.options import Options

USAGE = """python -m trainer.vertex --config=FILE --project=PROJECT --region=REGION
                         --bucket=gs://BUCKET --accelerator=NAME[:COUNT] [--SECTION.KEY=VALUE ...]
Submits the run as a custom job of Vertex AI, after checking all that can be checked from here.
--dry_run prints the request.
"""


def own_flags() -> list[flags.Flag]:
    """A flag for each option."""
    return [*(_flag(name, field) for name, field in Options.model_fields.items()), flags.HELP]


def _flag(name: str, field: FieldInfo) -> flags.Flag:
    default = None if field.is_required() else field.default
    return flags.Flag(
        name,
        default if default is None or isinstance(default, str) else as_yaml(default),
        field.description or "",
        describe_type(field),
        boolean=field.annotation is bool,
    )


def parse(argv: Sequence[str]) -> tuple[Options | None, Settings]:
    """The options and the settings of a command line; no options where help is asked for.

    Raises:
        ConfigError: lists every problem, each with the value met and what is allowed.
    """
    given, settings = flags.parse_flags(list(argv), own_flags())
    if given.pop("help") in (True, "true"):
        return None, settings
    _refuse_empty(given)
    options = _options(given)
    defaults = {flag.name: flag.default for flag in own_flags()}
    names = [name for name, text in given.items() if text != defaults[name]]
    names += [".".join(setting) for setting in settings]
    if problems := contradictions(options, names):
        raise ConfigError("\n".join(problems))
    return options, settings


def _options(given: Mapping[str, object]) -> Options:
    """The options of the flags that were given. Raises ConfigError for values that are none."""
    values = {}
    for name, text in given.items():
        if text is not None:
            values[name] = _value(name, text)
    if project := os.environ.get("GOOGLE_CLOUD_PROJECT"):
        values.setdefault("project", project)
    try:
        return Options.model_validate(values)
    except pydantic.ValidationError as error:
        problems = dict.fromkeys(_problem(detail, values) for detail in error.errors())
        raise ConfigError("\n".join(problems)) from None


def _refuse_empty(given: Mapping[str, object]) -> None:
    """Raises ConfigError for options without a value.

    A shell's variable that is not set leaves such: --deploy= would submit a training run.
    """
    problems = [
        f"--{name}: no value. Expected {describe_type(Options.model_fields[name])}; leave it"
        " out for the default."
        for name, text in given.items()
        if text == ""
    ]
    if problems:
        raise ConfigError("\n".join(problems))


def _value(name: str, text: object) -> object:
    """A flag's text as the number or the truth value that its option is, where it is one."""
    field = Options.model_fields[name]
    accepts = describe_type(field)
    is_text = not any(word in accepts for word in ("integer", "number", "true"))
    if is_text or not isinstance(text, str):
        return text
    try:
        return plain_yaml.parse(text, field.annotation)
    except plain_yaml.YamlProblemError:
        return text


def _problem(detail: ErrorDetails, values: Mapping[str, object]) -> str:
    """What is wrong with one option, and the value met."""
    name = str(detail["loc"][0])
    field = Options.model_fields[name]
    if detail["type"] == "missing":
        return f"--{name}: missing. Expected {field.description}."
    reason = f"expected {describe_type(field)}"
    if detail["type"] == "value_error":
        reason = str(detail["ctx"]["error"])
    return f"--{name}: {reason}. Received {shown_value(values.get(name))}."
