"""A decoder that predicts each token of documents, and writes what follows a text."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from trainer.heads._language_model import decoder
from trainer.heads._language_model.writing_graph import WritingGraph
from trainer.heads.contract import Sample, Tensors
from trainer.lazy import tf


@dataclasses.dataclass(frozen=True, eq=False)
class CausalGraph(WritingGraph):
    """Of documents, which may go through several rows."""

    def answers(
        self, results: Tensors, columns: Tensors, inputs: Sequence[tf.Tensor]
    ) -> dict[str, tf.Tensor]:
        """How likely each text is, but for its first token.

        Args:
            results: of the rows.
            columns: `example`, the text of each row.
            inputs: (B,) string.
        """
        (text,) = inputs
        loss, predicted = (
            tf.math.unsorted_segment_sum(results[name], columns["example"], tf.size(text))
            for name in ("loss", "predicted")
        )
        return decoder.likelihoods(loss, predicted)

    def proof_samples(self, samples: Sequence[Sample]) -> Sequence[Sample]:
        """As they are: the beginnings of documents."""
        return samples
