"""From a YAML file, the environment and flags to one validated Config that knows where each value came from."""

from __future__ import annotations

import dataclasses
import difflib
import math
import pathlib
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import pydantic
import yaml

from trainer import config as schema
from trainer.errors import ConfigError
from trainer.mirror import shown

DEFAULT = "default"
# What Hugging Face, Keras and others call a setting.
ELSEWHERE = {
    **dict.fromkeys(("model", "checkpoint", "model_name_or_path", "preset"), "backbone.weights"), "tokenizer_name": "backbone.tokenizer",
    **dict.fromkeys(("train_file", "train_data", "train_path", "dataset"), "data.train"), "dataset_name": "data.tfds_name",
    **dict.fromkeys(("validation_file", "validation_data", "valid", "dev", "eval_file"), "data.validation"), "test_file": "data.test",
    **dict.fromkeys(("max_length", "max_seq_length", "max_seq_len", "sequence_length", "block_size", "max_len"), "data.seq_len"),
    **dict.fromkeys(("stride", "doc_stride"), "data.window_overlap"), "truncation": "data.overflow", "max_train_samples": "data.limit",
    **dict.fromkeys(("text_column", "text_column_name"), "data.text"), **dict.fromkeys(("label_column", "label_column_name", "labels_column"), "data.label"),
    "num_train_epochs": "train.epochs", "num_epochs": "train.epochs", "max_steps": "train.steps",
    **dict.fromkeys(("batch_size", "train_batch_size", "per_device_train_batch_size"), "train.global_batch_size"),
    **dict.fromkeys(("eval_batch_size", "per_device_eval_batch_size"), "train.evaluation_batch_size"),
    "gradient_accumulation_steps": "train.micro_batches", "lr": "train.learning_rate", "lr_scheduler_type": "train.schedule",
    **dict.fromkeys(("warmup_ratio", "warmup_steps"), "train.warmup_fraction"), "adam_beta1": "train.beta_1", "adam_beta2": "train.beta_2",
    "adam_epsilon": "train.epsilon", "optim": "train.optimizer", **dict.fromkeys(("max_grad_norm", "clipnorm", "global_clipnorm"), "train.clip_norm"),
    **dict.fromkeys(("fp16", "bf16", "mixed_precision", "dtype"), "train.precision"), "jit_compile": "train.xla", "logging_steps": "train.log_every_steps",
    "eval_steps": "train.evaluate_every_steps", "save_steps": "train.checkpoint_every_steps", "save_total_limit": "train.keep_checkpoints",
    "metric_for_best_model": "train.best_metric", "patience": "train.early_stopping_patience", "max_answer_length": "head.max_answer_tokens",
    "max_query_length": "head.max_question_tokens", "n_best_size": "head.n_best", "mlm_probability": "head.mask_probability", "beams": "head.num_beams",
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
        """The whole config as YAML, each value followed by its origin in a comment; reads back to the same config."""
        lines = []
        for section, values in self.config.model_dump().items():
            lines.append(f"{section}:")
            for key, value in values.items():
                lines.append(f"  {key}: {as_yaml(value)}  # {self.origins.get((section, key), DEFAULT)}")
        return "\n".join(lines) + "\n"


def as_yaml(value: Any) -> str:
    """A value on one line, as YAML."""
    dumped = yaml.dump([value], Dumper=_OneLineDumper, default_flow_style=True, allow_unicode=True, width=math.inf, sort_keys=False)
    return dumped.strip()[1:-1]


class _OneLineDumper(yaml.SafeDumper):
    """Escapes what YAML takes for line ends, which other quotes would fold."""


_OneLineDumper.add_representer(str, lambda dumper, text: dumper.represent_scalar(
    "tag:yaml.org,2002:str", text, style='"' if any(ch in "\n\r\x85\u2028\u2029\ufeff" for ch in text) else None))


def resolve(file: pathlib.Path | None, overrides: Settings | None = None) -> Resolved:
    """Reads the config file, lays `overrides` (flags, environment) over it and validates the whole.

    Raises:
        ConfigError: lists every problem, each with its place, the value met, what is allowed and a suggestion.
    """
    problems: list[str] = []
    settings: Settings = {}
    if file is not None:
        settings.update(_read_yaml(file, problems))
    _drop_replaced_plugin_keys(settings, overrides or {})
    settings.update(overrides or {})
    classes = {section: _section_class(section, settings, problems) for section in schema.Config.model_fields}
    sections = {section: _validate(section, cls, settings, problems) for section, cls in classes.items() if cls is not None}
    if not problems:
        problems += _contradictions(sections)
    if problems:
        count = f"{len(problems)} problems" if len(problems) > 1 else "1 problem"
        raise ConfigError(f"{count} in the configuration:\n" + "\n".join(f"  {problem}" for problem in problems))
    return Resolved(schema.Config(**sections), {name: setting.origin for name, setting in settings.items()})


def _drop_replaced_plugin_keys(settings: Settings, overrides: Settings) -> None:
    """Where a flag names another source or head than the file, the file's keys that only the file's one has go with it."""
    for section, (key, _) in schema.PLUGIN_KEYS.items():
        before, after = settings.get((section, key)), overrides.get((section, key))
        if before is None or after is None or before.value == after.value:
            continue
        classes = schema.section_classes(section)
        if before.value in classes and after.value in classes:
            only_before = set(classes[before.value].model_fields) - set(classes[after.value].model_fields)
            for name in only_before:
                settings.pop((section, name), None)


def _read_yaml(file: pathlib.Path, problems: list[str]) -> Settings:
    try:
        text = file.read_text(encoding="utf-8-sig")
        root = yaml.compose(text, Loader=yaml.SafeLoader)
    except FileNotFoundError:
        near = difflib.get_close_matches(file.name, [path.name for path in file.parent.glob("*.yaml")], n=1)
        raise ConfigError(f"--config={file}: no such file." + (f" Did you mean {file.parent / near[0]}?" if near else "")) from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"--config={file}: cannot be read: {error}") from None
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        raise ConfigError(f"{file}:{mark.line + 1}: not valid YAML: {error.problem or error.context}") from None
    except yaml.YAMLError as error:  # a character that YAML does not have
        raise ConfigError(f"{file}: not valid YAML: {str(error).splitlines()[0]}") from None
    if root is None:
        return {}
    if not isinstance(root, yaml.MappingNode):
        raise ConfigError(f"{file}:1: expected sections ({', '.join(schema.Config.model_fields)}), each with its keys. Received {text[:40]!r}")
    _refuse_tag(root, file)
    settings: Settings = {}
    for section, node in _pairs(root, file, "", problems):
        _refuse_tag(node, file)
        if section not in schema.Config.model_fields:
            problems.append(f"{section}: unknown section ({file}:{node.start_mark.line + 1})." + _suggest_key(section, section))
        elif isinstance(node, yaml.MappingNode):
            for key, value in _pairs(node, file, f"{section}.", problems):
                settings[section, key] = Setting(_construct(value, file), f"{shown(file)}:{value.start_mark.line + 1}")
        elif not (isinstance(node, yaml.ScalarNode) and node.tag.endswith(":null")):
            problems.append(f"{section}: expected a section with keys. Received {_construct(node, file)!r} ({file}:{node.start_mark.line + 1}).")
    return settings


def _pairs(node: yaml.MappingNode, file: pathlib.Path, prefix: str, problems: list[str]) -> Iterator[tuple[str, yaml.Node]]:
    first_lines: dict[str, int] = {}
    for key_node, value_node in node.value:
        key, line = str(key_node.value), key_node.start_mark.line + 1
        if key in first_lines:  # YAML readers keep the last one and say nothing
            problems.append(f"{prefix}{key}: given twice ({file}:{first_lines[key]} and {file}:{line}). Keep one.")
        first_lines[key] = line
        yield key, value_node


def _refuse_tag(node: yaml.Node, file: pathlib.Path) -> None:
    if isinstance(node, yaml.MappingNode) and not node.tag.endswith(":map"):  # the tag of a section, which is never constructed
        raise ConfigError(f"{file}:{node.start_mark.line + 1}: not a plain YAML value: the tag {node.tag!r}. Tags are not read.")


def _construct(node: yaml.Node, file: pathlib.Path) -> Any:
    loader = yaml.SafeLoader("")
    try:
        return loader.construct_document(node)
    except yaml.MarkedYAMLError as error:
        raise ConfigError(f"{file}:{node.start_mark.line + 1}: not a plain YAML value: {error.problem}. Tags are not read.") from None
    except ValueError as error:  # such as 2020-13-45, which YAML takes for a date
        raise ConfigError(f"{file}:{node.start_mark.line + 1}: not a plain YAML value: {error}. Put text between quotes.") from None


def _section_class(section: str, settings: Settings, problems: list[str]) -> type[schema.Section] | None:
    classes = schema.section_classes(section)
    if section not in schema.PLUGIN_KEYS:
        return classes[""]
    key = schema.PLUGIN_KEYS[section][0]
    setting = settings.get((section, key))
    if setting is None:
        problems.append(f"{section}.{key}: missing. Expected one of {', '.join(classes)}.")
        return None
    if not isinstance(setting.value, str) or setting.value not in classes:
        problems.append(f"{section}.{key}: expected one of {', '.join(classes)}. Received {setting.value!r} ({setting.origin})."
                        + suggest(str(setting.value), list(classes)))
        return None
    return classes[setting.value]


def _validate(section: str, cls: type[schema.Section], settings: Settings, problems: list[str]) -> schema.Section | None:
    values = {key: setting.value for (name, key), setting in settings.items() if name == section}
    # pydantic would read true as 1, or as the text "True".
    seen = {key for key, value in values.items() if isinstance(value, bool) and key in cls.model_fields
            and "true or false" not in schema.describe_type(cls.model_fields[key])}
    problems += [_problem(section, key, cls, {"type": "bool"}, settings[section, key]) for key in seen]
    try:
        checked = cls.model_validate({key: value for key, value in values.items() if key not in seen})
        return None if seen else checked
    except pydantic.ValidationError as error:
        for detail in error.errors():
            key = str(detail["loc"][0]) if detail["loc"] else ""
            if key not in seen:  # a union reports each of its members
                seen.add(key)
                problems.append(_problem(section, key, cls, detail, settings.get((section, key))))
        return None


def _problem(section: str, key: str, cls: type[schema.Section], detail: Any, setting: Setting | None) -> str:
    name = f"{section}.{key}" if key else section
    if detail["type"] == "extra_forbidden":
        return f"{name}: unknown key ({setting.origin if setting else DEFAULT})." + _suggest_key(section, key)
    if detail["type"] == "missing":
        field = cls.model_fields[key]
        return f"{name}: missing. Expected {schema.describe_type(field)}: {field.description}."
    received = f" Received {setting.value!r} ({setting.origin})." if setting else ""
    if detail["type"] in ("value_error", "assertion_error"):
        return f"{name}: {detail['ctx']['error']}.{received}"
    expected = schema.describe_type(cls.model_fields[key])
    quote = " YAML reads yes, no, on and off as true and false: put them in quotes." if "text" in expected and setting and _has_boolean(setting.value) else ""
    return f"{name}: expected {expected}.{received}{quote}"


def _has_boolean(value: Any) -> bool:
    parts = [*value, *value.values()] if isinstance(value, dict) else value if isinstance(value, list) else [value]
    return any(isinstance(part, bool) for part in parts)


def _suggest_key(section: str, key: str) -> str:
    """Where else the key exists, or which known key is nearest."""
    homes: dict[str, list[str]] = {}
    for other in schema.Config.model_fields:
        for name, cls in schema.section_classes(other).items():
            for field in cls.model_fields:
                homes.setdefault(f"{other}.{field}", []).append(name)
    if f"{section}.{key}" in homes:
        return f" It belongs to {schema.PLUGIN_KEYS[section][0]} {', '.join(homes[f'{section}.{key}'])}."
    return suggest_setting(f"{section}.{key}", [*homes, *schema.Config.model_fields])


def _contradictions(sections: dict[str, Any]) -> list[str]:
    """What no single section can see."""
    train, data = sections["train"], sections["data"]
    problems = []
    if train.epochs is not None and train.steps is not None:
        problems.append(f"train.epochs: give epochs or steps, not both. Received epochs {train.epochs:g} and steps {train.steps}.")
    if train.early_stopping_patience and data.validation is None:
        problems.append("train.early_stopping_patience: needs data.validation (a path, a split, or a fraction such as 0.1).")
    if train.best_metric and data.validation is None:
        problems.append("train.best_metric: needs data.validation (a path, a split, or a fraction such as 0.1).")
    held_out = [value for value in (data.validation, data.test) if isinstance(value, float)]
    if sum(held_out) >= 1:
        problems.append(f"data.validation + data.test: the fractions held out of train must sum to less than 1. Received {sum(held_out):g}.")
    if data.stream_characters is not None:
        problems += [f"data.stream_characters: {problem}" for problem, found in (
            ("how many steps a pass has is not known beforehand. Set train.steps.", train.steps is None),
            ("a fraction of train cannot be held out of what is not read beforehand. Name files in data.validation and data.test.", held_out),
            ("data.limit is of what is stored. Remove one of the two.", data.limit is not None),
            ("an early stop or a best checkpoint needs evaluations on the way. Set train.evaluate_every_steps.",
             (train.early_stopping_patience or train.best_metric) and not train.evaluate_every_steps)) if found]
    return problems


def suggest_setting(name: str, known: list[str]) -> str:
    """What a setting is called here: in another section, by another library, or nearly so."""
    key = name.rpartition(".")[2]
    exact = next((other for other in known if other.endswith(f".{key}")), ELSEWHERE.get(key.lower()))
    return f" Did you mean {exact}?" if exact else suggest(name, known)


def suggest(value: str, known: list[str]) -> str:
    """" Did you mean X?", or nothing where no known value is near."""
    near = difflib.get_close_matches(value, known, n=1, cutoff=0.5)
    return f" Did you mean {near[0]}?" if near else ""
