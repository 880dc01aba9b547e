"""The output layer in Hugging Face's format, both ways."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from trainer.data.reader import Vocabulary
from trainer.heads._carried_over import CarriedOver, LabelRows, carry_over, few, label_rows
from trainer.heads.token_classification.vocabulary import marks_spans

if TYPE_CHECKING:
    import keras

    from trainer.backbones.family import Family
    from trainer.backbones.huggingface import TaskHead

TASK = "ForTokenClassification"


def load_output(
    checkpoint: TaskHead, output: keras.layers.Dense, family: Family, vocabulary: Vocabulary
) -> CarriedOver:
    """Takes over the checkpoint's own classifier, row by row by the names of the tags.

    Args:
        checkpoint: what is above its backbone.
        output: the layer that takes it.
        family: of the backbone.
        vocabulary: what train taught.
    """
    name = family.token_classifier
    weights = {f"{name}.weight": output.kernel, f"{name}.bias": output.bias}

    def find_rows(count: int) -> LabelRows:
        return _find_rows(checkpoint.labels, count, vocabulary)

    return carry_over(checkpoint, TASK, {}, weights, find_rows)


def save_output(
    output: keras.layers.Dense, family: Family, labels: Sequence[str]
) -> tuple[dict[str, np.ndarray], dict[str, object]]:
    """The output layer under Hugging Face's names, and what config.json says of it.

    Args:
        output: the layer.
        family: of the backbone.
        labels: the tags.
    """
    name = family.token_classifier
    tensors = {
        f"{name}.weight": np.ascontiguousarray(output.kernel.numpy().T),
        f"{name}.bias": output.bias.numpy(),
    }
    return tensors, {
        "architectures": [family.class_for(TASK)],
        "id2label": {str(row): label for row, label in enumerate(labels)},
        "label2id": {label: row for row, label in enumerate(labels)},
        "problem_type": None,
    }


def _find_rows(theirs: Sequence[str] | None, rows: int, vocabulary: Vocabulary) -> LabelRows:
    """Which row each of our tags takes of a checkpoint's; None of them where tags mean otherwise.

    Args:
        theirs: the checkpoint's tags.
        rows: how many it has.
        vocabulary: what train taught.
    """
    ours = label_rows(theirs, vocabulary["labels"], rows)
    if ours.order is None or not marks_spans(vocabulary):
        return ours
    # Where spans of one word have a tag of their own (S-, U-), the rows of B- and I- alone
    # would miss them.
    others = [tag for tag in theirs or [] if tag[1:2] == "-" and tag[0] not in "BI"]
    if not others:
        return ours
    return LabelRows(
        None,
        f"the checkpoint tags spans otherwise, with {few(others)}, and here tags are B-, I- and O",
    )
