"""Hugging Face's Trainer on PyTorch, token classification as its run_ner example does it.

One JSON argument; prints one JSON line.

The argument: weights, train, dev, test (CoNLL columns, the word first and the tag last), epochs,
learning_rate, seq_len, grouped, and examples (sentences of train; all where it is left out). A word
is learnt and scored at its first token; words beyond seq_len are in neither gold nor prediction,
and counted.
"""

import json
import sys
import tempfile
import time

import numpy as np
from datasets import Dataset
from seqeval.metrics.v1 import precision_recall_fscore_support
from seqeval.scheme import IOB2
from transformers import (
    AutoModelForTokenClassification,
    AutoTokenizer,
    DataCollatorForTokenClassification,
    Trainer,
    TrainingArguments,
)

IGNORED = -100

arguments = json.loads(sys.argv[1])
tokenizer = AutoTokenizer.from_pretrained(arguments["weights"])


def sentences(path: str, limit: int | None = None) -> list[dict]:
    """Words and tags of each sentence."""
    found: list[dict] = [{"words": [], "tags": []}]
    with open(path, encoding="utf-8") as lines:
        for line in lines:
            columns = line.split()
            if columns and columns[0] != "-DOCSTART-":
                found[-1]["words"].append(columns[0])
                found[-1]["tags"].append(columns[-1])
            elif found[-1]["words"]:
                found.append({"words": [], "tags": []})
    return [sentence for sentence in found if sentence["words"]][:limit]


splits = {
    name: sentences(arguments[name], arguments.get("examples") if name == "train" else None)
    for name in ("train", "dev", "test")
}
names = sorted({tag for sentence in splits["train"] for tag in sentence["tags"]})


def encoded(sentence: dict) -> dict:
    """Tokens, and the tag's number at the first of each word."""
    inputs = tokenizer(
        sentence["words"],
        is_split_into_words=True,
        truncation=True,
        max_length=arguments["seq_len"],
    )
    before, labels = None, []
    for word in inputs.word_ids():
        labels.append(
            IGNORED if word is None or word == before else names.index(sentence["tags"][word])
        )
        before = word
    return {**inputs, "labels": labels}


tokens = {
    name: Dataset.from_list([encoded(sentence) for sentence in rows])
    for name, rows in splits.items()
}
model = AutoModelForTokenClassification.from_pretrained(arguments["weights"], num_labels=len(names))
settings = TrainingArguments(
    tempfile.mkdtemp(),
    per_device_train_batch_size=32,
    per_device_eval_batch_size=64,
    learning_rate=arguments["learning_rate"],
    num_train_epochs=arguments["epochs"],
    warmup_steps=0.1,
    weight_decay=0.01,
    seed=0,
    logging_strategy="no",
    save_strategy="no",
    report_to=[],
    use_cpu=True,
    disable_tqdm=True,
    train_sampling_strategy="group_by_length" if arguments.get("grouped") else "random",
)
trainer = Trainer(
    model,
    settings,
    train_dataset=tokens["train"],
    data_collator=DataCollatorForTokenClassification(tokenizer),
)
start = time.perf_counter()
trainer.train()
seconds = time.perf_counter() - start
report: dict = {
    "train_s": round(seconds, 1),
    "real_tokens_per_s": round(
        sum(map(len, tokens["train"]["input_ids"])) * arguments["epochs"] / seconds
    ),
}
for name in ("dev", "test"):
    answer = trainer.predict(tokens[name])
    scored = answer.label_ids != IGNORED
    best = answer.predictions.argmax(-1)
    gold, predicted = (
        [[names[number] for number in row[mask]] for row, mask in zip(rows, scored, strict=True)]
        for rows in (answer.label_ids, best)
    )
    scores = precision_recall_fscore_support(
        gold, predicted, average="micro", scheme=IOB2, zero_division=0
    )
    report[name] = {
        **dict(
            zip(
                ("precision", "recall", "f1"),
                (round(float(score), 4) for score in scores[:3]),
                strict=True,
            )
        ),
        "words_never_scored": int(
            sum(map(len, (sentence["words"] for sentence in splits[name]))) - np.sum(scored)
        ),
    }
print(json.dumps(report))
