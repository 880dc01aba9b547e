"""Raw texts of examples, as the served graph takes them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from trainer.lazy import tf

Tensors = Mapping[str, tf.Tensor]
Arrays = Mapping[str, np.ndarray]
Sample = Mapping[str, str]  # the raw texts of an example, by the names of the signature's inputs


def text_inputs(names: Sequence[str], samples: Sequence[Sample]) -> list[tf.Tensor]:
    """The texts of some samples as inputs of the graph.

    Args:
        names: of the inputs.
        samples: (B,) raw texts by these names.
    Returns:
        (B,) string a name; a character that UTF-8 has no bytes for is written as "?".
    """
    return [
        tf.constant([sample[name].encode("utf-8", "replace") for sample in samples])
        for name in names
    ]
