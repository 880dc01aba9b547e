"""An encoder that predicts hidden tokens, and fills the masks of a text."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from trainer.data.batch import Batch, Predicted
from trainer.data.reader import Vocabulary
from trainer.heads._carried_over import CarriedOver
from trainer.heads._language_model.prediction import (
    Projection,
    operations_of_prediction,
    predicted_of,
    results_of_examples,
    total_loss,
    total_weight,
)
from trainer.heads._masked_output import MaskedOutput
from trainer.heads.contract import Graph, Results, Sample, Tensors
from trainer.lazy import keras, tf
from trainer.sources import Example

if TYPE_CHECKING:
    from trainer.backbones.backbone import Backbone
    from trainer.backbones.config import BackboneConfig
    from trainer.backbones.huggingface import TaskHead
    from trainer.text.tokenizer import Tokenizer

NO_WORD = -1


@dataclasses.dataclass(frozen=True, eq=False)
class MaskedGraph(Graph):
    """The layer and norm before the vocabulary, as Hugging Face's …ForMaskedLM has them.

    Attributes:
        backbone: the encoder.
        vocabulary: see `Graph`.
        tokenizer: of the texts.
        mask_id: of the mask.
        output: the layers before the vocabulary.
        layers: the same, see `Graph`.
        top_k: words that are given for each mask.
    """

    backbone: Backbone
    vocabulary: Vocabulary
    tokenizer: Tokenizer
    mask_id: int
    output: MaskedOutput
    layers: Sequence[keras.layers.Layer]
    top_k: int
    per_token = ("top_id", "top_score")

    def places(self, batch: Batch) -> tf.Tensor:
        """(M,) int32, where words are predicted."""
        return predicted_of(batch).place

    def count_places(self, examples: int, weight: float) -> float:
        """The predicted words."""
        return weight

    def logits(self, outputs: Tensors, batch: Batch, seed: tf.Tensor | None) -> Projection:
        """What makes the logits of the predicted places; nothing is dropped."""
        hidden = self.output.transform(outputs["place_output"])
        transformed = tf.cast(hidden, self.backbone.compute_dtype)
        return Projection(transformed, self.backbone.word_embeddings(), self.output.bias())

    def weights(self, batch: Batch) -> dict[str, tf.Tensor]:
        """How many tokens are predicted."""
        return {"loss": total_weight(batch)}

    def losses(self, logits: Projection, batch: Batch) -> dict[str, tf.Tensor]:
        """The sum of the losses of the predicted tokens."""
        return {"loss": total_loss(logits, batch)}

    def results(self, logits: Projection, batch: Batch) -> dict[str, tf.Tensor]:
        """In evaluation sums of each row: `loss`, `predicted` and `correct`, (E,) float32.

        Served, of each token `top_id` (R, L, K) int32 and `top_score` (R, L, K) float32, NO_WORD
        where it is no mask.
        """
        if predicted_of(batch).target is not None:
            return results_of_examples(logits, batch)
        likeliest = self._likeliest(logits)
        return {name: _spread(column, batch) for name, column in likeliest.items()}

    def served(self, batch: Batch) -> Batch:
        """Predicts where the texts have masks."""
        is_mask = tf.reshape(batch.rows.token_ids == self.mask_id, [-1])
        predicted = Predicted(place=tf.reshape(tf.where(is_mask), [-1]))
        return dataclasses.replace(batch, predicted=predicted)

    def answers(
        self, results: Tensors, columns: Tensors, inputs: Sequence[tf.Tensor]
    ) -> dict[str, tf.Tensor]:
        """For each mask of each text the K likeliest words.

        Args:
            results: of the rows, ragged.
            columns: token_ids, and `example`, the text of each row.
            inputs: (B,) string.
        Returns:
            `token` (B, N, K) string, `score` (B, N, K) float32; filled up with "" and NO_WORD.
        """
        token_ids = columns["token_ids"]
        masks = tf.reshape(tf.where(token_ids.values == self.mask_id), [-1])
        row = tf.gather(token_ids.value_rowids(), masks)
        text = tf.gather(columns["example"], row)
        texts = tf.size(inputs[0])
        counts = tf.math.bincount(text, minlength=texts, maxlength=texts)
        ids = tf.gather(results["top_id"].values, masks)
        scores = tf.gather(results["top_score"].values, masks)
        tokens = tf.gather(tf.constant(self.tokenizer.words), ids)
        return {
            "token": _of_texts(tokens, counts).to_tensor(""),
            "score": _of_texts(scores, counts).to_tensor(float(NO_WORD)),
        }

    def token_answers(self, results: Tensors) -> dict[str, tf.Tensor]:
        """To token ids (B, S): `token` (B, S, K) string, `score` (B, S, K) float32.

        These are "" and NO_WORD where there is no mask.
        """
        top_id = results["top_id"]
        tokens = tf.gather(tf.constant(self.tokenizer.words), tf.maximum(top_id, 0))
        return {"token": tf.where(top_id < 0, "", tokens), "score": results["top_score"]}

    def decode(
        self, answers: Results, row: int, example: Example | None = None
    ) -> dict[str, object]:
        """The words of each mask of a text."""
        tokens = answers["token"][row]
        scores = answers["score"][row]
        is_mask = scores[:, 0] >= 0  # the others fill up
        masks = zip(tokens[is_mask], scores[is_mask], strict=True)
        return {"masks": [_decoded(*mask) for mask in masks]}

    def remark(self, answer: Mapping[str, object]) -> str:
        """Whether there is nothing to answer."""
        if answer["masks"]:
            return ""
        mask = self.tokenizer.vocabulary[self.mask_id]
        return f"no {mask}, the mask of this tokenizer: nothing is answered there"

    def ambiguous(
        self, answers: Results, results: Tensors, columns: Tensors, tolerance: float
    ) -> dict[str, np.ndarray]:
        """Where two words are nearly as likely, their order may turn out otherwise.

        Args:
            answers: (B, N, K) each.
            results: which they are of.
            columns: of the rows.
            tolerance: to which results agree.
        """
        score = answers["score"]
        if not score.size:
            return {"token": np.zeros(len(score), bool)}
        first = score[..., :-1]
        second = score[..., 1:]
        is_near = (first - second <= 2 * tolerance) & (second >= 0)
        return {"token": np.asarray(is_near.any(axis=(1, 2)))}

    def load_tensors(self, checkpoint: TaskHead) -> CarriedOver:
        """Takes over the checkpoint's own prediction layers."""
        return CarriedOver.whole(self.output.load(checkpoint.tensors))

    def save_tensors(self) -> tuple[dict[str, np.ndarray], dict[str, object]]:
        """The layers under Hugging Face's names; the embeddings are tied."""
        return self.output.save()

    def prediction_flops(self, config: BackboneConfig, *, frozen_embeddings: bool) -> float:
        """Of a predicted token."""
        return operations_of_prediction(config, frozen_embeddings=frozen_embeddings)

    def proof_samples(self, samples: Sequence[Sample]) -> list[Sample]:
        """With the word in the middle hidden: a text without a mask has no answer."""
        mask = self.tokenizer.vocabulary[self.mask_id]
        return [{**sample, "text": _with_mask(sample["text"], mask)} for sample in samples]

    def _likeliest(self, logits: Projection) -> dict[str, tf.Tensor]:
        """Of each predicted place the K likeliest words, (M, K)."""
        words = len(self.tokenizer.vocabulary)  # a model may have embeddings to spare
        embeddings = logits.embeddings[:words]
        products = tf.matmul(logits.hidden, embeddings, transpose_b=True)
        bias = self.output.bias()
        scores = tf.cast(products, tf.float32) + bias[:words]
        probabilities = tf.nn.softmax(scores)
        count = min(self.top_k, words)
        score, word = tf.math.top_k(probabilities, count)
        return {"top_id": word, "top_score": score}


def _spread(column: tf.Tensor, batch: Batch) -> tf.Tensor:
    """(M, K) of the predicted places -> (R, L, K), NO_WORD elsewhere."""
    token_ids = batch.rows.token_ids
    shape = tf.shape(token_ids)
    count = tf.shape(column)[1:]
    flat_shape = tf.concat([[tf.size(token_ids)], count], 0)
    nothing = tf.constant(NO_WORD, column.dtype)
    empty = tf.fill(flat_shape, nothing)
    places = predicted_of(batch).place
    flat = tf.tensor_scatter_nd_update(empty, places[:, None], column)
    return tf.reshape(flat, tf.concat([shape, count], 0))


def _of_texts(column: tf.Tensor, counts: tf.Tensor) -> tf.RaggedTensor:
    """(M, K) of all masks -> (B, None, K)."""
    return tf.RaggedTensor.from_row_lengths(column, counts, validate=False)


def _decoded(tokens: np.ndarray, scores: np.ndarray) -> list[dict[str, object]]:
    return [
        {"token": token.decode(), "score": float(score)}
        for token, score in zip(tokens, scores, strict=True)
    ]


def _with_mask(text: str, mask: str) -> str:
    """The text with its middle word hidden, or in Chinese its middle character."""
    text = text.replace(mask, " ")
    pattern = r"\S+|\s+" if " " in text else r"."
    parts = re.findall(pattern, text, re.DOTALL)
    words = [place for place, part in enumerate(parts) if not part.isspace()]
    if not words:
        return mask
    parts[words[len(words) // 2]] = mask
    return "".join(parts)
