"""Texts that train has but for a word or two, beside sets of Python."""

import numpy as np
import pytest

from trainer.report.near_duplicates import FEWEST, LEAST, nearest, shingles_of


def rows(texts):
    splits = np.cumsum([0, *map(len, texts)])
    return shingles_of(np.array([token for text in texts for token in text], np.int32), splits)


def jaccard(first, second):
    one, other = (
        {tuple(text[place : place + 3]) for place in range(len(text) - 2)}
        for text in (first, second)
    )
    if min(len(one), len(other)) < FEWEST:
        return 0.0
    return len(one & other) / len(one | other)


@pytest.mark.parametrize("seed", range(3))
def test_the_nearest_is_that_of_comparing_all(seed):
    generator = np.random.default_rng(seed)
    train = [generator.integers(6, size=generator.integers(0, 30)).tolist() for _ in range(300)]
    texts = [generator.integers(6, size=generator.integers(0, 30)).tolist() for _ in range(280)]
    row, similarity = nearest(rows(texts), rows(train))
    for place, text in enumerate(texts):
        expected = [jaccard(text, other) for other in train]
        assert similarity[place] == pytest.approx(max(expected))
        if similarity[place]:
            assert expected[row[place]] == pytest.approx(max(expected))


def test_one_other_word_is_near_and_two_thirds_are_not():
    text = list(range(20))
    changed = [*text[:10], 99, *text[11:]]
    half = [*text[:10], *range(50, 60)]
    _, similarity = nearest(rows([text, changed, half]), rows([text]))
    assert similarity[0] == 1
    assert LEAST <= similarity[1] < 1
    assert similarity[2] < LEAST


def test_what_many_rows_have_says_nothing():
    """Such as the pattern of a prompt, or a second text that is always the same."""
    pattern = list(range(100, 120))
    train = [[1000 + number, 5000 + number, 9000 + number, *pattern] for number in range(1100)]
    other = [1, 2, 3, *pattern]
    same = [*range(20), *pattern]
    row, similarity = nearest(rows([other, same]), rows([*train, same]))
    assert similarity[0] == 0
    assert (row[1], similarity[1]) == (1100, 1)


@pytest.mark.parametrize("train", [[], [[]], [[1, 2]]])
def test_nothing_is_near_to_nothing(train):
    _, similarity = nearest(rows([list(range(20)), [], [1, 2]]), rows(train or [[]]))
    assert similarity.tolist() == [0, 0, 0]
