"""Which tokens of a row are hidden, and what stands in their place."""

from __future__ import annotations

import dataclasses

import numpy as np

from trainer.data.reader import TARGET, Columns

# of the hidden tokens: left as they are, replaced by the mask; the rest by any token
KEPT = 0.1
MASKED = 0.8


@dataclasses.dataclass(frozen=True)
class Masking:
    """How tokens are hidden.

    Attributes:
        probability: share of the tokens.
        special: ids that are never hidden.
        mask_id: of the mask.
        words: V, tokens of the tokenizer.
    """

    probability: float
    special: tuple[int, ...]
    mask_id: int
    words: int

    def hide(
        self, ids: np.ndarray, starts_word: np.ndarray | None, random: np.random.Generator
    ) -> Columns:
        """Hides some tokens of a row.

        Args:
            ids: (S,) int32.
            starts_word: (S,), 0 where a token goes on with a word: all of a word are hidden, or
                none; None: tokens are hidden one by one.
            random: draws.
        Returns:
            token_ids (S,) int32 with some replaced; `target` (S,) int32, 1 + the token where one is
            hidden.
        Source: Devlin et al. 2019, section 3.1; whole words as in the code released in May 2019.
        """
        ids = np.array(ids)
        target = np.zeros_like(ids)
        places = np.flatnonzero(~np.isin(ids, self.special))
        if not len(places):
            return {"token_ids": ids, TARGET: target}
        count = max(1, round(self.probability * len(places)))
        if starts_word is None:
            hidden = np.sort(random.choice(places, count, replace=False))
        else:
            hidden = _whole_words(places, starts_word[places], count, random)
        target[hidden] = ids[hidden] + 1
        self._replace(ids, hidden, random)
        return {"token_ids": ids, TARGET: target}

    def _replace(self, ids: np.ndarray, hidden: np.ndarray, random: np.random.Generator) -> None:
        chance = random.random(len(hidden))
        ids[hidden[chance < MASKED]] = self.mask_id
        replaced = hidden[chance >= MASKED + KEPT]
        ids[replaced] = random.integers(0, self.words, len(replaced))


def _whole_words(
    places: np.ndarray, starts_word: np.ndarray, count: int, random: np.random.Generator
) -> np.ndarray:
    """The places of words in random order, as many as fit.

    None of a word that has more tokens than may be hidden, as in the released code.

    Args:
        places: (n,) that may be hidden.
        starts_word: (n,), 0 where a token goes on with a word.
        count: of places at most.
        random: draws.
    """
    word = np.cumsum(starts_word != 0)  # of each place
    order = random.permutation(np.unique(word))
    sizes = np.bincount(word)[order]
    fits = []
    taken = 0
    for number, size in zip(order, sizes, strict=True):
        if taken + size <= count:
            fits.append(number)
            taken += size
    return places[np.isin(word, fits)]
