"""Masked language modelling: some tokens are hidden and predicted from both sides; continues the
pretraining of an encoder on another domain.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any, Literal

import numpy as np
from pydantic import Field

from trainer.data.batch import Batch, Predicted
from trainer.data.reader import Aligned, Column, Draw
from trainer.errors import ConfigError
from trainer.heads._carried_over import CarriedOver
from trainer.heads._language_model import LanguageModel, LanguageModelSettings
from trainer.heads._masked_output import MaskedOutput
from trainer.lazy import tf
from trainer.settings.schema import DataSettings

if TYPE_CHECKING:  # which would import TensorFlow
    from trainer.backbones.config import BackboneConfig
    from trainer.backbones.huggingface import TaskHead

# of the hidden tokens: left as they are, replaced by [MASK]; the rest by any token
KEPT, MASKED = 0.1, 0.8


class Settings(LanguageModelSettings):
    """Masked language modelling."""

    name: Literal["masked_lm"] = Field("masked_lm")
    mask_probability: Annotated[float, Field(gt=0, lt=0.9)] = Field(
        0.15, description="share of the tokens that are hidden and predicted"
    )
    whole_words: bool = Field(False, description="hide all tokens of a word, or none")
    top_k: int = Field(5, ge=1, description="words to give for each mask, likeliest first")


class Head(LanguageModel):
    """See trainer/heads/contract.py for what each method is for."""

    Settings = Settings
    lives_on_pretraining = True
    more_inputs: tuple[str, ...] = ()
    columns = (Column("target", encoded=False), Column("words", fed=False))
    per_token = ("top_id", "top_score")

    def __init__(self, settings: Settings, data: DataSettings, tokenizer: Any) -> None:
        super().__init__(settings, data, tokenizer)
        if tokenizer.mask_id is None:
            raise ConfigError(
                "head.name: masked_lm needs a tokenizer with a mask token, and this one has none."
                " For a decoder take causal_lm."
            )
        self.scored_share = settings.mask_probability
        template = tokenizer.template
        self.special = np.array(
            sorted(
                {
                    *template.before,
                    *template.between,
                    *template.after,
                    tokenizer.pad_id,
                    tokenizer.mask_id,
                }
            ),
            np.int32,
        )

    def preparation_settings(self) -> dict[str, Any]:
        """What of the settings changes the stored examples."""
        return self.settings.model_dump(
            include={"name", "documents", "whole_words", "mask_probability"}
        )

    def finish_rows(
        self, tokens: dict[str, Any], example: np.ndarray, labels: Sequence[Any]
    ) -> dict[str, Any]:
        """Nothing: a document's rows have their special tokens already."""
        return tokens

    def align(self, split: Any, vocabulary: Mapping[str, Any], ledger: Any) -> Aligned:
        """Targets are drawn at each step: the column says that there are some."""
        for splits, _ in split.writer.rows():
            split.writer.append_tokens("target", np.zeros(int(splits[-1] - splits[0]), np.int32))
        return Aligned({}, {}, self.counts(split))

    def drawn_lengths(self, store: Any, indices: np.ndarray, draw: Draw) -> np.ndarray:
        """As they are stored."""
        return store.lengths[indices]

    def longest(self, store: Any) -> int:
        """As it is stored."""
        return int(store.lengths.max())

    def draw(self, store: Any, index: int, draw: Draw) -> dict[str, np.ndarray]:
        """Hides tokens of an example: a pure function of seed, step and example.

        In evaluation, step -1, always the same.

        Returns:
            token_ids (S,) int32 with some replaced; `target` (S,) int32, 1 + the token where one is
            hidden.
        Source: Devlin et al. 2019, section 3.1; whole words as in the code released in May 2019.
        """
        tokens = store.example(index)
        ids = np.array(tokens["token_ids"])
        random = np.random.Generator(
            np.random.Philox(np.random.SeedSequence([draw.seed, draw.step + 1, index]))
        )
        places = np.flatnonzero(~np.isin(ids, self.special))
        count = max(1, round(self.settings.mask_probability * len(places)))
        if len(places) == 0:
            return {"token_ids": ids, "target": np.zeros_like(ids)}
        if self.settings.whole_words:
            # of each place; what goes on with one has 0
            word = np.cumsum(tokens["words"][places] != 0)
            order = random.permutation(np.unique(word))
            sizes = np.bincount(word)[order]
            fits, taken = [], 0
            for number, size in zip(order, sizes, strict=True):
                if taken + size <= count:
                    fits.append(number)
                    taken += size
            # none of a word that has more tokens than may be hidden, as in the released code
            hidden = places[np.isin(word, fits)]
        else:
            hidden = np.sort(random.choice(places, count, replace=False))
        target = np.zeros_like(ids)
        target[hidden] = ids[hidden] + 1
        chance = random.random(len(hidden))
        ids[hidden[chance < MASKED]] = self.tokenizer.mask_id
        replaced = hidden[chance >= MASKED + KEPT]
        ids[replaced] = random.integers(0, len(self.tokenizer.vocabulary), len(replaced))
        return {"token_ids": ids, "target": target}

    def proof_samples(self, samples: Sequence[Mapping[str, str]]) -> list[dict[str, str]]:
        """With the word in the middle hidden, or in Chinese the character: a text without a mask
        has no answer.
        """
        mask = self.tokenizer.vocabulary[self.tokenizer.mask_id]
        name = self.text_names[0]
        hidden = []
        for sample in samples:
            text = sample[name].replace(mask, " ")
            parts = re.findall(r"\S+|\s+" if " " in text else r".", text, re.DOTALL)
            places = [place for place, part in enumerate(parts) if not part.isspace()]
            if places:
                parts[places[len(places) // 2]] = mask
            hidden.append({**sample, name: "".join(parts) if places else mask})
        return hidden

    def encode(self, text: tf.Tensor) -> tuple[dict[str, Any], dict[str, tf.Tensor]]:
        """Token columns and counts; the very function that serves.

        Args:
            text: (B,) string.
        Returns:
            token_ids, special tokens included, and with head.whole_words `words`, 0 where a token
            goes on with a word: each ragged (U, None) int32. `example` (U,) int32, the text of each
            row of at most seq_len tokens. Counts, (B,) int32 each.
        """
        from trainer.text.assemble import join
        from trainer.text.windows import cut_rows

        template = self.tokenizer.template
        tokens = self.tokenizer.tokenize_with_offsets(text)
        windows = cut_rows(tokens.ids.row_lengths(), self.data.seq_len - template.size(pair=False))
        columns = {"token_ids": join(windows.take(tokens.ids), template=template)}
        if self.settings.whole_words:
            columns["words"] = join(windows.take(tokens.words), template=template.filled(1))
        unknown = tf.reduce_sum(tf.cast(tokens.ids == self.tokenizer.unk_id, tf.int32), axis=1)
        return {**columns, "example": tf.cast(windows.text, tf.int32)}, {"unknown_tokens": unknown}

    def check(self, backbone: BackboneConfig) -> None:
        """Raises ConfigError where the backbone is a decoder."""
        if backbone.causal:
            raise ConfigError(
                "head.name: masked_lm needs an encoder such as BERT. Received a backbone of kind"
                f" {backbone.architecture}. For it take causal_lm."
            )

    def build(self, backbone: Any, vocabulary: Mapping[str, Any], seed: int) -> Head:
        """The layer and norm before the vocabulary, as Hugging Face's …ForMaskedLM has them.

        Raises ConfigError, see `check`.
        """
        self.check(backbone.config)
        self.vocabulary = vocabulary
        self.backbone = backbone
        self.output = MaskedOutput(backbone, seed)
        self.layers = self.output.layers
        return self

    def logits(self, outputs: Mapping[str, tf.Tensor], batch: Batch, seed: tf.Tensor | None) -> Any:
        """What the projection takes: the predicted places transformed (M, E), embeddings (V, E),
        bias (V,).
        """
        hidden = tf.gather(
            tf.reshape(outputs["sequence_output"], [-1, self.backbone.config.hidden_size]),
            batch.predicted.place,
        )
        return (
            tf.cast(self.output.transform(hidden), self.backbone.compute_dtype),
            self.backbone.word_embeddings(),
            self.output.bias(),
        )

    def served(self, batch: Batch) -> Batch:
        """The batch of a server, which predicts where the texts have masks."""
        is_mask = tf.reshape(batch.rows.token_ids == self.tokenizer.mask_id, [-1])
        predicted = Predicted(place=tf.reshape(tf.where(is_mask), [-1]))
        return dataclasses.replace(batch, predicted=predicted)

    def results(self, logits: Any, batch: Batch) -> dict[str, tf.Tensor]:
        """In evaluation as every language model; served, of each token `top_id` (R, L, K) int32 and
        `top_score` (R, L, K), -1 where it is no mask.
        """
        if batch.predicted.target is not None:
            return super().results(logits, batch)
        x, embeddings, bias = logits
        words = len(self.tokenizer.vocabulary)  # a model may have embeddings to spare
        embeddings = embeddings[:words]
        bias = bias[:words]
        count = min(self.settings.top_k, words)
        scores, ids = tf.math.top_k(
            tf.nn.softmax(tf.cast(tf.matmul(x, embeddings, transpose_b=True), tf.float32) + bias),
            count,
        )
        shape = tf.concat([[tf.size(batch.rows.token_ids)], [count]], 0)

        def spread(values: tf.Tensor) -> tf.Tensor:
            flat = tf.tensor_scatter_nd_update(
                tf.fill(shape, tf.constant(-1, values.dtype)),
                batch.predicted.place[:, None],
                values,
            )
            return tf.reshape(flat, tf.concat([tf.shape(batch.rows.token_ids), shape[1:]], 0))

        return {"top_id": spread(ids), "top_score": spread(scores)}

    def answers(
        self, results: Mapping[str, Any], columns: Mapping[str, Any], texts: Sequence[tf.Tensor]
    ) -> dict[str, tf.Tensor]:
        """For each mask of each text the K likeliest words: `token` (B, N, K) string, `score` (B,
        N, K) float32; padded with "" and -1.
        """
        rows = columns["token_ids"].value_rowids()
        masks = tf.reshape(tf.where(columns["token_ids"].values == self.tokenizer.mask_id), [-1])
        text = tf.gather(columns["example"], tf.gather(rows, masks))
        counts = tf.math.bincount(text, minlength=tf.size(texts[0]), maxlength=tf.size(texts[0]))
        names = tf.gather(
            tf.constant(self.tokenizer.words), tf.gather(results["top_id"].values, masks)
        )
        ragged = tf.RaggedTensor.from_row_lengths(names, counts, validate=False)
        scores = tf.RaggedTensor.from_row_lengths(
            tf.gather(results["top_score"].values, masks), counts, validate=False
        )
        return {"token": ragged.to_tensor(""), "score": scores.to_tensor(-1.0)}

    def token_answers(self, results: Mapping[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        """To token ids (B, S): `token` (B, S, K) string, `score` (B, S, K), "" and -1 where there
        is no mask.
        """
        names = tf.gather(tf.constant(self.tokenizer.words), tf.maximum(results["top_id"], 0))
        return {"token": tf.where(results["top_id"] < 0, "", names), "score": results["top_score"]}

    def decode(
        self, outputs: Mapping[str, np.ndarray], row: int, example: Any = None
    ) -> dict[str, Any]:
        """One row of the answers as JSON for --mode=predict."""
        masks = [
            [
                {"token": token.decode(), "score": float(score)}
                for token, score in zip(tokens, scores, strict=True)
            ]
            for tokens, scores in zip(outputs["token"][row], outputs["score"][row], strict=True)
            if scores[0] >= 0
        ]
        return {"masks": masks}

    def remark(self, found: Mapping[str, Any]) -> str:
        """Whether there is nothing to answer."""
        return (
            ""
            if found["masks"]
            else (
                f"no {self.tokenizer.vocabulary[self.tokenizer.mask_id]}, the mask of this"
                " tokenizer: nothing is answered there"
            )
        )

    def ambiguous(
        self,
        answers: Mapping[str, np.ndarray],
        results: Mapping[str, Any],
        columns: Mapping[str, Any],
        tolerance: float,
    ) -> dict[str, np.ndarray]:
        """Where two words are nearly as likely, their order may turn out otherwise."""
        score = answers["score"]
        near = (score[..., :-1] - score[..., 1:] <= 2 * tolerance) & (score[..., 1:] >= 0)
        return {"token": near.any(axis=(1, 2)) if score.size else np.zeros(len(score), bool)}

    def load_tensors(self, checkpoint: TaskHead) -> CarriedOver:
        """Takes over the checkpoint's own prediction layers."""
        return CarriedOver.whole(self.output.load(checkpoint.tensors))

    def save_tensors(self) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        """The layers under Hugging Face's names; the embeddings are tied."""
        return self.output.save()


make_head = Head
