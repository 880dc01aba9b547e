"""Answers that do not depend on what is asked along with them, to the last bit.

In a batch rows are padded to the longest, and a processor sums in another order for another number
of rows: an answer differs in its last digits by what else is asked. So each text is answered on its
own, which takes as long as so many requests.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import tensorflow as tf

Answers = dict[str, tf.Tensor]


def one_by_one(
    answer: Callable[..., Answers], inputs: Sequence[tf.TensorSpec]
) -> Callable[..., Answers]:
    """The same answers, each made on its own.

    Args:
        answer: takes (B,) raw inputs and gives (B, …) each; lists are filled up with -1 or "".
        inputs: what it takes.
    """

    def answers(*raw: tf.Tensor) -> Answers:
        traced = tf.function(answer, autograph=False, input_signature=list(inputs))
        specs = traced.get_concrete_function().structured_outputs
        count = tf.shape(raw[0])[0]

        def has_more(index: tf.Tensor, *_: object) -> tf.Tensor:
            # At least once, so that no texts give empty answers of the right shape.
            return (index < count) | (index == 0)

        def add(
            index: tf.Tensor, parts: Sequence[tf.TensorArray], sizes: Sequence[tf.Tensor]
        ) -> tuple[tf.Tensor, list[tf.TensorArray], list[tf.Tensor]]:
            own = traced(*(values[index : index + 1] for values in raw))
            longer = []
            larger = []
            for name, part, size in zip(specs, parts, sizes, strict=True):
                longer.append(part.write(index, own[name]))
                larger.append(tf.maximum(size, tf.shape(own[name])[1:]))
            return index + 1, longer, larger

        parts = [_growing_array(spec.dtype) for spec in specs.values()]
        sizes = [tf.zeros([len(spec.shape) - 1], tf.int32) for spec in specs.values()]
        _, parts, sizes = tf.while_loop(
            has_more, add, (tf.constant(0), parts, sizes), parallel_iterations=1
        )
        return {
            name: _joined(part, spec, size, count)
            for (name, spec), part, size in zip(specs.items(), parts, sizes, strict=True)
        }

    return answers


def _growing_array(dtype: tf.DType) -> tf.TensorArray:
    return tf.TensorArray(
        dtype, size=1, dynamic_size=True, infer_shape=False, clear_after_read=False
    )


def _joined(
    parts: tf.TensorArray, spec: tf.TensorSpec, size: tf.Tensor, count: tf.Tensor
) -> tf.Tensor:
    """The answers of all texts, (B, …), lists as long as the longest.

    Args:
        parts: (1, …) of each text; the only one is (0, …) where there are no texts.
        spec: of a part.
        size: of the longest lists.
        count: B.
    """
    fill = "" if spec.dtype == tf.string else -1

    def add(index: tf.Tensor, filled: tf.TensorArray) -> tuple[tf.Tensor, tf.TensorArray]:
        part = tf.ensure_shape(parts.read(index), [None] * len(spec.shape))
        missing = size - tf.shape(part)[1:]
        behind = tf.pad(missing, [[1, 0]])  # none of the texts themselves
        before = tf.zeros_like(behind)
        paddings = tf.stack([before, behind], 1)
        part = tf.pad(part, paddings, constant_values=fill)
        return index + 1, filled.write(index, part)

    _, filled = tf.while_loop(
        lambda index, _: (index < count) | (index == 0),
        add,
        (tf.constant(0), _growing_array(spec.dtype)),
        parallel_iterations=1,
    )
    return tf.ensure_shape(filled.concat(), [None, *spec.shape[1:]])
