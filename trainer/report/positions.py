"""How the loss of a language model falls the more of a row it has read."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from trainer.data.batch import Batch
from trainer.data.reader import TARGET
from trainer.data.store import TokenStore
from trainer.files.json_file import JsonObject
from trainer.heads._language_model import projection
from trainer.heads._language_model.prediction import Projection
from trainer.lazy import tf
from trainer.report.rows import batches_by_length, filled_up, spread
from trainer.run.model import Model

MOST_ROWS = 200
BATCH = 8  # rows at once


def loss_by_position(model: Model, store: TokenStore) -> JsonObject:
    """The mean loss of a token by how many stand before it, in steps that double.

    Args:
        model: of which tokens see those before.
        store: the split.
    """
    losses_of = tf.function(_losses, autograph=False, reduce_retracing=True)
    before: list[np.ndarray] = []
    losses: list[np.ndarray] = []
    for columns, tokens_before in _batches(store):
        before.append(tokens_before)
        losses.append(losses_of(model, columns).numpy())
    count, loss = np.concatenate(before), np.concatenate(losses).astype(np.float64)
    edges = [0, *(2**power for power in range(int(count.max(initial=0)).bit_length()))]
    return {"positions": list(_bins(count, loss, edges))}


def _bins(before: np.ndarray, loss: np.ndarray, edges: list[int]) -> Iterator[JsonObject]:
    number = np.searchsorted(edges, before, side="right") - 1
    for place, start in enumerate(edges):
        inside = loss[number == place]
        if len(inside):
            end = edges[place + 1] - 1 if place + 1 < len(edges) else int(before.max())
            yield {"from": start, "to": end, "tokens": len(inside), "loss": float(inside.mean())}


def _losses(model: Model, columns: dict[str, tf.Tensor]) -> tf.Tensor:
    """(M,) float32, of the predicted tokens."""
    batch = Batch.one_a_row(columns)
    logits: Projection = model.logits(batch)
    return projection.losses_and_hits(*logits, columns["scored_target"])[0]


def _batches(store: TokenStore) -> Iterator[tuple[dict[str, tf.Tensor], np.ndarray]]:
    """Rows as a batch's columns, and of each predicted token how many stand before it."""
    for rows in batches_by_length(store, spread(MOST_ROWS, len(store)), BATCH):
        columns = filled_up(store, rows, ("token_ids", TARGET))
        target = columns.pop(TARGET)
        row, position = np.nonzero(target)
        columns |= {
            "scored": row * target.shape[1] + position,
            "scored_target": target[row, position] - 1,
            "scored_example": row,
            "scored_weight": np.ones(len(row), np.float32),
        }
        dense = {
            name: tf.constant(column, tf.float32 if name == "scored_weight" else tf.int32)
            for name, column in columns.items()
        }
        yield dense, position + 1
