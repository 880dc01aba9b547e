"""A toy checkpoint, toy data and toy configs: small enough to train in seconds, yet learnable."""

from __future__ import annotations

import functools
import json
import pathlib
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import yaml
from safetensors.numpy import save_file

if TYPE_CHECKING:
    from trainer.text.tokenizer import Template

ROOT = pathlib.Path(__file__).resolve().parent.parent
KEYWORDS = {"neg": "awful", "neutral": "ordinary", "pos": "great"}
FILLER = (
    "the a film book was is and very plot actor scene story it this that with long short new old"
    " first last of in we saw read they think one two three red blue house tree"
).split()
CHINESE = "今天气很好不电影书看了我们他"
VOCABULARY = [
    "[PAD]",
    "[UNK]",
    "[CLS]",
    "[SEP]",
    "[MASK]",
    *KEYWORDS.values(),
    *FILLER,
    *CHINESE,
    *"!?.,",
    "##s",
    "##ly",
]


class ToyTokenizer:
    """All that a head asks of a tokenizer before there are texts."""

    pad_id = 0
    unk_id = 1
    mask_id = 4
    eos_id = 3
    vocabulary = VOCABULARY

    @functools.cached_property
    def template(self) -> Template:
        """That of BERT."""
        from trainer.text.tokenizer import Template  # imports TensorFlow

        return Template((2,), (3,), (3,), segments=True)


TEMPLATE = ToyTokenizer()


def write_checkpoint(
    folder: pathlib.Path,
    *,
    family: str = "bert",
    layers: int = 2,
    hidden: int = 32,
    seed: int = 0,
    dropout: float = 0.0,
    weights: bool = True,
    **config: Any,
) -> pathlib.Path:
    """A checkpoint folder in Hugging Face's format: config.json, vocab.txt, tokenizer_config.json
    and random safetensors.
    """
    folder.mkdir(parents=True, exist_ok=True)
    content = {
        "model_type": family,
        "architectures": ["BertModel"],
        "vocab_size": len(VOCABULARY),
        "hidden_size": hidden,
        "num_hidden_layers": layers,
        "num_attention_heads": 2,
        "intermediate_size": 2 * hidden,
        "max_position_embeddings": 64,
        "type_vocab_size": 2,
        "hidden_act": "gelu",
        "hidden_dropout_prob": dropout,
        "attention_probs_dropout_prob": dropout,
        **config,
    }
    (folder / "config.json").write_text(json.dumps(content))
    (folder / "vocab.txt").write_text("\n".join(VOCABULARY) + "\n", encoding="utf-8")
    (folder / "tokenizer_config.json").write_text(
        json.dumps({"do_lower_case": True, "tokenizer_class": "BertTokenizer"})
    )
    if weights:
        save_file(
            bert_tensors(hidden, layers, seed),
            folder / "model.safetensors",
            metadata={"format": "pt"},
        )
    return folder


def write_fine_tuned(folder: pathlib.Path, labels: Sequence[str], **config: Any) -> pathlib.Path:
    """A BERT with a classifier that says its first label whatever the text."""
    content = {
        "architectures": ["BertForSequenceClassification"],
        "id2label": {str(row): name for row, name in enumerate(labels)},
        "label2id": {name: row for row, name in enumerate(labels)},
        **config,
    }
    write_checkpoint(folder, **content)
    tensors = {f"bert.{name}": tensor for name, tensor in bert_tensors(32, 2, 0).items()}
    tensors["classifier.weight"] = np.zeros((len(labels), 32), np.float32)
    tensors["classifier.bias"] = np.array([3.0, *[-3.0] * (len(labels) - 1)], np.float32)
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    return folder


def write_gpt2(
    folder: pathlib.Path,
    *,
    layers: int = 2,
    hidden: int = 32,
    positions: int = 64,
    dropout: float = 0.0,
    tokenizer: bool = True,
) -> pathlib.Path:
    """A GPT-2 without weights, so that it starts from random values, with a byte-level BPE."""
    from tests.text.byte_bpe_reference import learnt, write_byte_bpe

    folder.mkdir(parents=True, exist_ok=True)
    words = len(VOCABULARY)
    if tokenizer:
        write_byte_bpe(folder, "gpt2", whole=True)
        words = len(learnt()[0]) + 1
    content = {
        "model_type": "gpt2",
        "vocab_size": words,
        "n_embd": hidden,
        "n_layer": layers,
        "n_head": 2,
        "n_positions": positions,
        "bos_token_id": words - 1,
        "eos_token_id": words - 1,
        **{f"{place}_pdrop": dropout for place in ("attn", "embd", "resid")},
    }
    (folder / "config.json").write_text(json.dumps(content))
    return folder


def bert_tensors(hidden: int, layers: int, seed: int) -> dict[str, np.ndarray]:
    """Random tensors under Hugging Face's names."""
    rng = np.random.default_rng(seed)
    shapes = {
        "embeddings.word_embeddings": (len(VOCABULARY), hidden),
        "embeddings.position_embeddings": (64, hidden),
        "embeddings.token_type_embeddings": (2, hidden),
        "pooler.dense": (hidden, hidden),
    }
    for layer in range(layers):
        place = f"encoder.layer.{layer}"
        shapes |= {
            f"{place}.attention.self.{part}": (hidden, hidden) for part in ("query", "key", "value")
        }
        shapes |= {
            f"{place}.attention.output.dense": (hidden, hidden),
            f"{place}.intermediate.dense": (2 * hidden, hidden),
            f"{place}.output.dense": (hidden, 2 * hidden),
        }
    tensors = {
        f"{name}.weight": rng.normal(0, 0.1, shape).astype(np.float32)
        for name, shape in shapes.items()
    }
    tensors |= {
        f"{name}.bias": np.zeros(shape[0], np.float32)
        for name, shape in shapes.items()
        if not name.startswith("embeddings")
    }
    norms = [
        "embeddings",
        *(
            f"encoder.layer.{i}.{part}"
            for i in range(layers)
            for part in ("attention.output", "output")
        ),
    ]
    tensors |= {f"{norm}.LayerNorm.weight": np.ones(hidden, np.float32) for norm in norms}
    return tensors | {f"{norm}.LayerNorm.bias": np.zeros(hidden, np.float32) for norm in norms}


def sentences(
    count: int, *, seed: int = 0, labels: Sequence[str] = ("neg", "pos"), longest: int = 14
) -> list[dict[str, Any]]:
    """Different sentences; a keyword somewhere in each decides its label."""
    rng = np.random.default_rng(seed)
    rows = []
    for number in range(count):
        label = labels[number % len(labels)]
        words = list(rng.choice(FILLER, rng.integers(2, longest)))
        words.insert(int(rng.integers(len(words) + 1)), KEYWORDS[label])
        rows.append({"id": number, "text": " ".join(words), "label": label})
    return rows


def write_jsonl(file: pathlib.Path, rows: Iterable[Mapping[str, Any]]) -> pathlib.Path:
    """One object a line."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(
        "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8"
    )
    return file


def write_sentences(file: pathlib.Path, count: int, **keywords: Any) -> pathlib.Path:
    """`sentences` as JSON lines."""
    return write_jsonl(file, sentences(count, **keywords))


def config_values(
    folder: pathlib.Path,
    weights: pathlib.Path,
    train_file: pathlib.Path | str,
    **sections: Mapping[str, Any],
) -> dict[str, dict[str, Any]]:
    """A whole config; `sections` are laid over it, key by key."""
    values = {
        "head": {"name": "classification"},
        "backbone": {"weights": str(weights)},
        "data": {
            "source": "jsonl",
            "train": str(train_file),
            "seq_len": 32,
            "cache_dir": str(folder / "cache"),
        },
        "train": {"steps": 4, "global_batch_size": 16, "learning_rate": 3e-3, "log_every_steps": 1},
        "distribution": {"strategy": "one_device"},
        "report": {"write": False},  # which takes as long as such a run
        "export": {"format": "none"},
    }
    return {
        section: {**values.get(section, {}), **sections.get(section, {})}
        for section in dict.fromkeys([*values, *sections])
    }


def write_config(
    folder: pathlib.Path,
    weights: pathlib.Path,
    train_file: pathlib.Path | str,
    **sections: Mapping[str, Any],
) -> pathlib.Path:
    """`config_values` as folder/config.yaml."""
    file = folder / "config.yaml"
    file.write_text(
        yaml.safe_dump(
            config_values(folder, weights, train_file, **sections),
            allow_unicode=True,
            sort_keys=False,
        ),
        encoding="utf-8",
    )
    return file


def _tags(row: Mapping[str, Any]) -> dict[str, Any]:
    words = row["text"].split()
    return {"text": words, "label": ["B-x" if word in KEYWORDS.values() else "O" for word in words]}


def _question(row: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "question": "film?",
        "context": row["text"],
        "label": [{"text": row["text"].split()[0], "answer_start": 0}],
    }


HEADS: dict[
    str,
    tuple[
        Callable[..., pathlib.Path],
        dict[str, Any],
        Callable[[Mapping[str, Any]], dict[str, Any]],
        str | list[str],
    ],
] = {
    "tags": (write_checkpoint, {"name": "token_classification", "crf": True}, _tags, "text"),
    "tags, decoder": (write_gpt2, {"name": "token_classification"}, _tags, "text"),
    "questions": (
        write_checkpoint,
        {"name": "question_answering", "max_question_tokens": 8},
        _question,
        ["question", "context"],
    ),
    "questions, decoder": (
        write_gpt2,
        {"name": "question_answering", "max_question_tokens": 8},
        _question,
        ["question", "context"],
    ),
    "masked": (write_checkpoint, {"name": "masked_lm"}, dict, "text"),
    "causal": (write_gpt2, {"name": "causal_lm"}, dict, "text"),
    "target": (
        write_gpt2,
        {
            "name": "text_generation",
            "target": "label",
            "prompt": "{text} = ",
            "judged_examples": 4,
            "max_new_tokens": 3,
        },
        dict,
        "text",
    ),
    "prompt": (
        write_checkpoint,
        {
            "name": "prompt",
            "pattern": "{text} it was {mask}.",
            "label_words": {"pos": "great", "neg": "awful"},
        },
        dict,
        "text",
    ),
    "last token": (write_gpt2, {"name": "classification"}, dict, "text"),
}


def write_head_config(
    folder: pathlib.Path,
    kind: str,
    count: int,
    *,
    dropout: float = 0.0,
    **sections: Mapping[str, Any],
) -> pathlib.Path:
    """A run of each kind of head on `sentences`, three in ten of them for validation."""
    weights, head, make, text = HEADS[kind]
    return write_config(
        folder,
        weights(folder / "weights", layers=1, dropout=dropout),
        write_jsonl(folder / "train.jsonl", map(make, sentences(count))),
        **{**sections, "head": head, "data": {"validation": 0.3, "text": text}},
    )


def run_main(
    config: pathlib.Path | None, job_dir: pathlib.Path | None = None, *arguments: str
) -> int:
    """The entry point in this process; returns the exit code."""
    from trainer.task import main

    argv = [f"--config={config}"] if config else []
    argv += [f"--job_dir={job_dir}"] if job_dir else []
    return main([sys.argv[0], *argv, *arguments])


def read_jsonl(file: pathlib.Path) -> list[dict[str, Any]]:
    """The objects of a file of JSON lines."""
    return [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
