"""The graph from raw strings to answers: what a SavedModel serves, and what predict asks."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import tensorflow as tf

from trainer.data.batch import Batch
from trainer.data.encoding import input_specs
from trainer.data.reader import Reader, RowKind
from trainer.heads.contract import Generates, Graph, Head, Tensors
from trainer.run.model import Model

ROWS_AT_ONCE = 64  # of long texts, whose activations need not fit in memory together


@dataclasses.dataclass(frozen=True)
class Server:
    """The compiled functions that answer; each is a signature of the SavedModel.

    Attributes:
        texts: `serving_default`, takes the head's raw inputs, (B,) each.
        token_ids: takes token_ids (B, S) int32, 0 being padding told apart by padding_mask (B, S)
            int32, and what else the head takes of each token or of each row.
        generate: takes a text, (B,) string; None where the head does not generate.
        weights: the model's, as plain variables: a SavedModel must not name Keras.
    """

    texts: Callable[..., dict[str, tf.Tensor]]
    token_ids: Callable[..., dict[str, tf.Tensor]]
    generate: Callable[[tf.Tensor], dict[str, tf.Tensor]] | None
    weights: dict[str, tf.Variable]

    def signatures(self) -> dict[str, Callable[..., dict[str, tf.Tensor]]]:
        """The functions by the names of their signatures."""
        functions = {"serving_default": self.texts, "token_ids": self.token_ids}
        if self.generate is not None:
            functions["generate"] = self.generate
        return functions

    def as_module(self) -> tf.Module:
        """What TensorFlow saves: the functions, and the weights that they read."""
        module = tf.Module(name="server")
        module.weights = self.weights
        module.texts = self.texts
        module.token_ids = self.token_ids
        module.entries = self.signatures()
        return module


def make_server(model: Model, head: Head) -> Server:
    """Compiles nothing yet: a function is traced when it is first called or saved."""
    answering = _Answering(model, model.graph, head.reader)
    texts = input_specs(head.reader.inputs)
    tokens = [
        tf.TensorSpec([None, None] if of_tokens else [None], tf.int32, name=name)
        for name, of_tokens in answering.inputs.items()
    ]
    text = [tf.TensorSpec([None], tf.string, name="text")]
    return Server(
        texts=tf.function(answering.texts, autograph=False, input_signature=texts),
        token_ids=tf.function(answering.token_ids, autograph=False, input_signature=tokens),
        generate=(
            tf.function(answering.generate, autograph=False, input_signature=text)
            if isinstance(model.graph, Generates)
            else None
        ),
        weights=dict(model.weights),
    )


@dataclasses.dataclass(frozen=True)
class _Answering:
    """A model as functions of raw inputs and of tokens."""

    model: Model
    graph: Graph
    reader: Reader

    @property
    def inputs(self) -> dict[str, bool]:
        """The columns that the model takes, and whether each has a value a token."""
        served = {
            column.name: column.per_token
            for column in self.reader.columns
            if column.fed and column.encoded
        }
        return {"token_ids": True, "padding_mask": True, **served}

    def texts(self, *raw: tf.Tensor) -> dict[str, tf.Tensor]:
        """The answers to (B,) raw inputs, which may go through several rows each."""
        columns, _ = self.reader.encode(*raw)
        taken = {name: columns[name] for name in self.inputs if name in columns}
        results = (
            _in_parts(self._results_of_rows, taken)
            if self.reader.rows is not RowKind.ONE
            else self._results_of_rows(taken)
        )
        by_row = {
            name: (
                columns["token_ids"].with_values(values) if name in self.graph.per_token else values
            )
            for name, values in results.items()
        }
        return self.graph.answers(by_row, columns, raw)

    def token_ids(self, *tokens: tf.Tensor) -> dict[str, tf.Tensor]:
        """The answers to rows of token ids, (B, S) int32 each of `inputs`."""
        batch = dict(zip(self.inputs, tokens, strict=True))
        return self.graph.token_answers(self._results(batch))

    def generate(self, text: tf.Tensor) -> dict[str, tf.Tensor]:
        """What follows (B,) texts."""
        assert isinstance(self.graph, Generates)  # else there is no such signature
        return self.graph.generate(text)

    def _results_of_rows(self, columns: Tensors) -> dict[str, tf.Tensor]:
        """The results of ragged rows; those of tokens one after the other."""
        token_ids = columns["token_ids"]
        batch = {
            name: values.to_tensor() if isinstance(values, tf.RaggedTensor) else values
            for name, values in columns.items()
        }
        batch["padding_mask"] = tf.ones_like(token_ids).to_tensor()
        lengths = token_ids.row_lengths()
        return {
            name: (
                tf.RaggedTensor.from_tensor(values, lengths=lengths).values
                if name in self.graph.per_token
                else values
            )
            for name, values in self._results(batch).items()
        }

    def _results(self, tokens: Tensors) -> dict[str, tf.Tensor]:
        """The results of (B, S) tokens, an example a row."""
        return self.model.results(self.graph.served(Batch.one_a_row(tokens)))


def _in_parts(
    call: Callable[[Tensors], dict[str, tf.Tensor]], columns: Tensors
) -> dict[str, tf.Tensor]:
    """What `call` returns of all rows, made of ROWS_AT_ONCE rows at a time.

    Args:
        call: of ragged columns of some rows.
        columns: of all rows.
    """
    count = columns["token_ids"].nrows(out_type=tf.int32)
    traced = tf.function(call)  # once, for the shapes of its results and for the loop
    specs = traced.get_concrete_function(dict(columns)).structured_outputs

    def has_more(start: tf.Tensor, *_: tf.TensorArray) -> tf.Tensor:
        # At least once, so that no rows give empty results of the right shape.
        return (start < count) | (start == 0)

    def add_part(start: tf.Tensor, *parts: tf.TensorArray) -> tuple[tf.Tensor, ...]:
        end = start + ROWS_AT_ONCE
        rows = {}
        for name, values in columns.items():
            rows[name] = values[start:end]
        results = traced(rows)
        number = start // ROWS_AT_ONCE
        longer = []
        for part, name in zip(parts, specs, strict=True):
            longer.append(part.write(number, results[name]))
        return end, *longer

    empty = [_growing_array(spec) for spec in specs.values()]
    _, *parts = tf.while_loop(
        has_more,
        add_part,
        (tf.constant(0), *empty),
        parallel_iterations=1,
    )
    joined = (part.concat() for part in parts)
    return dict(zip(specs, joined, strict=True))


def _growing_array(spec: tf.TensorSpec) -> tf.TensorArray:
    return tf.TensorArray(
        spec.dtype,
        size=1,
        dynamic_size=True,
        infer_shape=False,
        element_shape=spec.shape,
    )
