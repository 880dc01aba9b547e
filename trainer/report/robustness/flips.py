"""How many answers a perturbation changes, and which."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from trainer.data.batch import Batch, padded
from trainer.files.json_file import JsonObject
from trainer.heads._classes.graph import ClassGraph
from trainer.report.evidence import Line
from trainer.report.robustness.attack import Probabilities
from trainer.report.robustness.perturbations import PERTURBATIONS, perturbed
from trainer.report.rows import spread
from trainer.run.kept_model import KeptModel

BATCH = 32  # texts at once
MOST_SHOWN = 5  # flips of each perturbation
MOST_CHARACTERS = 10_000  # of the texts that are attacked
FEWEST = 4  # of these


class Asked(NamedTuple):
    """A text before and after.

    Attributes:
        line: of predictions.jsonl.
        texts: changed; of a pair the first is.
    """

    line: Line
    texts: tuple[str, ...]


def flips(
    lines: Sequence[Line], count: int, names: Sequence[str], probabilities: Probabilities
) -> JsonObject:
    """Of each perturbation how many texts it changes, how many answers, and some of these.

    Args:
        lines: of a split.
        count: how many texts are tried, spread over the split.
        names: (C,) of the labels.
        probabilities: see `answerer`.
    """
    tried = some_of(lines, count)
    found: JsonObject = {}
    for name in PERTURBATIONS:
        asked = []
        for line in tried:
            first, *others = map(str, line["inputs"].values())
            changed = perturbed(name, first, int(line["id"]))
            if changed is not None:
                asked.append(Asked(line, (changed, *others)))
        if asked:
            shares = probabilities([each.texts for each in asked])
            found[name] = _compared(asked, [names[place] for place in shares.argmax(axis=1)])
    return found


def short_enough(lines: Sequence[Line]) -> list[Line]:
    """As many as have MOST_CHARACTERS together, and four at least: each is asked often."""
    sizes = np.cumsum([sum(map(len, map(str, line["inputs"].values()))) for line in lines])
    return list(lines[: max(FEWEST, int(np.searchsorted(sizes, MOST_CHARACTERS, side="right")))])


def some_of(lines: Sequence[Line], count: int) -> list[Line]:
    """So many lines, spread over all."""
    return [lines[place] for place in spread(count, len(lines)).tolist()]


def _compared(asked: Sequence[Asked], labels: Sequence[str]) -> JsonObject:
    flipped = [
        (each, label)
        for each, label in zip(asked, labels, strict=True)
        if label != each.line["answer"]
    ]
    right_before = sum(each.line["answer"] == each.line["gold"] for each in asked)
    right_after = sum(label == each.line["gold"] for each, label in zip(asked, labels, strict=True))
    # the smallest changes come first
    flipped.sort(key=lambda pair: (_distance(pair[0]), -pair[0].line["score"]))
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


def _distance(asked: Asked) -> int:
    """How many characters of the text are others, come in or fall away."""
    before = str(next(iter(asked.line["inputs"].values())))
    matcher = difflib.SequenceMatcher(None, before, asked.texts[0], autojunk=False)
    return sum(
        max(end - start, other_end - other_start)
        for kind, start, end, other_start, other_end in matcher.get_opcodes()
        if kind != "equal"
    )


def answerer(kept: KeptModel) -> Probabilities:
    """The probabilities of texts, or of pairs, by a model with one label each; traced once."""
    graph, reader = kept.model.graph, kept.parts.head.reader
    assert isinstance(graph, ClassGraph)  # which the caller has looked up
    answer = tf.function(
        lambda *raw: _probabilities(kept, graph, reader.encode(*raw)[0]),
        input_signature=[tf.TensorSpec([None], tf.string) for _ in reader.inputs],
        autograph=False,
    )

    def probabilities_of(examples: Sequence[tuple[str, ...]]) -> np.ndarray:
        parts = []
        for first in range(0, len(examples), BATCH):
            part = zip(*examples[first : first + BATCH], strict=True)
            columns = [[text.encode("utf-8", "replace") for text in texts] for texts in part]
            parts.append(answer(*columns).numpy())
        return np.concatenate(parts)

    return probabilities_of


def _probabilities(kept: KeptModel, graph: ClassGraph, columns: dict[str, tf.Tensor]) -> tf.Tensor:
    """(B, C)."""
    logits = kept.model.logits(Batch.one_a_row(padded(columns)))
    return graph.decision.answers(logits)["probabilities"]
