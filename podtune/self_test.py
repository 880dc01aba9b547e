"""A small model that is trained, exported, proved and asked, as a user would: does it all work?"""

from __future__ import annotations

import json
import pathlib
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from typing import NamedTuple

WORDS = {
    "good": "fine lovely bright warm great clear".split(),
    "bad": "dull broken cold dirty weak sour".split(),
}
OTHERS = "the a film room book meal was and very it this we".split()
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
EXAMPLES = 96
WORDS_OF_A_TEXT = 8
SECONDS = 300  # after which a part has failed
ENOUGH = 0.9  # accuracy on examples that were held out
SHOWN = 600  # characters of what a command says


class Part(NamedTuple):
    """A part of the test.

    Attributes:
        name: of what was tried.
        seconds: that it took.
        problem: what went wrong, if anything.
    """

    name: str
    seconds: float
    problem: str


def self_test() -> Iterator[Part]:
    """Trains, exports and asks a model; what follows a part that failed is left out."""
    with tempfile.TemporaryDirectory(prefix="podtune_doctor_") as scratch:
        folder = pathlib.Path(scratch)
        _write(folder)
        train = _part("train and export", folder, ["--config=config.yaml", "--job_dir=run"])
        if not train.problem:
            train = train._replace(problem=_of_results(folder / "run"))
        yield train
        if train.problem:
            return
        predict = _part(
            "predict",
            folder,
            ["--mode=predict", "--job_dir=run", "--input=asked.jsonl", "--output=answers.jsonl"],
        )
        if not predict.problem:
            predict = predict._replace(problem=_of_answers(folder / "answers.jsonl"))
        yield predict


def _part(name: str, folder: pathlib.Path, arguments: Sequence[str]) -> Part:
    """Runs the trainer in a process of its own."""
    began = time.monotonic()
    try:
        done = subprocess.run(
            [sys.executable, "-m", "trainer.task", *arguments],
            cwd=folder,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return Part(name, SECONDS, f"took more than {SECONDS} s")
    problem = ""
    if done.returncode:
        problem = f"exit code {done.returncode}: {done.stderr.strip()[-SHOWN:]}"
    return Part(name, time.monotonic() - began, problem)


def _of_results(run: pathlib.Path) -> str:
    results = json.loads((run / "results.json").read_text(encoding="utf-8"))
    accuracy = results["validation"]["accuracy"]
    if accuracy < ENOUGH:
        return f"learnt less than it should: validation accuracy {accuracy:.2f}, expected {ENOUGH}"
    if not (run / "model" / "saved_model.pb").exists():
        return "there is no SavedModel"
    return ""


def _of_answers(file: pathlib.Path) -> str:
    answers = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
    labels = [answer.get("label") for answer in answers]
    return "" if labels == ["good", "bad"] else f"answered {labels}, expected ['good', 'bad']"


def _write(folder: pathlib.Path) -> None:
    """A tokenizer, sizes of a small BERT, texts of two classes, a config, and two questions."""
    weights = folder / "weights"
    weights.mkdir()
    words = [*SPECIAL, *OTHERS, *WORDS["good"], *WORDS["bad"]]
    (weights / "vocab.txt").write_text("\n".join(words) + "\n", encoding="utf-8")
    sizes = {
        "model_type": "bert",
        "vocab_size": len(words),
        "hidden_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "intermediate_size": 64,
        "max_position_embeddings": 32,
        "type_vocab_size": 2,
        "hidden_act": "gelu",
    }
    (weights / "config.json").write_text(json.dumps(sizes), encoding="utf-8")
    rows = ["text\tlabel"]
    chance = random.Random(0)
    for number in range(EXAMPLES):
        label = ("good", "bad")[number % 2]
        text = [*chance.choices(OTHERS, k=WORDS_OF_A_TEXT - 2), *chance.choices(WORDS[label], k=2)]
        chance.shuffle(text)
        rows.append(f"{' '.join(text)}\t{label}")
    (folder / "texts.tsv").write_text("\n".join(rows) + "\n", encoding="utf-8")
    config = {
        "head": {"name": "classification"},
        "backbone": {"weights": "weights"},
        "data": {
            "source": "tsv",
            "train": "texts.tsv",
            "validation": 0.2,
            "seq_len": 16,
            "cache_dir": "cache",
        },
        "train": {"epochs": 12, "global_batch_size": 16, "learning_rate": 3e-3},
    }
    (folder / "config.yaml").write_text(json.dumps(config), encoding="utf-8")
    asked = [{"text": f"the film was very {WORDS[label][0]}"} for label in ("good", "bad")]
    lines = "".join(json.dumps(question) + "\n" for question in asked)
    (folder / "asked.jsonl").write_text(lines, encoding="utf-8")
