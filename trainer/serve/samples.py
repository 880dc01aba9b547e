"""What serving asks of a head; trainer/heads/contract.py says what each part is for."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Protocol

import numpy as np

from trainer.data.batch import Batch
from trainer.data.reader import RowKind
from trainer.lazy import tf
from trainer.sources import Example
from trainer.text.tokenizer import Tokenizer

Tensors = Mapping[str, tf.Tensor]
Arrays = Mapping[str, np.ndarray]
Sample = Mapping[str, str]  # the raw texts of an example, by the names of the signature's inputs


class ServedHead(Protocol):
    """A head, as far as a SavedModel, its proof and predict need it."""

    vocabulary: Mapping[str, object]
    tokenizer: Tokenizer
    text_names: Sequence[str]
    more_inputs: Sequence[str]
    per_token: Sequence[str]
    rows: RowKind
    evaluated_as_served: bool

    def encode(self, *texts: tf.Tensor) -> tuple[dict[str, tf.Tensor], object]:
        """Token columns of raw texts, (B,) string each."""

    def served(self, batch: Batch) -> Batch:
        """A batch of one example a row, with what evaluation's batches have besides."""

    def answers(
        self, results: Tensors, columns: Tensors, texts: Sequence[tf.Tensor]
    ) -> dict[str, tf.Tensor]:
        """The answers to texts, of the results of their tokens."""

    def token_answers(self, results: Tensors) -> dict[str, tf.Tensor]:
        """The answers to token ids."""

    def generate(self, backbone: object, text: tf.Tensor) -> dict[str, tf.Tensor]:
        """What follows (B,) texts."""

    def generate_many(
        self, backbone: object, batch_size: int
    ) -> Callable[[list[str]], dict[str, np.ndarray]]:
        """`generate` for many texts, which end at different times."""

    def stream(self, backbone: object, text: str, *, drawn: int) -> Iterator[str]:
        """The pieces of what follows a text, as they are written."""

    def prompt_tokens(self, text: tf.Tensor) -> Sequence[tf.Tensor]:
        """The tokens of (B,) prompts; the last item is (B,) int32, how many are cut off."""

    def ambiguous(
        self, answers: Arrays, results: Tensors, columns: Tensors, tolerance: float
    ) -> dict[str, np.ndarray]:
        """Answer -> (B,) bool, where it may turn out otherwise within the tolerance."""

    def proof_samples(self, samples: Sequence[Sample]) -> Sequence[Sample]:
        """The raw texts that prove an export, where they are not evaluation's."""

    def decode(self, outputs: Arrays, row: int, example: Example) -> dict[str, object]:
        """One answer as JSON."""

    def remark(self, answer: Mapping[str, object]) -> str:
        """What a text has that its answer suffers from; "" where nothing."""

    def save_tensors(self) -> tuple[dict[str, np.ndarray], dict[str, object]]:
        """The head's layers in Hugging Face's format, and what config.json says of them."""


def text_inputs(names: Sequence[str], samples: Sequence[Sample]) -> list[tf.Tensor]:
    """The texts of some samples as inputs of the graph.

    Args:
        names: of the inputs.
        samples: (B,) raw texts by these names.
    Returns:
        (B,) string a name; a character that UTF-8 has no bytes for is written as "?".
    """
    return [
        tf.constant([sample[name].encode("utf-8", "replace") for sample in samples])
        for name in names
    ]
