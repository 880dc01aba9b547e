"""--mode=predict: JSON lines in, JSON lines out, through the same graph that is served."""

from __future__ import annotations

import base64
import dataclasses
import functools
import json
import math
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import tensorflow as tf

from trainer.console.display import Display
from trainer.console.standard_streams import standard_output
from trainer.errors import ConfigError, DataError
from trainer.modes.finish import Kept
from trainer.run.assembly import build_model, make_parts, start_strategy
from trainer.run.distribution import workers_named
from trainer.run.job import Job
from trainer.serve.answers_file import require_output, writing
from trainer.serve.export import Server
from trainer.serve.questions import Question, Questions
from trainer.settings.resolve import Resolved

Answer = tuple[dict[str, Any], int]  # the outputs of a batch, and a row of them


def predict(
    resolved: Resolved, job: Job, display: Display, source: str | None, target: str | None
) -> None:
    """Answers every line of `source`, in order, into `target`; "-" is stdin and stdout.

    What an input is `Questions` says. A line's texts are in the fields that the job was trained on,
    or in those named like the SavedModel's inputs. It keeps its own fields: an answer of the same
    name, such as a label, is then called predicted_label. A line that cannot be asked has an
    `error` in the answer's place. A prompt that leaves no room for new tokens loses its beginning;
    its answer says how many `truncated_tokens`, and a warning how many prompts.

    Raises:
        DataError: some lines cannot be asked; says how many, and names the first. The others are
            answered before.
    """
    if not source:
        raise ConfigError(
            "--input: missing. Expected a file of JSON lines, or - for standard input."
        )
    if workers_named() > 1:
        raise ConfigError(
            f"--mode=predict: runs in one process, and the environment names {workers_named()}"
            " workers. Start it without TF_CONFIG and CLUSTER_SPEC, each process with an --input"
            " of its own."
        )
    require_output(target or "-", source, resolved.config, job)
    job.require_trained()
    parts = make_parts(resolved.config, display)
    questions = Questions(source, resolved.config.data, parts.head)
    strategy = start_strategy(resolved.config, job, display)
    model = build_model(parts, strategy, job.read_vocabulary())
    Kept(parts, job, strategy, model)
    server, head = Server(model, parts.head), parts.head
    batch_size = resolved.config.train.evaluation_batch_size
    if head.generates and source == (target or "-") == "-" and sys.stdout.isatty():
        _stream(head, model, questions, display)
        return
    many = head.generate_many(model.backbone, batch_size) if head.generates else None
    answer_all = (
        functools.partial(_generated, many)
        if many
        else functools.partial(_answered, server, head, batch_size=batch_size)
    )
    tally = _Tally()
    with writing(target or "-") as output:
        for asked in _chunks(questions, _chunk_size(questions, source, batch_size)):
            for line in _answer_lines(asked, answer_all, head, tally):
                output.write(line)
            output.flush()
            # else the answers are progress enough
            if (target or "-") != "-" or not sys.stdout.isatty():
                display.progress(
                    "predicting", questions.progress(), questions.size(), f"{tally.done:,} done"
                )
    display.done()
    tally.tell(display)


@dataclasses.dataclass
class _Tally:
    """What is said at the end: how many texts were cut, say, and how many lines have no answer."""

    done: int = 0
    errors: int = 0
    first_error: str = ""
    remarks: Counter[str] = dataclasses.field(default_factory=Counter)

    def fail(self, error: str) -> None:
        """Counts a line without an answer."""
        self.errors += 1
        self.first_error = self.first_error or error

    def tell(self, display: Display) -> None:
        """Raises DataError where a line has no answer."""
        for remark, count in self.remarks.items():
            if remark:
                display.warn(f"{count:,} of {self.done:,} texts have {remark}")
        if self.errors:
            one = self.errors == 1
            raise DataError(
                f"{self.errors:,} of {self.done:,} {'has' if one else 'have'} no answer, but an"
                ' "error" in its place. '
                f"{'It is' if one else 'The first'}: {self.first_error}"
            )


def _chunk_size(questions: Questions, source: str, batch_size: int) -> int:
    if questions.interactive:
        return 1
    return batch_size if source == "-" else 8 * batch_size


def _answer_lines(
    asked: list[Question],
    answer_all: Callable[[list[Question]], list[Answer]],
    head: Any,
    tally: _Tally,
) -> Iterator[str]:
    """A line of JSON for each question, in their order."""
    answers = iter(
        answer_all(good) if (good := [question for question in asked if not question.error]) else []
    )
    for question in asked:
        tally.done += 1
        if question.error:
            found = {"error": question.error}
            tally.fail(question.error)
        else:
            found = head.decode(*next(answers), question.example)
            tally.remarks[head.remark(found)] += 1
        answer = {
            **question.value,
            **{
                f"predicted_{name}" if name in question.value else name: value
                for name, value in found.items()
            },
        }
        yield json.dumps(_plain(answer), ensure_ascii=False, allow_nan=False) + "\n"


def _stream(head: Any, model: Any, questions: Questions, display: Display) -> None:
    """On a terminal: the prompt, and what follows it as it is written."""
    output, tally = standard_output(), _Tally()
    for number, question in enumerate(questions):
        tally.done += 1
        if question.error:
            tally.fail(question.error)
            display.warn(question.error)
            continue
        (text,) = question.texts
        *_, lost = head.prompt_tokens(tf.constant([text.encode("utf-8", "replace")]))
        if lost[0]:
            display.warn(f"the text has {head.remark({'truncated_tokens': int(lost[0])})}")
        for piece in head.stream(model.backbone, text, drawn=number):
            output.write(piece)
            output.flush()
        output.write("\n\n")
    tally.tell(display)


def _generated(many: Callable[[list[str]], Any], asked: list[Question]) -> list[Answer]:
    outputs = many([question.texts[0] for question in asked])
    return [(outputs, place) for place in range(len(asked))]


def _answered(server: Server, head: Any, asked: list[Question], *, batch_size: int) -> list[Answer]:
    """Long texts with long ones, so that little is padding; the answers in the order of the
    questions.
    """
    order = sorted(range(len(asked)), key=lambda row: -sum(map(len, asked[row].texts)))
    answers: dict[int, Answer] = {}
    for start in range(0, len(order), batch_size):
        members = order[start : start + batch_size]
        columns = list(zip(*(asked[row].texts for row in members), strict=True))
        texts = [
            tf.constant([text.encode("utf-8", "replace") for text in column]) for column in columns
        ]
        outputs = {name: value.numpy() for name, value in server.texts(*texts).items()}
        for place, row in enumerate(members):
            answers[row] = outputs, place
    return [answers[row] for row in range(len(asked))]


def _plain(value: Any) -> Any:
    """As JSON has it: bytes that are no text, such as an image beside one, as TensorFlow Serving
    writes them; null for what is not a number.
    """
    if isinstance(value, dict):
        return {name: _plain(item) for name, item in value.items()}
    if isinstance(value, list):
        return [_plain(item) for item in value]
    if isinstance(value, bytes):
        return {"b64": base64.b64encode(value).decode()}
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _chunks(questions: Questions, size: int) -> Iterator[list[Question]]:
    chunk: list[Question] = []
    for question in questions:
        chunk.append(question)
        if len(chunk) == size:
            yield chunk
            chunk = []
    if chunk:
        yield chunk
