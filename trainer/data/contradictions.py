"""Equal texts with different labels: what no model can learn, or get right."""

from __future__ import annotations

import hashlib
import pathlib

import numpy as np

from trainer.data.duplicates import Found, by_hash
from trainer.files.mapped import blocks, release
from trainer.files.spool import Numbers

SPREAD = np.uint64(0x9E3779B97F4A7C15)  # odd, so that no two hashes become one


def contradictions(hashes: Numbers, labels: np.ndarray, folder: pathlib.Path) -> Found:
    """Of a split: the rows whose text another row has with another label.

    Args:
        hashes: (n,) uint64, of the texts.
        labels: (n,) numbers, see `label_keys`.
        folder: on the disk where large columns are parted.
    """
    found = Found()
    for (rows,) in by_hash([hashes], folder):
        numbers = rows["row"]
        contradicted = contradicting(rows["hash"], labels[numbers])
        found.add(numbers[contradicted])
        release(labels)
    return found


def contradictions_of_train(
    hashes: Numbers,
    labels: np.ndarray,
    train_hashes: Numbers,
    train_labels: np.ndarray,
    folder: pathlib.Path,
) -> Found:
    """Of a split: the rows whose text train has, always with another label than here.

    Args:
        hashes, train_hashes: (n,) and (m,) uint64, of the texts.
        labels, train_labels: (n,) and (m,) uint64, numbers of the labels.
        folder: on the disk where large columns are parted.
    """
    found = Found()
    for rows, train_rows in by_hash([hashes, train_hashes], folder):
        numbers = rows["row"]
        contradicted = contradicting_train(
            rows["hash"],
            labels[numbers],
            train_rows["hash"],
            train_labels[train_rows["row"]],
        )
        found.add(numbers[contradicted])
        release(labels)
        release(train_labels)
    return found


def label_keys(labels: np.ndarray, keys: Numbers) -> np.ndarray:
    """(n,) numbers that are the same where labels are.

    Args:
        labels: (n,) numbers, which are their own keys, or (n, C) for several labels.
        keys: takes (n,) uint64, hashes of several labels.
    """
    if labels.ndim == 1:
        return labels
    for block in blocks(labels):
        for packed in np.packbits(block > 0, axis=1):
            digest = hashlib.blake2b(packed.tobytes(), digest_size=8).digest()
            keys.append(int.from_bytes(digest, "little"))
    return keys.mapped()


def contradicting(hashes: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """The examples whose text stands in the same split with another label, in their order.

    Args:
        hashes: (n,) uint64, of the texts.
        labels: (n,) numbers.
    """
    _, numbers = np.unique(labels, return_inverse=True)
    if not len(numbers):
        return np.zeros(0, np.int64)
    _, group = np.unique(hashes, return_inverse=True)
    lowest, highest = _extremes(group, numbers)
    contradicts = lowest != highest
    return np.flatnonzero(contradicts[group])


def contradicting_train(
    hashes: np.ndarray, labels: np.ndarray, train_hashes: np.ndarray, train_labels: np.ndarray
) -> np.ndarray:
    """The examples whose text stands in train, always with another label than here.

    Args:
        hashes, labels: of the split, as for `contradicting`.
        train_hashes, train_labels: of train.
    """
    all_labels = np.concatenate([train_labels, labels])
    _, numbers = np.unique(all_labels, return_inverse=True)
    train_numbers, own_numbers = np.split(numbers, [len(train_labels)])
    of_train = np.isin(hashes, train_hashes)
    agrees = np.isin(
        _paired(hashes, own_numbers),
        _paired(train_hashes, train_numbers),
    )
    return np.flatnonzero(of_train & ~agrees)


def _paired(hashes: np.ndarray, numbers: np.ndarray) -> np.ndarray:
    """(n,) uint64: the same for the same text and label, and for others as rarely as two texts have
    the same hash.
    """
    return hashes * SPREAD + numbers.astype(np.uint64)


def _extremes(group: np.ndarray, numbers: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Of each group the lowest and the highest number."""
    order = np.lexsort((numbers, group))
    first = np.flatnonzero(np.diff(group[order], prepend=-1))
    last = np.append(first[1:], len(group)) - 1
    ascending = numbers[order]
    return ascending[first], ascending[last]
