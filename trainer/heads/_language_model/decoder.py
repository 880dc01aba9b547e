"""A decoder's output: tokens are compared with their own embeddings."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, cast

import numpy as np

from trainer.data.batch import Batch, Predicted
from trainer.data.reader import TARGET
from trainer.errors import ConfigError, WeightsError
from trainer.heads._carried_over import CarriedOver
from trainer.lazy import tf

if TYPE_CHECKING:
    from trainer.backbones.backbone import Backbone
    from trainer.backbones.config import BackboneConfig
    from trainer.backbones.decoder import Decoder
    from trainer.backbones.huggingface import TaskHead


def refuse_encoder(head: str, config: BackboneConfig, remedy: str) -> None:
    """Raises ConfigError where the backbone sees what it would have to predict.

    Args:
        head: its name.
        config: of the backbone.
        remedy: what to take instead, in a sentence.
    """
    if not config.causal:
        raise ConfigError(
            f"head.name: {head} needs a decoder such as GPT-2. Received a backbone of kind"
            f" {config.architecture}, whose tokens see those behind them. {remedy}"
        )


def as_decoder(backbone: Backbone) -> Decoder:
    """The backbone that `refuse_encoder` has let pass."""
    return cast("Decoder", backbone)


def with_predicted(batch: Batch) -> Batch:
    """The batch of a server, which predicts where its column `target` says."""
    column = batch.own[TARGET]  # (R, L)
    shape = tf.shape(column)
    real = tf.cast(batch.rows.padding_mask, tf.int32)
    target = tf.reshape(column * real, [-1])
    predicted = Predicted(
        place=tf.range(tf.size(target)),
        target=tf.maximum(target - 1, 0),
        example=tf.repeat(tf.range(shape[0]), shape[1]),
        weight=tf.cast(target > 0, tf.float32),
    )
    return dataclasses.replace(batch, predicted=predicted)


def likelihoods(loss: tf.Tensor, predicted: tf.Tensor) -> dict[str, tf.Tensor]:
    """How likely texts are.

    Args:
        loss: (B,) float32, summed over a text.
        predicted: (B,) float32, of how many tokens.
    Returns:
        `log_probability` (B,) float32; `tokens` (B,) int32; `perplexity` (B,) float32.
    """
    mean = loss / tf.maximum(predicted, 1.0)
    return {
        "log_probability": -loss,
        "tokens": tf.cast(predicted, tf.int32),
        "perplexity": tf.exp(mean),
    }


def carry_over(backbone: Decoder, checkpoint: TaskHead) -> CarriedOver:
    """The output layer is the embeddings: a tied copy needs no reading.

    Raises:
        WeightsError: it is no copy.
    """
    copy = checkpoint.tensors.get("lm_head.weight")
    if copy is None:
        return CarriedOver.whole([])
    embeddings = backbone.embeddings.word.numpy()
    if not np.array_equal(copy.astype(np.float32), embeddings):
        raise WeightsError(
            "lm_head.weight is no copy of the word embeddings: tie_word_embeddings false is not"
            " supported. Take a checkpoint that ties them."
        )
    return CarriedOver.whole(["lm_head.weight"])


def huggingface_config(config: BackboneConfig, eos_id: int | None) -> dict[str, object]:
    """What config.json says of a causal language model: its class, and where texts end."""
    family = config.family
    content: dict[str, object] = {
        "architectures": [family.class_for(family.causal_lm_class)],
        "tie_word_embeddings": True,
        "id2label": None,
        "label2id": None,
        "problem_type": None,
    }
    if eos_id is not None:
        content["eos_token_id"] = eos_id
    return content
