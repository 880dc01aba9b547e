"""How sure a figure is: intervals by the bootstrap, and of shares by Wilson."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import NamedTuple, TypeAlias

import numpy as np

RESAMPLES = 1000
AT_ONCE = 4_000_000  # numbers in memory
LEVEL = 0.95
LOWER_IS_BETTER = ("loss", "perplexity", "word_perplexity", "bits_per_byte", "mse")

# sums over examples, (…, K) float64 -> the figure, (…)
OfSums: TypeAlias = Callable[[np.ndarray], np.ndarray]


class Interval(NamedTuple):
    """Between what the figure is, with 95 % confidence."""

    low: float
    high: float


@dataclasses.dataclass(frozen=True)
class Measure:
    """A figure that follows from sums over examples, as accuracy and F1 do.

    Attributes:
        name: as in results.json.
        columns: (n, K) float64, what each example adds.
        of_sums: what the sums make.
    """

    name: str
    columns: np.ndarray
    of_sums: OfSums

    @property
    def value(self) -> float:
        """Over all examples."""
        return float(self.of_sums(self.columns.sum(axis=0)))

    def resampled(self, seed: int = 0, resamples: int = RESAMPLES) -> np.ndarray:
        """(resamples,) what it would be on other draws of as many examples.

        The draws depend on the seed and the number of examples alone, so that two models are
        compared on the same ones.
        """
        count = len(self.columns)
        generator = np.random.default_rng((seed, count))
        at_once = max(1, AT_ONCE // max(count, 1))
        parts = []
        for first in range(0, resamples, at_once):
            size = min(at_once, resamples - first)
            weights = generator.multinomial(count, np.full(count, 1 / count), size=size)
            parts.append(self.of_sums(weights @ self.columns))
        return np.concatenate(parts)

    def interval(self, seed: int = 0) -> Interval:
        """Of the percentiles of the resampled figure.

        Source: Efron and Tibshirani 1993, chapter 13.
        """
        return percentiles(self.resampled(seed))


def percentiles(values: np.ndarray) -> Interval:
    """The middle 95 % of some values."""
    tail = 100 * (1 - LEVEL) / 2
    low, high = np.nanpercentile(values, [tail, 100 - tail])
    return Interval(float(low), float(high))


def wilson(right: int, count: int) -> Interval:
    """Of a share. Source: Wilson 1927."""
    from scipy.stats import binomtest

    if not count:
        return Interval(0.0, 1.0)
    found = binomtest(right, count).proportion_ci(LEVEL, method="wilson")
    return Interval(float(found.low), float(found.high))


def mean_of(name: str, values: np.ndarray, scale: float = 1.0) -> Measure:
    """The mean of a value an example.

    Args:
        name: of the figure.
        values: (n,).
        scale: by which it is multiplied, such as 100 for per cent.
    """
    columns = np.stack([values, np.ones(len(values))], axis=1).astype(np.float64)
    return Measure(name, columns, lambda sums: scale * sums[..., 0] / sums[..., 1])


def f1_of(name: str, right: np.ndarray, given: np.ndarray, gold: np.ndarray) -> Measure:
    """F1 over all spans, or over all labels.

    Args:
        name: of the figure.
        right, given, gold: (n,) how many each example has.
    """
    columns = np.stack([right, given, gold], axis=1).astype(np.float64)
    return Measure(name, columns, _f1)


def _f1(sums: np.ndarray) -> np.ndarray:
    given_and_gold = sums[..., 1] + sums[..., 2]
    return 2 * sums[..., 0] / np.maximum(given_and_gold, 1)


def pearson_of(name: str, first: np.ndarray, second: np.ndarray) -> Measure:
    """The correlation of two numbers an example.

    Args:
        name: of the figure.
        first, second: (n,) each.
    """
    first = first - first.mean()  # so that squares lose no digits
    second = second - second.mean()
    ones = np.ones(len(first))
    columns = np.stack([ones, first, second, first**2, second**2, first * second], axis=1)
    return Measure(name, columns.astype(np.float64), _pearson)


def _pearson(sums: np.ndarray) -> np.ndarray:
    count, first, second, squared_first, squared_second, product = np.moveaxis(sums, -1, 0)
    covariance = product - first * second / count
    of_first = squared_first - first**2 / count
    of_second = squared_second - second**2 / count
    spread = np.sqrt(np.maximum(of_first * of_second, 0))
    return np.divide(covariance, spread, out=np.zeros_like(covariance), where=spread > 0)
