"""Every setting as an absl flag named by its dotted path, generated from the schema."""

from __future__ import annotations

import functools
import inspect
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from absl import flags
from pydantic_core import PydanticUndefined

from trainer.errors import ConfigError, shown_name, shown_value
from trainer.settings import flagfile, plain_yaml, schema, sections
from trainer.settings.one_line_yaml import as_yaml
from trainer.settings.problems import Problems
from trainer.settings.setting import Setting, Settings
from trainer.settings.suggestions import suggest, suggest_setting
from trainer.settings.types_in_words import describe_type

LONGEST_ERROR = 300  # characters of absl's own words
MODES = ("train", "plan", "evaluate", "predict", "export", "report")


class _SettingFlag(flags.Flag):
    """A flag that keeps the text it was given.

    The schema judges it together with the file, so that all problems come at once.
    """

    def __init__(
        self, name: str, default: str | None, meaning: str, accepts: str, *, boolean: bool
    ) -> None:
        super().__init__(flags.ArgumentParser(), None, name, default, meaning, boolean=boolean)
        self.accepts = accepts


class CommandLine(NamedTuple):
    """What the command line said."""

    config: str | None
    job_dir: str | None
    mode: str
    input: str | None
    output: str | None
    overrides: Settings
    help: bool


class Flag(NamedTuple):
    """A flag of a command's own, beside those of the settings."""

    name: str
    default: str | None
    meaning: str
    accepts: str
    boolean: bool = False


HELP = Flag("help", None, "show this help", "", boolean=True)
OWN = (
    Flag(
        "config",
        None,
        "the run's YAML file (evaluate, predict and export: default job_dir/config.yaml)",
        "path",
    ),
    Flag("job_dir", None, "where the run keeps everything it writes", "folder, here or on gs://"),
    Flag("mode", "train", "what to do", f"one of {', '.join(MODES)}"),
    Flag("input", None, "for --mode=predict: JSON lines to read", "path, or - for standard input"),
    Flag(
        "output", None, "for --mode=predict: JSON lines to write", "path, or - for standard output"
    ),
    HELP,
)


def _define(known: flags.FlagValues, own: Iterable[Flag]) -> None:
    for flag in (*own, *setting_flags().values()):
        # absl shows in --help the flags of the main module.
        flags.DEFINE_flag(
            _SettingFlag(flag.name, flag.default, flag.meaning, flag.accepts, boolean=flag.boolean),
            known,
            module_name=sys.argv[0],
        )


def _known(own: Iterable[Flag]) -> flags.FlagValues:
    """The flags that a command line may have: a command's own, and those of the settings."""
    known = flags.FlagValues()
    # what follows a stray word is read too, so that all problems come at once
    known.set_gnu_getopt(True)
    _define(known, own)
    return known


def setting_names() -> list[str]:
    """The dotted names of all settings."""
    return list(setting_flags())


@functools.cache
def setting_flags() -> dict[str, Flag]:
    """The flag of each setting by its name, SECTION.KEY, in the order of the schema."""
    flags_of = {}
    for section in schema.Config.model_fields:
        classes = sections.section_classes(section)
        plugin_key, _ = sections.PLUGIN_KEYS.get(section, ("", ""))
        keys: dict[str, None] = {}  # a set in the order of the classes
        for cls in classes.values():
            keys.update(dict.fromkeys(cls.model_fields))
        for key in keys:
            name = f"{section}.{key}"
            if key == plugin_key:
                flags_of[name] = _plugin_flag(section, key)
            else:
                flags_of[name] = _merged(name, _modules_by_flag(section, key), len(classes))
    return flags_of


def _modules_by_flag(section: str, key: str) -> dict[Flag, list[str]]:
    """The different flags that a key has in the heads or sources that have it."""
    modules_by_flag: dict[Flag, list[str]] = {}
    for module, cls in sections.section_classes(section).items():
        if field := cls.model_fields.get(key):
            has_default = field.default not in (PydanticUndefined, None)
            flag = Flag(
                name=f"{section}.{key}",
                default=as_yaml(field.default) if has_default else None,
                meaning=field.description or "",
                accepts=describe_type(field),
                boolean=field.annotation is bool,
            )
            modules_by_flag.setdefault(flag, []).append(module)
    return modules_by_flag


def _merged(name: str, modules_by_flag: Mapping[Flag, list[str]], modules: int) -> Flag:
    """One flag for all modules; where not all of `modules` are alike, it names them."""
    if len(modules_by_flag) == 1:
        ((flag, having),) = modules_by_flag.items()
        if len(having) == modules:
            return flag
        return flag._replace(meaning=f"[{', '.join(having)}] {flag.meaning}")
    meanings = [
        f"[{', '.join(having)}] {flag.meaning} ({flag.accepts}, default {flag.default})"
        for flag, having in modules_by_flag.items()
    ]
    accepted = dict.fromkeys(flag.accepts for flag in modules_by_flag)
    return Flag(
        name=name,
        default=None,
        meaning="; ".join(meanings),
        accepts=" / ".join(accepted),
        boolean=all(flag.boolean for flag in modules_by_flag),
    )


def _plugin_flag(section: str, key: str) -> Flag:
    """The flag of head.name or data.source: the choices there are, each in a few words."""
    classes = sections.section_classes(section)
    meaning = f"{sections.declared_class(section).model_fields[key].description}:"
    for module, cls in classes.items():
        described = cls.model_fields[key].description or inspect.getdoc(cls) or ""
        first_line = described.splitlines()[0]
        meaning += f"\n      {module}: {first_line.rstrip('.')}"
    return Flag(
        name=f"{section}.{key}",
        default=None,
        meaning=meaning,
        accepts=f"one of {', '.join(classes)}",
    )


def parse(argv: list[str]) -> CommandLine:
    """Reads the command line of `python -m trainer.task`.

    Raises:
        ConfigError: unknown flags or arguments, all of them at once, each with the nearest known
            name.
    """
    own, overrides = parse_flags(argv, OWN)
    if own["mode"] not in MODES:
        raise ConfigError(
            f"--mode: expected one of {', '.join(MODES)}. Received"
            f" {shown_value(own['mode'])}.{suggest(own['mode'], list(MODES))}"
        )
    for name in ("input", "output"):
        if own[name] is not None and own["mode"] != "predict":
            raise ConfigError(
                f"--{name}: only --mode=predict takes it. Received --mode={own['mode']}."
            )
    # as of a shell's variable that is not set
    for name in ("config", "job_dir", "input", "output"):
        if own[name] is not None and not own[name].strip():
            raise ConfigError(f"--{name}: the path is empty. Give one, or leave --{name} out.")
    return CommandLine(**{**own, "help": own["help"] in (True, "true")}, overrides=overrides)


def split_words(arguments: Sequence[str], own: Sequence[Flag]) -> tuple[list[str], list[str]]:
    """The arguments that are neither flags nor a flag's value, and all others.

    Args:
        arguments: behind the program's name.
        own: the command's own flags.
    """
    known = _known(own)
    try:
        rest = known(["", *_joined(list(arguments), known)], known_only=True)[1:]
    except (flags.Error, ValueError):  # which `parse_flags` tells
        rest = list(arguments)
    words = [argument for argument in rest if not argument.startswith("-")]
    others = list(arguments)
    for word in words:
        others.remove(word)
    return words, others


def parse_flags(argv: list[str], own: Sequence[Flag]) -> tuple[dict[str, Any], Settings]:
    """A command's own flags and the settings, as text.

    absl's global flags are not used: they would remember what an earlier call was given.

    Raises:
        ConfigError: as for `parse`.
    """
    known = _known(own)
    # behind which absl reads no flag
    arguments = [argument for argument in flagfile.expanded(argv) if argument != "--"]
    _refuse_bytes(arguments)
    try:
        rest = known(_joined(arguments, known), known_only=True)[1:]
    except (flags.Error, ValueError) as error:  # a ValueError: --noFLAG=VALUE
        raise ConfigError(
            f"{shown_name(error, LONGEST_ERROR)}. Every setting is --SECTION.KEY=VALUE; --help"
            " lists them."
        ) from None
    problems = Problems()
    for argument in rest:
        problems.add(functools.partial(_unknown, argument, list(known)))
    overrides: Settings = {}
    for name in known:
        if "." in name and known[name].present:
            section, key = name.split(".")
            value = _value(section, key, known[name].value, problems)
            overrides[section, key] = Setting(value, f"--{name}")
    if problems.count:
        raise ConfigError("\n".join(problems.lines()))
    return {flag.name: known[flag.name].value for flag in own}, overrides


def _refuse_bytes(arguments: Sequence[str]) -> None:
    """Python keeps bytes that are not UTF-8 as lone surrogates, which no file of ours can hold."""
    for argument in arguments:
        if any("\ud800" <= ch <= "\udfff" for ch in argument):
            raise ConfigError(
                f"{shown_name(argument)}: is not UTF-8. Write it, or name the file, in UTF-8."
            )


def _joined(argv: Sequence[str], known: flags.FlagValues) -> list[str]:
    """With "--flag true" as "--flag=true".

    absl takes a value apart from its flag for all but booleans, and tuning services write all so.
    """
    joined: list[str] = []
    for argument in argv:
        before = joined[-1] if joined else ""
        if (
            argument in ("true", "false")
            and before.startswith("--")
            and before[2:] in known
            and known[before[2:]].boolean
        ):
            joined[-1] = f"{before}={argument}"
        else:
            joined.append(argument)
    return joined


def _unknown(argument: str, known: list[str]) -> str:
    flag = argument.split("=")[0]
    if not argument.startswith("-"):
        return f"unexpected argument {shown_value(argument)}: every setting is --SECTION.KEY=VALUE."
    near = suggest_setting(flag.lstrip("-"), known)
    return (
        f"unknown flag {shown_name(flag)}.{near.replace('mean ', 'mean --')} --help lists every"
        " flag."
    )


def _value(section: str, key: str, text: object, problems: Problems) -> object:
    """A flag's text as YAML would read it.

    Where only text is allowed, text stays text: "007" is no number.
    """
    if not isinstance(text, str):
        return text
    accepts = {
        describe_type(cls.model_fields[key])
        for cls in sections.section_classes(section).values()
        if key in cls.model_fields
    }
    only_text = all(
        "number" not in words and "integer" not in words and "true" not in words
        for words in accepts
    )
    if text == "null" and any("null" in words for words in accepts):
        return None
    if not text and not only_text:
        problems.add(f"--{section}.{key}: no value. Expected {' or '.join(accepts)}.")
    if only_text and not text.startswith(("[", "{")):
        return text
    try:
        return plain_yaml.parse(text, sections.annotations_of(section, key))
    except plain_yaml.YamlProblemError:
        return text


USAGE = """python -m trainer.task --config=FILE [--job_dir=DIR]
                       [--mode=train|plan|evaluate|predict|export] [--SECTION.KEY=VALUE ...]
Settings in a file are the same without the dashes: section, colon, key. configs/ has examples.
"""


def help_text(usage: str = USAGE, own: Sequence[Flag] = OWN) -> str:
    """The usage and every flag with type, default and meaning."""
    known = flags.FlagValues()
    _define(known, own)
    lines = []
    for name in sorted(known, key=lambda name: ("." in name, name)):
        flag = known[name]
        if not isinstance(flag, _SettingFlag):
            continue
        default = ""
        if flag.default is not None:
            default = f" (default: {flag.default})"
        lines.append(f"  --{name}: {flag.accepts}{default}\n      {flag.help}")
    return usage + "\n".join(lines)
