"""Hyperparameter search: --tune and --goal as Vertex AI's StudySpec.

They are checked against the schema of the settings.
Source: https://cloud.google.com/vertex-ai/docs/reference/rest/v1/StudySpec.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence

import pydantic

from trainer.errors import ConfigError, shown_value
from trainer.heads._judged import JUDGED
from trainer.settings import plain_yaml
from trainer.settings.schema import Config
from trainer.settings.suggestions import suggest
from trainer.settings.types_in_words import describe_type
from trainer.vertex.request import Json

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


def study_spec(tune: str, goal: str, config: Config) -> Json:
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
    parameters = _parameters(tune, config, problems)
    aim, _, metric = goal.partition(":")
    problems += _goal_problems(goal, config)
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


def _goal_problems(goal: str, config: Config) -> list[str]:
    """What is wrong with --goal, or with the config for it."""
    aim, _, metric = goal.partition(":")
    name = metric.removeprefix("validation.")
    if aim not in GOALS or not re.fullmatch(r"validation\.\w+", metric):
        return [
            "--goal: expected maximize:validation.METRIC or minimize:validation.METRIC, such as"
            f" maximize:validation.accuracy. Received {shown_value(goal)}."
        ]
    if config.data.validation is None:
        return [
            "data.validation: missing. A search compares trials by it: give a path, a split or a"
            " fraction such as 0.1."
        ]
    if name in JUDGED and config.train.best_metric not in JUDGED:
        return [
            f"--goal: {metric} is measured while training only where the checkpoint is picked by"
            f" one of {', '.join(JUDGED)}. Set --train.best_metric={name}."
        ]
    return []


def _parameters(tune: str, config: Config, problems: list[str]) -> list[Json]:
    """What --tune searches; adds what is wrong with it to the problems."""
    parameters: dict[str, Json] = {}
    repeated = set()
    for part in tune.split(","):
        parsed = _parameter(part.strip(), config, problems)
        if parsed is None:
            continue
        setting, values = parsed
        if setting in parameters:
            repeated.add(setting)
        parameters[setting] = {"parameterId": setting, **values}
    problems += [f"--tune: {setting} is given twice." for setting in sorted(repeated)]
    return list(parameters.values())


def _parameter(text: str, config: Config, problems: list[str]) -> tuple[str, Json] | None:
    """The setting of one part of --tune, and its values; None where something is wrong."""
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
    is_range = ".." in values and "|" not in values
    read = _range if is_range else _choices
    spec = read(setting, values, config, problems)
    return None if spec is None else (setting, spec)


def _setting(name: str, config: Config, problems: list[str]) -> str | None:
    """A dotted name; the section may be left out where only one has the key."""
    known = [
        f"{section}.{key}"
        for section in Config.model_fields
        for key in type(getattr(config, section)).model_fields
    ]
    matches = [setting for setting in known if name in (setting, setting.partition(".")[2])]
    if len(matches) == 1:
        return matches[0]
    if matches:
        meant = " or ".join(matches)
        problems.append(f"--tune: ambiguous setting {shown_value(name)}. Did you mean {meant}?")
    else:
        problems.append(f"--tune: unknown setting {shown_value(name)}.{suggest(name, known)}")
    return None


def _range(setting: str, values: str, config: Config, problems: list[str]) -> Json | None:
    """LOW..HIGH[:SCALE], as the API has it; None where something is wrong."""
    where = f"--tune: {setting}:{values}"
    spread, _, scale = values.partition(":")
    low, high = _bounds(spread)
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
    if not _are_allowed(setting, [low, high], where, config, problems):
        return None
    scale_type = SCALES[scale or "linear"]
    bounds: Json = {"minValue": float(low), "maxValue": float(high)}
    kind = "doubleValueSpec"
    if _are_whole(setting, low, high, config):
        bounds = {"minValue": str(low), "maxValue": str(high)}
        kind = "integerValueSpec"
    return {kind: bounds, "scaleType": scale_type}


def _bounds(spread: str) -> tuple[float | int | None, float | int | None]:
    """The numbers of LOW..HIGH; None for what is none."""
    match = RANGE.fullmatch(spread)
    if match is None:
        return None, None
    return _number(match["low"]), _number(match["high"])


def _are_whole(setting: str, low: float | int, high: float | int, config: Config) -> bool:
    """Whether both are whole numbers, and the setting takes no others."""
    if not isinstance(low, int) or not isinstance(high, int):
        return False
    between = 0.5 * (low + high) + 0.25
    return _problem(setting, between, config) is not None


def _choices(setting: str, values: str, config: Config, problems: list[str]) -> Json | None:
    """A|B|C, as the API has it; None where something is wrong."""
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
    ordered = sorted(float(number) for number in numbers if number is not None)
    return {"discreteValueSpec": {"values": ordered}, "scaleType": SCALES["linear"]}


def _are_allowed(
    setting: str,
    values: Sequence[str | float],
    where: str,
    config: Config,
    problems: list[str],
) -> bool:
    """Whether the setting takes all values; adds the first that it does not to the problems."""
    for value in values:
        problem = _problem(setting, value, config)
        if problem is not None:
            problems.append(f"{where}: {problem} Received {shown_value(value)}.")
            return False
    return True


def _problem(setting: str, value: str | float, config: Config) -> str | None:
    """What is wrong with a value of a setting; None where nothing is."""
    section, key = setting.split(".")
    current = getattr(config, section)
    try:
        type(current).model_validate({**current.model_dump(), key: value})
    except pydantic.ValidationError:
        return f"{setting} accepts {describe_type(type(current).model_fields[key])}."
    return None


def _number(text: str) -> float | int | None:
    """The finite number that a text is; None where it is none."""
    try:
        value = plain_yaml.parse(text)
    except plain_yaml.YamlProblemError:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return value if math.isfinite(value) else None
