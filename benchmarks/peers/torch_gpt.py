"""A GPT-2 from random values, trained by a plain PyTorch loop: the other side of
configs/tiny_shakespeare.yaml.

usage: torch_gpt.py '{"weights", "train", "validation", "epochs", "batch_size", "seq_len",
"learning_rate", "beta_2", "warmup", "seed"}' (pip install torch transformers). `weights` is a
folder with config.json and tokenizer.json. Writes a JSON object with the
validation loss a token after each epoch, over the same rows as ours: the file in windows that do
not overlap, each token but the first predicted once.
"""

import json
import math
import sys
import time

import torch
import transformers


def main(settings: dict) -> None:
    """Trains and evaluates."""
    torch.manual_seed(settings["seed"])
    tokenizer = transformers.AutoTokenizer.from_pretrained(settings["weights"])
    model = transformers.GPT2LMHeadModel(
        transformers.GPT2Config.from_pretrained(settings["weights"])
    )
    length = settings["seq_len"]

    def tokens_of(name: str) -> list[int]:
        with open(settings[name], encoding="utf-8") as file:
            return tokenizer(file.read())["input_ids"] + [tokenizer.eos_token_id]

    def rows_of(tokens: list[int]) -> list[tuple[torch.Tensor, torch.Tensor]]:
        return [
            (
                torch.tensor(tokens[start : start + length][: len(tokens) - 1 - start]),
                torch.tensor(tokens[start + 1 : start + length + 1]),
            )
            for start in range(0, len(tokens) - 1, length)
        ]

    train = tokens_of("train")
    validation = rows_of(tokens_of("validation"))
    rows = rows_of(train)
    full = [row for row in rows if len(row[0]) == length]
    steps_per_epoch = math.ceil(len(full) / settings["batch_size"])
    steps = settings["epochs"] * steps_per_epoch
    warmup = settings["warmup"] * steps
    decayed, plain = (
        [weight for name, weight in model.named_parameters() if (weight.ndim > 1) == wanted]
        for wanted in (True, False)
    )
    optimizer = torch.optim.AdamW(
        [{"params": decayed, "weight_decay": 0.01}, {"params": plain, "weight_decay": 0.0}],
        lr=settings["learning_rate"],
        betas=(0.9, settings["beta_2"]),
    )
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer,
        lambda step: (
            min(1.0, step / warmup)
            if step < warmup
            else 0.5 * (1 + math.cos(math.pi * (step - warmup) / (steps - warmup)))
        ),
    )
    report, seconds = [], 0.0
    for _ in range(settings["epochs"]):
        model.train()
        order = torch.randperm(len(full)).tolist()
        start = time.perf_counter()
        for first in range(0, len(order), settings["batch_size"]):
            chosen = [full[index] for index in order[first : first + settings["batch_size"]]]
            ids, targets = (torch.stack([row[part] for row in chosen]) for part in (0, 1))
            loss = torch.nn.functional.cross_entropy(
                model(ids).logits.flatten(0, 1), targets.flatten()
            )
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            schedule.step()
            optimizer.zero_grad()
        seconds += time.perf_counter() - start
        model.eval()
        with torch.no_grad():
            losses = [
                torch.nn.functional.cross_entropy(
                    model(ids[None]).logits[0], targets, reduction="sum"
                ).item()
                for ids, targets in validation
            ]
        report.append(sum(losses) / sum(len(targets) for _, targets in validation))
        print(
            json.dumps({"validation_loss": report[-1], "train_s": round(seconds)}),
            file=sys.stderr,
            flush=True,
        )
    print(
        json.dumps(
            {
                "parameters": sum(weight.numel() for weight in model.parameters()),
                "steps": steps,
                "tokens": settings["epochs"] * len(full) * length,
                "train_s": round(seconds, 1),
                "validation_loss": report,
                "best": min(report),
            }
        )
    )


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
