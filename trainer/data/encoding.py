"""Runs a head's encoding on raw texts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple, TypeAlias

import numpy as np

from trainer.data.reader import Columns, Input, Reader, TokenColumns, Value
from trainer.lazy import tf

# (B,) tensors -> token columns, and counts of what was lost
EncodingGraph: TypeAlias = (
    "Callable[..., tuple[dict[str, tf.Tensor | tf.RaggedTensor], dict[str, tf.Tensor]]]"
)


class Encoded(NamedTuple):
    """Some examples as rows of tokens.

    Attributes:
        tokens: the token columns, flat, and the lengths of the rows.
        columns: of the rows, (rows, …) each.
        example: (rows,) int32, which of the B examples each row is of.
        lost: (B,) int32 counts of what was lost, by the ledger's kinds.
    """

    tokens: TokenColumns
    columns: Columns
    example: np.ndarray
    lost: dict[str, np.ndarray]


def encoder(head: Reader) -> EncodingGraph:
    """The head's encoding as a graph, which takes a (B,) tensor for each of its inputs."""
    return tf.function(head.encode, autograph=False, input_signature=input_specs(head.inputs))


def input_specs(inputs: Sequence[Input]) -> list[tf.TensorSpec]:
    """What a graph takes of B examples: (B,) each."""
    return [tf.TensorSpec([None], item.dtype, name=item.name) for item in inputs]


def input_tensors(inputs: Sequence[Input], examples: Sequence[Sequence[Value]]) -> list[tf.Tensor]:
    """The raw inputs of B examples as the graph takes them: (B,) each.

    A character that UTF-8 has no bytes for is written as "?".

    Args:
        inputs: what the graph takes.
        examples: of each example its values, in their order.
    """
    tensors = []
    for number, item in enumerate(inputs):
        column = [_encoded(values[number]) for values in examples]
        tensors.append(tf.constant(column, item.dtype, shape=[len(column)]))
    return tensors


def _encoded(value: Value) -> bytes | int | float:
    if isinstance(value, str):
        return value.encode("utf-8", "replace")
    return value


def encode_batch(
    graph: EncodingGraph, inputs: Sequence[Input], examples: Sequence[Sequence[Value]]
) -> Encoded:
    """Encodes a batch of examples.

    Args:
        graph: of the head's encoding.
        inputs: what it takes.
        examples: (B,) the raw values of each.
    """
    tensors = input_tensors(inputs, examples)
    columns, counts = graph(*tensors)
    example = np.arange(len(examples), dtype=np.int32)
    if "example" in columns:
        example = columns.pop("example").numpy()
    tokens: TokenColumns = {}
    of_rows: Columns = {}
    for name, column in columns.items():
        if isinstance(column, tf.RaggedTensor):
            row_lengths = column.row_lengths().numpy()
            tokens[name] = (column.flat_values.numpy(), row_lengths)
        else:
            of_rows[name] = column.numpy()
    lost = {kind: count.numpy() for kind, count in counts.items()}
    return Encoded(tokens, of_rows, example, lost)
