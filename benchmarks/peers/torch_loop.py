"""A loop of one's own in PyTorch: scaled dot-product attention, fused AdamW, batches by length.

One JSON argument, as hf_trainer.py's; prints one JSON line.
"""

import csv
import json
import random
import sys
import time

import torch
from transformers import (
    AutoModelForSequenceClassification,
    AutoTokenizer,
    get_linear_schedule_with_warmup,
)

arguments = json.loads(sys.argv[1])
csv.field_size_limit(10**9)
BATCH = 32


def rows(path: str, limit: int | None = None) -> list[dict]:
    """The file's rows by column name."""
    with open(path, encoding="utf-8-sig", newline="") as opened:
        return list(csv.DictReader(opened, delimiter="\t", quoting=csv.QUOTE_NONE))[:limit]


train, dev = rows(arguments["train"], arguments["examples"]), rows(arguments["dev"])
names = sorted({row[arguments["label"]] for row in train})
tokenizer = AutoTokenizer.from_pretrained(arguments["weights"])
model = AutoModelForSequenceClassification.from_pretrained(
    arguments["weights"], num_labels=len(names), attn_implementation="sdpa"
)


def batches(split: list[dict], *, shuffled: bool) -> list[dict]:
    """Padded to the longest, neighbours alike."""
    ids = tokenizer(
        [row[arguments["text"]] for row in split],
        truncation=True,
        max_length=arguments["seq_len"],
    )["input_ids"]
    order = sorted(range(len(split)), key=lambda index: len(ids[index]))
    groups = [order[start : start + BATCH] for start in range(0, len(order), BATCH)]
    if shuffled:
        random.Random(0).shuffle(groups)
    made = []
    for group in groups:
        batch = tokenizer.pad({"input_ids": [ids[index] for index in group]}, return_tensors="pt")
        labels = [names.index(split[index][arguments["label"]]) for index in group]
        made.append({**batch, "labels": torch.tensor(labels)})
    return made


steps = batches(train, shuffled=True)
optimizer = torch.optim.AdamW(model.parameters(), lr=5e-5, weight_decay=0.01, fused=True)
schedule = get_linear_schedule_with_warmup(optimizer, len(steps) // 10, len(steps))
model.train()
start = time.time()
for step in steps:
    with torch.autocast("cpu", torch.bfloat16, enabled=arguments["precision"] != "float32"):
        loss = model(**step).loss
    loss.backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()
    schedule.step()
    optimizer.zero_grad()
seconds = time.time() - start
model.eval()
right = 0
with torch.no_grad():
    for step in batches(dev, shuffled=False):
        labels = step.pop("labels")
        right += int((model(**step).logits.argmax(-1) == labels).sum())
tokens = sum(int(step["attention_mask"].sum()) for step in steps)
print(
    json.dumps(
        {
            "real_tokens_per_s": round(tokens / seconds),
            "train_s": round(seconds, 1),
            "accuracy": right / len(dev),
        }
    )
)
