"""Raw inputs of examples, as the served graph takes them."""

from __future__ import annotations

from collections.abc import Sequence

from trainer.data.encoding import input_tensors
from trainer.data.reader import Input
from trainer.heads.contract import Sample
from trainer.lazy import tf


def sample_tensors(inputs: Sequence[Input], samples: Sequence[Sample]) -> list[tf.Tensor]:
    """The raw inputs of some samples as the graph takes them, (B,) each.

    Args:
        inputs: of the graph.
        samples: (B,) values by the names of the inputs.
    """
    values = [[sample[item.name] for item in inputs] for sample in samples]
    return input_tensors(inputs, values)
