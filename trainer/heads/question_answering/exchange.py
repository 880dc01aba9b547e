"""The output layer under Hugging Face's names."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from trainer.heads._carried_over import CarriedOver, LabelRows, carry_over

if TYPE_CHECKING:
    import keras

    from trainer.backbones.family import Family
    from trainer.backbones.huggingface import TaskHead

TASK = "ForQuestionAnswering"
SIDES = {"LABEL_0": 0, "LABEL_1": 1}  # Hugging Face takes the layer's width from the labels


def load_output(output: keras.layers.Dense, family: Family, checkpoint: TaskHead) -> CarriedOver:
    """Takes over the checkpoint's own output layer, whose two rows are the start and the end.

    Args:
        output: the layer that is given its weights.
        family: of the checkpoint.
        checkpoint: what is above its backbone.
    """
    layer = family.span_classifier
    weights = {f"{layer}.weight": output.kernel, f"{layer}.bias": output.bias}
    return carry_over(checkpoint, TASK, {}, weights, _sides)


def saved_output(
    output: keras.layers.Dense, family: Family
) -> tuple[dict[str, np.ndarray], dict[str, object]]:
    """The layer's tensors by Hugging Face's names, and what config.json says of it."""
    layer = family.span_classifier
    tensors = {
        f"{layer}.weight": np.ascontiguousarray(output.kernel.numpy().T),
        f"{layer}.bias": output.bias.numpy(),
    }
    updates: dict[str, object] = {
        "architectures": [family.class_for(TASK)],
        "id2label": {str(side): label for label, side in SIDES.items()},
        "label2id": SIDES,
        "problem_type": None,
    }
    return tensors, updates


def _sides(rows: int) -> LabelRows:
    if rows == len(SIDES):
        return LabelRows([0, 1])
    return LabelRows(
        None, f"the checkpoint's qa_outputs has {rows:,} rows, not those of start and end"
    )
