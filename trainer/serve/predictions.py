"""Writes what --mode=predict answers: each question with its answer, and warnings at the end."""

from __future__ import annotations

import base64
import dataclasses
import json
import math
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence

import tensorflow as tf

from trainer.console.display import Display
from trainer.console.standard_streams import standard_output
from trainer.errors import DataError
from trainer.heads.contract import Generates, Graph, Remarks
from trainer.serve.answerers import Answerer, chunks
from trainer.serve.answers_file import STANDARD, writing
from trainer.serve.questions import Question, Questions


@dataclasses.dataclass
class Tally:
    """Counts what a person should know at the end.

    Attributes:
        done: questions.
        errors: of them, those without an answer.
        first_error: of these.
        remarks: what texts have that their answers suffer from, and how many have it.
    """

    done: int = 0
    errors: int = 0
    first_error: str = ""
    remarks: Counter[str] = dataclasses.field(default_factory=Counter)

    def fail(self, error: str) -> None:
        """Counts a question without an answer."""
        self.errors += 1
        self.first_error = self.first_error or error

    def tell(self, display: Display) -> None:
        """Warns of texts with a remark. Raises DataError where a question has no answer."""
        for remark, count in self.remarks.items():
            if remark:
                display.warn(f"{count:,} of {self.done:,} texts have {remark}")
        if not self.errors:
            return
        verb, first = ("has", "It is") if self.errors == 1 else ("have", "The first")
        raise DataError(
            f"{self.errors:,} of {self.done:,} {verb} no answer, but an"
            f' "error" in its place. {first}: {self.first_error}'
        )


def write_answers(
    questions: Questions,
    target: str,
    answerer: Answerer,
    graph: Graph,
    display: Display,
    batch_size: int,
) -> None:
    """Answers all questions into a file, and says how far it is.

    Args:
        questions: in their order.
        target: --output; "-" is standard output.
        answerer: answers some of them.
        graph: puts an answer into words.
        display: shows progress, warnings at the end.
        batch_size: of the model's calls.
    Raises:
        DataError: some questions have no answer.
    """
    tally = Tally()
    progress = questions.progress
    with writing(target) as output:
        for asked in chunks(questions, questions.at_once(batch_size)):
            for line in answer_lines(asked, answerer, graph, tally):
                output.write(line)
            output.flush()
            # on a terminal the answers are progress enough
            if target != STANDARD or not sys.stdout.isatty():
                note = f"{tally.done:,} done"
                display.progress("predicting", progress.done(), progress.size, note)
    display.done()
    tally.tell(display)


def answer_lines(
    questions: Sequence[Question], answerer: Answerer, graph: Graph, tally: Tally
) -> Iterator[str]:
    """A line of JSON for each question, in their order.

    Args:
        questions: of which some may be errors.
        answerer: is asked the others.
        graph: puts an answer into words.
        tally: counts them.
    """
    askable = [question for question in questions if not question.error]
    answers = iter(answerer(askable) if askable else [])
    for question in questions:
        tally.done += 1
        if question.error or question.example is None:
            tally.fail(question.error)
            answer: dict[str, object] = {"error": question.error}
        else:
            outputs, row = next(answers)
            answer = graph.decode(outputs, row, question.example)
            if isinstance(graph, Remarks):
                remark = graph.remark(answer)
                tally.remarks[remark] += 1
        fields = question.value | _beside(question.value, answer)
        line = json.dumps(_plain(fields), ensure_ascii=False, allow_nan=False)
        yield f"{line}\n"


def _beside(fields: Mapping[str, object], answer: Mapping[str, object]) -> dict[str, object]:
    """The answer under names that the question's own fields leave free."""
    renamed = {}
    for name, value in answer.items():
        free_name = f"predicted_{name}" if name in fields else name
        renamed[free_name] = value
    return renamed


def _plain(value: object) -> object:
    """The value as JSON has it.

    Bytes that are no text, such as an image beside one, are written as TensorFlow Serving writes
    them; what is not a number is null.
    """
    if isinstance(value, dict):
        return {name: _plain(item) for name, item in value.items()}
    if isinstance(value, list):
        return [_plain(item) for item in value]
    if isinstance(value, bytes):
        in_base64 = base64.b64encode(value)
        return {"b64": in_base64.decode()}
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def stream_texts(graph: Generates, questions: Iterable[Question], display: Display) -> None:
    """On a terminal: writes each prompt, and what follows it while it is generated.

    Args:
        graph: of the model.
        questions: the prompts.
        display: warns of prompts that cannot be asked, or lose tokens.
    Raises:
        DataError: some prompts could not be asked.
    """
    output = standard_output()
    tally = Tally()
    for number, question in enumerate(questions):
        tally.done += 1
        if question.error:
            tally.fail(question.error)
            display.warn(question.error)
            continue
        prompt = str(question.values[0])
        _warn_of_lost_tokens(graph, prompt, display)
        for piece in graph.stream(prompt, drawn=number):
            output.write(piece)
            output.flush()
        output.write("\n\n")
    tally.tell(display)


def _warn_of_lost_tokens(graph: Generates, prompt: str, display: Display) -> None:
    if not isinstance(graph, Remarks):
        return
    encoded = prompt.encode("utf-8", "replace")
    *_, lost = graph.prompt_tokens(tf.constant([encoded]))
    if lost[0]:
        remark = graph.remark({"truncated_tokens": int(lost[0])})
        display.warn(f"the text has {remark}")
