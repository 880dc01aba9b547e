"""A fine-tuned model as a keras.Model: layers, summary, weights, fit.

Its backbone and its head are those that were trained and are served; nothing is copied.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import keras
import tensorflow as tf

from trainer.data.batch import Batch, Predicted
from trainer.run.model import Model

ROW_INPUTS = ("token_ids", "segment_ids", "position_ids", "padding_mask")


@keras.saving.register_keras_serializable("podtune")
class FineTuned(keras.Model):
    """Backbone and head, from token ids to logits.

    Args:
        model: as a run has trained it.
        pad_id: by which padding is known where no padding_mask is given; None: there is none.
        head: its name, for the model's.
        columns: what else the head looks at, of each token or example.
        seed: of dropout, where it is trained.

    Attributes:
        backbone: a Keras layer: `trainable`, `blocks`, `embeddings`.
        head_layers: the Keras layers above it.
    """

    def __init__(
        self,
        model: Model,
        *,
        pad_id: int | None,
        head: str,
        columns: Sequence[str] = (),
        seed: int = 0,
    ) -> None:
        super().__init__(name=f"{model.backbone.name}_for_{head}")
        self.backbone = model.backbone
        self.head_layers = list(model.graph.layers)
        self._graph_model = model
        self._pad_id = pad_id
        self._names = tuple(dict.fromkeys((*ROW_INPUTS, *columns)))
        self._seeds = keras.random.SeedGenerator(seed)
        self.supports_jit = False  # shapes depend on the batch
        self.built = True

    def call(
        self, inputs: tf.Tensor | Mapping[str, tf.Tensor], training: bool = False
    ) -> tf.Tensor:
        """The logits in float32.

        Args:
            inputs: token_ids, (B, S) int32; or a dict with them and with any of segment_ids,
                position_ids and padding_mask, (B, S) each, and of what else the head looks at, such
                as `asked` of a prompt: 1 at its mask.
            training: whether dropout drops.
        Returns:
            (B, C) of a classifier, (B, S, C) of a tagger, (B, S, 2) of question answering: start
            and end; (B, S, V) of a language model.
        Raises:
            ValueError: inputs of another name.
        """
        columns = self._columns(inputs)
        token_ids = columns["token_ids"]
        batch = Batch.one_a_row(columns)
        everywhere = Predicted(place=tf.range(tf.size(token_ids)))
        batch = dataclasses.replace(batch, predicted=everywhere)
        seed = tf.cast(self._seeds.next(), tf.int32) if training else None
        logits = self._graph_model.logits(batch, seed=seed)
        if isinstance(logits, tf.Tensor):
            return logits
        whole = logits.whole()  # of a language model
        return tf.reshape(whole, tf.concat([tf.shape(token_ids), [whole.shape[-1]]], 0))

    def _columns(self, inputs: tf.Tensor | Mapping[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        given = inputs if isinstance(inputs, Mapping) else {"token_ids": inputs}
        unknown = set(given) - set(self._names)
        if unknown or "token_ids" not in given:
            raise ValueError(
                f"expected token_ids, and of {', '.join(self._names[1:])} those that there are."
                f" Received {', '.join(sorted(given))}"
            )
        columns = {name: tf.cast(values, tf.int32) for name, values in given.items()}
        if "padding_mask" not in columns and self._pad_id is not None:
            is_token = columns["token_ids"] != self._pad_id
            columns["padding_mask"] = tf.cast(is_token, tf.int32)
        return columns

    def get_config(self) -> dict[str, Any]:
        """Raises NotImplementedError: a run's folder says what the model is."""
        raise NotImplementedError(
            "expected podtune.load(job_dir), or save_weights and load_weights: the run's folder"
            " says what the model is"
        )
