"""The metrics of a run once more, of predictions.jsonl alone and by other libraries."""

from __future__ import annotations

import itertools
import math
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pytest

from tests import toy

Lines = Sequence[Mapping[str, Any]]


def require_same_scores(job_dir: pathlib.Path, results: Mapping[str, Any]) -> None:
    """Asserts that predictions.jsonl says what results.json says, of each split."""
    lines = toy.read_jsonl(job_dir / "predictions.jsonl")
    splits = {split: results[split] for split in ("validation", "test") if split in results}
    assert list(dict.fromkeys(line["split"] for line in lines)) == list(splits)
    for split, metrics in splits.items():
        of_split = [line for line in lines if line["split"] == split]
        assert [line["id"] for line in of_split] == list(range(len(of_split)))
        again = scores(of_split)
        assert again == pytest.approx({name: metrics[name] for name in again}, abs=1e-6)


def scores(lines: Lines) -> dict[str, float]:
    """The metrics of a split, as far as other libraries give them."""
    first = lines[0]
    if "gold_tags" in first:
        return of_spans(lines)
    if "exact_match" in first:
        return of_answers(lines)
    if "tokens" in first:
        return of_tokens(lines)
    if isinstance(first["gold"], float):
        return of_numbers(lines)
    if isinstance(first["gold"], str):
        return of_one_label(lines)
    return of_several_labels(lines) if "probabilities" in first else of_tags(lines)


def of_one_label(lines: Lines) -> dict[str, float]:
    from sklearn.metrics import accuracy_score, f1_score, log_loss, roc_auc_score

    gold = [line["gold"] for line in lines]
    answer = [line["answer"] for line in lines]
    for line in lines:
        assert line["score"] == max(line["probabilities"].values())
    known = list(lines[0]["probabilities"])
    found = {
        "accuracy": accuracy_score(gold, answer),
        "f1_macro": f1_score(
            gold, answer, labels=sorted({*gold, *known}), average="macro", zero_division=0
        ),
    }
    is_known = [line for line in lines if line["gold"] in known]
    shares = np.array([list(line["probabilities"].values()) for line in is_known])
    places = [known.index(line["gold"]) for line in is_known]
    found["loss"] = log_loss(
        places, shares / shares.sum(1, keepdims=True), labels=range(len(known))
    )
    assert found["loss"] == pytest.approx(np.mean([line["loss"] for line in is_known]), abs=1e-6)
    if len(known) == 2 and len(set(places)) == 2 and len(is_known) == len(lines):
        found["auc_roc"] = roc_auc_score(places, shares[:, 1])
    return found


def of_several_labels(lines: Lines) -> dict[str, float]:
    from sklearn.metrics import accuracy_score, f1_score
    from sklearn.preprocessing import MultiLabelBinarizer

    gold = [line["gold"] for line in lines]
    answer = [line["answer"] for line in lines]
    names = {*itertools.chain(*gold), *lines[0]["probabilities"]}
    matrix = MultiLabelBinarizer(classes=sorted(names))
    gold, answer = matrix.fit_transform(gold), matrix.transform(answer)
    return {
        "accuracy": accuracy_score(gold, answer),
        "f1_micro": f1_score(gold, answer, average="micro", zero_division=0),
        "loss": float(np.mean([line["loss"] for line in lines])),
    }


def of_numbers(lines: Lines) -> dict[str, float]:
    from scipy import stats

    gold = np.array([line["gold"] for line in lines])
    answer = np.array([line["answer"] for line in lines])
    return {
        "mse": float(np.mean((gold - answer) ** 2)),
        "loss": float(np.mean([line["loss"] for line in lines])),
        "pearson": float(stats.pearsonr(gold, answer).statistic),
    }


def of_spans(lines: Lines) -> dict[str, float]:
    from seqeval.metrics import accuracy_score, f1_score, precision_score
    from seqeval.scheme import IOB2

    gold = [line["gold_tags"] for line in lines]
    answer = [line["answer_tags"] for line in lines]
    strict = {"mode": "strict", "scheme": IOB2, "zero_division": 0}
    for line in lines:
        text = line["inputs"]["text"]
        for span in (*line["gold"], *line["answer"]):
            words = text[span["start"] : span["end"]]
            assert words and words == words.strip()
    return {
        "accuracy": accuracy_score(gold, answer),
        "precision": precision_score(gold, answer, **strict),
        "f1": f1_score(gold, answer, **strict),
    }


def of_tags(lines: Lines) -> dict[str, float]:
    from sklearn.metrics import accuracy_score

    gold, answer = (
        list(itertools.chain(*(line[name] for line in lines))) for name in ("gold", "answer")
    )
    return {"accuracy": accuracy_score(gold, answer)}


def of_answers(lines: Lines) -> dict[str, float]:
    for line in lines:
        context = line["inputs"]["context"]
        if line["start"] >= 0:
            assert context[line["start"] : line["end"]] == line["answer"]
    return {
        "exact_match": 100 * float(np.mean([line["exact_match"] for line in lines])),
        "f1": 100 * float(np.mean([line["f1"] for line in lines])),
    }


def of_tokens(lines: Lines) -> dict[str, float]:
    tokens = sum(line["tokens"] for line in lines)
    loss = sum(line["loss"] * line["tokens"] for line in lines if line["tokens"]) / tokens
    return {
        "loss": loss,
        "perplexity": math.exp(loss),
        "accuracy": sum(line["correct"] for line in lines) / tokens,
    }
