"""--mode=predict: JSON lines in, JSON lines out, through the same graph that is served."""

from __future__ import annotations

import contextlib
import gzip
import json
import sys
import zlib
from collections.abc import Iterator
from typing import IO, Any

import tensorflow as tf

from trainer.assembly import build_model, make_parts, start_strategy
from trainer.config import DataSettings
from trainer.display import Display
from trainer.distribution import workers_named
from trainer.errors import ConfigError, DataError
from trainer.export import Server
from trainer.finish import Kept
from trainer.job import Job
from trainer.resolve import Resolved
from trainer.sources import Example, Origin, open_source
from trainer.storage import atomic_write

Line = tuple[dict[str, Any], Origin]  # what was read
Row = tuple[dict[str, Any], Example, tuple[str, ...]]  # what was read, as an example, and its texts


def predict(resolved: Resolved, job: Job, display: Display, source: str | None, target: str | None) -> None:
    """Answers every line of `source`, in order, into `target`; "-" is stdin and stdout.

    JSON lines are "-" and what is named *.jsonl or *.jsonl.gz; anything else is read as data.source says. A line's texts are in the
    fields that the job was trained on, or in those named like the SavedModel's inputs. It keeps its own fields: an answer of
    the same name, such as a label, is then called predicted_label.

    Raises:
        DataError: a line that is no JSON object or lacks the text; names the line. A file is then not written.
    """
    if not source:
        raise ConfigError("--input: missing. Expected a file of JSON lines, or - for standard input.")
    if workers_named() > 1:
        raise ConfigError(f"--mode=predict: runs in one process, and the environment names {workers_named()} workers. "
                          "Start it without TF_CONFIG and CLUSTER_SPEC, each process with an --input of its own.")
    job.require_trained()
    parts = make_parts(resolved.config, display)
    with _reading(source, resolved.config.data, parts.head) as lines:
        strategy = start_strategy(resolved.config, job, display)
        model = build_model(parts, strategy, job.read_vocabulary(), to_restore=True)
        Kept(parts, job, strategy, model)
        server, head = Server(model, parts.head), parts.head
        batch_size = resolved.config.train.evaluation_batch_size
        with _writing(target or "-") as output:
            for number, rows in enumerate(_chunks(_rows(lines, head, resolved.config.data.label), 8 * batch_size if source != "-" else batch_size)):
                for answer in _answers(server, head, rows, batch_size):
                    output.write(json.dumps(answer, ensure_ascii=False) + "\n")
                output.flush()
                display.progress("predicting", (number + 1) * len(rows), None)
    display.done()


def _answers(server: Server, head: Any, rows: list[Row], batch_size: int) -> list[dict[str, Any]]:
    """Long texts with long ones, so that little is padding; the answers in the order of the rows."""
    order = sorted(range(len(rows)), key=lambda row: -sum(map(len, rows[row][2])))
    answers: list[dict[str, Any]] = [{}] * len(rows)
    for start in range(0, len(order), batch_size):
        members = order[start:start + batch_size]
        columns = zip(*(rows[row][2] for row in members), strict=True)
        outputs = {name: value.numpy() for name, value in server.texts(*(tf.constant([t.encode("utf-8", "replace") for t in c]) for c in columns)).items()}
        for place, row in enumerate(members):
            line, example, _ = rows[row]
            found = head.decode(outputs, place, example)
            answers[row] = {**line, **{f"predicted_{name}" if name in line else name: value for name, value in found.items()}}
    return answers


def _rows(lines: Iterator[Line], head: Any, label: str) -> Iterator[Row]:
    for value, origin in lines:
        features = {field: item for field, item in _flat(value).items() if field != label}  # a text with its gold tags is a text
        served = {field: features[text] for field, text in zip(head.fields, head.text_names, strict=False) if text in features}
        example = Example({**served, **features}, origin)
        yield value, example, head.texts(example)


def _json_lines(stream: IO[bytes], name: str, head: Any) -> Iterator[Line]:
    for number, line in enumerate(_lines(stream, name), 1):
        if not line.strip():
            continue
        try:
            value = json.loads(line.decode("utf-8-sig" if number == 1 else "utf-8"))
        except UnicodeDecodeError as error:
            raise DataError(f"{name}:{number}: not UTF-8 (byte {error.start} of the line). Re-encode the file as UTF-8.") from None
        except ValueError as error:
            raise DataError(f"{name}:{number}: not JSON: {error}. Expected one object a line, such as {_shape(head)}.") from None
        if not isinstance(value, dict):
            raise DataError(f"{name}:{number}: expected an object such as {_shape(head)}. Received {type(value).__name__}.")
        if b"\\u" in line and any("\ud800" <= char <= "\udfff" for char in json.dumps(value, ensure_ascii=False)):
            raise DataError(f"{name}:{number}: half of a surrogate pair (\\ud800 to \\udfff), which is no character. Write the line again from its original.")
        yield value, Origin(name, number)


def _lines(stream: IO[bytes], name: str) -> Iterator[bytes]:
    try:
        yield from stream
    except (OSError, EOFError, zlib.error) as error:  # a disk, or a damaged .gz
        raise DataError(f"{name}: cannot be read: {error}. Copy or write the file anew.") from None


def _flat(value: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """As sources/jsonl.py reads the fields that a head asks for: {"review": {"body": "…"}} has "review.body"."""
    features: dict[str, Any] = {}
    for name, item in value.items():
        features |= _flat(item, f"{prefix}{name}.") if isinstance(item, dict) else {prefix + name: item}
    return features


def _shape(head: Any) -> str:
    return json.dumps(dict.fromkeys(head.fields, "…"), ensure_ascii=False)


def _chunks(rows: Iterator[Row], size: int) -> Iterator[list[Row]]:
    chunk: list[Row] = []
    for row in rows:
        chunk.append(row)
        if len(chunk) == size:
            yield chunk
            chunk = []
    if chunk:
        yield chunk


@contextlib.contextmanager
def _reading(source: str, settings: DataSettings, head: Any) -> Iterator[Iterator[Line]]:
    if source == "-":
        yield _json_lines(sys.stdin.buffer, "standard input", head)
    elif settings.source != "jsonl" and not source.endswith((".jsonl", ".jsonl.gz")):
        try:
            yield ((example.features, example.origin) for example in open_source(settings, "input", source).examples())
        except ConfigError as error:
            raise ConfigError(str(error).replace("data.input", "--input")) from None
    else:
        try:
            opened = gzip.open(source) if source.endswith(".gz") else open(source, "rb")  # noqa: SIM115
        except OSError as error:
            raise DataError(f"--input={source}: cannot be read: {error.strerror}.") from None
        with opened:
            yield _json_lines(opened, source, head)


@contextlib.contextmanager
def _writing(target: str) -> Iterator[IO[str]]:
    if target == "-":
        sys.stdout.reconfigure(encoding="utf-8")
        yield sys.stdout
    else:
        with atomic_write(target) as output:
            yield output


