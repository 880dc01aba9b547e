"""The label of a text and a property of each of its tokens: two objectives, divided by examples and
by tokens.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Literal

import numpy as np

from trainer.data.batch import Batch
from trainer.data.ledger import Ledger
from trainer.data.reader import Aligned, Column, Input, Label, Reader, Value, Vocabulary
from trainer.heads.contract import Graph, Head, Metric, Results, Scorer, Tensors
from trainer.lazy import keras, tf
from trainer.settings.schema import DataSettings, HeadSettings
from trainer.sources import Example, require_field, require_text


class Settings(HeadSettings):
    """Labels and tokens at once."""

    name: Literal["two_objectives"] = "two_objectives"


@dataclasses.dataclass(frozen=True)
class TwoReader(Reader):
    data: DataSettings
    tokenizer: object
    inputs: tuple[Input, ...] = (Input("text", "text"),)
    columns: tuple[Column, ...] = (Column("label", per_token=False, encoded=False),)

    def preparation_settings(self) -> dict[str, object]:
        return {"name": "two_objectives"}

    def values(self, example: Example) -> tuple[Value, ...]:
        return (require_text(example, "text"),)

    def label(self, example: Example) -> Label:
        return str(require_field(example, "label", "data.label"))

    def encode(self, text: tf.Tensor):
        from trainer.text.assemble import join

        ids = self.tokenizer.tokenize(text)
        kept = ids[:, : self.data.seq_len - 2]
        lost = tf.cast(ids.row_lengths() - kept.row_lengths(), tf.int32)
        rows = join(kept, template=self.tokenizer.template)
        return {"token_ids": rows}, {"truncated_tokens": lost}

    def learn(
        self, labels: Sequence[Label], names: list[str] | None, origin: Callable[[int], str]
    ) -> dict[str, object]:
        return {"labels": sorted(set(labels))}

    def align(self, split, vocabulary: Vocabulary, ledger: Ledger) -> Aligned:
        numbers = [vocabulary["labels"].index(label) for label in split.labels]
        return Aligned({"label": np.array(numbers, np.int32)}, {}, {})


@dataclasses.dataclass(frozen=True)
class TwoGraph(Graph):
    """The second objective: whether a token's number is odd."""

    vocabulary: Vocabulary
    output: keras.layers.Dense
    of_token: keras.layers.Dense
    objectives: tuple[str, ...] = ("label", "token")

    @property
    def layers(self) -> list[keras.layers.Layer]:
        return [self.output, self.of_token]

    def logits(self, outputs: Tensors, batch: Batch, seed: tf.Tensor | None):
        hidden = tf.cast(outputs["sequence_output"], tf.float32)
        place = tf.stack([batch.examples.row, batch.examples.start], axis=1)
        return self.output(tf.gather_nd(hidden, place)), self.of_token(hidden)[:, :, 0]

    def weights(self, batch: Batch) -> dict[str, tf.Tensor]:
        return {
            "label": tf.reduce_sum(batch.examples.weight),
            "token": tf.reduce_sum(self._is_token(batch)),
        }

    def losses(self, logits, batch: Batch) -> dict[str, tf.Tensor]:
        of_label, of_token = logits
        losses = tf.nn.sparse_softmax_cross_entropy_with_logits(batch.label, of_label)
        odd = tf.cast(batch.rows.token_ids % 2, tf.float32)
        token_losses = tf.nn.sigmoid_cross_entropy_with_logits(odd, of_token)
        return {
            "label": tf.reduce_sum(losses * batch.examples.weight),
            "token": tf.reduce_sum(token_losses * self._is_token(batch)),
        }

    def _is_token(self, batch: Batch) -> tf.Tensor:
        """(R, L) float32."""
        return tf.cast(batch.rows.sequence_ids > 0, tf.float32)

    def results(self, logits, batch: Batch) -> dict[str, tf.Tensor]:
        return {"logits": logits[0]}

    def answers(self, results: Tensors, columns: Tensors, inputs) -> dict[str, tf.Tensor]:
        return self.token_answers(results)

    def token_answers(self, results: Tensors) -> dict[str, tf.Tensor]:
        best = tf.argmax(results["logits"], axis=1)
        return {"label": tf.gather(tf.constant(self.vocabulary["labels"]), best)}

    def decode(self, answers: Results, row: int, example: Example | None = None):
        return {"label": answers["label"][row].decode()}


@dataclasses.dataclass(frozen=True)
class TwoScorer(Scorer):
    graph: TwoGraph

    def metrics(self, results: Results, store) -> dict[str, float]:
        answers = self.graph.token_answers({"logits": tf.constant(results["logits"])})["label"]
        gold = np.array(self.graph.vocabulary["labels"])[store.columns["label"]]
        return {"accuracy": float(np.mean(answers.numpy().astype(str) == gold))}


@dataclasses.dataclass(frozen=True)
class TwoHead(Head):
    settings: Settings
    reader: TwoReader

    def build(self, backbone, vocabulary: Vocabulary, seed: int) -> TwoGraph:
        sizes = {"output": len(vocabulary["labels"]), "of_token": 1}
        layers = {}
        for number, (name, size) in enumerate(sizes.items()):
            initial = keras.initializers.TruncatedNormal(stddev=0.02, seed=seed + number)
            layers[name] = keras.layers.Dense(
                size, kernel_initializer=initial, name=name, dtype="float32"
            )
            layers[name].build((None, backbone.config.hidden_size))
        return TwoGraph(vocabulary, **layers)

    def scorer(self, graph: TwoGraph) -> TwoScorer:
        return TwoScorer(graph)

    def available_metrics(self, vocabulary: Vocabulary | None = None) -> tuple[Metric, ...]:
        return (Metric("accuracy"),)


def make_head(settings: Settings, data: DataSettings, tokenizer) -> TwoHead:
    return TwoHead(settings, TwoReader(data, tokenizer))
