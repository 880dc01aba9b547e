"""How many answers a perturbation changes, and which."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from trainer.data.batch import Batch, padded
from trainer.files.json_file import JsonObject
from trainer.heads._classes.graph import ClassGraph
from trainer.report.evidence import Line
from trainer.report.robustness.perturbations import PERTURBATIONS, perturbed
from trainer.run.kept_model import KeptModel

BATCH = 32  # texts at once
MOST_SHOWN = 5  # flips of each perturbation


class Asked(NamedTuple):
    """A text before and after.

    Attributes:
        line: of predictions.jsonl.
        texts: changed; of a pair the first is.
    """

    line: Line
    texts: tuple[str, ...]


def flips(kept: KeptModel, lines: Sequence[Line], count: int) -> JsonObject:
    """Of each perturbation how many texts it changes, how many answers, and some of these.

    Args:
        kept: a model with one label a text.
        lines: of a split.
        count: how many texts are tried, spread over the split.
    """
    places = np.unique(np.linspace(0, len(lines) - 1, min(count, len(lines))).astype(int))
    tried = [lines[place] for place in places.tolist()]
    found: JsonObject = {}
    labels_of = answerer(kept)
    for name in PERTURBATIONS:
        asked = []
        for line in tried:
            first, *others = map(str, line["inputs"].values())
            changed = perturbed(name, first, int(line["id"]))
            if changed is not None:
                asked.append(Asked(line, (changed, *others)))
        if asked:
            found[name] = _compared(asked, labels_of([each.texts for each in asked]))
    return found


def _compared(asked: Sequence[Asked], labels: Sequence[str]) -> JsonObject:
    flipped = [
        (each, label)
        for each, label in zip(asked, labels, strict=True)
        if label != each.line["answer"]
    ]
    right_before = sum(each.line["answer"] == each.line["gold"] for each in asked)
    right_after = sum(label == each.line["gold"] for each, label in zip(asked, labels, strict=True))
    # those that changed least come first
    flipped.sort(key=lambda pair: -pair[0].line["score"])
    return {
        "texts": len(asked),
        "flipped": len(flipped),
        "accuracy_before": right_before / len(asked),
        "accuracy_after": right_after / len(asked),
        "examples": [
            {
                "origin": each.line["origin"],
                "before": str(next(iter(each.line["inputs"].values()))),
                "after": each.texts[0],
                "answer_before": each.line["answer"],
                "answer_after": label,
            }
            for each, label in flipped[:MOST_SHOWN]
        ],
    }


def answerer(kept: KeptModel) -> Callable[[Sequence[tuple[str, ...]]], list[str]]:
    """What a model with one label a text answers to texts, or pairs of texts; traced once."""
    graph, reader = kept.model.graph, kept.parts.head.reader
    assert isinstance(graph, ClassGraph)  # which the caller has looked up
    answer = tf.function(
        lambda *raw: _label(kept, graph, reader.encode(*raw)[0]),
        input_signature=[tf.TensorSpec([None], tf.string) for _ in reader.inputs],
        autograph=False,
    )

    def labels_of(examples: Sequence[tuple[str, ...]]) -> list[str]:
        labels: list[str] = []
        for first in range(0, len(examples), BATCH):
            part = zip(*examples[first : first + BATCH], strict=True)
            columns = [[text.encode("utf-8", "replace") for text in texts] for texts in part]
            labels += [label.decode() for label in answer(*columns).numpy().tolist()]
        return labels

    return labels_of


def _label(kept: KeptModel, graph: ClassGraph, columns: dict[str, tf.Tensor]) -> tf.Tensor:
    """(B,) string."""
    logits = kept.model.logits(Batch.one_a_row(padded(columns)))
    return graph.decision.answers(logits)["label"]
