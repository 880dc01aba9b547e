"""Runs a head's encoding on raw texts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from trainer.data.reader import Reader, TokenColumns

# (B,) string tensors -> token columns, and counts of what was lost
EncodingGraph = Callable[..., tuple[dict[str, tf.Tensor | tf.RaggedTensor], dict[str, tf.Tensor]]]


class Encoded(NamedTuple):
    """Some texts as rows of tokens.

    Attributes:
        tokens: the token columns, flat, and the lengths of the rows.
        example: (rows,) int32, which of the B examples each row is of.
        lost: (B,) int32 counts of what was lost, by the ledger's kinds.
    """

    tokens: TokenColumns
    example: np.ndarray
    lost: dict[str, np.ndarray]


def encoder(head: Reader) -> EncodingGraph:
    """The head's encoding as a graph, which takes a (B,) string tensor for each of its texts."""
    texts = [tf.TensorSpec([None], tf.string)] * len(head.text_names)
    return tf.function(head.encode, autograph=False, input_signature=texts)


def encode_batch(graph: EncodingGraph, texts: Sequence[Sequence[str]]) -> Encoded:
    """Encodes a batch of examples.

    Args:
        texts: for each of the head's inputs the texts of the B examples.
    """
    inputs = [tf.constant([text.encode("utf-8", "replace") for text in column]) for column in texts]
    columns, counts = graph(*inputs)
    example = columns.pop("example", None)
    tokens = {
        name: (ragged.flat_values.numpy(), ragged.row_lengths().numpy())
        for name, ragged in columns.items()
    }
    return Encoded(
        tokens,
        np.arange(len(texts[0]), dtype=np.int32) if example is None else example.numpy(),
        {kind: count.numpy() for kind, count in counts.items()},
    )
