"""head.kind regression: a number an example."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from trainer.data.ledger import Ledger
from trainer.data.reader import Aligned, Label, Vocabulary
from trainer.errors import ConfigError, DataError, shown_value
from trainer.heads._classes.decision import Decision, decided
from trainer.heads._classes.labels import Labels, value_of
from trainer.heads._classes.naming import Naming, refuse_of_one_label, refuse_several_fields
from trainer.heads._classes.settings import ClassifierSettings
from trainer.heads.contract import Metric, Record, Results, Scorer
from trainer.lazy import tf
from trainer.settings.schema import DataSettings
from trainer.sources import Example

METRICS = (
    Metric("pearson"),
    Metric("loss", lower_is_better=True),
    Metric("mse", lower_is_better=True),
    Metric("spearman"),
)

if TYPE_CHECKING:  # which preparation and evaluation alone need
    from trainer.data.split import Split
    from trainer.data.store import TokenStore
CORRELATIONS = ("pearson", "spearman")
NOTHING = ("", "nan", "null")


@dataclasses.dataclass(frozen=True)
class NumberLabels(Labels):
    """A field that holds a number.

    Attributes:
        field: its name.
        given: there are no labels.
    """

    field: str
    given: None = None

    def read(self, example: Example) -> float | None:
        """The number; None where there is none.

        Raises:
            DataError: the field is missing, or holds something else.
        """
        value = value_of(example, self.field)
        return number_of(value, f"{example.origin}: field {self.field!r}")

    def learn(
        self, labels: Sequence[Label], names: list[str] | None, origin: Callable[[int], str]
    ) -> dict[str, Any]:
        """Nothing."""
        return {"labels": [], "train_counts": {}}

    def align(self, split: Split, vocabulary: Vocabulary, ledger: Ledger) -> Aligned:
        """`label`, (n,) float32."""
        numbers = split.writer.scratch(np.float32)
        for number in split.labels:
            numbers.append(number)
        return Aligned({"label": numbers.mapped()}, {}, {})

    def span(self, store: TokenStore) -> tuple[float, float, float]:
        """The lowest, mean and highest number of a split."""
        label = np.asarray(store.columns["label"], np.float64)
        return float(label.min()), float(label.mean()), float(label.max())

    def warnings(self, vocabulary: Vocabulary, splits: Mapping[str, TokenStore]) -> list[str]:
        """Splits beside train whose numbers are all the same."""
        constant = {
            split: float(store.columns["label"][0])
            for split, store in splits.items()
            if split != "train" and _is_constant(store)
        }
        return [
            f"labels: all {len(splits[split]):,} numbers of {split} are {number:g}, so that"
            " correlations say nothing. Are they hidden? Then leave"
            f" data.{split} out: --mode=predict answers such a file"
            for split, number in constant.items()
        ]

    def shown(self, label: Label) -> str:
        """As Python writes it."""
        return str(label)


def _is_constant(store: TokenStore) -> bool:
    """Whether all numbers are the same, as those of a test set whose labels are hidden."""
    label = np.asarray(store.columns["label"])
    return len(label) > 1 and not np.ptp(label) > 0


def number_of(value: object, where: str) -> float | None:
    """A number as data has it; None where there is none: null, empty, nan.

    Args:
        value: of a field.
        where: the field and its place, for messages.
    Raises:
        DataError: it is something else, or not finite.
    """
    if value is None or (isinstance(value, str) and value.strip().casefold() in NOTHING):
        return None
    try:
        number = float(value)  # type: ignore[arg-type]  # what is no number is caught
    except (TypeError, ValueError, OverflowError):
        raise DataError(
            f"{where} should be a number, for a regression. Received {shown_value(value)}."
        ) from None
    if not math.isfinite(number):
        raise DataError(
            f"{where} is {number}. Expected a finite number. Remove the row or correct it."
        )
    return number


def labels_of(settings: ClassifierSettings, data: DataSettings, naming: Naming) -> NumberLabels:
    """Raises ConfigError where the settings are for another kind; see `Kind.labels`."""
    refuse_of_one_label(settings)
    if settings.labels is not None:
        raise ConfigError(
            "head.labels: a regression has none. Remove head.labels, or set head.kind."
        )
    refuse_several_fields(settings, data)
    if data.exclude_labels:
        raise ConfigError("data.exclude_labels: a regression has no classes. Leave it out.")
    return NumberLabels(str(data.label))


@dataclasses.dataclass(frozen=True, eq=False)
class Number(Decision):
    """The only logit is the number."""

    names: tuple[str, ...] = ()

    def losses(self, logits: tf.Tensor, label: tf.Tensor) -> tf.Tensor:
        """The squared error of each example, (E,) float32.

        Args:
            logits: (E, 1) float32.
            label: (E,) float32.
        """
        return tf.square(self.decide(logits) - label)

    def decide(self, logits: tf.Tensor) -> tf.Tensor:
        """(B, 1) float32 logits -> the number, (B,) float32."""
        return logits[:, 0]

    def answers(self, logits: tf.Tensor) -> dict[str, tf.Tensor]:
        """(B, 1) float32 logits -> value (B,) float32."""
        return {"value": self.decide(logits)}

    def decode(self, answers: Results, row: int) -> dict[str, object]:
        """The number."""
        return {"value": float(answers["value"][row])}


def decision_of(settings: ClassifierSettings, vocabulary: Vocabulary) -> Number:
    """The same, whatever the settings are."""
    return Number()


@dataclasses.dataclass(frozen=True, eq=False)
class NumberScorer(Scorer):
    """The mean squared error, and correlations.

    Attributes:
        decision: the rule of the graph.
    """

    decision: Decision

    def metrics(self, results: Results, store: TokenStore) -> dict[str, float]:
        """Over a whole split; a correlation is 0 where it is undefined.

        Args:
            results: logits (n, 1) float32.
            store: the split; its column `label` is used.
        """
        from scipy import stats

        number = decided(self.decision, results["logits"]).astype(np.float64)
        label = np.asarray(store.columns["label"]).astype(np.float64)
        mse = float(np.mean((number - label) ** 2))
        scores = {"loss": mse, "mse": mse, "pearson": 0.0, "spearman": 0.0}
        varied = len(number) > 1 and np.ptp(number) > 0 and np.ptp(label) > 0
        if varied:
            scores["pearson"] = float(stats.pearsonr(number, label).statistic)
            scores["spearman"] = float(stats.spearmanr(number, label).statistic)
        return scores

    def records(self, results: Results, store: TokenStore) -> Iterator[Record]:
        """`gold` and `answer`, numbers each, and the squared error."""
        answers = decided(self.decision, results["logits"])
        for gold, answer in zip(store.columns["label"], answers, strict=True):
            error = float(answer) - float(gold)
            yield {"gold": float(gold), "answer": float(answer), "loss": error * error}


def metrics_of(vocabulary: Vocabulary | None) -> tuple[Metric, ...]:
    """The same, whatever the numbers are."""
    return METRICS


def undefined_metrics(vocabulary: Vocabulary, store: TokenStore) -> dict[str, str]:
    """Correlations, where the numbers of a split do not differ."""
    label = np.asarray(store.columns["label"])
    if len(label) < 2:
        return dict.fromkeys(CORRELATIONS, "there is one example")
    if np.ptp(label) > 0:
        return {}
    reason = f"all examples have the number {float(label[0]):g} there"
    return dict.fromkeys(CORRELATIONS, reason)
