"""The table of docs/choose.md: sizes, memory and arithmetic of backbones that people ask for.

They are computed from the published shapes by what `podtune plan` computes with: no weights.
"""

from __future__ import annotations

import json
import pathlib
import sys
import tempfile
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))

from trainer.backbones.config import BackboneConfig
from trainer.backbones.huggingface.config_file import read_config
from trainer.data.batching import Layout
from trainer.planning.memory import estimate
from trainer.run.throughput import training_flops
from trainer.settings.schema import TrainSettings

ROWS, ROW_LENGTH = 32, 128
BERT = {"model_type": "bert", "type_vocab_size": 2}
ROBERTA = {"model_type": "xlm-roberta", "max_position_embeddings": 514, "type_vocab_size": 1}
SMALL = {"hidden_size": 384, "num_attention_heads": 12, "intermediate_size": 1536}
LARGE = {
    "hidden_size": 1024,
    "num_hidden_layers": 24,
    "num_attention_heads": 16,
    "intermediate_size": 4096,
}


class Model(NamedTuple):
    """A pretrained model, and what its config.json says beside its family's defaults."""

    place: str
    language: str
    sizes: Mapping[str, object]


MODELS = (
    Model(
        "sentence-transformers/all-MiniLM-L6-v2",
        "English",
        {**BERT, **SMALL, "num_hidden_layers": 6},
    ),
    Model("distilbert/distilbert-base-uncased", "English", {"model_type": "distilbert"}),
    Model("google-bert/bert-base-uncased", "English", BERT),
    Model(
        "FacebookAI/roberta-base",
        "English",
        {**ROBERTA, "model_type": "roberta", "vocab_size": 50265},
    ),
    Model("google-bert/bert-large-uncased", "English", {**BERT, **LARGE}),
    Model("google-bert/bert-base-chinese", "Chinese", {**BERT, "vocab_size": 21128}),
    Model("hfl/chinese-roberta-wwm-ext", "Chinese", {**BERT, "vocab_size": 21128}),
    Model("hfl/chinese-macbert-base", "Chinese", {**BERT, "vocab_size": 21128}),
    Model("hfl/chinese-roberta-wwm-ext-large", "Chinese", {**BERT, **LARGE, "vocab_size": 21128}),
    Model("FacebookAI/xlm-roberta-base", "100 languages", {**ROBERTA, "vocab_size": 250002}),
    Model("intfloat/multilingual-e5-base", "100 languages", {**ROBERTA, "vocab_size": 250002}),
    Model("openai-community/gpt2", "English", {"model_type": "gpt2"}),
)


def table() -> str:
    """The table in Markdown."""
    lines = [
        "| weights | read as | language | parameters | memory of training | arithmetic |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    smallest = _flops(_backbone(MODELS[0]))
    for model in MODELS:
        backbone = _backbone(model)
        memory = estimate(backbone, [_full_rows()], TrainSettings())
        cells = [
            f"`hf://{model.place}`",
            f"`{backbone.architecture}`",
            model.language,
            f"{memory.weights_mb / 4:,.0f} M",
            f"{memory.total_mb / 1000:.1f} GB",
            f"{_flops(backbone) / smallest:.1f}",
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _backbone(model: Model) -> BackboneConfig:
    with tempfile.TemporaryDirectory() as folder:
        file = pathlib.Path(folder, "config.json")
        file.write_text(json.dumps(model.sizes), encoding="utf-8")
        return read_config(pathlib.Path(folder))


def _full_rows() -> Layout:
    row = np.arange(ROWS, dtype=np.int32)[None]
    return Layout(
        row_length=ROW_LENGTH,
        rows=ROWS,
        index=row.astype(np.int64),
        row=row,
        start=np.zeros_like(row),
        length=np.full_like(row, ROW_LENGTH),
    )


def _flops(backbone: BackboneConfig) -> float:
    return training_flops(backbone, np.full(ROWS, ROW_LENGTH))


if __name__ == "__main__":
    sys.stdout.write(table())
