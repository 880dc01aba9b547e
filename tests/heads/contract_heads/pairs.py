"""Whether two texts belong together: at each step every first text gets its own second one, or that
of another example. So rows have other lengths and other labels at each step.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Literal

import numpy as np

from trainer.data.batch import Batch
from trainer.data.ledger import Ledger
from trainer.data.reader import (
    Aligned,
    Column,
    Columns,
    Draw,
    Input,
    Label,
    Reader,
    Value,
    Vocabulary,
)
from trainer.data.store import TokenStore
from trainer.heads.contract import Graph, Head, Metric, Results, Sample, Scorer, Tensors
from trainer.lazy import keras, tf
from trainer.settings.schema import DataSettings, HeadSettings
from trainer.sources import Example, require_text


class Settings(HeadSettings):
    """Pairs, drawn at each step."""

    name: Literal["pairs"] = "pairs"


@dataclasses.dataclass(frozen=True)
class PairReader(Reader):
    data: DataSettings
    tokenizer: object
    inputs: tuple[Input, ...] = (Input("text", "text"), Input("text_pair", "text_pair"))
    columns: tuple[Column, ...] = (
        Column("segment_ids"),
        Column("label", per_token=False, encoded=False),
    )

    def preparation_settings(self) -> dict[str, object]:
        return {"name": "pairs"}

    def values(self, example: Example) -> tuple[Value, ...]:
        return require_text(example, "text"), require_text(example, "text_pair")

    def label(self, example: Example) -> Label:
        return None

    def encode(self, text: tf.Tensor, other: tf.Tensor):
        from trainer.text.assemble import join

        room = (self.data.seq_len - 3) // 2
        first, second = (self.tokenizer.tokenize(part)[:, :room] for part in (text, other))
        template = self.tokenizer.template
        segments = join(
            tf.zeros_like(first), tf.ones_like(second), template=template.filled(0, last=1)
        )
        return {"token_ids": join(first, second, template=template), "segment_ids": segments}, {}

    def learn(
        self, labels: Sequence[Label], names: list[str] | None, origin: Callable[[int], str]
    ) -> dict[str, object]:
        return {"labels": []}

    def align(self, split, vocabulary: Vocabulary, ledger: Ledger) -> Aligned:
        # drawn at each step: the column says that there are some
        return Aligned({"label": np.zeros(split.count, np.int32)}, {}, {})

    def _partner(self, store: TokenStore, index: int, draw: Draw) -> int:
        """Of which example the second text is."""
        sequence = np.random.SeedSequence([draw.seed, draw.step + 1, index])
        random = np.random.Generator(np.random.Philox(sequence))
        return index if random.random() < 0.5 else int(random.integers(len(store)))

    def drawn_lengths(self, store: TokenStore, indices: np.ndarray, draw: Draw) -> np.ndarray:
        lengths = [len(self.draw(store, int(index), draw)["token_ids"]) for index in indices]
        return np.array(lengths, np.int32)

    def longest(self, store: TokenStore) -> int:
        return self.data.seq_len

    def draw(self, store: TokenStore, index: int, draw: Draw) -> Columns:
        partner = self._partner(store, index, draw)
        own, other = store.example(index), store.example(partner)
        first, second = own["segment_ids"] == 0, other["segment_ids"] == 1
        columns = {
            name: np.concatenate([own[name][first], other[name][second]])
            for name in ("token_ids", "segment_ids")
        }
        return {**columns, "label": np.int32(partner == index)}


@dataclasses.dataclass(frozen=True)
class PairGraph(Graph):
    vocabulary: Vocabulary
    output: keras.layers.Dense

    @property
    def layers(self) -> list[keras.layers.Layer]:
        return [self.output]

    def logits(self, outputs: Tensors, batch: Batch, seed: tf.Tensor | None) -> tf.Tensor:
        place = tf.stack([batch.examples.row, batch.examples.start], axis=1)
        hidden = tf.cast(tf.gather_nd(outputs["sequence_output"], place), tf.float32)
        return self.output(hidden)[:, 0]

    def weights(self, batch: Batch) -> dict[str, tf.Tensor]:
        return {"loss": tf.reduce_sum(batch.examples.weight)}

    def losses(self, logits: tf.Tensor, batch: Batch) -> dict[str, tf.Tensor]:
        target = tf.cast(batch.label, tf.float32)
        losses = tf.nn.sigmoid_cross_entropy_with_logits(target, logits)
        return {"loss": tf.reduce_sum(losses * batch.examples.weight)}

    def results(self, logits: tf.Tensor, batch: Batch) -> dict[str, tf.Tensor]:
        gold = {} if batch.label is None else {"gold": batch.label}
        return {"logits": logits, **gold}

    def answers(self, results: Tensors, columns: Tensors, inputs) -> dict[str, tf.Tensor]:
        return self.token_answers(results)

    def token_answers(self, results: Tensors) -> dict[str, tf.Tensor]:
        return {"together": tf.sigmoid(results["logits"])}

    def decode(self, answers: Results, row: int, example: Example | None = None):
        return {"together": float(answers["together"][row])}

    def proof_samples(self, samples: Sequence[Sample]) -> Sequence[Sample]:
        return samples


@dataclasses.dataclass(frozen=True)
class PairScorer(Scorer):
    graph: PairGraph

    def metrics(self, results: Results, store) -> dict[str, float]:
        answers = self.graph.token_answers({"logits": tf.constant(results["logits"])})
        together = answers["together"].numpy() > 0.5
        return {
            "accuracy": float(np.mean(together == results["gold"])),
            "share": float(results["gold"].mean()),
        }


@dataclasses.dataclass(frozen=True)
class PairHead(Head):
    settings: Settings
    reader: PairReader

    def build(self, backbone, vocabulary: Vocabulary, seed: int) -> PairGraph:
        initial = keras.initializers.TruncatedNormal(stddev=0.02, seed=seed)
        output = keras.layers.Dense(1, kernel_initializer=initial, name="output", dtype="float32")
        output.build((None, backbone.config.hidden_size))
        return PairGraph(vocabulary, output)

    def scorer(self, graph: PairGraph) -> PairScorer:
        return PairScorer(graph)

    def available_metrics(self, vocabulary: Vocabulary | None = None) -> tuple[Metric, ...]:
        return (Metric("accuracy"), Metric("share"))


def make_head(settings: Settings, data: DataSettings, tokenizer) -> PairHead:
    return PairHead(settings, PairReader(data, tokenizer))
