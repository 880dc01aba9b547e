"""What a head is: a reader on the host, a graph in TensorFlow, a scorer on the host.

`trainer/data/reader.py` has the reader, as preparation asks for it. What only some heads can is a
protocol of its own, and whoever needs it asks by isinstance.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, runtime_checkable

import numpy as np

from trainer.data.batch import Batch
from trainer.data.reader import Reader, Vocabulary
from trainer.sources import Example

if TYPE_CHECKING:
    import keras
    import tensorflow as tf

    from trainer.backbones.config import BackboneConfig
    from trainer.backbones.huggingface import TaskHead
    from trainer.data.store import TokenStore
    from trainer.heads._carried_over import CarriedOver
    from trainer.text.tokenizer import Tokenizer

Logits = Any  # float32 scores; a language model has what makes them, as they would not fit
Results = Mapping[str, np.ndarray]  # of a whole split, on the host
Tensors = Mapping[str, "tf.Tensor"]


class Graph(Protocol):
    """The part of a head that trains and serves, in TensorFlow.

    Attributes:
        more_inputs: token columns that the graph takes besides token_ids and padding_mask.
        tokenizer: of the texts.
        vocabulary: what train taught; known once built.
        per_token: names of the results that have a value a token, not an example.
        uses_pooler: whether BERT's pooler is part of the model.
        lives_on_pretraining: whether the head is of little use without layers of the checkpoint.
        evaluated_as_served: whether evaluation's results are those of the raw texts.
    """

    tokenizer: Tokenizer
    vocabulary: Vocabulary
    more_inputs: tuple[str, ...]
    per_token: tuple[str, ...]
    uses_pooler: ClassVar[bool]
    lives_on_pretraining: bool
    evaluated_as_served: bool

    def check(self, backbone: BackboneConfig) -> None:
        """Raises ConfigError where the backbone is none for the head; before data is prepared."""
        ...

    def build(
        self, backbone: Any, vocabulary: Vocabulary, seed: int
    ) -> Sequence[keras.layers.Layer]:
        """Makes the layers above the backbone."""
        ...

    def logits(
        self,
        backbone: Any,
        outputs: Tensors,
        batch: Batch,
        *,
        training: bool,
        seed: tf.Tensor | None,
    ) -> Logits:
        """The scores of a batch, (E, …) an example or (R, L, …) a token, in float32.

        Args:
            outputs: of the backbone: `sequence_output` (R, L, H), …
            seed: (2,) int32, of the dropout masks.
        """
        ...

    def loss(self, logits: Logits, batch: Batch) -> tuple[tf.Tensor, tf.Tensor]:
        """The sum of the weighted losses, and the sum of the weights; () float32 each."""
        ...

    def results(self, logits: Logits, batch: Batch) -> dict[str, tf.Tensor]:
        """What answers and metrics are made of, (E, …) an example or (R, L, …) a token."""
        ...

    def served(self, batch: Batch) -> Batch:
        """The batch of a server, with what evaluation's batches have besides."""
        ...

    def answers(
        self, results: Tensors, columns: Tensors, texts: Sequence[tf.Tensor]
    ) -> dict[str, tf.Tensor]:
        """What the SavedModel answers to raw texts, (B, …).

        Args:
            results: of the rows; those of tokens ragged.
            columns: as `encode` made them of the texts.
        """
        ...

    def proof_samples(self, samples: Sequence[Mapping[str, str]]) -> Sequence[Mapping[str, str]]:
        """The raw texts that prove an export whose results are not evaluation's."""
        ...

    def prediction_flops(self, config: BackboneConfig, *, frozen_embeddings: bool) -> float:
        """Operations of a training step for each unit of the loss's weight, beside the backbone's.

        0 where they are not worth counting.
        """
        ...

    def token_answers(self, results: Tensors) -> dict[str, tf.Tensor]:
        """What the SavedModel answers to token ids."""
        ...


class Scorer(Protocol):
    """The part of a head that says how good its answers are.

    Attributes:
        main_metric: that picks the checkpoint unless the settings name another.
        lower_is_better: names of the metrics that improve downward.
        judged: names of the metrics that `judge` gives.
    """

    lower_is_better: tuple[str, ...]
    judged: tuple[str, ...]

    @property
    def main_metric(self) -> str:
        """See above."""
        ...

    def metric_names(self) -> tuple[str, ...]:
        """The names that `metrics` may give."""
        ...

    def metrics(self, results: Results, store: TokenStore) -> dict[str, float]:
        """Over a whole split, every example once."""
        ...

    def per_label(self, results: Results, store: TokenStore) -> dict[str, dict[str, float]]:
        """precision, recall, f1 and support of each label, where there are labels."""
        ...

    def undefined_metrics(self, vocabulary: Vocabulary, store: TokenStore) -> dict[str, str]:
        """The metrics that a split cannot give, or that are the same for any model, and why."""
        ...

    def label_counts(self, vocabulary: Vocabulary, store: TokenStore) -> dict[str, int]:
        """How often each label occurs in a split, where there are labels."""
        ...

    def label_range(self, store: TokenStore) -> tuple[float, float, float] | None:
        """The lowest, mean and highest number of a split, where numbers are predicted."""
        ...

    def warnings(self, vocabulary: Vocabulary, splits: Mapping[str, TokenStore]) -> list[str]:
        """What a person should know of the encoded splits before training on them."""
        ...

    def decode(self, outputs: Results, row: int, example: Example | None = None) -> dict[str, Any]:
        """One of the answers as JSON, for --mode=predict."""
        ...

    def ambiguous(
        self, answers: Results, results: Tensors, columns: Tensors, tolerance: float
    ) -> dict[str, np.ndarray]:
        """Answer -> (B,) bool: where it may turn out otherwise although results agree so nearly."""
        ...

    def remark(self, answer: Mapping[str, Any]) -> str:
        """What a text has that its answer, as `decode` gives it, suffers from; "" where nothing."""
        ...

    def judge(
        self,
        backbone: Any,
        store: TokenStore,
        batch_size: int,
        on_batch: Callable[[int, int], None],
    ) -> dict[str, float]:
        """Metrics of a split that take more than evaluation's results, such as generated texts.

        Args:
            on_batch: called after each batch with (batches done, batches in all).
        """
        ...

    def calibrate(self, results: Results, store: TokenStore) -> dict[str, float]:
        """Chooses what validation decides, such as a threshold."""
        ...

    def load_calibration(self, values: Mapping[str, float]) -> None:
        """Takes over what an earlier `calibrate` chose."""
        ...


class Exchanges(Protocol):
    """The layers of a head in Hugging Face's format."""

    @property
    def no_huggingface(self) -> str | None:
        """Why that format has no place for the head as it is set, if so."""
        ...

    def load_tensors(self, checkpoint: TaskHead) -> CarriedOver:
        """Takes over the checkpoint's own layers."""
        ...

    def save_tensors(self) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        """The layers under Hugging Face's names, and what config.json says of them."""
        ...


class Head(Reader, Graph, Scorer, Exchanges, Protocol):
    """All that a run needs of a head."""


@runtime_checkable
class Generates(Protocol):
    """A head that writes texts."""

    def generate(self, backbone: Any, text: tf.Tensor) -> dict[str, tf.Tensor]:
        """(B,) string -> the texts that go on from them, in the graph."""
        ...

    def generate_many(
        self, backbone: Any, batch_size: int
    ) -> Callable[[Sequence[str]], dict[str, np.ndarray]]:
        """A function that does the same for many texts at once, for files."""
        ...

    def stream(self, backbone: Any, text: str, *, drawn: int) -> Iterator[str]:
        """The pieces of what follows a text, as they are written."""
        ...

    def prompt_tokens(self, text: tf.Tensor) -> Sequence[tf.Tensor]:
        """The tokens of (B,) prompts; the last item is (B,) int32, how many are cut off."""
        ...


class WritingHead(Head, Generates, Protocol):
    """A head that writes texts, whole."""
