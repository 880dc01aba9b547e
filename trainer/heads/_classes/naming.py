"""Who names the labels, and what becomes of those that nobody named."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

from trainer.errors import ConfigError, shown_labels, shown_value
from trainer.heads._classes.names import learnt_names, plain_name
from trainer.heads._classes.settings import ClassifierSettings
from trainer.settings.schema import DataSettings


@dataclasses.dataclass(frozen=True)
class Naming:
    """Who names the labels of a run.

    Attributes:
        fields: of the examples, that have the labels.
        given: the labels that the settings name, if they do.
        excluded: what data.exclude_labels names, as `plain_name` knows it.
        refuses_unseen: whether every split is refused that has a label beside those of train.
        own_files: splits that are no part of train; one that has none of train's labels is refused.
        known_from: who names the labels, for messages.
        remedy: how to name one more.
    """

    fields: str | list[str]
    given: Sequence[str] | None
    excluded: frozenset[str]
    refuses_unseen: bool
    own_files: frozenset[str]
    known_from: str
    remedy: str

    def names(self, counts: Mapping[str, int], declared: Sequence[str] | None) -> list[str]:
        """The labels: those of the settings, else of the source, else of train.

        Args:
            counts: how often each name is written in train.
            declared: what the source says, if it does.
        """
        kept = [name for name in declared or () if plain_name(name) not in self.excluded]
        return list(self.given or kept or learnt_names(counts))


def naming_of(settings: ClassifierSettings, data: DataSettings) -> Naming:
    """Where no head has labels of its own."""
    given = settings.labels if isinstance(data.label, str) else data.label
    specs = {"train": data.train, "validation": data.validation, "test": data.test}
    return Naming(
        fields=data.label,
        given=given,
        excluded=frozenset(map(plain_name, data.exclude_labels)),
        refuses_unseen=given is not None or data.unseen_labels == "error",
        own_files=frozenset(split for split, spec in specs.items() if isinstance(spec, str)),
        known_from="train" if given is None else "head.labels",
        remedy="list every label with --head.labels",
    )


def refuse_several_fields(settings: ClassifierSettings, data: DataSettings) -> None:
    """Raises ConfigError where data.label names several fields, for all kinds but one."""
    if not isinstance(data.label, str):
        raise ConfigError(
            "data.label: several fields of 0 and 1 are of head.kind multi_label. Received"
            f" {shown_value(data.label)} with kind {settings.kind}. Set"
            " --head.kind=multi_label, or name one field."
        )


def refuse_of_one_label(settings: ClassifierSettings) -> None:
    """Raises ConfigError where a setting is given that is for one label an example alone."""
    given = {"class_weights": settings.class_weights, "calibrate": settings.calibrate or None}
    for key, value in given.items():
        if value is not None:
            raise ConfigError(
                f"head.{key}: only for head.kind single_label. Received kind {settings.kind}."
            )


def refuse_excluded_labels(settings: ClassifierSettings, data: DataSettings) -> None:
    """Raises ConfigError where a label is named by head.labels and by data.exclude_labels."""
    excluded = set(map(plain_name, data.exclude_labels))
    both = [name for name in settings.labels or () if plain_name(name) in excluded]
    if both:
        raise ConfigError(
            f"data.exclude_labels: head.labels names {shown_labels(both)} too. Take it out of"
            " one of them."
        )
