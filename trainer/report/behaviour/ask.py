"""What a model answers to behavioural tests, kept in behaviour.json."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from typing import TypeAlias

from trainer.errors import ConfigError, shown_name
from trainer.files.json_file import JsonObject
from trainer.report.behaviour.suite import Asked, BehaviouralTest, Case, cases_of
from trainer.run.kept_model import KeptModel
from trainer.serve.answerers import make_answerer
from trainer.serve.questions import Question
from trainer.sources import Example, Origin

MOST_KEPT = 5  # failures of a test
ROUNDING = 1e-9
VALUE = "value"  # of what answers with a number
Answer: TypeAlias = Mapping[str, object]  # as predict gives it
Asks: TypeAlias = Callable[[Sequence[Asked]], list[Answer]]


def try_tests(kept: KeptModel, tests: Sequence[BehaviouralTest]) -> JsonObject:
    """Of each test how many cases pass, and some that do not.

    Args:
        kept: the model.
        tests: of a file.
    Raises:
        ConfigError: a test asks for what the head's answers do not have.
    """
    asks = _asker(kept)
    inputs = [item.name for item in kept.parts.head.reader.inputs]
    return {test.name: _tried(test, cases_of(test, inputs), asks) for test in tests}


def _asker(kept: KeptModel) -> Asks:
    """Asks as predict does, by the graph that is served."""
    parts = kept.parts
    reader, graph = parts.head.reader, kept.model.graph
    answerer = make_answerer(kept.model, parts.head, parts.config.train.evaluation_batch_size)

    def asks(examples: Sequence[Asked]) -> list[Answer]:
        questions = []
        for number, texts in enumerate(examples):
            by_field = {item.field: text for item, text in zip(reader.inputs, texts, strict=True)}
            example = Example(by_field, Origin("case", number))
            questions.append(Question(dict(by_field), example, reader.asked(example)))
        return [
            graph.decode(answer.outputs, answer.row, question.example)
            for answer, question in zip(answerer(questions), questions, strict=True)
        ]

    return asks


def _tried(test: BehaviouralTest, cases: Sequence[Case], asks: Asks) -> JsonObject:
    answers = iter(asks(list(itertools.chain.from_iterable(case.asked for case in cases))))
    passed = 0
    failures: list[JsonObject] = []
    for case in cases:
        given = [next(answers) for _ in case.asked]
        if PASSES[test.kind](test, given):
            passed += 1
        elif len(failures) < MOST_KEPT:
            failures.append({"asked": list(map(list, case.asked)), "answered": given})
    return {
        "kind": test.kind,
        "expected": expected(test),
        "cases": len(cases),
        "passed": passed,
        "at_least": test.at_least,
        "is_met": passed >= test.at_least * len(cases) - ROUNDING,
        "failures": failures,
    }


def expected(test: BehaviouralTest) -> str:
    """What a test expects, in words."""
    if test.kind == "minimum_functionality":
        return str(test.expect)
    if test.kind == "invariance":
        return f"same answer: {test.vary or test.change}"
    return f"raises {test.raises}" if test.raises else f"lowers {test.lowers}"


def _is_expected(test: BehaviouralTest, answers: Sequence[Answer]) -> bool:
    (answer,) = answers
    if isinstance(test.expect, str):
        return test.expect in labels_of(answer)
    return _has(answer, test.expect, test.within)


def _has(value: object, wanted: object, within: float) -> bool:
    """Whether a value has what is wanted of it: some fields, all items, about a number."""
    if isinstance(wanted, Mapping):
        return isinstance(value, Mapping) and all(
            key in value and _has(value[key], part, within) for key, part in wanted.items()
        )
    if isinstance(wanted, list):
        if not isinstance(value, (list, tuple)) or len(value) != len(wanted):
            return False
        return all(_has(part, other, within) for part, other in zip(value, wanted, strict=True))
    if isinstance(wanted, (int, float)) and isinstance(value, (int, float)):
        return abs(value - wanted) <= within
    return value == wanted


def _is_same(test: BehaviouralTest, answers: Sequence[Answer]) -> bool:
    first, other = answers
    if VALUE in first:
        return abs(_number(test, first, VALUE) - _number(test, other, VALUE)) <= test.within
    return labels_of(first) == labels_of(other)


def _moves(test: BehaviouralTest, answers: Sequence[Answer]) -> bool:
    label = test.raises or test.lowers or ""
    first, other = (_number(test, answer, label) for answer in answers)
    rise = other - first if test.raises else first - other
    return rise >= -test.within


def labels_of(answer: Answer) -> list[str]:
    """What an answer says, without how sure it is: labels, types of spans, or a text."""
    entities = answer.get("entities")
    if isinstance(entities, list):
        return [str(entity["type"]) for entity in entities]
    for key in ("label", "answer", "generated_text"):
        said = answer.get(key)
        if isinstance(said, str):
            return [said]
        if isinstance(said, (list, tuple)):
            return list(map(str, said))
    return [str({key: said for key, said in answer.items() if not isinstance(said, float)})]


def _number(test: BehaviouralTest, answer: Answer, label: str) -> float:
    """The number, or the probability of a label."""
    probabilities = answer.get("probabilities")
    if isinstance(probabilities, Mapping) and label in probabilities:
        return float(probabilities[label])
    value = answer.get(VALUE)
    if label == VALUE and isinstance(value, float):
        return value
    raise ConfigError(
        f"report.behaviour: {shown_name(test.name)}: the answers of this head have no probability"
        f" of {shown_name(label)}."
    )


PASSES: Mapping[str, Callable[[BehaviouralTest, Sequence[Answer]], bool]] = {
    "minimum_functionality": _is_expected,
    "invariance": _is_same,
    "direction": _moves,
}
