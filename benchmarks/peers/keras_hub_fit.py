"""KerasHub's BertTextClassifier with fit, on TensorFlow.

One JSON argument; prints one JSON line.
"""

import csv
import json
import sys
import time

import keras
import keras_hub
import tensorflow as tf

arguments = json.loads(sys.argv[1])
csv.field_size_limit(10**9)
if arguments["precision"] == "mixed_bfloat16":
    keras.config.set_dtype_policy("mixed_bfloat16")


def rows(path: str, limit: int | None = None) -> list[dict]:
    """The file's rows by column name."""
    with open(path, encoding="utf-8-sig", newline="") as opened:
        return list(csv.DictReader(opened, delimiter="\t", quoting=csv.QUOTE_NONE))[:limit]


train = rows(arguments["train"], arguments["examples"])
dev = rows(arguments["dev"])
names = sorted({row[arguments["label"]] for row in train})
tokenizer = keras_hub.models.BertTokenizer.from_preset(arguments["weights"])
preprocess = keras_hub.models.BertTextClassifierPreprocessor(
    tokenizer, sequence_length=arguments["seq_len"]
)
backbone = keras_hub.models.BertBackbone.from_preset(arguments["weights"])
model = keras_hub.models.BertTextClassifier(
    backbone=backbone, num_classes=len(names), preprocessor=None
)
rate = keras.optimizers.schedules.PolynomialDecay(5e-5, -(-len(train) // 32), 0.0)
loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
model.compile(
    optimizer=keras.optimizers.AdamW(rate, weight_decay=0.01), loss=loss, metrics=["accuracy"]
)


def dataset(split: list[dict], batch_size: int) -> tf.data.Dataset:
    """Padded batches of token ids and labels."""
    texts = [row[arguments["text"]] for row in split]
    labels = [names.index(row[arguments["label"]]) for row in split]
    return (
        tf.data.Dataset.from_tensor_slices((texts, labels))
        .batch(batch_size)
        .map(preprocess, num_parallel_calls=2)
    )


train_data = dataset(train, 32).cache()
dev_data = dataset(dev, 64)
tokens = sum(
    int(tf.reduce_sum(tf.cast(features["padding_mask"], tf.int32))) for features, _ in train_data
)
# traces and compiles, as our first step does, outside the clock
model.fit(train_data.take(1), epochs=1, verbose=0)
start = time.time()
model.fit(train_data.shuffle(100).prefetch(2), epochs=1, verbose=0)
seconds = time.time() - start
accuracy = model.evaluate(dev_data, verbose=0)[1]
print(
    json.dumps(
        {
            "real_tokens_per_s": round(tokens / seconds),
            "examples_per_s": round(len(train) / seconds, 2),
            "accuracy": accuracy,
            "train_s": round(seconds, 1),
        }
    )
)
