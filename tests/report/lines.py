"""Answers as predictions.jsonl has them, made by hand, and the evidence of a run that gave them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from trainer.report.evidence import Evidence

Lines = Sequence[dict[str, Any]]


def evidence(lines: Lines, head: Mapping[str, Any], **results: Any) -> Evidence:
    """Of a run whose test split has these answers."""
    return Evidence(
        name="run",
        config={"head": head, "backbone": {}, "data": {}, "train": {}},
        origins={"head.name": "c.yaml:1"},
        results={"test": {"loss": 0.5}, "step": 20, **results},
        plan={"splits": {"train": {"examples": 9}}, "label_counts": {"train": {"a": 6, "b": 3}}},
        ledger={"train": {"duplicates": {"count": 2, "first": "train.csv:7"}}},
        baselines={"majority": {"test": {"loss": 1.0, "accuracy": 0.6}, "seconds": 0.1}},
        explanations=[
            {
                "split": "test",
                "id": 0,
                "origin": "test.csv:2",
                "gold": "a",
                "answer": "a",
                "start": -1,
                "end": -1,
                "texts": ["a film, 好看", "‖ <b>"],
                "score": 2.0,
                "baseline": 0.5,
                "gap": 0.001,
                "shares": [
                    {"text": 0, "start": 0, "end": 1, "value": -0.3},
                    {"text": 0, "start": 2, "end": 6, "value": 1.5},
                    {"text": 1, "start": 2, "end": 5, "value": 0.3},
                ],
                "kept": [2.0, 0.6, 0.5],
                "kept_random": [2.0, 1.2, 0.5],
            }
        ],
        robustness={
            "attack": {
                "texts": 20,
                "flipped": 3,
                "changes": 1.3,
                "examples": [
                    {
                        "origin": "test.csv:9",
                        "before": "a film",
                        "after": "a flim",
                        "answer_before": "a",
                        "answer_after": "b",
                    }
                ],
            },
            "typos": {
                "texts": 50,
                "flipped": 5,
                "accuracy_before": 0.8,
                "accuracy_after": 0.7,
                "examples": [
                    {
                        "origin": "test.csv:3",
                        "before": "a film",
                        "after": "a flim <b>",
                        "answer_before": "a",
                        "answer_after": "b",
                    }
                ],
            },
        },
        near_duplicates={
            "test": {
                "train_examples": 9,
                "examples": 2,
                "pairs": [{"id": 1, "train": "train.csv:4", "similarity": 0.8}],
            }
        },
        probe={"metric": "accuracy", "layers": [0.5, 0.7, 0.6], "train": 100, "judged": 50},
        behaviour={
            "negation <b>": {
                "kind": "invariance",
                "expected": "same answer: name",
                "cases": 4,
                "passed": 3,
                "at_least": 0.5,
                "is_met": True,
                "failures": [
                    {
                        "asked": [["Anna liked it"], ["小明 liked it"]],
                        "answered": [{"label": "a"}, {"label": "b"}],
                    }
                ],
            }
        },
        positions=[
            {"from": 0, "to": 0, "tokens": 9, "loss": 5.0},
            {"from": 1, "to": 3, "tokens": 20, "loss": 3.0},
        ],
        curve=[
            {"step": 10, "split": "train", "loss": 0.9},
            {"step": 20, "split": "train", "loss": 0.7},
            {"step": 20, "split": "validation", "loss": 0.6, "accuracy": 0.7},
        ],
        splits={"test": lines},
    )


def place(number: int, **inputs: str) -> dict[str, Any]:
    """What each line begins with."""
    return {"split": "test", "id": number, "origin": f"test.csv:{number + 2}", "inputs": inputs}


def one_label(gold: Sequence[str], probabilities: np.ndarray, names: Sequence[str]) -> Lines:
    """Of texts with one label each.

    Args:
        gold: (n,) names.
        probabilities: (n, C).
        names: (C,).
    """
    lines = []
    for number, (label, shares) in enumerate(zip(gold, probabilities.tolist(), strict=True)):
        best = int(np.argmax(shares))
        lines.append(
            {
                **place(number, text=f"text {number} of a film"),
                "gold": label,
                "answer": names[best],
                "score": shares[best],
                "loss": -float(np.log(shares[names.index(label)])) if label in names else None,
                "probabilities": dict(zip(names, shares, strict=True)),
            }
        )
    return lines


def drawn(count: int, names: Sequence[str], *, seed: int = 0, right: float = 0.8) -> Lines:
    """Texts with a label each, of which so many are answered rightly."""
    generator = np.random.default_rng(seed)
    gold = generator.integers(len(names), size=count)
    logits = generator.normal(size=(count, len(names)))
    is_right = generator.random(count) < right
    logits[np.arange(count)[is_right], gold[is_right]] += 4
    shares = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    return one_label([names[label] for label in gold], shares, list(names))


def tagged(number: int, gold: str, answer: str) -> dict[str, Any]:
    """A text of words w with gold and answered tags, such as "B-x I-x O"."""
    golds, answers = gold.split(), answer.split()
    return {
        **place(number, text=" ".join(["w"] * len(golds))),
        "gold": _spans(golds),
        "answer": [{**span, "score": 0.9} for span in _spans(answers)],
        "loss": 0.1,
        "gold_tags": golds,
        "answer_tags": answers,
    }


def _spans(tags: Sequence[str]) -> list[dict[str, Any]]:
    """A word is a character and a space."""
    spans: list[dict[str, Any]] = []
    for word, tag in enumerate(tags):
        if tag.startswith("B-"):
            spans.append({"type": tag[2:], "start": 2 * word, "end": 2 * word + 1})
        elif tag.startswith("I-"):
            spans[-1]["end"] = 2 * word + 1
    return spans


def question(number: int, asked: str, golds: Sequence[str], answer: str, f1: float) -> dict:
    """A question to a context of few words."""
    context = "the film was made in May by Anna"
    start = context.find(answer) if answer else -1
    return {
        **place(number, question=asked, context=context),
        "gold": list(golds),
        "answer": answer,
        "start": start,
        "end": start + len(answer) if answer else -1,
        "score": 0.7,
        "exact_match": float(f1 == 1),
        "f1": f1,
        "loss": 1.0,
    }
