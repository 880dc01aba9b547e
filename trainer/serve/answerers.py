"""Answers questions in batches, by the serving graph or by generating texts."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple, TypeAlias, TypeVar

import numpy as np

from trainer.data.encoding import input_tensors
from trainer.data.reader import Input, Value, characters
from trainer.heads.contract import Generates, Head
from trainer.run.model import Model
from trainer.serve.questions import Question
from trainer.serve.server import Server, make_server

Item = TypeVar("Item")


class Answer(NamedTuple):
    """One answer: a row of a batch's outputs."""

    outputs: Mapping[str, np.ndarray]
    row: int


Answerer: TypeAlias = Callable[[Sequence[Question]], list[Answer]]


def make_answerer(model: Model, head: Head, batch_size: int) -> Answerer:
    """A function from questions to their answers, in the same order.

    Args:
        model: that was trained.
        head: of the model.
        batch_size: questions at once.
    """
    if isinstance(model.graph, Generates):
        return _Generating(model.graph.generate_many(batch_size))
    return _Serving(make_server(model, head), head.reader.inputs, batch_size)


@dataclasses.dataclass(frozen=True)
class _Generating:
    generate: Callable[[list[str]], dict[str, np.ndarray]]

    def __call__(self, questions: Sequence[Question]) -> list[Answer]:
        prompts = [str(question.values[0]) for question in questions]
        outputs = self.generate(prompts)
        return [Answer(outputs, row) for row in range(len(prompts))]


@dataclasses.dataclass(frozen=True)
class _Serving:
    server: Server
    inputs: Sequence[Input]
    batch_size: int

    def __call__(self, questions: Sequence[Question]) -> list[Answer]:
        """Asks long texts together with long ones, so that little is padding."""
        lengths = [characters(question.values) for question in questions]
        numbers = range(len(questions))
        longest_first = sorted(numbers, key=lengths.__getitem__, reverse=True)
        answers: dict[int, Answer] = {}
        for batch in chunks(longest_first, self.batch_size):
            examples = [questions[number].values for number in batch]
            outputs = self._outputs(examples)
            for row, number in enumerate(batch):
                answers[number] = Answer(outputs, row)
        return [answers[number] for number in numbers]

    def _outputs(self, examples: Sequence[tuple[Value, ...]]) -> dict[str, np.ndarray]:
        """What the graph answers to the raw inputs of B examples."""
        tensors = input_tensors(self.inputs, examples)
        outputs = self.server.texts(*tensors)
        return {name: output.numpy() for name, output in outputs.items()}


def chunks(items: Iterable[Item], size: int) -> Iterator[list[Item]]:
    """The items in their order, `size` of them at a time; the last chunk has what is left."""
    remaining = iter(items)
    while chunk := list(itertools.islice(remaining, size)):
        yield chunk
