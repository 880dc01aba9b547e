"""How much text the first tokens of documents write, which nothing predicts."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from trainer.files.mapped import release
from trainer.heads._language_model.words import word_pattern

# at most in a character: behind so many more it is seen whether a word goes on
CHARACTER_TOKENS = 4
NO_TOKEN = -1


def first_sizes(
    token_ids: np.ndarray, starts: np.ndarray, ends: np.ndarray, token_bytes: Sequence[bytes]
) -> np.ndarray:
    """How many words end in the very first tokens of documents, and the bytes of these tokens.

    Args:
        token_ids: (tokens,) int32, of all documents.
        starts: (n,) where documents begin.
        ends: (n,) where they end.
        token_bytes: what each token writes.
    Returns:
        (2,) int64.
    """
    places = starts[:, None] + np.arange(1 + CHARACTER_TOKENS)
    is_inside = places < ends[:, None]
    last = len(token_ids) - 1
    tokens = token_ids[np.minimum(places, last)]
    release(token_ids)
    beginnings = np.where(is_inside, tokens, NO_TOKEN)
    beginnings, times = np.unique(beginnings, axis=0, return_counts=True)
    sizes = [_first_size(beginning, token_bytes) for beginning in beginnings.tolist()]
    return times @ np.array(sizes)


def _first_size(beginning: list[int], token_bytes: Sequence[bytes]) -> tuple[int, int]:
    """Of one document's first tokens, then NO_TOKEN."""
    first, *others = (_written(token, token_bytes) for token in beginning)
    first = first.lstrip(b" ")  # which may be the tokenizer's own
    content = b"".join([first, *others])
    text = content.decode("utf-8", "surrogateescape")
    words_inside = 0
    for word in word_pattern().finditer(text):
        up_to_its_end = text[: word.end()].encode("utf-8", "surrogateescape")
        words_inside += len(up_to_its_end) <= len(first)
    return words_inside, len(first)


def _written(token: int, token_bytes: Sequence[bytes]) -> bytes:
    return token_bytes[token] if 0 <= token < len(token_bytes) else b""
