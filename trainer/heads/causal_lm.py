"""Causal language modelling: each token is predicted from those before it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
from pydantic import Field

from trainer.backbones.families import FAMILIES
from trainer.errors import ConfigError
from trainer.heads._language_model import LanguageModel, LanguageModelSettings
from trainer.lazy import keras, tf

Columns = dict[str, tuple[np.ndarray, np.ndarray]]  # of tokens: their values, and the lengths of the rows


class Settings(LanguageModelSettings):
    """Causal language modelling, from random values or continued."""

    name: Literal["causal_lm"] = Field("causal_lm")


class Head(LanguageModel):
    """See trainer/heads/__init__.py for what each method is for."""

    Settings = Settings
    more_inputs = ("target",)

    def finish_rows(self, tokens: Columns, example: np.ndarray, labels: Sequence[tuple[bool, int, int]]) -> Columns:
        """Puts the end-of-text token behind each document; targets are made when the rows are."""
        ids, lengths = tokens["token_ids"]
        if self.tokenizer.eos_id is None:
            return {"token_ids": (ids, lengths)}
        last = np.r_[example[1:] != example[:-1], True] & np.array([end for end, *_ in labels], bool)[example]
        ids = np.insert(ids, np.cumsum(lengths)[last], self.tokenizer.eos_id)
        return {"token_ids": (ids, lengths + last)}

    def align(self, split: Any, vocabulary: Mapping[str, Any], ledger: Any) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray], dict[str, np.ndarray]]:
        """Each token's target, 1 + the next one, also where that begins another row; 0 at the end, and at a document's where they are separate."""
        ids = split.writer.token_column("token_ids")
        target = np.zeros(len(ids), np.int32)
        target[:-1] = ids[1:] + 1
        if self.settings.documents == "separate":
            target[split.document_ends - 1] = 0
        return {}, {"target": target}, self.counts(split)

    # --- graph ----------------------------------------------------------------------------------------------------

    def encode(self, text: tf.Tensor) -> tuple[dict[str, Any], dict[str, tf.Tensor]]:
        """Token columns and counts; the very function that serves.

        Args:
            text: (B,) string.
        Returns:
            token_ids; `target`, 1 + the token that follows in the text, 0 behind the last: each ragged (U, None) int32. `example`
            (U,) int32, the text of each row of at most seq_len tokens. Counts, (B,) int32 each.
        """
        from trainer.text.windows import make_windows

        ids = self.tokenizer.tokenize(text)
        unknown = tf.reduce_sum(tf.cast(ids == self.tokenizer.unk_id, tf.int32), axis=1)
        following = tf.concat([ids.values[1:] + 1, [0]], 0)[:tf.size(ids.values)]
        ends = tf.boolean_mask(ids.row_splits[1:] - 1, ids.row_lengths() > 0)
        target = ids.with_values(tf.tensor_scatter_nd_update(following, ends[:, None], tf.zeros_like(ends, tf.int32)))
        lengths = ids.row_lengths()
        windows = make_windows(lengths, tf.fill(tf.shape(lengths), tf.constant(self.data.seq_len, tf.int64)), tf.zeros_like(lengths))
        return ({"token_ids": windows.take(ids), "target": windows.take(target), "example": tf.cast(windows.text, tf.int32)}, {"unknown_tokens": unknown})

    def build(self, backbone: Any, vocabulary: Mapping[str, Any], seed: int) -> list[keras.layers.Layer]:
        """No layers: tokens are compared with their own embeddings.

        Raises:
            ConfigError: the backbone sees what it would have to predict.
        """
        if not backbone.config.causal:
            raise ConfigError(f"head.name: causal_lm needs a decoder such as GPT-2. Received a backbone of kind {backbone.config.architecture}, "
                              "whose tokens see those behind them. For it take masked_lm.")
        self.vocabulary, self.architecture = vocabulary, backbone.config.architecture
        return []

    def logits(self, backbone: Any, outputs: Mapping[str, tf.Tensor], batch: Mapping[str, tf.Tensor], *, training: bool, seed: Any) -> Any:
        """What the projection takes: hidden states of the predicted places (M, H), embeddings (V, H), no bias."""
        hidden = outputs["sequence_output"]
        return tf.gather(tf.reshape(hidden, [-1, backbone.config.hidden_size]), batch["scored"]), self.embeddings(backbone), None

    def served(self, batch: Mapping[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        """What evaluation's batches have besides, for rows of one example each with the column `target`."""
        target = tf.reshape(batch["target"] * tf.cast(batch["padding_mask"], tf.int32), [-1])
        shape = tf.shape(batch["target"])
        return {"scored": tf.range(tf.size(target)), "scored_target": tf.maximum(target - 1, 0), "scored_weight": tf.cast(target > 0, tf.float32),
                "scored_example": tf.repeat(tf.range(shape[0]), shape[1])}

    def answers(self, results: Mapping[str, tf.Tensor], columns: Mapping[str, Any], texts: Sequence[tf.Tensor]) -> dict[str, tf.Tensor]:
        """Of each text: `log_probability` (B,) float32, of its tokens but the first; `tokens` (B,) int32, how many those are; `perplexity` (B,)."""
        count = tf.size(texts[0])

        def total(name: str) -> tf.Tensor:
            return tf.math.unsorted_segment_sum(results[name], columns["example"], count)

        return _answers(total("loss"), total("predicted"))

    def token_answers(self, results: Mapping[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        """The same, to token ids and targets: 1 + the id that follows, 0 where none is asked for."""
        return _answers(results["loss"], results["predicted"])

    # --- results --------------------------------------------------------------------------------------------------

    def metric_names(self) -> tuple[str, ...]:
        """The names that `metrics` may give."""
        return (*super().metric_names(), "word_perplexity", "bits_per_byte")

    def metrics(self, results: Mapping[str, np.ndarray], store: Any) -> dict[str, float]:
        """Also the perplexity of a word, as white space parts them, and the bits of a byte of text, which no tokenizer changes."""
        total = float(results["loss"].sum(dtype=np.float64))
        words, size = (max(int(number), 1) for number in store.extras["text_size"])
        return {**super().metrics(results, store), "word_perplexity": math.exp(min(total / words, 700)), "bits_per_byte": total / math.log(2) / size}

    def decode(self, outputs: Mapping[str, np.ndarray], row: int, example: Any = None) -> dict[str, Any]:
        """One row of the answers as JSON for --mode=predict."""
        return {"log_probability": float(outputs["log_probability"][row]), "tokens": int(outputs["tokens"][row]),
                "perplexity": float(outputs["perplexity"][row])}

    def ambiguous(self, answers: Mapping[str, np.ndarray], results: Mapping[str, Any], columns: Mapping[str, Any],
                  tolerance: float) -> dict[str, np.ndarray]:
        """Nothing is: all answers are numbers."""
        return {}

    # --- Hugging Face ---------------------------------------------------------------------------------------------

    def load_tensors(self, tensors: Mapping[str, np.ndarray], labels: Sequence[str] | None) -> list[str]:
        """The output layer is the embeddings: a tied copy needs no reading."""
        return ["lm_head.weight"] if "lm_head.weight" in tensors else []

    def save_tensors(self) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        """Nothing but the backbone's, whose embeddings are tied, and the class in config.json."""
        return {}, {"architectures": [f"{FAMILIES[self.architecture].class_name}LMHeadModel"], "tie_word_embeddings": True, "id2label": None, "label2id": None,
                    "problem_type": None}


def _answers(loss: tf.Tensor, predicted: tf.Tensor) -> dict[str, tf.Tensor]:
    return {"log_probability": -loss, "tokens": tf.cast(predicted, tf.int32), "perplexity": tf.exp(loss / tf.maximum(predicted, 1.0))}
