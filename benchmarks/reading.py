"""Rows a second of every source of files, beside the standard library's parser on the same file.

usage: reading.py [--kinds=csv,csv_quoted,tsv,tsv_quoted,jsonl,conll,squad]
                  [--rows=300000] [--turns=5]

Writes a file of random sentences and reads it in alternating turns: with the source, whose examples
carry field names and places, and with nothing but the library's parser, which is the lower bound.
Medians over the turns, of processor time, which other work on the machine moves little.
"""

from __future__ import annotations

import csv
import json
import pathlib
import random
import statistics
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

from absl import app, flags

from trainer import sources
from trainer.settings.schema import DataSettings
from trainer.sources import conll, jsonl, squad, tsv
from trainer.sources import csv as csv_source

FLAGS = flags.FLAGS
flags.DEFINE_list(
    "kinds", ["csv", "csv_quoted", "tsv", "tsv_quoted", "jsonl", "conll", "squad"], "of files"
)
flags.DEFINE_integer("rows", 300_000, "of a file: rows, objects, words or questions")
flags.DEFINE_integer("turns", 5, "of each reader")

LABELS = ("business", "politics", "sports", "tech")
WORDS = ("the", "central", "bank", "raised", "rates", "after", "inflation", "müller", "said")
QUESTIONS = 5  # of a context
WORDS_OF_SENTENCE = 12


class Kind(NamedTuple):
    """A way to write sentences with their labels.

    Attributes:
        write: the content of a file.
        settings: of the source that reads it.
        parse: the bare parser; returns how many rows there are.
    """

    write: Callable[[list[str]], Iterable[str]]
    settings: type[DataSettings]
    parse: Callable[[pathlib.Path], int]


def main(argv: list[str]) -> None:
    del argv
    print("| file | rows | source, rows/s | bare parser, rows/s | source / parser, s |")
    print("| --- " * 5 + "|")
    with tempfile.TemporaryDirectory() as folder:
        for name in FLAGS.kinds:
            path = pathlib.Path(folder, name)
            path.write_text(
                "".join(KINDS[name].write(_sentences(FLAGS.rows))), encoding="utf-8", newline=""
            )
            source, parser = medians(KINDS[name], path)
            speeds = " | ".join(f"{FLAGS.rows / median:,.0f}" for median in (source, parser))
            seconds = f"{source:.2f} / {parser:.2f}"
            print(f"| {name} | {FLAGS.rows:,} | {speeds} | {seconds} |", flush=True)
            path.unlink()


def medians(kind: Kind, path: pathlib.Path) -> tuple[float, float]:
    """Seconds of the source, and of the bare parser."""
    seconds: dict[Callable[[], int], list[float]] = {
        lambda: _read(kind.settings, path): [],
        lambda: kind.parse(path): [],
    }
    for _ in range(FLAGS.turns):
        for read, taken in seconds.items():
            start = time.process_time()
            rows = read()
            taken.append(time.process_time() - start)
            if rows != FLAGS.rows:
                raise SystemExit(f"{path.name}: read {rows:,} rows of {FLAGS.rows:,}")
    source, parser = map(statistics.median, seconds.values())
    return source, parser


def _read(settings: type[DataSettings], path: pathlib.Path) -> int:
    source = sources.open_source(settings(train=str(path)), "train", str(path))
    return sum(len(example.lines or "1") for example in source.examples())


def _sentences(count: int) -> list[str]:
    draw = random.Random(0)
    return [" ".join(draw.choices(WORDS, k=WORDS_OF_SENTENCE)) for _ in range(count)]


def _labelled(sentences: list[str]) -> Iterator[tuple[str, str]]:
    return zip(sentences, LABELS * (len(sentences) // len(LABELS) + 1), strict=False)


def _write_plain(sentences: list[str], delimiter: str) -> Iterator[str]:
    yield f"text{delimiter}label\n"
    for text, label in _labelled(sentences):
        yield f"{text}{delimiter}{label}\n"


def _write_quoted(sentences: list[str], delimiter: str) -> Iterator[str]:
    """Each text in quotes, and a doubled one in it, as pandas writes."""
    yield f"text{delimiter}label\n"
    for text, label in _labelled(sentences):
        yield f'"{text[:20]}""{text[20:40]}""{delimiter}{text[40:]}"{delimiter}{label}\n'


def _write_jsonl(sentences: list[str]) -> Iterator[str]:
    for text, label in _labelled(sentences):
        yield json.dumps({"text": text, "label": label}, ensure_ascii=False) + "\n"


def _write_conll(sentences: list[str]) -> Iterator[str]:
    """A sentence holds as many words as each of `sentences`, whose first words they are."""
    for number, sentence in enumerate(sentences, 1):
        yield f"{sentence.partition(' ')[0]} NN I-NP O\n"
        if number % WORDS_OF_SENTENCE == 0:
            yield "\n"


def _write_squad(sentences: list[str]) -> Iterator[str]:
    paragraphs = []
    for start in range(0, len(sentences), QUESTIONS):
        asked = sentences[start : start + QUESTIONS]
        answers = [{"text": asked[0][:10], "answer_start": 0}]
        questions = [
            {"id": f"{start + number}", "question": text, "answers": answers}
            for number, text in enumerate(asked)
        ]
        paragraphs.append({"context": " ".join(asked), "qas": questions})
    yield json.dumps(
        {"version": "1.1", "data": [{"title": "t", "paragraphs": paragraphs}]}, ensure_ascii=False
    )


def _parse_delimited(path: pathlib.Path, delimiter: str) -> int:
    with path.open(encoding="utf-8", newline="") as file:
        return sum(1 for _ in csv.reader(file, delimiter=delimiter)) - 1


def _parse_jsonl(path: pathlib.Path) -> int:
    with path.open(encoding="utf-8") as file:
        return sum(len(json.loads(line)) == 2 for line in file)


def _parse_conll(path: pathlib.Path) -> int:
    with path.open(encoding="utf-8") as file:
        return sum(len(line.split()) == 4 for line in file)


def _parse_squad(path: pathlib.Path) -> int:
    articles = json.loads(path.read_text(encoding="utf-8"))["data"]
    return sum(len(paragraph["qas"]) for article in articles for paragraph in article["paragraphs"])


KINDS = {
    "csv": Kind(
        lambda texts: _write_plain(texts, ","),
        csv_source.Settings,
        lambda path: _parse_delimited(path, ","),
    ),
    "csv_quoted": Kind(
        lambda texts: _write_quoted(texts, ","),
        csv_source.Settings,
        lambda path: _parse_delimited(path, ","),
    ),
    "tsv": Kind(
        lambda texts: _write_plain(texts, "\t"),
        tsv.Settings,
        lambda path: _parse_delimited(path, "\t"),
    ),
    "tsv_quoted": Kind(
        lambda texts: _write_quoted(texts, "\t"),
        tsv.Settings,
        lambda path: _parse_delimited(path, "\t"),
    ),
    "jsonl": Kind(_write_jsonl, jsonl.Settings, _parse_jsonl),
    "conll": Kind(_write_conll, conll.Settings, _parse_conll),
    "squad": Kind(_write_squad, squad.Settings, _parse_squad),
}


if __name__ == "__main__":
    app.run(main)
