"""A language model of pairs of neighbouring tokens."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from trainer.data.reader import TARGET, Vocabulary
from trainer.data.store import TokenStore
from trainer.heads.contract import Results

SHARES = (0.3, 0.5, 0.7, 0.8, 0.9, 0.95)  # of the pairs beside single tokens, of which one is taken


def bigram(train: TokenStore, vocabulary: Vocabulary) -> Callable[[TokenStore], Results]:
    """Pairs, interpolated with single tokens; by how much, the last tenth of train decides.

    Source: Jelinek and Mercer 1980.
    """
    before, after = _pairs(train)
    held_out = len(after) - max(1, len(after) // 10)
    tried = _Bigram(before[:held_out], after[:held_out])
    losses = [
        -np.log(tried.probability(before[held_out:], after[held_out:], share)).mean()
        for share in SHARES
    ]
    share = SHARES[int(np.argmin(losses))]
    model = _Bigram(before, after)

    def predicts(store: TokenStore) -> Results:
        token_ids = np.asarray(store.tokens["token_ids"])
        target = np.asarray(store.tokens[TARGET])
        places = np.flatnonzero(target > 0)
        own = token_ids[places], target[places] - 1
        row = np.searchsorted(store.row_splits, places, side="right") - 1
        loss = -np.log(model.probability(*own, share))
        right = model.likeliest(own[0]) == own[1]
        return {
            "loss": np.bincount(row, loss, len(store)).astype(np.float32),
            "predicted": np.bincount(row, minlength=len(store)).astype(np.float32),
            "correct": np.bincount(row, right, len(store)).astype(np.float32),
        }

    return predicts


def _pairs(store: TokenStore) -> tuple[np.ndarray, np.ndarray]:
    """(n,) int64 each: the tokens before and after, where one is predicted."""
    target = np.asarray(store.tokens[TARGET], np.int64)
    places = np.flatnonzero(target > 0)
    return np.asarray(store.tokens["token_ids"], np.int64)[places], target[places] - 1


class _Bigram:
    """Counts of pairs and of single tokens.

    Args:
        before, after: (n,) int64.
    """

    def __init__(self, before: np.ndarray, after: np.ndarray) -> None:
        self._size = 1 + int(max(before.max(initial=0), after.max(initial=0)))
        self._single = np.bincount(after, minlength=self._size) + 1.0
        self._single /= self._single.sum()
        self._begun = np.bincount(before, minlength=self._size)
        self._pairs, self._counts = np.unique(before * self._size + after, return_counts=True)
        self._best = self._find_best()

    def _find_best(self) -> np.ndarray:
        """(V,) of each token the one that follows it most often."""
        best = np.full(self._size, int(self._single.argmax()))
        order = np.argsort(self._counts, kind="stable")  # so that the most frequent is last
        best[self._pairs[order] // self._size] = self._pairs[order] % self._size
        return best

    def probability(self, before: np.ndarray, after: np.ndarray, share: float) -> np.ndarray:
        """(n,) of each token behind another; of what train does not have, that of a rare one."""
        before = np.minimum(before, self._size - 1)
        is_known = after < self._size
        single = np.where(
            is_known, self._single[np.minimum(after, self._size - 1)], self._single.min()
        )
        pair = before * self._size + after
        place = np.minimum(np.searchsorted(self._pairs, pair), len(self._pairs) - 1)
        count = np.where(self._pairs[place] == pair, self._counts[place], 0)
        begun = self._begun[before]
        of_pair = count / np.maximum(begun, 1)
        return np.where(begun > 0, share * of_pair + (1 - share) * single, single)

    def likeliest(self, before: np.ndarray) -> np.ndarray:
        """(n,) the token that follows each most often."""
        return self._best[np.minimum(before, self._size - 1)]
