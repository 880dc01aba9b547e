"""What a decoder that writes texts does whatever it has learnt from."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from trainer.data.batch import Batch
from trainer.data.reader import Vocabulary
from trainer.heads._carried_over import CarriedOver
from trainer.heads._generation.writer import Writer, decode_likelihood, decode_written
from trainer.heads._language_model import decoder
from trainer.heads._language_model.prediction import (
    Projection,
    operations_of_prediction,
    predicted_of,
    results_of_examples,
    total_loss,
    total_weight,
)
from trainer.heads.contract import Graph, Results, Tensors
from trainer.lazy import tf
from trainer.sources import Example

if TYPE_CHECKING:
    from trainer.backbones.config import BackboneConfig
    from trainer.backbones.decoder import Decoder
    from trainer.backbones.huggingface import TaskHead


@dataclasses.dataclass(frozen=True, eq=False)
class WritingGraph(Graph):
    """Predicts tokens, and writes what follows a text.

    It has no layers: tokens are compared with their own embeddings.

    Attributes:
        backbone: the decoder.
        vocabulary: see `Graph`.
        writer: of what follows a text.
    """

    backbone: Decoder
    vocabulary: Vocabulary
    writer: Writer
    layers = ()

    def places(self, batch: Batch) -> tf.Tensor:
        """(M,) int32, where tokens are predicted."""
        return predicted_of(batch).place

    def count_places(self, examples: int, weight: float) -> float:
        """The predicted tokens."""
        return weight

    def logits(self, outputs: Tensors, batch: Batch, seed: tf.Tensor | None) -> Projection:
        """What makes the logits of the predicted places; nothing is dropped."""
        embeddings = self.backbone.word_embeddings()
        return Projection(outputs["place_output"], embeddings, bias=None)

    def weights(self, batch: Batch) -> dict[str, tf.Tensor]:
        """How many tokens are predicted."""
        return {"loss": total_weight(batch)}

    def losses(self, logits: Projection, batch: Batch) -> dict[str, tf.Tensor]:
        """The sum of the losses of the predicted tokens."""
        return {"loss": total_loss(logits, batch)}

    def results(self, logits: Projection, batch: Batch) -> dict[str, tf.Tensor]:
        """Sums of each row: `loss`, `predicted` and `correct`, (E,) float32."""
        return results_of_examples(logits, batch)

    def served(self, batch: Batch) -> Batch:
        """Predicts where the column `target` says."""
        return decoder.with_predicted(batch)

    def token_answers(self, results: Tensors) -> dict[str, tf.Tensor]:
        """The same, to token ids and targets: 1 + the id that follows, 0 where none is asked."""
        return decoder.likelihoods(results["loss"], results["predicted"])

    def decode(
        self, answers: Results, row: int, example: Example | None = None
    ) -> dict[str, object]:
        """A written text, or how likely a given one is."""
        if "generated_text" in answers:
            return decode_written(answers, row)
        return decode_likelihood(answers, row)

    def load_tensors(self, checkpoint: TaskHead) -> CarriedOver:
        """Takes no tensors. Raises WeightsError where the output is not tied."""
        return decoder.carry_over(self.backbone, checkpoint)

    def save_tensors(self) -> tuple[dict[str, np.ndarray], dict[str, object]]:
        """Nothing but the backbone's, whose embeddings are tied."""
        eos_id = self.writer.prompt.tokenizer.eos_id
        return {}, decoder.huggingface_config(self.backbone.config, eos_id)

    def prediction_flops(self, config: BackboneConfig, *, frozen_embeddings: bool) -> float:
        """Of a predicted token."""
        return operations_of_prediction(config, frozen_embeddings=frozen_embeddings)

    def remark(self, answer: Mapping[str, object]) -> str:
        """Whether the prompt was cut."""
        return self.writer.remark(answer)

    def generate(self, text: tf.Tensor) -> dict[str, tf.Tensor]:
        """See `Writer.generate`."""
        return self.writer.generate(text)

    def generate_many(self, batch_size: int) -> Callable[[Sequence[str]], dict[str, np.ndarray]]:
        """See `Writer.generate_many`."""
        return self.writer.generate_many(batch_size)

    def stream(self, text: str, *, drawn: int = 0) -> Iterator[str]:
        """See `Writer.stream`."""
        return self.writer.stream(text, drawn=drawn)

    def prompt_tokens(self, text: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        """See `Writer.prompt_tokens`."""
        return self.writer.prompt_tokens(text)
