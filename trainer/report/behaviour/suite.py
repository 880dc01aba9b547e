"""The behavioural tests of a file, and the cases that they make."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Literal, NamedTuple, TypeAlias

import pydantic
import yaml
from pydantic import ConfigDict, Field

from trainer.errors import ConfigError, shown_labels, shown_name, shown_value
from trainer.files.storage import config_file
from trainer.report.robustness.perturbations import PERTURBATIONS, perturbed
from trainer.settings import plain_yaml
from trainer.settings.schema import HeadSettings
from trainer.settings.settings_file import read_settings, shown_path

SLOT = re.compile(r"\{(\w+)\}")
MOST_TEXTS = 5000  # of all tests together
Template: TypeAlias = str | dict[str, str]  # of one text, or of each input by its name
Asked: TypeAlias = tuple[str, ...]  # a text for each input


MOVES = ("expect", "vary", "change", "raises", "lowers")
ALLOWED = {
    "minimum_functionality": ({"expect"},),
    "invariance": ({"vary"}, {"change"}),
    "direction": ({"vary", "raises"}, {"vary", "lowers"}),
}
NEEDED = {
    "minimum_functionality": "it needs expect, and neither vary, change, raises nor lowers",
    "invariance": "it needs vary or change, and neither expect, raises nor lowers",
    "direction": "it needs vary and one of raises and lowers, and neither expect nor change",
}


class BehaviouralTest(pydantic.BaseModel):
    """One test.

    Attributes:
        name: of it.
        kind: the answer must be a given one, the same, or move one way.
        templates: texts with slots such as {name}.
        slots: what may stand in each slot.
        vary: invariance, direction: the slot whose values are compared.
        change: invariance: a change of the text, in place of a slot.
        expect: minimum_functionality: the label or answer, or some fields of what predict gives.
        raises, lowers: direction: the label whose probability must not move the other way from
            one value of the slot to the next; of a number "value".
        within: how far a number or a probability may be off.
        at_least: the share of cases that must pass.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, coerce_numbers_to_str=True)

    name: str = Field(min_length=1)
    kind: Literal["minimum_functionality", "invariance", "direction"]
    templates: Annotated[list[Template], Field(min_length=1)]
    slots: dict[str, Annotated[list[str], Field(min_length=1)]] = {}
    vary: str | None = None
    change: str | None = None
    expect: str | dict[str, object] | None = None
    raises: str | None = None
    lowers: str | None = None
    within: Annotated[float, Field(ge=0)] = 0.0
    at_least: Annotated[float, Field(gt=0, le=1)] = 1.0

    @pydantic.model_validator(mode="after")
    def _whole(self) -> BehaviouralTest:
        used = {slot for text in self._texts() for slot in SLOT.findall(text)}
        if missing := sorted(used - set(self.slots)):
            raise ValueError(f"slots: {{{missing[0]}}} stands in a template and has no values")
        if idle := sorted(set(self.slots) - used):
            raise ValueError(f"slots: {idle[0]} stands in no template")
        given = {key for key in MOVES if getattr(self, key) is not None}
        if given not in ALLOWED[self.kind]:
            raise ValueError(NEEDED[self.kind])
        if self.vary is not None and len(self.slots.get(self.vary, ())) < 2:
            raise ValueError(f"vary: expected a slot with two values or more. Received {self.vary}")
        if self.change is not None and self.change not in PERTURBATIONS:
            raise ValueError(
                f"change: expected one of {', '.join(PERTURBATIONS)}. Received {self.change}"
            )
        return self

    def _texts(self) -> Iterator[str]:
        for template in self.templates:
            yield from template.values() if isinstance(template, dict) else (template,)


class Case(NamedTuple):
    """What is asked together.

    Attributes:
        asked: one example, or two whose answers are compared.
    """

    asked: tuple[Asked, ...]


def read_suite(path: str, inputs: Sequence[str]) -> list[BehaviouralTest]:
    """The tests of a file.

    Args:
        path: of the file, here or on gs://.
        inputs: the names of what the head takes.
    Raises:
        ConfigError: it cannot be read, or a test is none; names its line.
    """
    file = config_file(path, "report.behaviour")
    shown = f"report.behaviour: {shown_path(file)}"
    try:
        nodes = _tests_of(plain_yaml.compose(read_settings(file, key="report.behaviour")))
        tests = [_test(node, f"{shown}:{plain_yaml.line_of(node)}") for node in nodes]
    except plain_yaml.YamlProblemError as error:
        raise ConfigError(f"{shown}:{error.line or 1}: {error}") from None
    _check_names(tests, shown)
    for test in tests:
        for template in test.templates:
            _require_inputs(template, inputs, f"{shown}: {test.name}")
    cases = {test.name: cases_of(test, inputs) for test in tests}
    for name, of_test in cases.items():
        if not of_test:
            raise ConfigError(
                f"{shown}: {shown_name(name)}: it makes no case, as its change leaves all its texts"
                " as they are. Give other texts, or another change."
            )
    texts = sum(len(case.asked) for of_test in cases.values() for case in of_test)
    if texts > MOST_TEXTS:
        raise ConfigError(
            f"{shown}: the tests make {texts:,} texts. Allowed: {MOST_TEXTS:,}; give slots fewer"
            " values."
        )
    return tests


def _tests_of(root: yaml.Node | None) -> Sequence[yaml.Node]:
    """The entries of `tests`."""
    if isinstance(root, yaml.MappingNode) and len(root.value) == 1:
        key, value = root.value[0]
        if key.value == "tests" and isinstance(value, yaml.SequenceNode) and value.value:
            return list(value.value)
    line = plain_yaml.line_of(root) if root else 1
    raise plain_yaml.YamlProblemError("expected `tests:` and a list of tests below it.", line)


def _test(node: yaml.Node, where: str) -> BehaviouralTest:
    value = plain_yaml.construct(node)
    if not isinstance(value, dict):
        raise ConfigError(f"{where}: expected a test, with name, kind and templates.")
    try:
        return BehaviouralTest(**value)
    except pydantic.ValidationError as error:
        first = error.errors()[0]
        key = ".".join(map(str, first["loc"]))
        said = first["msg"].removeprefix("Value error, ")
        received = (
            ""
            if first["type"] in ("value_error", "missing")
            else (f" Received {shown_value(first['input'])}.")
        )
        raise ConfigError(f"{where}: {f'{key}: ' if key else ''}{said}.{received}") from None


def _check_names(tests: Sequence[BehaviouralTest], shown: str) -> None:
    names = [test.name for test in tests]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise ConfigError(f"{shown}: two tests have the name {shown_name(twice)}.")


def _require_inputs(template: Template, inputs: Sequence[str], where: str) -> None:
    given = list(template) if isinstance(template, dict) else ["text"]
    if isinstance(template, str) and len(inputs) == 1:
        return
    if sorted(given) != sorted(inputs):
        raise ConfigError(
            f"{where}: a template of this head has {' and '.join(inputs)}. Received"
            f" {' and '.join(map(shown_name, given))}."
        )


def require_askable(tests: Sequence[BehaviouralTest], head: HeadSettings) -> None:
    """Refuses tests of what the answers of a head do not have.

    Args:
        tests: of a file.
        head: its settings.
    Raises:
        ConfigError: names the test.
    """
    is_number = getattr(head, "kind", "") == "regression"
    for test in tests:
        where = f"report.behaviour: {shown_name(test.name)}"
        label = test.raises or test.lowers
        if label and not head.has_classes:
            raise ConfigError(
                f"{where}: answers of head {head.name} have no probability that is raised or"
                " lowered. Use the kind invariance or minimum_functionality."
            )
        if is_number and label not in (None, "value"):
            raise ConfigError(
                f"{where}: expected value, which is what a number is called. Received"
                f" {shown_value(label)}."
            )
        if is_number and isinstance(test.expect, str):
            raise ConfigError(
                f"{where}: a number is expected as {{value: 2.5}}, with within. Received"
                f" {shown_value(test.expect)}."
            )


def require_labels(tests: Sequence[BehaviouralTest], labels: Sequence[str]) -> None:
    """Refuses tests of labels that the model does not have.

    Args:
        tests: of a file.
        labels: of train; none where the head has no classes.
    Raises:
        ConfigError: names the test and the label.
    """
    for test in tests:
        named = [test.raises, test.lowers]
        if isinstance(test.expect, str):
            named.append(test.expect)
        for label in filter(None, named):
            if labels and label not in labels:
                raise ConfigError(
                    f"report.behaviour: {shown_name(test.name)}: no label {shown_value(label)}. The"
                    f" labels: {shown_labels(list(labels))}."
                )


def cases_of(test: BehaviouralTest, inputs: Sequence[str]) -> list[Case]:
    """The cases of a test, in the order of its templates and of its slots' values.

    Args:
        test: one.
        inputs: the names of what the head takes.
    """
    cases: dict[tuple[Asked, ...], Case] = {}
    for template in test.templates:
        parts = template if isinstance(template, dict) else {inputs[0]: template}
        texts = [parts[name] for name in inputs]
        for asked in _asked(test, texts):
            cases.setdefault(asked, Case(asked))
    return list(cases.values())


def _asked(test: BehaviouralTest, texts: Sequence[str]) -> Iterator[tuple[Asked, ...]]:
    """What is asked together, of one template."""
    used = dict.fromkeys(slot for text in texts for slot in SLOT.findall(text))
    fixed = [slot for slot in used if slot != test.vary]
    for values in itertools.product(*(test.slots[slot] for slot in fixed)):
        filling = dict(zip(fixed, values, strict=True))
        if test.change is not None:
            yield from _changed(test.change, _filled(texts, filling))
        elif test.vary is None:
            yield (_filled(texts, filling),)
        elif test.vary in used:
            varied = [
                _filled(texts, {**filling, test.vary: value}) for value in test.slots[test.vary]
            ]
            if test.kind == "direction":
                yield from itertools.pairwise(varied)
            else:
                yield from ((varied[0], other) for other in varied[1:])


def _changed(change: str, asked: Asked) -> Iterator[tuple[Asked, ...]]:
    """A text beside itself changed; nothing where the change leaves it as it is."""
    changed = perturbed(change, asked[0], 0)
    if changed is not None:
        yield asked, (changed, *asked[1:])


def _filled(texts: Sequence[str], values: Mapping[str, str]) -> Asked:
    return tuple(SLOT.sub(lambda match: values[match[1]], text) for text in texts)
