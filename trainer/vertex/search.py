"""Hyperparameter search: --tune and --goal as Vertex AI's StudySpec, checked against the schema of
the settings.

Source: https://cloud.google.com/vertex-ai/docs/reference/rest/v1/StudySpec.
"""

from __future__ import annotations

import math
import re
from typing import Any

import pydantic

from trainer.errors import ConfigError, shown_value
from trainer.heads._judged import JUDGED
from trainer.settings import plain_yaml
from trainer.settings.schema import Config
from trainer.settings.suggestions import suggest
from trainer.settings.types_in_words import describe_type

SCALES = {
    "linear": "UNIT_LINEAR_SCALE",
    "log": "UNIT_LOG_SCALE",
    "reverse_log": "UNIT_REVERSE_LOG_SCALE",
}
GOALS = ("maximize", "minimize")
RANGE = re.compile(r"(?P<low>[^.|]+(?:\.\d[^.|]*)?)\.\.(?P<high>.+)")
EXAMPLE = (
    "such as train.learning_rate:1e-5..1e-4:log, train.epochs:2..4 or"
    " train.global_batch_size:16|32|64"
)


def study_spec(tune: str, goal: str, config: Config) -> dict[str, Any]:
    """The StudySpec, as its JSON.

    Args:
        tune: SETTING:LOW..HIGH[:SCALE] or SETTING:A|B|C, separated by commas.
        goal: maximize:METRIC or minimize:METRIC.
        config: that is searched around.
    Raises:
        ConfigError: lists every problem: unknown settings, values that a setting does not allow, a
            log scale from zero, …
    """
    problems: list[str] = []
    parameters = [
        parameter
        for part in tune.split(",")
        if (parameter := _parameter(part.strip(), config, problems))
    ]
    names = [parameter["parameterId"] for parameter in parameters]
    problems += [
        f"--tune: {name} is given twice."
        for name in sorted({name for name in names if names.count(name) > 1})
    ]
    aim, _, metric = goal.partition(":")
    if aim not in GOALS or not re.fullmatch(r"validation\.\w+", metric):
        problems.append(
            "--goal: expected maximize:validation.METRIC or minimize:validation.METRIC, such as"
            f" maximize:validation.accuracy. Received {shown_value(goal)}."
        )
    elif config.data.validation is None:
        problems.append(
            "data.validation: missing. A search compares trials by it: give a path, a split or a"
            " fraction such as 0.1."
        )
    elif metric.removeprefix("validation.") in JUDGED and config.train.best_metric not in JUDGED:
        problems.append(
            f"--goal: {metric} is measured while training only where the checkpoint is picked by"
            f" one of {', '.join(JUDGED)}. Set"
            f" --train.best_metric={metric.removeprefix('validation.')}."
        )
    if problems:
        raise ConfigError("\n".join(problems))
    # Where a run keeps its best checkpoint, the best measurement is that of the model that is
    # exported.
    chosen = "BEST_MEASUREMENT" if config.train.best_metric else "LAST_MEASUREMENT"
    return {
        "metrics": [{"metricId": metric, "goal": aim.upper()}],
        "parameters": parameters,
        "measurementSelectionType": chosen,
    }


def _parameter(text: str, config: Config, problems: list[str]) -> dict[str, Any] | None:
    name, _, values = text.partition(":")
    setting = _setting(name, config, problems)
    if setting is None:
        return None
    if not values:
        problems.append(
            f"--tune: {shown_value(text)}: no values. Expected SETTING:LOW..HIGH[:SCALE] or"
            f" SETTING:A|B|C, {EXAMPLE}."
        )
        return None
    found = (
        _choices(setting, values, config, problems)
        if "|" in values or ".." not in values
        else _range(setting, values, config, problems)
    )
    return found and {"parameterId": setting, **found}


def _setting(name: str, config: Config, problems: list[str]) -> str | None:
    """A dotted name; the section may be left out where only one has the key."""
    known = [
        f"{section}.{key}"
        for section in Config.model_fields
        for key in type(getattr(config, section)).model_fields
    ]
    found = [full for full in known if name in (full, full.partition(".")[2])]
    if len(found) == 1:
        return found[0]
    near = f" Did you mean {' or '.join(found)}?" if found else suggest(name, known)
    problems.append(
        f"--tune: {'ambiguous' if found else 'unknown'} setting {shown_value(name)}.{near}"
    )
    return None


def _range(setting: str, values: str, config: Config, problems: list[str]) -> dict[str, Any] | None:
    spread, _, scale = values.partition(":")
    match = RANGE.fullmatch(spread)
    low, high = (_number(text) for text in match.group("low", "high")) if match else (None, None)
    where = f"--tune: {setting}:{values}"
    if low is None or high is None or not low < high:
        problems.append(f"{where}: expected LOW..HIGH, two numbers, the lower first, {EXAMPLE}.")
        return None
    if scale and scale not in SCALES:
        problems.append(
            f"{where}: unknown scale {shown_value(scale)}. Expected one of {', '.join(SCALES)}."
        )
        return None
    if scale in ("log", "reverse_log") and low <= 0:
        problems.append(f"{where}: a {scale} scale begins above 0.")
        return None
    whole = (
        isinstance(low, int)
        and isinstance(high, int)
        and _allowed(setting, 0.5 * (low + high) + 0.25, config) is not None
    )
    if not _are_allowed(setting, [low, high], where, config, problems):
        return None
    kind = "integerValueSpec" if whole else "doubleValueSpec"
    bounds = (
        {"minValue": str(low), "maxValue": str(high)}
        if whole
        else {"minValue": float(low), "maxValue": float(high)}
    )
    return {kind: bounds, "scaleType": SCALES[scale or "linear"]}


def _choices(
    setting: str, values: str, config: Config, problems: list[str]
) -> dict[str, Any] | None:
    choices = values.split("|")
    numbers = [_number(choice) for choice in choices]
    given = [
        choice if number is None else number
        for choice, number in zip(choices, numbers, strict=True)
    ]
    if not _are_allowed(setting, given, f"--tune: {setting}:{values}", config, problems):
        return None
    if None in numbers:
        return {"categoricalValueSpec": {"values": choices}}
    return {
        "discreteValueSpec": {
            "values": sorted(float(number) for number in numbers if number is not None)
        },
        "scaleType": SCALES["linear"],
    }


def _are_allowed(
    setting: str, values: list[Any], where: str, config: Config, problems: list[str]
) -> bool:
    for value in values:
        if (problem := _allowed(setting, value, config)) is not None:
            problems.append(f"{where}: {problem} Received {shown_value(value)}.")
            return False
    return True


def _allowed(setting: str, value: Any, config: Config) -> str | None:
    """What is wrong with a value of a setting; None where nothing is."""
    section, key = setting.split(".")
    current = getattr(config, section)
    try:
        type(current).model_validate({**current.model_dump(), key: value})
    except pydantic.ValidationError:
        return f"{setting} accepts {describe_type(type(current).model_fields[key])}."
    return None


def _number(text: str) -> float | int | None:
    try:
        value = plain_yaml.parse(text)
    except plain_yaml.YamlProblemError:
        return None
    return (
        value
        if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
        else None
    )
