"""What each of our weights is called in Hugging Face's format, and how it lies there.

Reading and writing both follow this.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Sequence

import numpy as np

from trainer.backbones.family import Family

Shape = tuple[int, ...]

# An embedding has no leaf of its own: its path ends with the module.
_LEAVES = {"kernel": "weight", "scale": "weight", "bias": "bias"}


@dataclasses.dataclass(frozen=True)
class Counterpart:
    """The tensors of Hugging Face's that one of our weights is.

    Attributes:
        names: of the tensors; of query, key and value for a fused weight.
        is_transposed: they are (outputs, inputs), ours is (inputs, outputs).
    """

    names: tuple[str, ...]
    is_transposed: bool

    def split(self, weight: np.ndarray) -> dict[str, np.ndarray]:
        """The tensors of a weight, by their names."""
        parts = np.split(weight, len(self.names), axis=-1)
        tensors = {}
        for name, part in zip(self.names, parts, strict=True):
            tensors[name] = self._turned(part)
        return tensors

    def fuse(self, tensors: Sequence[np.ndarray]) -> np.ndarray:
        """The weight of its tensors."""
        parts = [self._turned(tensor) for tensor in tensors]
        return np.concatenate(parts, axis=-1)

    def shapes(self, weight_shape: Shape) -> dict[str, Shape]:
        """The tensors' shapes, by their names."""
        *inputs, outputs = weight_shape
        shape = (*inputs, outputs // len(self.names))
        if self.is_transposed:
            shape = shape[::-1]
        return dict.fromkeys(self.names, shape)

    def _turned(self, part: np.ndarray) -> np.ndarray:
        return part.T if self.is_transposed else part


def counterpart(family: Family, path: str) -> Counterpart:
    """Finds one of our weights in Hugging Face's format.

    Args:
        family: of the backbone.
        path: of the weight inside the backbone, such as layer_0/attention/output/kernel.
    """
    module, _, leaf = path.rpartition("/")
    if leaf not in _LEAVES:
        module = path
    layer = ""
    in_layer = re.fullmatch(r"layer_(\d+)/(.*)", module)
    if in_layer:
        layer, inner = in_layer.groups()
        module = f"layer_#/{inner}"
    theirs = family.modules[module]
    if isinstance(theirs, str):
        theirs = (theirs,)
    suffix = _LEAVES.get(leaf, "weight")
    names = [f"{name.replace('#', layer)}.{suffix}" for name in theirs]
    is_transposed = leaf == "kernel" and family.kernels_transposed
    return Counterpart(tuple(names), is_transposed)
