"""Hugging Face's Trainer on PyTorch, text classification as its documentation does it.

One JSON argument; prints one JSON line.
"""

import csv
import json
import sys
import time

import numpy as np
from datasets import Dataset
from transformers import (
    AutoModelForSequenceClassification,
    AutoTokenizer,
    DataCollatorWithPadding,
    Trainer,
    TrainingArguments,
)

arguments = json.loads(sys.argv[1])
csv.field_size_limit(10**9)


def rows(path: str, limit: int | None = None) -> list[dict]:
    """The file's rows by column name."""
    with open(path, encoding="utf-8-sig", newline="") as opened:
        return list(csv.DictReader(opened, delimiter="\t", quoting=csv.QUOTE_NONE))[:limit]


def texts(row: dict) -> list[str]:
    """One text, or the two of a pair."""
    return [row[name] for name in arguments["text"].split(",")]


train = rows(arguments["train"], arguments["examples"])
dev = rows(arguments["dev"])
regression = arguments.get("regression", False)
names = sorted({row[arguments["label"]] for row in train})
tokenizer = AutoTokenizer.from_pretrained(arguments.get("tokenizer") or arguments["weights"])


def encoded(split: list[dict]) -> Dataset:
    """Token ids and labels."""
    columns = list(zip(*map(texts, split), strict=True))
    labels = [
        float(row[arguments["label"]]) if regression else names.index(row[arguments["label"]])
        for row in split
    ]
    inputs = tokenizer(*map(list, columns), truncation=True, max_length=arguments["seq_len"])
    return Dataset.from_dict({**inputs, "label": labels})


def scores(prediction: object) -> dict[str, float]:
    """Accuracy, or Pearson's correlation."""
    if regression:
        return {
            "pearson": float(np.corrcoef(prediction.predictions[:, 0], prediction.label_ids)[0, 1])
        }
    return {"accuracy": float((prediction.predictions.argmax(-1) == prediction.label_ids).mean())}


train_data, dev_data = encoded(train), encoded(dev)
extra = (
    {"num_labels": 1, "problem_type": "regression"} if regression else {"num_labels": len(names)}
)
if arguments.get("scratch"):
    from transformers import AutoConfig, set_seed

    set_seed(arguments.get("seed", 0))
    model = AutoModelForSequenceClassification.from_config(
        AutoConfig.from_pretrained(arguments["weights"], **extra)
    )
else:
    model = AutoModelForSequenceClassification.from_pretrained(arguments["weights"], **extra)
epochs = arguments.get("epochs", 1)
settings = TrainingArguments(
    "output",
    per_device_train_batch_size=32,
    per_device_eval_batch_size=64,
    learning_rate=arguments.get("learning_rate", 5e-5),
    num_train_epochs=epochs,
    warmup_steps=0.1,
    weight_decay=0.01,
    seed=arguments.get("seed", 0),
    logging_strategy="no",
    save_strategy="no",
    report_to=[],
    use_cpu=True,
    disable_tqdm=True,
    bf16=arguments["precision"] == "mixed_bfloat16",
    train_sampling_strategy="group_by_length" if arguments["grouped"] else "random",
)
trainer = Trainer(
    model,
    settings,
    train_dataset=train_data,
    eval_dataset=dev_data,
    data_collator=DataCollatorWithPadding(tokenizer),
    compute_metrics=scores,
)
start = time.time()
trainer.train()
seconds = time.time() - start
if arguments.get("only_first_step"):
    print(json.dumps({"ended": time.time()}))
    sys.exit()
metrics = {
    name.removeprefix("eval_"): value
    for name, value in trainer.evaluate().items()
    if name in ("eval_accuracy", "eval_pearson")
}
tokens = sum(map(len, train_data["input_ids"])) * epochs
speed = {
    "real_tokens_per_s": round(tokens / seconds),
    "examples_per_s": round(len(train) * epochs / seconds, 2),
    "train_s": round(seconds, 1),
}
print(json.dumps({**speed, **metrics}))
