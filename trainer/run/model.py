"""Backbone and the graph of a head as one model."""

from __future__ import annotations

import keras
import tensorflow as tf

from trainer.backbones.backbone import Backbone
from trainer.backbones.execution import PLAIN, Execution
from trainer.data.batch import Batch
from trainer.heads.contract import Calibrates, Calibration, Graph, Logits, ReadsPlaces


class Model(tf.Module):
    """The backbone with the layers of a head on it; what is trained, saved and served.

    Attributes:
        weights: every weight by a stable name such as
            encoder/layer_0/attention/query_key_value/kernel.
    """

    def __init__(self, backbone: Backbone, graph: Graph) -> None:
        super().__init__(name="model")
        self.backbone = backbone
        self._graph = graph
        self.weights = {path: variable.value for path, variable in self._keras_variables().items()}

    @property
    def graph(self) -> Graph:
        """Of the head."""
        return self._graph

    @property
    def parameters(self) -> int:
        """How many numbers its weights are."""
        return sum(weight.shape.num_elements() for weight in self.weights.values())

    def calibrate(self, calibration: Calibration) -> None:
        """Has the head answer by what validation decided; what was compiled before does not."""
        if isinstance(self._graph, Calibrates):
            self._graph = self._graph.calibrated(calibration)

    def logits(
        self, batch: Batch, *, seed: tf.Tensor | None = None, execution: Execution = PLAIN
    ) -> Logits:
        """The head's logits in float32, for rows that may hold several examples: (E, …) an example,
        or (R, L, …) a token.

        Args:
            batch: of one shard.
            seed: (2,) int32, of this step, replica and micro-batch, where it is trained; None:
                nothing is dropped.
            execution: how the backbone is run.
        """
        graph = self._graph
        outputs = self.backbone(
            batch.rows.as_inputs(),
            places=graph.places(batch) if isinstance(graph, ReadsPlaces) else None,
            training=seed is not None,
            dropout_seed=seed,
            execution=execution,
        )
        with tf.name_scope("head"):
            return graph.logits(outputs, batch, seed)

    def results(self, batch: Batch, execution: Execution = PLAIN) -> dict[str, tf.Tensor]:
        """What evaluation keeps of a batch: the head's `results` of the logits.

        Args:
            batch: of one shard.
            execution: how the backbone is run.
        """
        logits = self.logits(batch, execution=execution)
        with tf.name_scope("head"):
            return self._graph.results(logits, batch)

    def trainable(self) -> dict[str, tf.Variable]:
        """The weights that training changes, by name."""
        return {
            path: variable.value
            for path, variable in self._keras_variables().items()
            if variable.trainable
        }

    def _keras_variables(self) -> dict[str, keras.Variable]:
        variables = {
            f"{self.backbone.name}/{path}": variable
            for path, variable in self.backbone.weights_by_path().items()
        }
        for layer in self._graph.layers:
            for variable in layer.variables:
                variables[f"head/{layer.name}/{variable.name}"] = variable
        return variables
