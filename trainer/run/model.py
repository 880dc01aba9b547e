"""Backbone and head as one model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import tensorflow as tf

from trainer.data.batch import Batch


class Model(tf.Module):
    """The backbone with the layers of a head on it; what is trained, saved and served.

    Attributes:
        weights: every weight by a stable name such as
            encoder/layer_0/attention/query_key_value/kernel.
    """

    def __init__(self, backbone: Any, head: Any, vocabulary: Mapping[str, Any], seed: int) -> None:
        super().__init__(name="model")
        self.backbone = backbone
        self.head_layers = head.build(backbone, vocabulary, seed)
        self._head = head
        self.weights = {path: variable.value for path, variable in self._keras_variables().items()}

    def logits(
        self,
        batch: Batch,
        *,
        training: bool = False,
        seed: tf.Tensor | None = None,
    ) -> tf.Tensor:
        """The head's logits in float32, for rows that may hold several examples: (E, …) an example,
        or (R, L, …) a token.

        Args:
            batch: of one shard.
            seed: (2,) int32, of this step, replica and micro-batch; needed for training with
                dropout.
        """
        outputs = self.backbone(batch.rows.as_inputs(), training=training, dropout_seed=seed)
        with tf.name_scope("head"):
            return self._head.logits(self.backbone, outputs, batch, training=training, seed=seed)

    def results(self, batch: Batch) -> dict[str, tf.Tensor]:
        """What evaluation keeps of a batch: the head's `results` of the logits."""
        logits = self.logits(batch)
        with tf.name_scope("head"):
            return self._head.results(logits, batch)

    def trainable(self) -> dict[str, tf.Variable]:
        """The weights that training changes, by name."""
        return {
            path: variable.value
            for path, variable in self._keras_variables().items()
            if variable.trainable
        }

    def _keras_variables(self) -> dict[str, Any]:
        head = {
            f"head/{layer.name}/{variable.name}": variable
            for layer in self.head_layers
            for variable in layer.variables
        }
        return {
            **{
                f"{self.backbone.name}/{path}": variable
                for path, variable in self.backbone.weights_by_path().items()
            },
            **head,
        }
