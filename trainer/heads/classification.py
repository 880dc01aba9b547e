"""Classification of a text or a pair: one label, several labels, or a number."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from trainer.backbones.sites import FIRST_HEAD_SITE
from trainer.data.batch import Batch
from trainer.data.reader import Column
from trainer.heads._carried_over import CarriedOver, LabelRows, carry_over, label_rows
from trainer.heads._classifier import Classifier, ClassifierSettings, class_weights_of
from trainer.lazy import keras, tf
from trainer.settings.schema import DataSettings

if TYPE_CHECKING:
    from trainer.backbones.huggingface import TaskHead

SITES = (FIRST_HEAD_SITE, FIRST_HEAD_SITE + 1)  # of the two layers
# Hugging Face's names
PROBLEMS = {
    "single_label": "single_label_classification",
    "multi_label": "multi_label_classification",
    "regression": "regression",
}


class Settings(ClassifierSettings):
    """Classification of a text or a pair."""

    name: Literal["classification"] = "classification"


class Head(Classifier):
    """See trainer/heads/contract.py for what each method is for."""

    Settings = Settings
    uses_pooler = True

    def __init__(self, settings: Settings, data: DataSettings, tokenizer: Any) -> None:
        super().__init__(settings, data, tokenizer)
        self.more_inputs = (
            ("segment_ids",) if len(self.fields) > 1 and tokenizer.template.segments else ()
        )
        self.overflow = self.overflow_of(data)
        self.columns = (
            *(Column(name) for name in self.more_inputs),
            Column("label", per_token=False, encoded=False),
        )

    def encode(self, *texts: tf.Tensor) -> tuple[dict[str, tf.RaggedTensor], dict[str, tf.Tensor]]:
        """Token columns and counts of what was lost; the very function that serves.

        Args:
            texts: one or two (B,) string.
        Returns:
            token_ids (and segment_ids for pairs), each ragged (B, None) int32; truncated_tokens,
            unknown_tokens (B,) int32.
        """
        from trainer.text.assemble import assemble

        ids = [self.tokenizer.tokenize(text) for text in texts]
        unknown = tf.add_n(
            [tf.reduce_sum(tf.cast(row == self.tokenizer.unk_id, tf.int32), axis=1) for row in ids]
        )
        token_ids, segment_ids, truncated = assemble(
            ids[0],
            ids[1] if len(ids) > 1 else None,
            seq_len=self.data.seq_len,
            overflow=self.overflow,
            template=self.tokenizer.template,
        )
        columns = (
            {"token_ids": token_ids, "segment_ids": segment_ids}
            if self.more_inputs
            else {"token_ids": token_ids}
        )
        return columns, {"truncated_tokens": truncated, "unknown_tokens": unknown}

    def build(self, backbone: Any, vocabulary: Mapping[str, Any], seed: int) -> Head:
        """Makes the layers above the backbone, as Hugging Face's …ForSequenceClassification of each
        family has them.
        """
        config = backbone.config
        self.vocabulary = vocabulary
        self.backbone = backbone
        self.family = config.family
        self.shape = config.family.sequence_classifier
        self.classes = len(vocabulary["labels"]) or 1
        self.dropout = (
            self.settings.dropout
            if self.settings.dropout is not None
            else config.classifier_dropout
        )
        initial = [
            keras.initializers.TruncatedNormal(stddev=config.initializer_range, seed=seed + site)
            for site in SITES
        ]
        layers = []
        if self.shape.hidden is not None:
            layers.append(
                keras.layers.Dense(
                    config.hidden_size, kernel_initializer=initial[0], name="dense", dtype="float32"
                )
            )
        layers.append(
            keras.layers.Dense(
                self.classes,
                kernel_initializer=initial[1],
                name="output",
                dtype="float32",
                use_bias=self.shape.has_bias,
            )
        )
        for layer in layers:
            layer.build((None, config.hidden_size))
        self.layers = layers
        self.class_weights = class_weights_of(self.settings.class_weights, vocabulary)
        return self

    def logits(
        self, outputs: Mapping[str, tf.Tensor], batch: Batch, seed: tf.Tensor | None
    ) -> tf.Tensor:
        """(E, C) float32, from the hidden state of each example's first token; of its last one
        where tokens see only those before.
        """
        from trainer.backbones.activations import ACTIVATIONS
        from trainer.backbones.layers import dropout

        def drop(x: tf.Tensor, site: int) -> tf.Tensor:
            return dropout(x, self.dropout, seed, site) if seed is not None and self.dropout else x

        place = batch.examples.start + (
            tf.maximum(batch.examples.length - 1, 0) if self.shape.reads_last else 0
        )
        # (E, H)
        hidden = tf.gather_nd(
            outputs["sequence_output"], tf.stack([batch.examples.row, place], axis=1)
        )
        if self.shape.hidden is not None:
            hidden = drop(hidden, SITES[1]) if self.shape.hidden.drops_input else hidden
            activation = ACTIVATIONS[self.shape.hidden.activation]
            hidden = activation(self.layers[0](tf.cast(hidden, tf.float32)))
        elif self.shape.pooled:
            hidden = self.backbone.pool(hidden)
        return self.layers[-1](tf.cast(drop(hidden, SITES[0]), tf.float32))

    def load_tensors(self, checkpoint: TaskHead) -> CarriedOver:
        """Takes over the checkpoint's own layers,
        the rows of the last by the names of the labels.
        """
        *hidden, output = self._parts_by_layer()
        below = {name: weight for part in hidden for name, weight in part.items()}
        carried = carry_over(
            checkpoint,
            "ForSequenceClassification",
            below,
            output,
            lambda rows: self._find_rows(checkpoint, rows),
        )
        trained_as = checkpoint.problem_type
        if (
            carried.output
            and trained_as in PROBLEMS.values()
            and trained_as != PROBLEMS[self.settings.kind]
        ):
            note = (
                f"they were trained as {trained_as}, so its probabilities are not yet those of"
                f" head.kind {self.settings.kind}"
            )
            return dataclasses.replace(
                carried, remark="; ".join(filter(None, [carried.remark, note]))
            )
        return carried

    def _find_rows(self, checkpoint: TaskHead, rows: int) -> LabelRows:
        if self.settings.kind != "regression":
            return label_rows(
                checkpoint.labels,
                self.vocabulary["labels"],
                rows,
                can_list=True,
                listed=self.settings.labels is not None,
            )
        if rows != 1:
            return LabelRows(
                None,
                f"the checkpoint's have {rows:,} rows, a regression has one. For labels set"
                " --head.kind=single_label",
            )
        return LabelRows([0])

    def _parts_by_layer(self) -> list[dict[str, Any]]:
        """The weights of each layer by Hugging Face's names;
        kernels are (outputs, inputs) there.
        """
        return [
            {
                f"{name}.weight": layer.kernel,
                **({f"{name}.bias": layer.bias} if layer.use_bias else {}),
            }
            for name, layer in zip(self.shape.tensors, self.layers, strict=True)
        ]

    def save_tensors(self) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        """The layers under Hugging Face's names, and what config.json says of them."""
        tensors = {
            name: np.ascontiguousarray(weight.numpy().T)
            for part in self._parts_by_layer()
            for name, weight in part.items()
        }
        labels = self.vocabulary["labels"] or ["LABEL_0"]
        return tensors, {
            "architectures": [self.family.class_for("ForSequenceClassification")],
            "problem_type": PROBLEMS[self.settings.kind],
            "id2label": {str(i): name for i, name in enumerate(labels)},
            "label2id": {name: i for i, name in enumerate(labels)},
        }


make_head = Head
