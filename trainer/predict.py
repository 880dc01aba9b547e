"""--mode=predict: JSON lines in, JSON lines out, through the same graph that is served."""

from __future__ import annotations

import base64
import json
import math
import pathlib
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import tensorflow as tf

from trainer.answers_file import require_output, writing
from trainer.assembly import build_model, make_parts, start_strategy
from trainer.config import DataSettings
from trainer.display import Display
from trainer.distribution import workers_named
from trainer.errors import ConfigError, DataError
from trainer.export import Server
from trainer.finish import Kept
from trainer.job import Job
from trainer.mirror import shown
from trainer.resolve import Resolved
from trainer.sources import TO_PREDICT, Example, open_source
from trainer.sources._json_lines import read_lines
from trainer.sources._lines import Lines
from trainer.sources._reading import open_bytes, piped
from trainer.standard_streams import standard_output
from trainer.storage import expand

Line = tuple[dict[str, Any], Example]  # what was read, as it was written and as an example
Row = tuple[dict[str, Any], Example, tuple[str, ...]]  # what was read, as an example, and its texts
Answer = tuple[dict[str, Any], int]  # the outputs of a batch, and a row of them


def predict(resolved: Resolved, job: Job, display: Display, source: str | None, target: str | None) -> None:
    """Answers every line of `source`, in order, into `target`; "-" is stdin and stdout.

    JSON lines are "-" and what is named *.jsonl or *.jsonl.gz; anything else is read as data.source says. A line's texts are in the
    fields that the job was trained on, or in those named like the SavedModel's inputs. It keeps its own fields: an answer of
    the same name, such as a label, is then called predicted_label. A prompt that leaves no room for new tokens loses its
    beginning; its answer says how many `truncated_tokens`, and a warning how many prompts.

    Raises:
        DataError: a line that is no JSON object or lacks the text; names the line. A file is then not written.
    """
    if not source:
        raise ConfigError("--input: missing. Expected a file of JSON lines, or - for standard input.")
    if workers_named() > 1:
        raise ConfigError(f"--mode=predict: runs in one process, and the environment names {workers_named()} workers. "
                          "Start it without TF_CONFIG and CLUSTER_SPEC, each process with an --input of its own.")
    require_output(target or "-", source, resolved.config, job)
    job.require_trained()
    parts = make_parts(resolved.config, display)
    lines = _reading(source, resolved.config.data)
    strategy = start_strategy(resolved.config, job, display)
    model = build_model(parts, strategy, job.read_vocabulary())
    Kept(parts, job, strategy, model)
    server, head = Server(model, parts.head), parts.head
    batch_size = resolved.config.train.evaluation_batch_size
    if head.generates and source == (target or "-") == "-" and sys.stdout.isatty():
        _stream(head, model, lines, resolved.config.data.label, display)
        return
    many = head.generate_many(model.backbone, batch_size) if head.generates else None
    done, remarks = 0, Counter()
    with writing(target or "-") as output:
        for rows in _chunks(_rows(lines, head, resolved.config.data.label), 8 * batch_size if source != "-" else batch_size):
            answers = _generated(many, rows) if many else _answered(server, head, rows, batch_size)
            for (line, example, _), (outputs, place) in zip(rows, answers, strict=True):
                found = head.decode(outputs, place, example)
                remarks[head.remark(found)] += 1
                answer = {**line, **{f"predicted_{name}" if name in line else name: value for name, value in found.items()}}
                output.write(json.dumps(_plain(answer), ensure_ascii=False, allow_nan=False) + "\n")
            output.flush()
            done += len(rows)
            if output is not sys.stdout or not sys.stdout.isatty():  # else the answers are progress enough
                display.progress("predicting", done, None)
    display.done()
    for remark, count in remarks.items():
        if remark:
            display.warn(f"{count:,} of {done:,} texts have {remark}")


def _stream(head: Any, model: Any, lines: Iterator[Line], label: str, display: Display) -> None:
    """On a terminal: the prompt, and what follows it as it is written."""
    output = standard_output()
    for number, (_, _, (text,)) in enumerate(_rows(lines, head, label)):
        *_, lost = head.prompt_tokens(tf.constant([text.encode("utf-8", "replace")]))
        if lost[0]:
            display.warn(f"the text has {head.remark({'truncated_tokens': int(lost[0])})}")
        for piece in head.stream(model.backbone, text, drawn=number):
            output.write(piece)
            output.flush()
        output.write("\n\n")


def _generated(many: Callable[[list[str]], Any], rows: list[Row]) -> list[Answer]:
    outputs = many([text for _, _, (text,) in rows])
    return [(outputs, place) for place in range(len(rows))]


def _answered(server: Server, head: Any, rows: list[Row], batch_size: int) -> list[Answer]:
    """Long texts with long ones, so that little is padding; the answers in the order of the rows."""
    order = sorted(range(len(rows)), key=lambda row: -sum(map(len, rows[row][2])))
    answers: dict[int, Answer] = {}
    for start in range(0, len(order), batch_size):
        members = order[start:start + batch_size]
        columns = list(zip(*(rows[row][2] for row in members), strict=True))
        texts = [tf.constant([text.encode("utf-8", "replace") for text in column]) for column in columns]
        outputs = {name: value.numpy() for name, value in server.texts(*texts).items()}
        for place, row in enumerate(members):
            answers[row] = outputs, place
    return [answers[row] for row in range(len(rows))]


def _rows(lines: Iterator[Line], head: Any, label: str) -> Iterator[Row]:
    for value, found in lines:
        features = {field: item for field, item in found.features.items() if field != label}  # a text with its gold tags is a text
        served = {field: features[text] for field, text in zip(head.fields, head.text_names, strict=False) if text in features}
        example = Example({**served, **features}, found.origin)
        try:
            yield value, example, head.asked(example)
        except DataError as error:
            others = [repr(name) for field, name in zip(head.fields, head.text_names, strict=False) if field not in example.features and field != name]
            raise DataError(f"{error} Where a model is asked, {' and '.join(others)} will do as well." if others else str(error)) from None


def _whole(examples: Iterator[Example]) -> Iterator[Example]:
    """The parts of a long document as one; only its text has parts."""
    parts: list[Example] = []
    for example in examples:
        parts.append(example)
        if example.ends:
            if len(parts) > 1:
                example = parts[0]._replace(features={name: "".join(part.features[name] for part in parts) for name in example.features}, ends=True)
            yield example
            parts = []


def _plain(value: Any) -> Any:
    """As JSON has it: bytes that are no text, such as an image beside one, as TensorFlow Serving writes them; null for what is not a number."""
    if isinstance(value, dict):
        return {name: _plain(item) for name, item in value.items()}
    if isinstance(value, list):
        return [_plain(item) for item in value]
    if isinstance(value, bytes):
        return {"b64": base64.b64encode(value).decode()}
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _files(paths: list[pathlib.Path], fallback_encoding: str | None) -> Iterator[Line]:
    for path in paths:
        with open_bytes(path, fallback_encoding) as (stream, _):
            yield from read_lines(Lines(stream, shown(path), path))


def _chunks(rows: Iterator[Row], size: int) -> Iterator[list[Row]]:
    chunk: list[Row] = []
    for row in rows:
        chunk.append(row)
        if len(chunk) == size:
            yield chunk
            chunk = []
    if chunk:
        yield chunk


def _reading(source: str, settings: DataSettings) -> Iterator[Line]:
    if source == "-":
        return read_lines(Lines(piped(sys.stdin.buffer, "standard input", settings.fallback_encoding), "standard input"))
    if settings.source == "jsonl" or source.endswith((".jsonl", ".jsonl.gz")):
        return _files(expand(source, key="--input"), settings.fallback_encoding)
    return ((example.features, example) for example in _whole(open_source(settings, TO_PREDICT, source).examples()))
