"""Two runs or more on the same examples: which is better, and how surely."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from trainer.errors import ConfigError
from trainer.report.evidence import Evidence, Line
from trainer.report.intervals import LOWER_IS_BETTER, Interval, Measure, percentiles
from trainer.report.tasks import Task, task_of


class Paired(NamedTuple):
    """How a run compares with another one, on the same examples.

    Attributes:
        name: of the other run.
        difference: of the main figure, the best run's minus the other's.
        is_better: whether that says that the first is better.
        interval: of that, by the paired bootstrap.
        only_best, only_other: how many examples only one of them has right.
        p_value: that they are as often right (McNemar, exact); None where answers are neither
            right nor wrong.
    """

    name: str
    difference: float
    is_better: bool
    interval: Interval
    only_best: int | None
    only_other: int | None
    p_value: float | None


def best_of(measures: Sequence[Measure]) -> int:
    """Which of the runs has the best figure."""
    values = np.array([measure.value for measure in measures])
    lower = measures[0].name in LOWER_IS_BETTER
    return int(values.argmin() if lower else values.argmax())


def paired(
    name: str, best: Measure, other: Measure, best_goodness: np.ndarray, goodness: np.ndarray
) -> Paired:
    """Compares two runs.

    Args:
        name: of the other run.
        best, other: their main figures.
        best_goodness, goodness: (n,) how right each answer is; empty where none is.
    Source: Efron and Tibshirani 1993 for the bootstrap; McNemar 1947, exact.
    """
    from scipy.stats import binomtest

    difference = best.value - other.value
    differences = best.resampled() - other.resampled()  # the same draws
    only_best = only_other = p_value = None
    if len(goodness):
        only_best = int(np.sum((best_goodness == 1) & (goodness < 1)))
        only_other = int(np.sum((best_goodness < 1) & (goodness == 1)))
        split = only_best + only_other
        p_value = float(binomtest(only_best, split).pvalue) if split else 1.0
    return Paired(
        name,
        difference,
        difference < 0 if best.name in LOWER_IS_BETTER else difference > 0,
        percentiles(differences),
        only_best,
        only_other,
        p_value,
    )


def shared_split(runs: Sequence[Evidence]) -> str:
    """The split that all runs were evaluated on: test, where there is one.

    Raises ConfigError where there is none.
    """
    shared = set.intersection(*(set(run.splits) for run in runs))
    for split in ("test", "validation"):
        if split in shared:
            return split
    raise ConfigError(
        "Runs cannot be compared: they share no split that was evaluated: "
        + "; ".join(f"{run.name} has {', '.join(run.splits)}" for run in runs)
        + ". Evaluate them on the same: podtune evaluate JOB_DIR --data.test=FILE"
    )


def require_same_examples(
    runs: Sequence[Evidence], lines: Sequence[Sequence[Line]], split: str
) -> None:
    """Refuses runs on other examples.

    Args:
        runs: two or more.
        lines: of each.
        split: that they are of.
    Raises:
        ConfigError: names the first example that differs.
    """
    for run, of_run in zip(runs[1:], lines[1:], strict=True):
        where = f"Runs cannot be compared: {split} of {run.name} and of {runs[0].name}"
        if len(of_run) != len(lines[0]):
            raise ConfigError(
                f"{where} have {len(of_run):,} and {len(lines[0]):,} examples. Only runs on the"
                " same examples can be compared."
            )
        for ours, first in zip(of_run, lines[0], strict=True):
            keys = ("inputs", "gold", "tokens")
            if any(ours.get(key) != first.get(key) for key in keys):
                raise ConfigError(
                    f"{where} differ at {ours['origin']}. Only runs on the same examples, with the"
                    " same labels, can be compared."
                )


def shared_task(runs: Sequence[Evidence]) -> Task:
    """What the answers of all runs are. Raises ConfigError where they are not of one kind."""
    tasks = [task_of(run) for run in runs]
    first = tasks[0]
    if first is None or any(type(task) is not type(first) for task in tasks):
        heads = ", ".join(f"{run.name} {run.config['head']['name']}" for run in runs)
        raise ConfigError(f"Runs cannot be compared: expected runs of one task. Received {heads}.")
    return first
