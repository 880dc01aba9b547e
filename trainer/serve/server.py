"""The graph from raw strings to answers: what a SavedModel serves, and what predict asks."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence

import tensorflow as tf

from trainer.data.batch import Batch, padded
from trainer.data.encoding import input_specs
from trainer.data.reader import Reader, RowKind
from trainer.heads.contract import Generates, Graph, Head, Tensors
from trainer.run.model import Model
from trainer.serve.one_by_one import one_by_one

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


def make_server(model: Model, head: Head, *, batch_invariant: bool = False) -> Server:
    """Compiles nothing yet: a function is traced when it is first called or saved.

    Args:
        model: that answers.
        head: of the model.
        batch_invariant: whether each text is answered on its own, see `one_by_one`.
    """
    answering = _Answering(model, model.graph, head.reader)
    tokens = []
    for name, of_tokens in answering.inputs.items():
        shape = [None, None] if of_tokens else [None]
        tokens.append(tf.TensorSpec(shape, tf.int32, name=name))
    generate = None
    if isinstance(model.graph, Generates):
        text = tf.TensorSpec([None], tf.string, name="text")
        generate = _function(answering.generate, [text], apart=batch_invariant)
    raw = input_specs(head.reader.inputs)
    return Server(
        texts=_function(answering.texts, raw, apart=batch_invariant),
        token_ids=_function(answering.token_ids, tokens),
        generate=generate,
        weights=dict(model.weights),
    )


def _function(
    call: Callable[..., dict[str, tf.Tensor]],
    inputs: Sequence[tf.TensorSpec],
    *,
    apart: bool = False,
) -> Callable[..., dict[str, tf.Tensor]]:
    if apart:
        call = one_by_one(call, inputs)
    return tf.function(call, autograph=False, input_signature=inputs)


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
        if self.reader.rows is RowKind.ONE:
            results = self._results_of_rows(taken)
        else:
            results = _in_parts(self._results_of_rows, taken)
        token_ids = columns["token_ids"]
        by_row = {}
        for name, result in results.items():
            if name in self.graph.per_token:
                result = token_ids.with_values(result)
            by_row[name] = result
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
        lengths = token_ids.row_lengths()
        results = {}
        for name, result in self._results(padded(columns)).items():
            if name in self.graph.per_token:
                result = tf.RaggedTensor.from_tensor(result, lengths=lengths).values
            results[name] = result
        return results

    def _results(self, tokens: Tensors) -> dict[str, tf.Tensor]:
        """The results of (B, S) tokens, an example a row."""
        batch = Batch.one_a_row(tokens)
        return self.model.results(self.graph.served(batch))


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
