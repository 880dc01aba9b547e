"""Classification of a text with its year: an input that is no text, and an own ledger kind."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import ClassVar, Literal

import numpy as np

from trainer.data.batch import Batch
from trainer.data.ledger import Ledger
from trainer.data.reader import Aligned, Column, Input, Label, Reader, Value, Vocabulary
from trainer.errors import DataError
from trainer.heads.contract import Graph, Head, Metric, Results, Scorer, Tensors
from trainer.lazy import keras, tf
from trainer.settings.schema import DataSettings, HeadSettings
from trainer.sources import Example, require_field, require_text

UNKNOWN = -1  # the year of a text that has none
FIRST_YEAR = 2000


class Settings(HeadSettings):
    """Classification of dated texts."""

    name: Literal["dated"] = "dated"


@dataclasses.dataclass(frozen=True)
class DatedReader(Reader):
    """Reads `text`, `year` and the label."""

    data: DataSettings
    tokenizer: object
    inputs: tuple[Input, ...] = (Input("text", "text"), Input("year", "year", "int32"))
    columns: tuple[Column, ...] = (
        Column("year", per_token=False),
        Column("label", per_token=False, encoded=False),
    )
    losses_of_data: ClassVar[Mapping[str, str]] = {"undated": "texts without a year, read as -1"}

    def preparation_settings(self) -> dict[str, object]:
        return {"name": "dated"}

    def values(self, example: Example) -> tuple[Value, ...]:
        year = example.features.get("year", UNKNOWN)
        if not isinstance(year, int):
            raise DataError(f"{example.origin}: year: expected a whole number. Received {year!r}.")
        return require_text(example, "text"), year

    def label(self, example: Example) -> Label:
        return str(require_field(example, "label", "data.label"))

    def encode(self, text: tf.Tensor, year: tf.Tensor):
        ids = self.tokenizer.tokenize(text)[:, : self.data.seq_len - 2]
        template = self.tokenizer.template
        from trainer.text.assemble import join

        undated = tf.cast(year == UNKNOWN, tf.int32)
        return {"token_ids": join(ids, template=template), "year": year}, {"undated": undated}

    def learn(
        self, labels: Sequence[Label], names: list[str] | None, origin: Callable[[int], str]
    ) -> dict[str, object]:
        return {"labels": sorted(set(labels))}

    def align(self, split, vocabulary: Vocabulary, ledger: Ledger) -> Aligned:
        numbers = [vocabulary["labels"].index(label) for label in split.labels]
        return Aligned({"label": np.array(numbers, np.int32)}, {}, {})


@dataclasses.dataclass(frozen=True)
class DatedGraph(Graph):
    """The vector of [CLS], with the decades since FIRST_YEAR beside it."""

    vocabulary: Vocabulary
    output: keras.layers.Dense

    @property
    def layers(self) -> list[keras.layers.Layer]:
        return [self.output]

    def logits(self, outputs: Tensors, batch: Batch, seed: tf.Tensor | None) -> tf.Tensor:
        place = tf.stack([batch.examples.row, batch.examples.start], axis=1)
        hidden = tf.cast(tf.gather_nd(outputs["sequence_output"], place), tf.float32)
        years = tf.cast(batch.own["year"] - FIRST_YEAR, tf.float32)
        return self.output(tf.concat([hidden, years[:, None] / 10], axis=1))

    def weights(self, batch: Batch) -> dict[str, tf.Tensor]:
        return {"loss": tf.reduce_sum(batch.examples.weight)}

    def losses(self, logits: tf.Tensor, batch: Batch) -> dict[str, tf.Tensor]:
        losses = tf.nn.sparse_softmax_cross_entropy_with_logits(batch.label, logits)
        return {"loss": tf.reduce_sum(losses * batch.examples.weight)}

    def results(self, logits: tf.Tensor, batch: Batch) -> dict[str, tf.Tensor]:
        return {"logits": logits}

    def answers(self, results: Tensors, columns: Tensors, inputs) -> dict[str, tf.Tensor]:
        return self.token_answers(results)

    def token_answers(self, results: Tensors) -> dict[str, tf.Tensor]:
        best = tf.argmax(results["logits"], axis=1)
        return {"label": tf.gather(tf.constant(self.vocabulary["labels"]), best)}

    def decode(self, answers: Results, row: int, example: Example | None = None):
        return {"label": answers["label"][row].decode()}


@dataclasses.dataclass(frozen=True)
class DatedScorer(Scorer):
    """Accuracy, by the graph's answers."""

    graph: DatedGraph

    def metrics(self, results: Results, store) -> dict[str, float]:
        answers = self.graph.token_answers({"logits": tf.constant(results["logits"])})["label"]
        gold = np.array(self.graph.vocabulary["labels"])[store.columns["label"]]
        return {"accuracy": float(np.mean(answers.numpy().astype(str) == gold))}


@dataclasses.dataclass(frozen=True)
class DatedHead(Head):
    settings: Settings
    reader: DatedReader

    def build(self, backbone, vocabulary: Vocabulary, seed: int) -> DatedGraph:
        initial = keras.initializers.TruncatedNormal(stddev=0.02, seed=seed)
        output = keras.layers.Dense(
            len(vocabulary["labels"]), kernel_initializer=initial, name="output", dtype="float32"
        )
        output.build((None, backbone.config.hidden_size + 1))
        return DatedGraph(vocabulary, output)

    def scorer(self, graph: DatedGraph) -> DatedScorer:
        return DatedScorer(graph)

    def available_metrics(self, vocabulary: Vocabulary | None = None) -> tuple[Metric, ...]:
        return (Metric("accuracy"),)


def make_head(settings: Settings, data: DataSettings, tokenizer) -> DatedHead:
    return DatedHead(settings, DatedReader(data, tokenizer))
