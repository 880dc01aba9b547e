"""Writes one classifier as a SavedModel and in Hugging Face's format, for serving.py.

usage: serving_model.py WEIGHTS FOLDER
"""

from __future__ import annotations

import os
import pathlib
import sys

os.environ["KERAS_BACKEND"] = "tensorflow"

import tensorflow as tf

from trainer.backbones import huggingface
from trainer.files.storage import local_folder
from trainer.heads.classification import Settings, make_head
from trainer.run.model import Model
from trainer.serve.huggingface_folder import export_huggingface
from trainer.serve.server import make_server
from trainer.settings.schema import DataSettings
from trainer.text import load_tokenizer

weights = local_folder(sys.argv[1], key="weights")
target = pathlib.Path(sys.argv[2])
tokenizer = load_tokenizer(weights)
head = make_head(
    Settings(name="classification"),
    DataSettings(source="jsonl", train="", text="text", label="label", seq_len=128),
    tokenizer,
)
backbone, _ = huggingface.load_backbone(weights)
vocabulary = {"labels": ["neg", "pos"], "train_counts": {}}
model = Model(backbone, head.build(backbone, vocabulary, 1))
server = make_server(model, head)
tf.saved_model.save(server.as_module(), str(target / "savedmodel"), signatures=server.signatures())
export_huggingface(model, tokenizer, weights, weights, target / "huggingface")
