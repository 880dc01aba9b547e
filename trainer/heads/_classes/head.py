"""What every head that classifies does, whatever gives its labels their scores."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from trainer.data.reader import Vocabulary
from trainer.heads._classes.graph import decision_of
from trainer.heads._classes.kinds import Kind
from trainer.heads._classes.reader import ClassReader
from trainer.heads._classes.settings import ClassifierSettings
from trainer.heads.contract import Graph, Head, Metric, Scorer

if TYPE_CHECKING:
    from trainer.data.store import TokenStore

NO_TEMPERATURE = (
    "head.calibrate divides logits by a temperature, for which a Hugging Face folder has no place."
    " Set --head.calibrate=false, or --export.format=savedmodel."
)


@dataclasses.dataclass(frozen=True)
class ClassHead(Head):
    """A head whose answers are those of a kind.

    Attributes:
        settings: of the config.
        reader: of the texts and labels.
        kind: of the labels.
    """

    settings: ClassifierSettings
    reader: ClassReader
    kind: Kind

    @property
    def no_huggingface(self) -> str:
        """Why that format has no place for the head as it is set, if so."""
        return NO_TEMPERATURE if self.settings.calibrate else ""

    def scorer(self, graph: Graph) -> Scorer:
        """Says how good the answers of a graph of this head are."""
        return self.kind.scorer(decision_of(graph))

    def available_metrics(self, vocabulary: Vocabulary | None = None) -> tuple[Metric, ...]:
        """Those of the kind, the main one first."""
        return self.kind.metrics(vocabulary)

    def undefined_metrics(self, vocabulary: Vocabulary, store: TokenStore) -> dict[str, str]:
        """Such as auc_roc where a split has one class, and why."""
        return self.kind.undefined_metrics(vocabulary, store)
