"""What a tagger's answers are sums of, for who asks why they were given."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from trainer.heads.contract import Target, Tensors
from trainer.heads.token_classification.entities import Entity
from trainer.heads.token_classification.word_kinds import NO_WORD
from trainer.lazy import tf


def targets_of(
    entities: Sequence[Entity], tags: tf.RaggedTensor, columns: Tensors, shape: Sequence[int]
) -> Iterator[Target]:
    """Of each span the mean score of the tags of its words.

    Args:
        entities: the spans of one text.
        tags: (U, None) int32, of the tokens of its rows.
        columns: of the rows, as the reader encodes them.
        shape: of a row's logits, (L, C).
    """
    words = columns["words"]
    row = words.value_rowids().numpy()
    start, owned = (columns[name].values.numpy() for name in ("start", "owned"))
    is_answered = (words.values.numpy() != NO_WORD) & (owned > 0)
    row_starts = words.row_starts().numpy()
    for entity in entities:
        first, end = entity["start"], entity["end"]
        tokens = np.flatnonzero(is_answered & (start >= first) & (start < end))
        here = int(row[tokens[0]])
        tokens = tokens[row[tokens] == here]  # of a span over two windows its first part
        places = tokens - row_starts[here]
        weights = np.zeros(shape, np.float32)
        weights[places, tags.values.numpy()[tokens]] = 1 / len(tokens)
        yield Target(entity["type"], here, first, end, int(places[0]), weights)
