"""Asks a SavedModel about raw strings: ask.py SAVED_MODEL TEXT [TEXT_PAIR].

Needs tensorflow and tensorflow-text, not the trainer.
"""

import contextlib
import json
import os
import pathlib
import sys

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
with contextlib.suppress(ImportError):  # where the trainer is at hand
    from trainer.machine.allocator import keep_memory

    keep_memory()

stderr = os.dup(2)  # TensorFlow's notes on its import; errors come as exceptions
os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
import tensorflow as tf  # noqa: E402
import tensorflow_text  # noqa: E402, F401  registers the tokenizer's op

os.dup2(stderr, 2)
folder, *texts = sys.argv[1:]
names = ("text", "text_pair")
answer = tf.saved_model.load(folder).signatures["serving_default"](
    **{name: tf.constant([text]) for name, text in zip(names, texts, strict=False)}
)
labels = json.loads(pathlib.Path(folder, "assets.extra", "labels.json").read_text(encoding="utf-8"))
print(f"{folder} on {texts}:")
for name, value in sorted(answer.items()):
    row = value.numpy()[0]
    if name == "probabilities":
        print("  " + "  ".join(f"{label} {p:.3f}" for label, p in zip(labels, row, strict=True)))
    else:
        print(f"  {name}: {row.decode() if isinstance(row, bytes) else row}")
