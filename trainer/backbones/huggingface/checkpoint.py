"""The tensors of a checkpoint, and whether they are those that its config.json describes."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from trainer.backbones.config import BackboneConfig
from trainer.backbones.families import task_parts
from trainer.backbones.family import Family
from trainer.backbones.huggingface.bare_names import bare_names
from trainer.backbones.huggingface.checkpoint_folder import Folder
from trainer.backbones.huggingface.counterparts import Shape, counterpart
from trainer.backbones.huggingface.misfit import misfit
from trainer.backbones.huggingface.safetensors_files import Tensor, read_headers
from trainer.backbones.sizes import MOST_LAYERS, weight_shapes
from trainer.errors import WeightsError

TIED_OUTPUT = "lm_head.weight"  # of a language model, tied to its word embeddings
POOLER = "pooler."


@dataclasses.dataclass(frozen=True)
class Checkpoint:
    """The tensors of a checkpoint, read one at a time.

    Attributes:
        tensors: by bare, present-day names.
        outside: names of those that stand beside the backbone.
        removed: what stood before the names in the file; "" where nothing did.
    """

    tensors: Mapping[str, Tensor]
    outside: frozenset[str] = frozenset()
    removed: str = ""

    @classmethod
    def open(cls, folder: Folder, family: Family) -> Checkpoint:
        """Reads the headers of one file or of the shards of an index.

        Raises:
            WeightsError: a file is missing or damaged, or has a tensor twice.
        """
        headers = read_headers(Path(folder))
        names = bare_names(headers, family)
        tensors = {}
        for bare, original in names.theirs.items():
            tensors[bare] = headers[original]
        # A language model may have been written with its output layer alone.
        word = family.word_embeddings
        if word not in tensors and TIED_OUTPUT in tensors:
            tensors[word] = tensors[TIED_OUTPUT]
        return cls(
            tensors,
            outside=names.outside,
            removed=names.removed,
        )

    @property
    def shapes(self) -> dict[str, Shape]:
        """The tensors' shapes, by their names."""
        return {name: tensor.shape for name, tensor in self.tensors.items()}

    def read(self, name: str) -> np.ndarray:
        """The tensor as float32."""
        return self.tensors[name].read()

    def task_tensors(self) -> dict[str, np.ndarray]:
        """The tensors that a task model adds to its backbone, as float32."""
        return {
            name: tensor.read()
            for name, tensor in self.tensors.items()
            if name.startswith(task_parts())
        }

    def require_fit(self, config: BackboneConfig) -> list[str]:
        """Compares the tensors with those that a config describes.

        Returns:
            The names of the tensors that a backbone does not need.
        Raises:
            WeightsError: tensors are missing, unknown, of another shape or of a type that is not
                read.
        """
        if config.own_layers > MOST_LAYERS:  # too many to be listed
            raise WeightsError(misfit(config, self.shapes, {}))
        expected = _expected_shapes(config)
        extra = sorted(set(self.tensors) - set(expected))
        unused = [name for name in extra if self._is_no_mistake(name, config.family)]
        problems = {
            "missing": self._missing(expected),
            "unexpected": sorted(set(extra) - set(unused)),
            "shape": self._differing(expected),
        }
        if any(problems.values()):
            raise WeightsError(misfit(config, self.shapes, problems))
        for name in expected:
            if name in self.tensors:
                self.tensors[name].require_float()
        return unused

    def _is_no_mistake(self, name: str, family: Family) -> bool:
        """Whether a tensor that the backbone does not need may stand in its checkpoint."""
        of_other_parts = name.startswith((*task_parts(), POOLER))
        return of_other_parts or name in self.outside or family.has_buffer(name)

    def _missing(self, expected: Mapping[str, Shape]) -> list[str]:
        return [
            name for name in expected if name not in self.tensors and not name.startswith(POOLER)
        ]

    def _differing(self, expected: Mapping[str, Shape]) -> list[str]:
        differing = []
        for name, shape in expected.items():
            tensor = self.tensors.get(name)
            if tensor and tensor.shape != shape:
                differing.append(f"{name} expected {shape} found {tensor.shape}")
        return differing


def _expected_shapes(config: BackboneConfig) -> dict[str, Shape]:
    """The shape of each tensor that a config describes, by Hugging Face's name."""
    expected: dict[str, Shape] = {}
    for path, shape in weight_shapes(config):
        expected |= counterpart(config.family, path).shapes(shape)
    return expected
