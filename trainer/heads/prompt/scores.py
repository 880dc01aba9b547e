"""The scores of the labels' words at the mask."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import numpy as np

from trainer.data.batch import Batch
from trainer.heads._carried_over import CarriedOver
from trainer.heads._classes.graph import Scores
from trainer.heads._masked_output import MaskedOutput
from trainer.heads.prompt.encoding import ASKED
from trainer.lazy import tf

if TYPE_CHECKING:  # which would import TensorFlow
    from trainer.backbones.backbone import Backbone
    from trainer.backbones.huggingface import TaskHead


@dataclasses.dataclass(frozen=True, eq=False)
class WordScores(Scores):
    """The layers of masked language modelling: nothing is new.

    Attributes:
        backbone: below.
        output: the layers.
        words: (C,) the token of each label's word.
    """

    backbone: Backbone
    output: MaskedOutput
    words: tuple[int, ...]

    def place(self, batch: Batch) -> tf.Tensor:
        """(E,) int32: the mask."""
        examples = batch.examples
        asked = tf.gather(batch.own[ASKED], examples.row)  # (E, L)
        length = tf.shape(asked)[1]
        place = tf.range(length)[None, :]
        start = examples.start[:, None]
        end = start + examples.length[:, None]
        is_own = (place >= start) & (place < end)
        own_asked = tf.where(is_own, asked, 0)
        return tf.argmax(own_asked, axis=1, output_type=tf.int32)

    def logits(self, hidden: tf.Tensor, seed: tf.Tensor | None) -> tf.Tensor:
        """(E, C) float32: of the labels' words alone; nothing is dropped."""
        from trainer.backbones.layers import look_up

        words = tf.constant(self.words)
        bias = tf.gather(self.output.bias(), words)
        of_words = look_up(self.backbone.embeddings.word, words)  # (C, E)
        transformed = self.output.transform(hidden)
        return tf.matmul(transformed, of_words, transpose_b=True) + bias

    def load_tensors(self, checkpoint: TaskHead) -> CarriedOver:
        """Takes over the checkpoint's own prediction layers."""
        return CarriedOver.whole(self.output.load(checkpoint.tensors))

    def save_tensors(self) -> tuple[dict[str, np.ndarray], dict[str, object]]:
        """The masked language model that it is; the pattern has no place there."""
        return self.output.save()
