"""From a YAML file, the environment and flags to one validated Config that knows where each value
came from.
"""

from __future__ import annotations

import contextlib
import dataclasses
import difflib
import functools
import itertools
import math
import os
import pathlib
import re
import unicodedata
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import pydantic
import yaml

from trainer.errors import ConfigError, shown_name, shown_value
from trainer.settings import plain_yaml, schema
from trainer.settings.plain_yaml import YamlProblemError, hint
from trainer.settings.settings_file import read_settings, shown_path

DEFAULT = "default"
PLUGIN_WORDS = {"head": "head", "data": "source"}  # what the modules of a section are called
PROBLEMS_SHOWN = 20
FILES_SEARCHED = 2000
LONGEST_NAME = 100  # characters of a name that are compared with others
SHOWN_OF_FILE = 40  # characters of its beginning
# What Hugging Face, Keras and others call a setting.
ELSEWHERE = {
    **dict.fromkeys(("model", "checkpoint", "model_name_or_path", "preset"), "backbone.weights"),
    "tokenizer_name": "backbone.tokenizer",
    **dict.fromkeys(("train_file", "train_data", "train_path", "dataset"), "data.train"),
    "dataset_name": "data.tfds_name",
    **dict.fromkeys(
        ("validation_file", "validation_data", "valid", "dev", "eval_file"), "data.validation"
    ),
    "test_file": "data.test",
    **dict.fromkeys(
        ("max_length", "max_seq_length", "max_seq_len", "sequence_length", "block_size", "max_len"),
        "data.seq_len",
    ),
    **dict.fromkeys(("stride", "doc_stride"), "data.window_overlap"),
    "truncation": "data.overflow",
    "max_train_samples": "data.limit",
    **dict.fromkeys(("text_column", "text_column_name"), "data.text"),
    **dict.fromkeys(("label_column", "label_column_name", "labels_column"), "data.label"),
    "num_train_epochs": "train.epochs",
    "num_epochs": "train.epochs",
    "max_steps": "train.steps",
    **dict.fromkeys(
        ("batch_size", "train_batch_size", "per_device_train_batch_size"), "train.global_batch_size"
    ),
    **dict.fromkeys(
        ("eval_batch_size", "per_device_eval_batch_size"), "train.evaluation_batch_size"
    ),
    "gradient_accumulation_steps": "train.micro_batches",
    "lr": "train.learning_rate",
    "lr_scheduler_type": "train.schedule",
    **dict.fromkeys(("warmup_ratio", "warmup_steps"), "train.warmup_fraction"),
    "adam_beta1": "train.beta_1",
    "adam_beta2": "train.beta_2",
    "adam_epsilon": "train.epsilon",
    "optim": "train.optimizer",
    **dict.fromkeys(("max_grad_norm", "clipnorm", "global_clipnorm"), "train.clip_norm"),
    **dict.fromkeys(("fp16", "bf16", "mixed_precision", "dtype"), "train.precision"),
    "jit_compile": "train.xla",
    "logging_steps": "train.log_every_steps",
    "eval_steps": "train.evaluate_every_steps",
    "save_steps": "train.checkpoint_every_steps",
    "save_total_limit": "train.keep_checkpoints",
    "metric_for_best_model": "train.best_metric",
    "patience": "train.early_stopping_patience",
    "max_answer_length": "head.max_answer_tokens",
    "max_query_length": "head.max_question_tokens",
    "n_best_size": "head.n_best",
    "mlm_probability": "head.mask_probability",
    "beams": "head.num_beams",
}


class Setting(NamedTuple):
    """A value and where it was given: "configs/sst2.yaml:12", "--train.epochs", "default"."""

    value: Any
    origin: str


Settings = dict[tuple[str, str], Setting]  # (section, key) -> setting


@dataclasses.dataclass(frozen=True)
class Resolved:
    """A validated config and the origin of each of its values."""

    config: schema.Config
    origins: Mapping[tuple[str, str], str]

    def to_yaml(self) -> str:
        """The whole config as YAML, each value followed by its origin in a comment; reads back to
        the same config.
        """
        lines = []
        for section, values in self.config.model_dump().items():
            lines.append(f"{section}:")
            for key, value in values.items():
                lines.append(
                    f"  {key}: {as_yaml(value)}  # {self.origins.get((section, key), DEFAULT)}"
                )
        return "\n".join(lines) + "\n"


def as_yaml(value: Any) -> str:
    """A value on one line, as YAML."""
    dumped = yaml.dump(
        [value],
        Dumper=_OneLineDumper,
        default_flow_style=True,
        allow_unicode=True,
        width=math.inf,
        sort_keys=False,
    )
    return dumped.strip()[1:-1]


class _OneLineDumper(yaml.SafeDumper):
    """Escapes what YAML takes for line ends, which other quotes would fold."""


# so that text like 1e5 is written in quotes
_OneLineDumper.add_implicit_resolver(*plain_yaml.FLOAT_RESOLVER)
_OneLineDumper.add_representer(
    str,
    lambda dumper, text: dumper.represent_scalar(
        "tag:yaml.org,2002:str",
        text,
        style='"' if any(ch in "\n\r\x85\u2028\u2029\ufeff" for ch in text) else None,
    ),
)


def resolve(file: pathlib.Path | None, overrides: Settings | None = None) -> Resolved:
    """Reads the config file, lays `overrides` (flags, environment) over it and validates the whole.

    Raises:
        ConfigError: lists every problem, each with its place, the value met, what is allowed and a
            suggestion.
    """
    problems = Problems()
    settings: Settings = {}
    if file is not None:
        settings.update(_read_yaml(file, problems))
    _drop_replaced_plugin_keys(settings, overrides or {})
    settings.update(overrides or {})
    classes = {
        section: _section_class(section, settings, problems)
        for section in schema.Config.model_fields
    }
    sections = {
        section: _validate(section, cls, settings, problems)
        for section, cls in classes.items()
        if cls is not None
    }
    if not problems.count:
        for problem in _contradictions(sections):
            problems.add(problem)
    problems.refuse()
    return Resolved(
        schema.Config(**sections), {name: setting.origin for name, setting in settings.items()}
    )


class Problems:
    """All that is wrong with a config; only the first few are put into words."""

    def __init__(self) -> None:
        self.count = 0
        self.told: set[tuple[str, str]] = set()  # settings of which one is enough
        self._said: list[str] = []

    def add(self, problem: str | Callable[[], str], setting: tuple[str, str] | None = None) -> None:
        """Counts a problem.

        Args:
            problem: the sentence; or, as a suggestion takes time to find, what makes it, asked only
                where it is shown.
            setting: whose value is then not judged any further.
        """
        self.count += 1
        if setting is not None:
            self.told.add(setting)
        if len(self._said) < PROBLEMS_SHOWN:
            self._said.append(problem if isinstance(problem, str) else problem())

    def refuse(self) -> None:
        """Raises ConfigError with all of them, where there are any."""
        if not self.count:
            return
        heading = f"{self.count:,} problems" if self.count > 1 else "1 problem"
        raise ConfigError(
            f"{heading} in the configuration:\n" + "\n".join(f"  {line}" for line in self.lines())
        )

    def lines(self) -> list[str]:
        """The first problems, and how many more there are."""
        more = self.count - len(self._said)
        return [*self._said, *([f"and {more:,} more"] if more else [])]


def _drop_replaced_plugin_keys(settings: Settings, overrides: Settings) -> None:
    """Where a flag names another source or head than the file, the file's keys that only the file's
    one has go with it.
    """
    for section, (key, _) in schema.PLUGIN_KEYS.items():
        before = settings.get((section, key))
        after = overrides.get((section, key))
        if before is None or after is None:
            continue
        old, new = (_plugin_class(section, setting.value) for setting in (before, after))
        if old is not None and new is not None:
            for name in set(old.model_fields) - set(new.model_fields):
                settings.pop((section, name), None)


def _plugin_class(section: str, name: object) -> type[schema.Section] | None:
    """The class of a head's or a source's name; None where it is no such name, or no text."""
    return schema.section_classes(section).get(name) if isinstance(name, str) else None


def _read_yaml(file: pathlib.Path, problems: Problems) -> Settings:
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
        names = [path.name for path in itertools.islice(file.parent.glob("*.yaml"), FILES_SEARCHED)]
        if near := difflib.get_close_matches(file.name, names, n=1):
            return f" Did you mean {shown_path(file.parent / near[0])}?"
    return ""


def _section_settings(
    section: str, node: yaml.Node, file: pathlib.Path, problems: Problems
) -> Settings:
    place = _place(file, plain_yaml.line_of(node))
    if section not in schema.Config.model_fields:
        problems.add(
            lambda: (
                f"{shown_name(section)}: unknown section"
                f" ({place}).{hint(section) or _suggest_key(section, section)}"
            )
        )
        return {}
    if not isinstance(node, yaml.MappingNode):
        value = _value(node, section, "", file, problems)
        if value is not None:
            said = hint(value) if isinstance(value, str) else ""
            problems.add(
                f"{section}: expected a section with keys. Received {shown_value(value)}"
                f" ({place}).{said}"
            )
        return {}
    settings: Settings = {}
    for key, value_node in _pairs(node, file, f"{section}.", problems):
        value = _value(value_node, section, key, file, problems)
        settings[section, key] = Setting(value, _place(file, plain_yaml.line_of(value_node)))
    return settings


def _place(file: pathlib.Path, line: int | None) -> str:
    return f"{shown_path(file)}:{line}" if line else shown_path(file)


def _pairs(
    node: yaml.MappingNode, file: pathlib.Path, prefix: str, problems: Problems
) -> Iterator[tuple[str, yaml.Node]]:
    first_lines: dict[str, int] = {}
    for key_node, value_node in node.value:
        line = plain_yaml.line_of(key_node)
        try:
            key = plain_yaml.name_of(key_node)
        except YamlProblemError as error:
            problems.add(f"{prefix.rstrip('.') or 'the config'}: {error} ({_place(file, line)}).")
            continue
        if key in first_lines:  # YAML readers keep the last one and say nothing
            both = f"{_place(file, first_lines[key])} and {_place(file, line)}"
            problems.add(f"{prefix}{shown_name(key)}: given twice ({both}). Keep one.")
        first_lines[key] = line
        yield key, value_node


def _value(
    node: yaml.Node, section: str, key: str, file: pathlib.Path, problems: Problems
) -> object:
    """None where it is no plain value, which is then a problem."""
    try:
        return plain_yaml.construct(node, schema.annotations_of(section, key))
    except YamlProblemError as error:
        name = f"{section}.{shown_name(key)}" if key else section
        problems.add(
            f"{name}: not a plain value: {error} ({_place(file, error.line)}).", (section, key)
        )
        return None


def _section_class(
    section: str, settings: Settings, problems: Problems
) -> type[schema.Section] | None:
    classes = schema.section_classes(section)
    if section not in schema.PLUGIN_KEYS:
        return classes[""]
    key = schema.PLUGIN_KEYS[section][0]
    setting = settings.get((section, key))
    if (section, key) in problems.told:
        return None
    if setting is None:
        problems.add(f"{section}.{key}: missing. Expected one of {', '.join(classes)}.")
        return None
    found = _plugin_class(section, setting.value)
    if found is None:
        problems.add(
            f"{section}.{key}: expected one of {', '.join(classes)}. Received"
            f" {shown_value(setting.value)} ({setting.origin})."
            + suggest(str(setting.value), list(classes))
        )
    return found


def _validate(
    section: str, cls: type[schema.Section], settings: Settings, problems: Problems
) -> schema.Section | None:
    values = {key: setting.value for (name, key), setting in settings.items() if name == section}
    booleans = {key for key, value in values.items() if not _may_be(value, key, cls)}
    for key in sorted(booleans):
        problems.add(_problem(section, key, cls, {"type": "bool"}, settings[section, key]))
    seen = booleans | {key for name, key in problems.told if name == section}
    try:
        checked = cls.model_validate(
            {key: value for key, value in values.items() if key not in seen}
        )
        return None if seen else checked
    except pydantic.ValidationError as error:
        for detail in error.errors():
            key = str(detail["loc"][0]) if detail["loc"] else ""
            if key not in seen:  # a union reports each of its members
                seen.add(key)
                problems.add(
                    functools.partial(
                        _problem, section, key, cls, detail, settings.get((section, key))
                    )
                )
        return None


def _may_be(value: object, key: str, cls: type[schema.Section]) -> bool:
    """Whether pydantic may judge a value: it would read true as 1, or as the text "True"."""
    if not isinstance(value, bool) or key not in cls.model_fields:
        return True
    return "true or false" in schema.describe_type(cls.model_fields[key])


def _problem(
    section: str, key: str, cls: type[schema.Section], detail: Any, setting: Setting | None
) -> str:
    name = f"{section}.{shown_name(key)}" if key else section
    if detail["type"] == "extra_forbidden":
        return (
            f"{name}: unknown key"
            f" ({setting.origin if setting else DEFAULT}).{_suggest_key(section, key)}"
        )
    if detail["type"] == "missing":
        field = cls.model_fields[key]
        return f"{name}: missing. Expected {schema.describe_type(field)}: {field.description}."
    received = f" Received {shown_value(setting.value)} ({setting.origin})." if setting else ""
    if detail["type"] in ("value_error", "assertion_error"):
        return f"{name}: {detail['ctx']['error']}.{received}"
    expected = schema.describe_type(cls.model_fields[key])
    return f"{name}: expected {expected}.{received}{_boolean_hint(expected, setting)}"


def _boolean_hint(expected: str, setting: Setting | None) -> str:
    if (
        setting is None
        or not _has_boolean(setting.value)
        or not re.search(r"\btext\b|\bone of\b", expected)
    ):
        return ""
    return " YAML reads yes, no, on and off as true and false: put them in quotes."


def _has_boolean(value: object) -> bool:
    parts = (
        [*value, *value.values()]
        if isinstance(value, dict)
        else value
        if isinstance(value, list)
        else [value]
    )
    return any(isinstance(part, bool) for part in parts)


def _suggest_key(section: str, key: str) -> str:
    """Where else the key exists, or which known key is nearest.

    A section that is none is its own key.
    """
    if (
        section == key
        and (meant := unicodedata.normalize("NFKC", section[:LONGEST_NAME]).strip().lower())
        in schema.Config.model_fields
    ):
        return f" Did you mean {meant}?"
    homes: dict[str, list[str]] = {}
    for other in schema.Config.model_fields:
        for name, cls in schema.section_classes(other).items():
            for field in cls.model_fields:
                homes.setdefault(f"{other}.{field}", []).append(name)
    name = f"{section}.{key}"
    # a section that is none, with a dot in it
    if name == f"{section}.{section}" and section in homes:
        below, _, inner = section.partition(".")
        return f" Without the dot: {below}: {{{inner}: …}}."
    if name in homes:
        return f" It belongs to {PLUGIN_WORDS[section]} {', '.join(homes[name])}."
    return suggest_setting(f"{section}.{key}", [*homes, *schema.Config.model_fields])


def _contradictions(sections: dict[str, Any]) -> list[str]:
    """What no single section can see."""
    train, data = sections["train"], sections["data"]
    problems = []
    if train.epochs is not None and train.steps is not None:
        problems.append(
            f"train.epochs: give epochs or steps, not both. Received epochs {train.epochs:g} and"
            f" steps {train.steps}."
        )
    if train.micro_batches > train.global_batch_size:
        problems.append(
            f"train.micro_batches: expected at most {train.global_batch_size:,}, the examples of a"
            f" step (train.global_batch_size). Received {train.micro_batches:,}."
        )
    longest_answer = getattr(sections["head"], "max_answer_tokens", None)
    usual = (
        type(sections["head"]).model_fields["max_answer_tokens"].default
        if longest_answer is not None
        else 0
    )
    # each length is compared with every place of a row
    if longest_answer is not None and longest_answer > max(data.seq_len, usual):
        problems.append(
            f"head.max_answer_tokens: expected at most {data.seq_len:,}, the tokens of a row"
            f" (data.seq_len). Received {longest_answer:,}."
        )
    if train.early_stopping_patience and data.validation is None:
        problems.append(
            "train.early_stopping_patience: needs data.validation (a path, a split, or a fraction"
            " such as 0.1)."
        )
    if train.best_metric and data.validation is None:
        problems.append(
            "train.best_metric: needs data.validation (a path, a split, or a fraction such as 0.1)."
        )
    held_out = [value for value in (data.validation, data.test) if isinstance(value, float)]
    if sum(held_out) >= 1:
        problems.append(
            "data.validation + data.test: the fractions held out of train must sum to less than 1."
            f" Received {sum(held_out):g}."
        )
    if data.stream_characters is not None:
        problems += [
            f"data.stream_characters: {problem}"
            for problem, found in (
                (
                    "how many steps a pass has is not known beforehand. Set train.steps.",
                    train.steps is None,
                ),
                (
                    (
                        "a fraction of train cannot be held out of what is not read beforehand."
                        " Name files in data.validation and data.test."
                    ),
                    held_out,
                ),
                ("data.limit is of what is stored. Remove one of the two.", data.limit is not None),
                (
                    (
                        "an early stop or a best checkpoint needs evaluations on the way. Set"
                        " train.evaluate_every_steps."
                    ),
                    (train.early_stopping_patience or train.best_metric)
                    and not train.evaluate_every_steps,
                ),
            )
            if found
        ]
    return problems


def suggest_setting(name: str, known: list[str]) -> str:
    """What a setting is called here: in another section, by another library, or nearly so."""
    # full-width letters are meant as what they look like
    name = unicodedata.normalize("NFKC", name[:LONGEST_NAME]).lower()
    key = name.rpartition(".")[2]
    exact = next((other for other in known if other.endswith(f".{key}")), ELSEWHERE.get(key))
    return f" Did you mean {exact}?" if exact else suggest(name, known)


def suggest(value: str, known: list[str]) -> str:
    """Asks whether the nearest known value was meant, behind a space; "" where none is near."""
    near = difflib.get_close_matches(value[:LONGEST_NAME], known, n=1, cutoff=0.5)
    return f" Did you mean {near[0]}?" if near else ""
