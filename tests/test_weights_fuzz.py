"""Changed folders of weights and tokenizers: each loads, or is refused in one message; no other
exception, no hang, no flood of memory.
"""

from __future__ import annotations

import json
import pathlib
import random
import resource
import shutil
import struct
import time
from collections.abc import Callable
from typing import Any

import pytest
import tensorflow as tf

from tests import toy
from tests.text.byte_bpe_reference import write_byte_bpe
from tests.text.sentencepiece_reference import learnt_folder
from trainer.backbones import huggingface
from trainer.backbones.huggingface.safetensors_files import read_headers
from trainer.errors import UserError
from trainer.text import load_tokenizer

CASES, SAMPLE = 150, 12
SECONDS, BYTES = 20, 2**30  # that one case may take
VALUES: list[Any] = [
    None,
    -1,
    0,
    1,
    2.5,
    10**8,
    10**9,
    10**12,
    10**30,
    float("nan"),
    float("inf"),
    True,
    False,
    "",
    "x",
    "7",
    "-1",
    "[UNK]",
    "\ud800",
    "\x00",
    "x" * 3000,
    "x" * 10**6,
    [],
    {},
    [1],
    ["x"],
    [[]],
    {"a": 1},
    {"0": "x"},
    {"content": 5},
    {"type": "x"},
    [None] * 1000,
]
DEEP = (b"[" * 100_000, b'{"a":' * 100_000)


def whole_wordpiece(folder: pathlib.Path) -> pathlib.Path:
    """BERT with tokenizer.json, as transformers writes it."""
    from transformers import BertTokenizer

    toy.write_checkpoint(folder, layers=1)
    BertTokenizer.from_pretrained(folder).save_pretrained(folder)
    (folder / "vocab.txt").unlink(missing_ok=True)
    return folder


def whole_sentencepiece(folder: pathlib.Path) -> pathlib.Path:
    """XLM-R with tokenizer.json alone."""
    from transformers import AutoTokenizer

    AutoTokenizer.from_pretrained(learnt_folder("xlm-roberta")).save_pretrained(folder)
    shutil.copy(learnt_folder("xlm-roberta") / "config.json", folder)
    (folder / "sentencepiece.bpe.model").unlink(missing_ok=True)
    return folder


def gpt2_files(folder: pathlib.Path) -> pathlib.Path:
    """GPT-2 with vocab.json and merges.txt."""
    return write_byte_bpe(toy.write_gpt2(folder, tokenizer=False))


def shards(folder: pathlib.Path) -> pathlib.Path:
    """BERT whose weights are in a file that an index names."""
    toy.write_fine_tuned(folder, ["a", "b"])
    names = read_headers(folder)
    (folder / "model.safetensors").rename(folder / "model-1.safetensors")
    (folder / "model.safetensors.index.json").write_text(
        json.dumps({"metadata": {}, "weight_map": dict.fromkeys(names, "model-1.safetensors")})
    )
    return folder


BASES: dict[str, Callable[[pathlib.Path], object]] = {
    "wordpiece": lambda folder: toy.write_fine_tuned(folder, ["a", "b"]),
    "wordpiece, whole": whole_wordpiece,
    "wordpiece, shards": shards,
    "bpe": gpt2_files,
    "bpe, whole": lambda folder: toy.write_gpt2(folder, layers=1),
    "sentencepiece": lambda folder: shutil.copytree(learnt_folder("albert"), folder),
    "sentencepiece, whole": whole_sentencepiece,
}


@pytest.fixture(scope="module")
def bases(tmp_path_factory):
    parent = tmp_path_factory.mktemp("bases")
    for name, write in BASES.items():
        write(parent / name)
        if "sentencepiece" in name:  # of sizes that can be made
            sizes = {
                "hidden_size": 16,
                "num_hidden_layers": 1,
                "num_attention_heads": 2,
                "intermediate_size": 16,
                "vocab_size": 500,
                "embedding_size": 16,
            }
            config = parent / name / "config.json"
            config.write_text(json.dumps(json.loads(config.read_text()) | sizes))
    return parent


def mutate_json(content: Any, random_: random.Random) -> None:
    """Changes a value, a key or an item somewhere; seldom one of a large vocabulary's, as those are
    all alike.
    """
    node = content
    while True:
        keys = list(node) if isinstance(node, dict) else list(range(len(node)))
        if not keys:
            return
        key = random_.choice(keys)
        if isinstance(node[key], dict | list) and node[key] and random_.random() < 0.7:
            node = node[key]
            continue
        action = random_.randrange(6)
        if action == 0:
            del node[key]
        elif action == 1 and isinstance(node, dict):
            node[random_.choice(["x", "", "\ud800", "7" * 30, "[UNK]"])] = node.pop(key)
        elif action == 2 and isinstance(node[key], int):
            node[key] = random_.choice(
                [node[key] + 1, -node[key], node[key] * 10**6, str(node[key]), float(node[key])]
            )
        else:
            node[key] = random_.choice(VALUES)
        return


def mutate_bytes(content: bytes, random_: random.Random) -> bytes:
    """Cut, overwritten, with lines twice or away, or something else altogether."""
    place = random_.randrange(len(content) + 1)
    lines = content.split(b"\n")
    line = random_.randrange(len(lines))
    return random_.choice(
        [
            b"",
            content[:place],
            content[:place] + bytes([random_.randrange(256)]) + content[place + 1 :],
            content[:place] + b"\xff\xfe" + content[place:],
            b"\xef\xbb\xbf" + content,
            b"\n".join(lines[:line] + lines[line + 1 :]),
            b"\n".join([*lines, lines[line]]),
            content + b"x" * 10**6,
            content.replace(b"\n", b"\r\n"),
            content[::-1],
            *DEEP,
        ]
    )


def mutate_header(content: bytes, random_: random.Random) -> bytes:
    """A safetensors file with another header, or another length of it."""
    (length,) = struct.unpack("<Q", content[:8])
    if random_.random() < 0.2:
        return (
            struct.pack("<Q", random_.choice([0, length - 1, length + 1, 10**9, 2**63, 2**64 - 1]))
            + content[8:]
        )
    header = json.loads(content[8 : 8 + length])
    mutate_json(header, random_)
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + content[8 + length :]


def mutate(folder: pathlib.Path, random_: random.Random) -> str:
    """Changes one file; returns which."""
    path = random_.choice(sorted(path for path in folder.iterdir() if path.is_file()))
    kind = random_.random()
    if kind < 0.06:
        path.unlink()
        if kind < 0.03:
            path.mkdir()
    elif path.suffix == ".json" and kind < 0.85:
        content = json.loads(path.read_text())
        for _ in range(random_.choice([1, 1, 2])):
            mutate_json(content, random_)
        path.write_text(json.dumps(content))
    elif path.suffix == ".safetensors" and kind < 0.85:
        path.write_bytes(mutate_header(path.read_bytes(), random_))
    else:
        path.write_bytes(mutate_bytes(path.read_bytes(), random_))
    return path.name


def load(folder: pathlib.Path) -> str:
    """What a run does with a folder before its data: "" where it is sound, else the message."""
    try:
        huggingface.require_weights_that_fit(folder)
        tokenizer = load_tokenizer(folder)
        huggingface.read_task_head(folder)
        config = huggingface.read_config(folder)
        tokenizer.tokenize(tf.constant(["the film, 今天 [MASK]"]))
        if (
            config.vocabulary_size * config.embedding_size
            + config.max_positions * config.embedding_size
            < 10**7
        ):
            huggingface.load_backbone(folder)
    except UserError as error:
        return str(error)
    return ""


def try_cases(bases: pathlib.Path, target: pathlib.Path, seeds: range) -> dict[str, int]:
    counts = {"sound": 0, "refused": 0}
    for seed in seeds:
        random_ = random.Random(seed)
        base = random_.choice(sorted(BASES))
        folder = pathlib.Path(shutil.copytree(bases / base, target / str(seed)))
        changed = mutate(folder, random_)
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        start = time.monotonic()
        try:
            message = load(folder)
        except BaseException as error:
            raise AssertionError(
                f"seed {seed}: {base}, {changed} changed: {type(error).__name__}: {error}"
            ) from error
        grown = 1024 * (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
        assert time.monotonic() - start < SECONDS and grown < BYTES, (
            f"seed {seed}: {base}, {changed} changed: {grown:,} bytes"
        )
        assert len(message) < 4000 and all(ch.isprintable() or ch == "\n" for ch in message), (
            f"seed {seed}: {message[:500]!r}"
        )
        counts["refused" if message else "sound"] += 1
        shutil.rmtree(folder)
    return counts


def test_the_bases_are_sound(bases):
    assert {name: load(bases / name) for name in BASES} == dict.fromkeys(BASES, "")


def test_changed_folders_a_sample(bases, tmp_path):
    assert sum(try_cases(bases, tmp_path, range(SAMPLE)).values()) == SAMPLE


@pytest.mark.slow
def test_changed_folders(bases, tmp_path):
    counts = try_cases(bases, tmp_path, range(1000, 1000 + CASES))
    assert counts["refused"] > CASES // 3 and counts["sound"] > 0
