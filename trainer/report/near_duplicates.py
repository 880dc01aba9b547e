"""Examples of validation and test that train has, but for a word or two.

A model may know such an answer by heart, so that it says little of other texts.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from trainer.data.store import TokenStore
from trainer.files.json_file import JsonObject

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

SHINGLE = 3  # neighbouring tokens
FACTOR = np.uint64(0x9E3779B97F4A7C15)  # odd, of a hash of 64 bits
FEWEST = 8  # shingles of a text: shorter ones are alike by chance
MOST_COMMON = 1000  # rows of train: a shingle of more says nothing, such as one of a pattern
LEAST = 0.7  # of the shingles of both: in a sentence of 20 tokens one may be another
MOST_TOKENS = 20_000_000  # of train; what follows is left out
AT_ONCE = 256  # rows
DIGITS = 4


class Shingles(NamedTuple):
    """The different shingles of some rows.

    Attributes:
        row: (N,) int64, ascending.
        hash: (N,) uint64.
        counts: (rows,) how many each has.
    """

    row: np.ndarray
    hash: np.ndarray
    counts: np.ndarray


def shingles_of(tokens: np.ndarray, row_splits: np.ndarray) -> Shingles:
    """The shingles of rows.

    Args:
        tokens: (T,) ids, of all rows one after the other.
        row_splits: (rows + 1,) where each begins.
    """
    lengths = np.diff(row_splits)
    row = np.repeat(np.arange(len(lengths)), lengths)
    last = max(len(tokens) - SHINGLE + 1, 0)
    hashes = np.zeros(last, np.uint64)
    with np.errstate(over="ignore"):
        for place in range(SHINGLE):
            of_place = tokens[place : last + place].astype(np.uint64) + np.uint64(1)
            hashes = (hashes ^ of_place) * FACTOR
            hashes ^= hashes >> np.uint64(29)
    is_whole = row[:last] == row[SHINGLE - 1 :]
    row, hashes = row[:last][is_whole], hashes[is_whole]
    order = np.lexsort((hashes, row))
    row, hashes = row[order], hashes[order]
    is_new = np.ones(len(row), bool)
    is_new[1:] = (row[1:] != row[:-1]) | (hashes[1:] != hashes[:-1])
    row, hashes = row[is_new], hashes[is_new]
    return Shingles(row, hashes, np.bincount(row, minlength=len(lengths)))


def nearest(shingles: Shingles, others: Shingles) -> tuple[np.ndarray, np.ndarray]:
    """Of each row the row among others that is most alike, and how much.

    Args:
        shingles, others: of the rows.
    Returns:
        (rows,) int64 which other row, and (rows,) float64 Jaccard's share of their shingles that
        both have; 0 of rows with fewer than FEWEST.
    Source: Broder 1997.
    """
    hashes, rows = np.unique(others.hash, return_counts=True)
    common = hashes[rows > MOST_COMMON]
    shingles, others = (_without(each, common) for each in (shingles, others))
    known = np.unique(shingles.hash)
    own = _matrix(shingles, known)
    transposed = _matrix(others, known).T.tocsr()
    row = np.zeros(len(shingles.counts), np.int64)
    similarity = np.zeros(len(shingles.counts))
    is_long = others.counts >= FEWEST
    for first in range(0, own.shape[0], AT_ONCE):
        shared = (own[first : first + AT_ONCE] @ transposed).tocoo()
        here = first + shared.row
        either = shingles.counts[here] + others.counts[shared.col] - shared.data
        share = np.where(is_long[shared.col], shared.data / np.maximum(either, 1), 0)
        order = np.argsort(share, kind="stable")  # so that the most alike is written last
        row[here[order]] = shared.col[order]
        similarity[here[order]] = share[order]
    similarity[shingles.counts < FEWEST] = 0
    return row, similarity


def _without(shingles: Shingles, common: np.ndarray) -> Shingles:
    """The shingles but for some."""
    is_kept = ~np.isin(shingles.hash, common)
    row = shingles.row[is_kept]
    counts = np.bincount(row, minlength=len(shingles.counts))
    return Shingles(row, shingles.hash[is_kept], counts)


def _matrix(shingles: Shingles, known: np.ndarray) -> csr_matrix:
    """(rows, known) of 0 and 1."""
    from scipy.sparse import csr_matrix

    column = np.searchsorted(known, shingles.hash)
    is_known = column < len(known)
    is_known[is_known] = known[column[is_known]] == shingles.hash[is_known]
    ones = np.ones(int(is_known.sum()), np.int32)
    places = (shingles.row[is_known], column[is_known])
    return csr_matrix((ones, places), shape=(len(shingles.counts), len(known)))


def near_duplicates(splits: Mapping[str, TokenStore]) -> JsonObject:
    """Of validation and test: the examples that train has, or nearly, most alike first.

    Args:
        splits: the encoded splits, train among them.
    """
    train = splits["train"]
    examples = int(np.searchsorted(train.row_splits, MOST_TOKENS, side="right")) - 1
    examples = max(1, min(examples, len(train)))
    of_train = _shingles(train, examples)
    found: JsonObject = {}
    for name, store in splits.items():
        if name == "train":
            continue
        row, similarity = nearest(_shingles(store, len(store)), of_train)
        is_near = similarity >= LEAST
        pairs: dict[int, JsonObject] = {}
        for place in np.argsort(-similarity, kind="stable")[: int(is_near.sum())].tolist():
            text = _text(store, place)
            pairs.setdefault(
                text,
                {
                    "id": text,
                    "train": train.origin(int(row[place])),
                    "similarity": round(float(similarity[place]), DIGITS),
                },
            )
        found[name] = {
            "train_examples": examples,
            "examples": _text(store, len(store) - 1) + 1,
            "pairs": list(pairs.values()),
        }
    return found


def _shingles(store: TokenStore, examples: int) -> Shingles:
    splits = np.asarray(store.row_splits[: examples + 1])
    return shingles_of(np.asarray(store.tokens["token_ids"][: splits[-1]]), splits)


def _text(store: TokenStore, row: int) -> int:
    """The number of the text that a row is of, or is a window of."""
    windows = store.columns.get("example")
    return row if windows is None else int(windows[row])
