"""Makes tests/golden/step: a tiny BERT classifier, eight examples, and its weights after 1 and 3
steps of PyTorch's AdamW.

usage: python -m tests.golden.make_step      (pip install torch==2.13.0 transformers)

Weight decay leaves out biases and norms, gradients are clipped by their global norm, dropout is
off: the recipe of Hugging Face's Trainer, written out.
"""

from __future__ import annotations

import json
import pathlib

import torch
from safetensors.torch import save_file
from transformers import AutoTokenizer, BertConfig, BertForSequenceClassification

from tests import toy

FOLDER = pathlib.Path(__file__).parent / "step"
RATE = 1e-3
DECAY = 0.01
CLIP = 1.0
STEPS = (1, 3)


def main() -> None:
    checkpoint = toy.write_checkpoint(
        FOLDER / "checkpoint",
        architectures=["BertForSequenceClassification"],
        id2label={"0": "neg", "1": "neutral", "2": "pos"},
        label2id={"neg": 0, "neutral": 1, "pos": 2},
    )
    torch.manual_seed(0)
    model = BertForSequenceClassification(BertConfig.from_pretrained(checkpoint))
    save_file(model.state_dict(), checkpoint / "model.safetensors", metadata={"format": "pt"})
    rows = toy.sentences(8, labels=("neg", "neutral", "pos"))
    toy.write_jsonl(FOLDER / "train.jsonl", rows)
    inputs = AutoTokenizer.from_pretrained(checkpoint)(
        [row["text"] for row in rows], padding=True, return_tensors="pt"
    )
    labels = torch.tensor([model.config.label2id[row["label"]] for row in rows])
    decayed = [p for p in model.parameters() if p.ndim > 1]
    plain = [p for p in model.parameters() if p.ndim == 1]
    optimizer = torch.optim.AdamW(
        [{"params": decayed, "weight_decay": DECAY}, {"params": plain, "weight_decay": 0.0}],
        lr=RATE,
        eps=1e-8,
    )
    facts = []
    for step in range(1, max(STEPS) + 1):
        loss = model.eval()(**inputs, labels=labels).loss
        optimizer.zero_grad()
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(model.parameters(), CLIP)
        optimizer.step()
        facts.append({"loss": loss.item(), "gradient_norm": norm.item()})
        if step in STEPS:
            save_file(model.state_dict(), FOLDER / f"after_{step}.safetensors")
    (FOLDER / "facts.json").write_text(json.dumps(facts, indent=1) + "\n")


if __name__ == "__main__":
    main()
