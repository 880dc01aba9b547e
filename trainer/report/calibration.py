"""Whether probabilities are what they say: reliability, its error, and the best temperature."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from trainer.heads._classes.temperature import best_temperature
from trainer.report.figures import COLOURS, INK, drawing, svg_of
from trainer.report.page import Figure
from trainer.report.say import Say

BINS = 15


class Bin(NamedTuple):
    """The answers about as sure as each other: how many, how sure, and how often right."""

    answers: int
    sure: float
    right: float


class Reliability(NamedTuple):
    """Bins of equal width, from unsure to sure; those that are empty are left out.

    Attributes:
        bins: of the answers.
        error: the mean distance between sure and right, weighed by the answers.
    """

    bins: tuple[Bin, ...]
    error: float

    def as_json(self) -> list[dict[str, float]]:
        """For report.json."""
        return [each._asdict() for each in self.bins]

    def figure(self, say: Say) -> Figure:
        """How often answers are right, by how sure they are."""
        sure = [each.sure for each in self.bins]
        with drawing(2) as (figures, (left, right)):
            left.plot([0, 1], [0, 1], color=INK, linewidth=0.8, linestyle=":")
            left.plot(sure, [each.right for each in self.bins], marker="o", color=COLOURS[0])
            left.set(xlim=(0, 1), ylim=(0, 1))
            left.set_xlabel(say("how sure", "把握"))
            left.set_ylabel(say("how often right", "正确率"))
            right.bar(
                sure, [each.answers for each in self.bins], width=0.8 / BINS, color=COLOURS[0]
            )
            right.set(xlim=(0, 1))
            right.set_xlabel(say("how sure", "把握"))
            right.set_ylabel(say("answers", "答案数"))
            svg = svg_of(figures)
        caption = say(
            "Reliability: on the dotted line, answers are as often right as they are sure. Right:"
            " how many answers are how sure.",
            "可靠性：落在虚线上，说明把握与正确率一致。右图：不同把握的答案数。",
        )
        return Figure(svg, caption)


def of(sure: np.ndarray, right: np.ndarray) -> Reliability:
    """The reliability of some answers.

    Args:
        sure: (n,) the probability of each answer.
        right: (n,) bool.
    Source: Guo et al. 2017, section 2, with 15 bins.
    """
    place = np.minimum((sure * BINS).astype(int), BINS - 1)
    counts = np.bincount(place, minlength=BINS)
    kept = np.flatnonzero(counts)
    mean_sure = np.bincount(place, sure, BINS)[kept] / counts[kept]
    mean_right = np.bincount(place, right, BINS)[kept] / counts[kept]
    bins = map(Bin, counts[kept].tolist(), mean_sure.tolist(), mean_right.tolist())
    error = np.sum(counts[kept] * np.abs(mean_sure - mean_right)) / len(sure)
    return Reliability(tuple(bins), float(error))


def temperature(probabilities: np.ndarray, gold: np.ndarray) -> float:
    """By what logits are to be divided so that the gold labels are likeliest.

    Args:
        probabilities: (n, C).
        gold: (n,) places among the labels.
    """
    return best_temperature(np.log(np.maximum(probabilities, np.finfo(np.float64).tiny)), gold)
