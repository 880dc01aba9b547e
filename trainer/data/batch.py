"""One batch as a model sees it: the same object from the training pipeline and from the server."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

from trainer.lazy import tf

ROWS = (
    "token_ids",
    "segment_ids",
    "position_ids",
    "sequence_ids",
    "padding_mask",
    "word_vectors",
)
EXAMPLES = {
    "example_row": "row",
    "example_start": "start",
    "example_length": "length",
    "sample_weight": "weight",
}
PREDICTED = {
    "scored": "place",
    "scored_target": "target",
    "scored_example": "example",
    "scored_weight": "weight",
}


@dataclasses.dataclass(frozen=True)
class Rows:
    """The rows of tokens, as the backbone takes them: R rows of L tokens.

    Attributes:
        token_ids: (R, L) int32.
        segment_ids: (R, L) int32, 1 in the second text of a pair; None: all 0.
        position_ids: (R, L) int32, within the example; None: each row begins with its example.
        sequence_ids: (R, L) int32, 1, 2, … for the examples of a row, 0 is padding; None: each row
            has one example, and `padding_mask` says where it ends.
        padding_mask: (R, L), 1 or true at tokens, 0 at padding; None where there is no padding, or
            where `sequence_ids` says it.
        word_vectors: (R, L, E) float32, in place of the embeddings of token_ids, where what they
            add to an answer is asked; else None.
    """

    token_ids: tf.Tensor
    segment_ids: tf.Tensor | None = None
    position_ids: tf.Tensor | None = None
    sequence_ids: tf.Tensor | None = None
    padding_mask: tf.Tensor | None = None
    word_vectors: tf.Tensor | None = None

    def as_inputs(self) -> dict[str, tf.Tensor]:
        """The tensors that there are, by name."""
        inputs = {}
        for name in ROWS:
            tensor = getattr(self, name)
            if tensor is not None:
                inputs[name] = tensor
        return inputs


@dataclasses.dataclass(frozen=True)
class Examples:
    """Where the E examples of the rows stand.

    Attributes:
        row: (E,) int32, the row of each.
        start: (E,) int32, its first token within the row.
        length: (E,) int32, its tokens.
        weight: (E,) float32, 0 where a place is empty; None where nothing is learnt or scored.
    """

    row: tf.Tensor
    start: tf.Tensor
    length: tf.Tensor
    weight: tf.Tensor | None = None


@dataclasses.dataclass(frozen=True)
class Predicted:
    """The M places at which a language model predicts a token; some fill up.

    Attributes:
        place: (M,) int32, among the R * L tokens of the rows.
        target: (M,) int32, the token to predict; None where it is not known, as in serving.
        example: (M,) int32, the example of each; None likewise.
        weight: (M,) float32, 0 where a place fills up; None likewise.
    """

    place: tf.Tensor
    target: tf.Tensor | None = None
    example: tf.Tensor | None = None
    weight: tf.Tensor | None = None


@dataclasses.dataclass(frozen=True)
class Batch:
    """What one replica computes at a time.

    Attributes:
        rows: of tokens.
        examples: where they stand in the rows.
        label: the head's labels, a row an example or a token; None where there are none.
        predicted: the places of a language model; None for other heads.
        own: further columns of the head, (R, L) int32 a token or (E, …) an example.
    """

    rows: Rows
    examples: Examples
    label: tf.Tensor | None
    predicted: Predicted | None
    own: Mapping[str, tf.Tensor]

    @classmethod
    def of(cls, columns: Mapping[str, tf.Tensor]) -> Batch:
        """Sorts what the pipeline or the server has made into its places.

        Args:
            columns: by the names that `trainer.data.pipeline.fill` gives them, of one shard.
        """
        known = {"label", *ROWS, *EXAMPLES, *PREDICTED}
        rows = _present(columns, {name: name for name in ROWS})
        examples = _present(columns, EXAMPLES)
        predicted = _present(columns, PREDICTED)
        own = {}
        for name, column in columns.items():
            if name not in known:
                own[name] = column
        return cls(
            rows=Rows(**rows),
            examples=Examples(**examples),
            label=columns.get("label"),
            predicted=Predicted(**predicted) if predicted else None,
            own=own,
        )

    @classmethod
    def one_a_row(cls, columns: Mapping[str, tf.Tensor]) -> Batch:
        """Of rows that each have one example, from their first token on.

        Args:
            columns: token columns, (R, L) each, padded; without `padding_mask` nothing is padding.
        """
        token_ids = columns["token_ids"]
        mask = columns.get("padding_mask")
        shape = tf.shape(token_ids)
        rows = tf.range(shape[0])
        lengths = tf.ones_like(rows) * shape[1]
        if mask is not None:
            lengths = tf.reduce_sum(tf.cast(mask, tf.int32), axis=1)
        places = {
            "example_row": rows,
            "example_start": tf.zeros_like(rows),
            "example_length": lengths,
        }
        return cls.of({**places, **columns})


def padded(columns: Mapping[str, tf.Tensor | tf.RaggedTensor]) -> dict[str, tf.Tensor]:
    """The columns of `Reader.encode` as a batch's: filled up with 0, and a `padding_mask`."""
    dense = {
        name: column.to_tensor() if isinstance(column, tf.RaggedTensor) else column
        for name, column in columns.items()
    }
    dense["padding_mask"] = tf.ones_like(columns["token_ids"]).to_tensor()
    return dense


def _present(
    columns: Mapping[str, tf.Tensor], attributes: Mapping[str, str]
) -> dict[str, tf.Tensor]:
    """The columns that there are, by the names of the attributes that they become."""
    present = {}
    for name, attribute in attributes.items():
        if name in columns:
            present[attribute] = columns[name]
    return present
