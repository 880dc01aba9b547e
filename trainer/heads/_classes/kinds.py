"""What head.kind chooses: one row a kind."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, TypeAlias

from trainer.data.reader import Vocabulary
from trainer.heads._classes import multi_label, regression, single_label
from trainer.heads._classes.decision import Decision
from trainer.heads._classes.labels import Labels
from trainer.heads._classes.naming import Naming
from trainer.heads._classes.settings import ClassifierSettings
from trainer.heads.contract import Metric, Scorer
from trainer.settings.schema import DataSettings

if TYPE_CHECKING:
    from trainer.data.store import TokenStore

LabelsOf: TypeAlias = Callable[[ClassifierSettings, DataSettings, Naming], Labels]
DecisionOf: TypeAlias = Callable[[ClassifierSettings, Vocabulary], Decision]
UndefinedOf: TypeAlias = Callable[[Vocabulary, "TokenStore"], dict[str, str]]


@dataclasses.dataclass(frozen=True)
class Kind:
    """What an example has for a label, and what is made of it.

    Attributes:
        problem_type: Hugging Face's name.
        labels: reads them; raises ConfigError where the settings contradict the kind.
        decision: what is learnt and answered.
        scorer: says how good the answers are.
        metrics: those that the scorer may give, the main one first.
        undefined_metrics: those that a split cannot give.
    """

    problem_type: str
    labels: LabelsOf
    decision: DecisionOf
    scorer: Callable[[Decision], Scorer]
    metrics: Callable[[Vocabulary | None], tuple[Metric, ...]]
    undefined_metrics: UndefinedOf


KINDS: Mapping[str, Kind] = {
    "single_label": Kind(
        "single_label_classification",
        single_label.labels_of,
        single_label.decision_of,
        single_label.OneOfScorer,
        single_label.metrics_of,
        single_label.undefined_metrics,
    ),
    "multi_label": Kind(
        "multi_label_classification",
        multi_label.labels_of,
        multi_label.decision_of,
        multi_label.AnyOfScorer,
        multi_label.metrics_of,
        multi_label.undefined_metrics,
    ),
    "regression": Kind(
        "regression",
        regression.labels_of,
        regression.decision_of,
        regression.NumberScorer,
        regression.metrics_of,
        regression.undefined_metrics,
    ),
}
PROBLEM_TYPES = frozenset(kind.problem_type for kind in KINDS.values())
