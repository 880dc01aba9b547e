"""The stored results of a split, a block of whole questions at a time, as a server has them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from trainer.data.store import TokenStore
from trainer.heads._stored_results import blocks_of_texts, stored_columns, stored_results
from trainer.heads.contract import Results, Tensors
from trainer.heads.question_answering.records import read_records
from trainer.lazy import tf


class Block(NamedTuple):
    """Some questions, B, with all their windows, U.

    Attributes:
        results: of the windows.
        columns: of the windows, as `Reader.encode` made them.
        contexts: (B,) string.
        golds: the gold answers of each question.
    """

    results: Tensors
    columns: Tensors
    contexts: tf.Tensor
    golds: Sequence[Sequence[str]]


def read_blocks(results: Results, store: TokenStore) -> Iterator[Block]:
    """All questions of a split, each once.

    Args:
        results: of all windows, in the store's order.
        store: the split.
    """
    for questions, windows in blocks_of_texts(store):
        records = read_records(store, questions)
        contexts = [_as_served(record.context) for record in records]
        yield Block(
            stored_results(results, store, windows, per_token=()),
            stored_columns(store, windows, questions.start),
            tf.constant([context.encode() for context in contexts]),
            [[_as_served(answer) for answer in record.answers] for record in records],
        )


def have_unanswerable(store: TokenStore) -> bool:
    """Whether a question of the split has no answer."""
    for questions, _ in blocks_of_texts(store):
        if not all(record.answers for record in read_records(store, questions)):
            return True
    return False


def _as_served(text: str) -> str:
    """With "?" in place of a character that UTF-8 has no bytes for, as a server is asked."""
    return text.encode("utf-8", "replace").decode()
