"""The stored results of a split, a block of whole questions at a time, as a server has them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from trainer.data.store import TokenStore
from trainer.heads._stored_results import blocks_of_texts, stored_columns, stored_results
from trainer.heads.contract import Results, Tensors
from trainer.heads.question_answering.gold_answers import read_answers
from trainer.lazy import tf


class Block(NamedTuple):
    """Some questions, B, with all their windows, U.

    Attributes:
        results: of the windows.
        columns: of the windows, as `Reader.encode` made them.
        contexts: (B,) string.
        golds: the gold answers of each question.
        losses: of each question the mean over the windows that can be learnt from, if any.
    """

    results: Tensors
    columns: Tensors
    contexts: tf.Tensor
    golds: Sequence[Sequence[str]]
    losses: Sequence[float | None]


def read_blocks(results: Results, store: TokenStore) -> Iterator[Block]:
    """All questions of a split, each once.

    Args:
        results: of all windows, in the store's order.
        store: the split.
    """
    for questions, windows in blocks_of_texts(store):
        contexts = [_as_served(str(context)) for _, context in store.inputs(questions)]
        golds = read_answers(store, questions)
        yield Block(
            stored_results(results, store, windows, per_token=()),
            stored_columns(store, windows, questions.start),
            tf.constant([context.encode() for context in contexts]),
            [list(map(_as_served, answers)) for answers in golds],
            _losses(results, store, questions),
        )


def _losses(results: Results, store: TokenStore, questions: range) -> list[float | None]:
    losses: list[float | None] = []
    for question in questions:
        windows = slice(store.rows_of(question), store.rows_of(question + 1))
        is_learnt = store.columns["label"][windows, 0] >= 0
        of_windows = results["loss"][windows][is_learnt]
        losses.append(float(of_windows.mean(dtype=np.float64)) if len(of_windows) else None)
    return losses


def have_unanswerable(store: TokenStore) -> bool:
    """Whether a question of the split has no answer."""
    return any(not all(read_answers(store, questions)) for questions, _ in blocks_of_texts(store))


def _as_served(text: str) -> str:
    """With "?" in place of a character that UTF-8 has no bytes for, as a server is asked."""
    return text.encode("utf-8", "replace").decode()
