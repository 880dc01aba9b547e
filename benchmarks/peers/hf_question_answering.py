"""Hugging Face's Trainer on PyTorch, extractive question answering as its run_qa example does it.

One JSON argument; prints one JSON line.

The argument: weights, train, dev (SQuAD files), examples (questions of train), epochs,
learning_rate, seq_len, stride (tokens that windows share), grouped, output (a folder for
checkpoints, from which a run that was cut off goes on), and v2: with questions that have no answer.
Answers are judged by `evaluate_squad`, written after the official script and not shared with the
trainer.
"""

import collections
import json
import os
import re
import string
import sys
import time

import numpy as np
from datasets import Dataset
from transformers import (
    AutoModelForQuestionAnswering,
    AutoTokenizer,
    DataCollatorWithPadding,
    Trainer,
    TrainingArguments,
    trainer_utils,
)

arguments = json.loads(sys.argv[1])
tokenizer = AutoTokenizer.from_pretrained(arguments["weights"])
BEST, LONGEST = 20, 30


def questions(path: str, limit: int | None = None) -> list[dict]:
    """The file's questions with their contexts."""
    with open(path, encoding="utf-8") as opened:
        articles = json.load(opened)["data"]
    paragraphs = [paragraph for article in articles for paragraph in article["paragraphs"]]
    return [
        {**question, "context": paragraph["context"]}
        for paragraph in paragraphs
        for question in paragraph["qas"]
    ][:limit]


def windows(rows: list[dict]) -> tuple[Dataset, list[tuple[int, list]]]:
    """Tokens and the answer's place; of each window its question and the characters of the context
    that its tokens have.
    """
    inputs = tokenizer(
        [row["question"].strip() for row in rows],
        [row["context"] for row in rows],
        truncation="only_second",
        max_length=arguments["seq_len"],
        stride=arguments["stride"],
        return_overflowing_tokens=True,
        return_offsets_mapping=True,
    )
    owners = inputs.pop("overflow_to_sample_mapping")
    offsets = inputs.pop("offset_mapping")
    places, kept = [], []
    for window, spans in enumerate(offsets):
        inside = [
            index for index, sequence in enumerate(inputs.sequence_ids(window)) if sequence == 1
        ]
        answers = rows[owners[window]]["answers"]
        place = (0, 0)
        if answers:
            start = answers[0]["answer_start"]
            end = start + len(answers[0]["text"])
            if spans[inside[0]][0] <= start and spans[inside[-1]][1] >= end:
                touched = [
                    index for index in inside if spans[index][1] > start and spans[index][0] < end
                ]
                place = (touched[0], touched[-1])
        places.append(place)
        kept.append(
            (
                owners[window],
                [span if index in inside else None for index, span in enumerate(spans)],
            )
        )
    return (
        Dataset.from_dict(
            {
                **inputs,
                "start_positions": [a for a, _ in places],
                "end_positions": [b for _, b in places],
            }
        ),
        kept,
    )


def answers(
    rows: list[dict], kept: list[tuple[int, list]], start: np.ndarray, end: np.ndarray
) -> list[tuple[str, float]]:
    """The best span over all windows of each question, and how much better no answer is."""
    best: dict[int, tuple[float, str]] = {}
    none: dict[int, float] = {}
    for window, (row, spans) in enumerate(kept):
        none[row] = min(none.get(row, np.inf), float(start[window, 0] + end[window, 0]))
        for first in np.argsort(start[window])[-BEST:]:
            for last in np.argsort(end[window])[-BEST:]:
                if (
                    max(first, last) >= len(spans)
                    or spans[first] is None
                    or spans[last] is None
                    or not 0 <= last - first < LONGEST
                ):
                    continue
                score = float(start[window, first] + end[window, last])
                if row not in best or score > best[row][0]:
                    best[row] = score, rows[row]["context"][spans[first][0] : spans[last][1]]
    return [
        (best.get(row, (0.0, ""))[1], none[row] - best.get(row, (-np.inf, ""))[0])
        for row in range(len(rows))
    ]


def words(text: str) -> list[str]:
    """Lower case, without punctuation and articles."""
    return re.sub(
        r"\b(a|an|the)\b",
        " ",
        "".join(char for char in text.lower() if char not in string.punctuation),
    ).split()


def right(answer: str, golds: list[str]) -> tuple[float, float]:
    """Exact match and f1 with the best gold answer."""

    def f1(gold: str) -> float:
        ours, theirs = words(answer), words(gold)
        if not ours or not theirs:
            return float(ours == theirs)
        common = sum((collections.Counter(ours) & collections.Counter(theirs)).values())
        return 2 * common / (len(ours) + len(theirs))

    return max(float(words(answer) == words(gold)) for gold in golds), max(map(f1, golds))


def evaluate_squad(rows: list[dict], found: list[tuple[str, float]]) -> dict[str, float]:
    """exact_match and f1; with unanswerable questions at the threshold that is best for f1."""
    golds = [[answer["text"] for answer in row["answers"]] or [""] for row in rows]
    having = np.array([right(answer, gold) for (answer, _), gold in zip(found, golds, strict=True)])
    if not arguments.get("v2"):
        return dict(
            zip(("exact_match", "f1"), (100 * having.mean(axis=0)).round(2).tolist(), strict=True)
        )
    lacking = np.array([right("", gold) for gold in golds])
    margin = np.array([margin for _, margin in found])
    scores = {
        threshold: np.where((margin > threshold)[:, None], lacking, having).mean(axis=0)
        for threshold in np.quantile(margin, np.linspace(0, 1, 1001))
    }
    return dict(
        zip(
            ("exact_match", "f1"),
            (100 * max(scores.values(), key=lambda pair: pair[1])).round(2).tolist(),
            strict=True,
        )
    )


train = questions(arguments["train"], arguments["examples"])
dev = questions(arguments["dev"], arguments.get("dev_examples"))
(train_data, _), (dev_data, dev_windows) = windows(train), windows(dev)
model = AutoModelForQuestionAnswering.from_pretrained(arguments["weights"])
settings = TrainingArguments(
    arguments.get("output", "output"),
    per_device_train_batch_size=32,
    per_device_eval_batch_size=64,
    learning_rate=arguments["learning_rate"],
    num_train_epochs=arguments["epochs"],
    warmup_steps=0.1,
    weight_decay=0.01,
    seed=arguments.get("seed", 0),
    logging_strategy="no",
    save_strategy="steps",
    save_steps=100,
    save_total_limit=1,
    report_to=[],
    use_cpu=True,
    disable_tqdm=True,
    train_sampling_strategy="group_by_length" if arguments["grouped"] else "random",
)
trainer = Trainer(
    model, settings, train_dataset=train_data, data_collator=DataCollatorWithPadding(tokenizer)
)
begun = time.time()
# of a run that was cut off
checkpoint = (
    trainer_utils.get_last_checkpoint(settings.output_dir)
    if os.path.isdir(settings.output_dir)
    else None
)
trainer.train(resume_from_checkpoint=checkpoint)
seconds = time.time() - begun
# else it groups what it predicts, too, and the answers come in another order
trainer.args.train_sampling_strategy = "random"
start, end = trainer.predict(dev_data).predictions[:2]
tokens = sum(map(len, train_data["input_ids"])) * arguments["epochs"]
print(
    json.dumps(
        {
            "train_s": round(seconds, 1),
            "real_tokens_per_s": round(tokens / seconds),
            "questions": len(train),
            "windows": len(train_data),
            **evaluate_squad(dev, answers(dev, dev_windows, start, end)),
        }
    )
)
