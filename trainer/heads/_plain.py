"""The defaults of every head."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from trainer.data.batch import Batch
from trainer.data.reader import Column, Input, RowKind
from trainer.errors import ConfigError
from trainer.heads.contract import Metric
from trainer.settings.schema import DataSettings
from trainer.sources import Example

if TYPE_CHECKING:  # which would import TensorFlow
    from trainer.backbones.config import BackboneConfig


class Plain:
    """Defaults, which a head overrides where it differs; see trainer/heads/contract.py for what
    each is for.
    """

    # The old head is all in one: these let it stand for each part of the contract.
    columns: tuple[Column, ...] = ()
    objectives = ("loss",)
    losses_of_data: ClassVar[Mapping[str, str]] = {}

    @property
    def reader(self):
        """Itself."""
        return self

    def scorer(self, graph):
        """Itself."""
        return self

    @property
    def inputs(self):
        """Of the graph."""
        return tuple(Input(*pair) for pair in zip(self.text_names, self.fields, strict=True))

    def available_metrics(self, vocabulary=None):
        """By the old attributes, the main one first."""
        names = sorted(self.metric_names(), key=lambda name: name != self.main_metric)
        return tuple(
            Metric(name, name in self.lower_is_better, name in self.judged) for name in names
        )

    def asked(self, example: Example) -> tuple[str, ...]:
        """The raw texts that predict answers; raises DataError where one is missing or no text."""
        return self.values(example)

    rows = RowKind.ONE
    keeps_texts = False
    streams = False
    uses_pooler = False
    lives_on_pretraining = False
    scored_share = 1.0
    lower_is_better: tuple[str, ...] = ("loss",)
    judged: tuple[str, ...] = ()
    grouping: ClassVar[slice] = slice(None)
    overflows: tuple[str, ...] = ("truncate", "head_tail", "error")
    per_token: tuple[str, ...] = ()

    def overflow_of(self, data: DataSettings, reason: str = "") -> str:
        """What becomes of texts over data.seq_len: data.overflow, or the first of `overflows`.

        Raises ConfigError where it is none of them.
        """
        overflow = data.overflow or self.overflows[0]
        if overflow not in self.overflows:
            allowed = " or ".join(
                filter(None, [", ".join(self.overflows[:-1]), self.overflows[-1]])
            )
            raise ConfigError(
                f"data.overflow: head {self.Settings.model_fields['name'].default} takes"
                f" {allowed}{reason}. Received {overflow!r}."
            )
        return overflow

    def refuse_dropout(self) -> None:
        """For heads without layers of their own. Raises ConfigError where head.dropout is given."""
        if self.settings.dropout is not None:
            raise ConfigError(
                f"head.dropout: head {self.settings.name} has no dropout before its output."
                f" Received {self.settings.dropout}. Leave it out, or set backbone.hidden_dropout."
            )

    def check(self, backbone: BackboneConfig) -> None:
        """Raises ConfigError where the backbone is none for the head; called before anything is
        prepared.
        """

    def warnings(self, vocabulary: Mapping[str, Any], splits: Mapping[str, Any]) -> list[str]:
        """What a person should know of the encoded splits, and of what train taught, before
        training on them.
        """
        return []

    @property
    def no_huggingface(self) -> str | None:
        """Why Hugging Face's format has no place for the head as it is set, if so."""
        return None

    def label_counts(self, vocabulary: Mapping[str, Any], store: Any) -> dict[str, int]:
        """How often each label occurs in a split, where there are labels."""
        return {}

    def label_range(self, store: Any) -> tuple[float, float, float] | None:
        """The lowest, mean and highest number of a split, where numbers are predicted."""
        return None

    def undefined_metrics(self, vocabulary: Mapping[str, Any], store: Any) -> dict[str, str]:
        """The metrics that a split cannot give, or that are the same for any model, and why."""
        return {}

    def shown(self, example: Example, texts: Sequence[str], label: Any) -> list[tuple[str, str]]:
        """What a person looks at to see whether an example was read as it was meant: names, and
        what stands there.

        Args:
            example: as the source has it.
            texts, label: what `texts` and `label` made of it.
        """
        return list(zip(self.fields, texts, strict=True))

    def kept(self, split: Any) -> dict[str, np.ndarray]:
        """What else of a split the head keeps, for `judge`; heads with `windows` return it from
        `align`.
        """
        return {}

    def per_label(
        self, results: Mapping[str, np.ndarray], store: Any
    ) -> dict[str, dict[str, float]]:
        """precision, recall, f1 and support of each label, where there are labels."""
        return {}

    def ambiguous(
        self,
        answers: Mapping[str, np.ndarray],
        results: Mapping[str, Any],
        columns: Mapping[str, Any],
        tolerance: float,
    ) -> dict[str, np.ndarray]:
        """Answer -> (B,) bool: where it may turn out otherwise although the results agree to
        `tolerance`; numbers are never.
        """
        return {}

    def served(self, batch: Batch) -> Batch:
        """The batch of a server, with what evaluation's batches have besides."""
        return batch
