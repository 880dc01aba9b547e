"""The graph of every head that classifies: scores of the labels, and what is decided by them."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

import numpy as np

from trainer.data.batch import Batch
from trainer.data.reader import Vocabulary
from trainer.heads._carried_over import CarriedOver
from trainer.heads._classes.decision import Decision
from trainer.heads.contract import Calibration, Graph, Results, Target, Tensors
from trainer.lazy import keras, tf
from trainer.sources import Example

if TYPE_CHECKING:
    from trainer.backbones.huggingface import TaskHead
    from trainer.data.store import TokenStore


class Scores(Protocol):
    """What gives each label a score, above the backbone."""

    def place(self, batch: Batch) -> tf.Tensor:
        """(E,) int32, within its row, the token that stands for each example."""
        ...

    def logits(self, hidden: tf.Tensor, seed: tf.Tensor | None) -> tf.Tensor:
        """(E, C) float32.

        Args:
            hidden: (E, H), of those tokens.
            seed: (2,) int32, of the dropout masks; None: nothing is dropped.
        """
        ...

    def load_tensors(self, checkpoint: TaskHead) -> CarriedOver:
        """See `Exchanges.load_tensors`."""
        ...

    def save_tensors(self) -> tuple[dict[str, np.ndarray], dict[str, object]]:
        """See `Exchanges.save_tensors`."""
        ...


@dataclasses.dataclass(frozen=True, eq=False)
class ClassGraph(Graph):
    """Scores, and the rule that decides by them.

    Attributes:
        vocabulary: what train taught.
        layers: above the backbone.
        scores: what they compute.
        decision: what is learnt and answered by the scores.
    """

    vocabulary: Vocabulary
    layers: Sequence[keras.layers.Layer]
    scores: Scores
    decision: Decision

    def places(self, batch: Batch) -> tf.Tensor:
        """(E,) int32, of the token that stands for each example."""
        length = tf.shape(batch.rows.token_ids)[1]
        return batch.examples.row * length + self.scores.place(batch)

    def count_places(self, examples: int, weight: float) -> float:
        """One an example."""
        return examples

    def logits(self, outputs: Tensors, batch: Batch, seed: tf.Tensor | None) -> tf.Tensor:
        """(E, C) float32; see `Graph.logits`."""
        return self.scores.logits(outputs["place_output"], seed)

    def weights(self, batch: Batch) -> dict[str, tf.Tensor]:
        """What the examples of a batch weigh together, () float32."""
        return {"loss": tf.reduce_sum(self._example_weights(batch))}

    def losses(self, logits: tf.Tensor, batch: Batch) -> dict[str, tf.Tensor]:
        """The sum over the examples of weight x loss, () float32.

        Args:
            logits: (E, C) float32.
            batch: with `label` and weights.
        """
        losses = self.decision.losses(logits, batch.label)
        return {"loss": tf.reduce_sum(losses * self._example_weights(batch))}

    def _example_weights(self, batch: Batch) -> tf.Tensor:
        return self.decision.weights(batch.examples.weight, batch.label)

    def results(self, logits: tf.Tensor, batch: Batch) -> dict[str, tf.Tensor]:
        """The logits: all that metrics and answers need."""
        return {"logits": logits}

    def answers(
        self, results: Tensors, columns: Tensors, inputs: Sequence[tf.Tensor]
    ) -> dict[str, tf.Tensor]:
        """What the SavedModel answers to raw texts: the same as to token ids."""
        return self.token_answers(results)

    def token_answers(self, results: Tensors) -> dict[str, tf.Tensor]:
        """What is decided by the logits, (B, …)."""
        return self.decision.answers(results["logits"])

    def decode(
        self, answers: Results, row: int, example: Example | None = None
    ) -> dict[str, object]:
        """One of the answers as JSON, for --mode=predict."""
        return self.decision.decode(answers, row)

    def ambiguous(
        self, answers: Results, results: Tensors, columns: Tensors, tolerance: float
    ) -> dict[str, np.ndarray]:
        """Answer -> (B,) bool: where the label may turn out otherwise."""
        return self.decision.ambiguous(answers, tolerance)

    def targets(
        self, logits: tf.Tensor, batch: Batch, columns: Tensors, inputs: Sequence[tf.Tensor]
    ) -> list[Target]:
        """The logit of each label that is given; of the likeliest where none is; see `Explains`."""
        names = list(self.decision.names)
        given = [int(tf.argmax(logits[0]))]
        decided = self.decision.decide(logits)[0]
        if decided.dtype == tf.bool and bool(tf.reduce_any(decided)):
            given = tf.where(decided)[:, 0].numpy().tolist()
        place = int(self.scores.place(batch)[0])
        one_hot = np.eye(logits.shape[1], dtype=np.float32)
        return [
            Target(names[label] if names else "", 0, -1, -1, place, one_hot[label])
            for label in given
        ]

    def calibration(self, results: Results, store: TokenStore) -> Calibration:
        """What validation decides of the answers, such as a temperature."""
        return self.decision.calibration(results, store)

    def calibrated(self, calibration: Calibration) -> ClassGraph:
        """The same graph with that."""
        return dataclasses.replace(self, decision=self.decision.calibrated(calibration))

    def load_tensors(self, checkpoint: TaskHead) -> CarriedOver:
        """Takes over the checkpoint's own layers."""
        return self.scores.load_tensors(checkpoint)

    def save_tensors(self) -> tuple[dict[str, np.ndarray], dict[str, object]]:
        """The layers under Hugging Face's names, and what config.json says of them."""
        return self.scores.save_tensors()


def decision_of(graph: Graph) -> Decision:
    """The rule by which a graph answers.

    Raises:
        TypeError: the graph is of another head.
    """
    if not isinstance(graph, ClassGraph):
        raise TypeError(f"expected a graph of a classifier. Received {type(graph).__name__}.")
    return graph.decision
