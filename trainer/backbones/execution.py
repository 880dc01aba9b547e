"""How a backbone is run: which parts of it are compiled, and in how many lanes a batch is read.

A lane is a part of the batch's rows, which the cores of a CPU read side by side. Where cores share
each operation they meet after each, several hundred times in a step, and to wake one of them takes
as long as a small product. Lanes meet once, at the end.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable, Sequence
from typing import NamedTuple

import tensorflow as tf

from trainer.backbones.layers import Inputs, Outputs


@dataclasses.dataclass(frozen=True)
class Execution:
    """How a backbone is run. What it computes does not depend on it, but for rounding.

    Attributes:
        compile_parts: have XLA compile what is no matrix product, once for every shape.
        lanes: in how many a batch is read; a lane has no rows where the batch has fewer.
    """

    compile_parts: bool = False
    lanes: int = 1

    def run(
        self, read: Callable[[Lane], Outputs], inputs: Inputs, places: tf.Tensor | None
    ) -> Outputs:
        """What a backbone makes of a batch.

        Args:
            read: what it makes of some of its rows.
            inputs: of the backbone, (B, S) each.
            places: (M,) int32, the tokens to read among the B*S; None: all.
        """
        if self.lanes == 1:
            return read(Lane(inputs, places, None))
        batch, width = tf.unstack(tf.shape(inputs["token_ids"]))
        bounds = [batch * lane // self.lanes for lane in range(self.lanes + 1)]
        orders = []  # of each lane, which of the places are its own
        parts = []
        for first, end in itertools.pairwise(bounds):
            own_places = None
            if places is not None:
                is_own = (places >= first * width) & (places < end * width)
                order = tf.reshape(tf.where(is_own), [-1])
                own_places = tf.gather(places, order) - first * width
                orders.append(tf.cast(order, tf.int32))
            rows = {name: values[first:end] for name, values in inputs.items()}
            parts.append(read(Lane(rows, own_places, first)))
        return {name: _join(name, [part[name] for part in parts], orders) for name in parts[0]}


PLAIN = Execution()


class Lane(NamedTuple):
    """Some rows of a batch, one after the other.

    Attributes:
        inputs: of the backbone, for these rows.
        places: (M,) int32, the tokens to read among those of these rows; None: all.
        rows_before: () int32, how many rows of the batch stand before these; None: these are all.
    """

    inputs: Inputs
    places: tf.Tensor | None
    rows_before: tf.Tensor | None


def _join(
    name: str, parts: Sequence[tf.Tensor | list[tf.Tensor]], orders: list[tf.Tensor]
) -> tf.Tensor | list[tf.Tensor]:
    if isinstance(parts[0], list):
        return [tf.concat(of_lanes, 0) for of_lanes in zip(*parts, strict=True)]
    if name == "place_output":
        return tf.dynamic_stitch(orders, parts)
    return tf.concat(parts, 0)
