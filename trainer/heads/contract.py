"""What a head is: a reader on the host, a graph in TensorFlow, a scorer on the host.

A head is known before its data is. Once train has taught the vocabulary, `Head.build` makes the
graph, and `Head.scorer` what says how good the graph's answers are. `trainer/data/reader.py` has
the reader. What only some can is a protocol of its own, and whoever needs it asks by isinstance.

Heads inherit from these protocols for their defaults, of which none has logic.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, TypeAlias, runtime_checkable

import numpy as np

from trainer.data.batch import Batch
from trainer.data.reader import Reader, Vocabulary
from trainer.heads._hub_task import HubTask
from trainer.settings.schema import HeadSettings
from trainer.sources import Example

if TYPE_CHECKING:
    import keras
    import tensorflow as tf

    from trainer.backbones.backbone import Backbone
    from trainer.backbones.config import BackboneConfig
    from trainer.backbones.huggingface import TaskHead
    from trainer.data.store import TokenStore
    from trainer.heads._carried_over import CarriedOver

# float32 scores; a language model has what makes them, as they would not fit in memory
Logits: TypeAlias = Any
Results: TypeAlias = Mapping[str, np.ndarray]  # of a whole split, on the host
Tensors: TypeAlias = Mapping[str, "tf.Tensor"]
Sample: TypeAlias = Mapping[str, Any]  # the raw inputs of an example, by their names
Record: TypeAlias = Mapping[str, object]  # of one example, as JSON has it
Calibration: TypeAlias = Mapping[str, float]  # what validation decides, such as a threshold


@dataclasses.dataclass(frozen=True)
class Metric:
    """A figure that says how good answers are.

    Attributes:
        name: in results.json and the logs.
        lower_is_better: whether it improves downward.
        judged: whether `Judges.judge` gives it, not `Scorer.metrics`.
    """

    name: str
    lower_is_better: bool = False
    judged: bool = False


class Graph(Protocol):
    """The part of a head that trains and serves, in TensorFlow, with its layers.

    Attributes:
        vocabulary: what train taught.
        layers: above the backbone.
        objectives: names of what is minimised, each a mean over its own weight.
        per_token: names of the results that have a value a token, not an example.
    """

    vocabulary: Vocabulary
    layers: Sequence[keras.layers.Layer]
    objectives: tuple[str, ...] = ("loss",)
    per_token: tuple[str, ...] = ()

    def logits(self, outputs: Tensors, batch: Batch, seed: tf.Tensor | None) -> Logits:
        """The scores of a batch, (E, …) an example or (R, L, …) a token, in float32.

        Args:
            outputs: of the backbone: `sequence_output` (R, L, H), …; see also `ReadsPlaces`.
            batch: of one shard.
            seed: (2,) int32, of the dropout masks; None: nothing is dropped.
        """
        ...

    def weights(self, batch: Batch) -> dict[str, tf.Tensor]:
        """What each objective weighs in a batch, () float32; known before anything is computed."""
        ...

    def losses(self, logits: Logits, batch: Batch) -> dict[str, tf.Tensor]:
        """The sum of the weighted losses of each objective, () float32."""
        ...

    def results(self, logits: Logits, batch: Batch) -> dict[str, tf.Tensor]:
        """What answers and metrics are made of, (E, …) an example or (R, L, …) a token."""
        ...

    def served(self, batch: Batch) -> Batch:
        """The batch of a server, with what evaluation's batches have besides."""
        return batch

    def answers(
        self, results: Tensors, columns: Tensors, inputs: Sequence[tf.Tensor]
    ) -> dict[str, tf.Tensor]:
        """What is answered to raw inputs, (B, …): the one rule, of serving and of evaluation.

        Args:
            results: of the rows; those of tokens ragged.
            columns: as `Reader.encode` made them of the inputs.
            inputs: (B,) each.
        """
        ...

    def token_answers(self, results: Tensors) -> dict[str, tf.Tensor]:
        """What the SavedModel answers to token ids."""
        ...

    def decode(
        self, answers: Results, row: int, example: Example | None = None
    ) -> dict[str, object]:
        """One of the answers as JSON, for --mode=predict.

        Args:
            answers: (B, …) each, as `answers` gave them.
            row: of the B.
            example: that was asked.
        """
        ...

    def ambiguous(
        self, answers: Results, results: Tensors, columns: Tensors, tolerance: float
    ) -> dict[str, np.ndarray]:
        """Answer -> (B,) bool: where it may turn out otherwise although the results nearly agree.

        Args:
            answers: (B, …) each, as `answers` gave them.
            results, columns: of which they were made; empty where a server made them.
            tolerance: within which the results agree.
        """
        return {}


class Scorer(Protocol):
    """The part of a head that says how good a graph's answers are."""

    def metrics(self, results: Results, store: TokenStore) -> dict[str, float]:
        """Over a whole split, every example once.

        Args:
            results: of the graph, in the store's order.
            store: the split.
        """
        ...

    def per_label(self, results: Results, store: TokenStore) -> dict[str, dict[str, float]]:
        """precision, recall, f1 and support of each label, where there are labels."""
        return {}

    def records(self, results: Results, store: TokenStore) -> Iterator[Record]:
        """Of each example of a split, in its order, what is known of its answer.

        That is `gold` and `answer`, which are names, numbers, texts or lists of these; `loss`, None
        where train has taught nothing of the gold; and what the head has besides, such as `score`,
        the probability of the answer, or `probabilities` by label. Where rows begin anywhere, a
        row stands for an example.
        """
        return itertools.repeat({})


class Head(Protocol):
    """What a run knows of a head before its data.

    Attributes:
        settings: of the config.
        reader: of the examples.
        uses_pooler: whether BERT's pooler is part of the model.
        lives_on_pretraining: whether the head is of little use without layers of the checkpoint.
    """

    settings: HeadSettings
    reader: Reader
    uses_pooler: bool = False
    lives_on_pretraining: bool = False

    @property
    def no_huggingface(self) -> str:
        """Why that format has no place for the head as it is set; "" where it has one."""
        return ""

    @property
    def hub_task(self) -> HubTask | None:
        """What the Hugging Face hub calls what it does, where it has a name for that."""
        return None

    def check(self, backbone: BackboneConfig) -> None:
        """Raises ConfigError where the backbone is none for the head; before data is prepared."""
        return

    def build(self, backbone: Backbone, vocabulary: Vocabulary, seed: int) -> Graph:
        """Makes the layers above the backbone.

        Args:
            backbone: with its weights.
            vocabulary: what train taught.
            seed: of the initial values.
        """
        ...

    def scorer(self, graph: Graph) -> Scorer:
        """Says how good the answers of a graph of this head are."""
        ...

    def available_metrics(self, vocabulary: Vocabulary | None = None) -> tuple[Metric, ...]:
        """Those that `Scorer.metrics` may give, the main one first.

        Args:
            vocabulary: what train taught; None: not known yet.
        """
        ...

    def undefined_metrics(self, vocabulary: Vocabulary, store: TokenStore) -> dict[str, str]:
        """The metrics that a split cannot give, or that are the same for any model, and why."""
        return {}


@runtime_checkable
class Exchanges(Protocol):
    """A graph whose layers Hugging Face's format has a place for."""

    def load_tensors(self, checkpoint: TaskHead) -> CarriedOver:
        """Takes over the checkpoint's own layers."""
        ...

    def save_tensors(self) -> tuple[dict[str, np.ndarray], dict[str, object]]:
        """The layers under Hugging Face's names, and what config.json says of them."""
        ...


class Target(NamedTuple):
    """A part of an answer, as a sum of logits.

    Attributes:
        label: of the answer, such as a class; "" of a number.
        row: of the example's rows, the one that gives it.
        start, end: the characters that the answer is about; -1 where it is about the whole text.
        place: the token that decides.
        weights: float32, of the shape of an example's logits: the answer's score is their weighted
            sum.
    """

    label: str
    row: int
    start: int
    end: int
    place: int
    weights: np.ndarray


@runtime_checkable
class Explains(Protocol):
    """A graph whose answers are sums of logits, so that it can be asked what adds to them."""

    def targets(
        self, logits: Logits, batch: Batch, columns: Tensors, inputs: Sequence[tf.Tensor]
    ) -> list[Target]:
        """What is answered to one example.

        Args:
            logits: of its rows.
            batch: its rows.
            columns: of them, as `Reader.encode` made them.
            inputs: (1,) string each.
        """
        ...


@runtime_checkable
class Calibrates(Protocol):
    """A graph of whose answers validation decides something, such as a threshold."""

    def calibration(self, results: Results, store: TokenStore) -> Calibration:
        """What the results of validation say is best."""
        ...

    def calibrated(self, calibration: Calibration) -> Graph:
        """The same graph, on the same layers, that answers by it."""
        ...


@runtime_checkable
class ProvedByServing(Protocol):
    """A graph that evaluation sees other texts of than a server does, such as parts of documents.

    Its export is proved by what the serving graph answers in this process.
    """

    def proof_samples(self, samples: Sequence[Sample]) -> Sequence[Sample]:
        """The raw inputs that prove an export, made of some that preparation has kept."""
        ...


@runtime_checkable
class Remarks(Protocol):
    """A graph whose answers may suffer from what a text has."""

    def remark(self, answer: Mapping[str, object]) -> str:
        """What a text has that its answer, as `decode` gives it, suffers from; "" where nothing."""
        ...


@runtime_checkable
class ReadsPlaces(Protocol):
    """A graph that looks at some tokens only: the last layer computes no others.

    Of the backbone's outputs its `logits` is given `place_output`, (M, H).
    """

    def places(self, batch: Batch) -> tf.Tensor:
        """(M,) int32, where they stand among the R*L tokens of a batch."""
        ...

    def count_places(self, examples: int, weight: float) -> float:
        """How many they are in a training step; those that fill up are not counted.

        Args:
            examples: of the step.
            weight: of its first objective.
        """
        ...


@runtime_checkable
class CountsOperations(Protocol):
    """A graph whose own operations are worth counting beside the backbone's."""

    def prediction_flops(self, config: BackboneConfig, *, frozen_embeddings: bool) -> float:
        """Operations of a training step for each unit of the loss's weight."""
        ...


class Judged(NamedTuple):
    """What takes more than evaluation's results to know.

    Attributes:
        metrics: those that are `Metric.judged`.
        texts: what was generated for the first examples of a split.
    """

    metrics: Mapping[str, float]
    texts: Sequence[str]


@runtime_checkable
class Judges(Protocol):
    """A graph with metrics that take more than evaluation's results, such as generated texts."""

    def judge(
        self, store: TokenStore, batch_size: int, on_batch: Callable[[int, int], None]
    ) -> Judged:
        """Generates for a split, and judges that.

        Args:
            store: the split.
            batch_size: examples at once.
            on_batch: called after each batch with (batches done, batches in all).
        """
        ...


@runtime_checkable
class Generates(Protocol):
    """A graph that writes texts."""

    def generate(self, text: tf.Tensor) -> dict[str, tf.Tensor]:
        """(B,) string -> the texts that go on from them, in the graph."""
        ...

    def generate_many(self, batch_size: int) -> Callable[[Sequence[str]], dict[str, np.ndarray]]:
        """A function that does the same for many texts at once, for files."""
        ...

    def stream(self, text: str, *, drawn: int = 0) -> Iterator[str]:
        """The pieces of what follows a text, as they are written.

        Args:
            text: that goes on.
            drawn: how many texts went on before, so that the same draws never come twice.
        """
        ...

    def prompt_tokens(self, text: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        """Of (B,) prompts their tokens (B, P) int32; (B,) int32 how many, and how many are cut."""
        ...
