"""Classification as far as no layer is concerned: labels, their loss, metrics and answers.

Shared by the heads that classify.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
from pydantic import Field

from trainer.data.batch import Batch
from trainer.data.reader import Aligned
from trainer.errors import ConfigError, DataError, shown_value
from trainer.files.mapped import blocks, count_numbers
from trainer.heads._class_metrics import (
    class_metrics,
    class_scores,
    regression_metrics,
    undefined_class_metrics,
    undefined_regression_metrics,
    unseen_names,
)
from trainer.heads._label_columns import UNSEEN_GIVEN, Unseen, first_with, label_columns
from trainer.heads._label_doubts import constant_numbers, doubts_of, note_doubts
from trainer.heads._label_lists import (
    are_vectors,
    labels_of_columns,
    list_in_text,
    one_label,
    several_labels,
    vectors,
)
from trainer.heads._labels import (
    Label,
    Mentions,
    Spellings,
    as_name,
    learnt_names,
    number_key,
    shown_labels,
    trimmed,
)
from trainer.heads._plain import Plain
from trainer.lazy import tf
from trainer.settings.schema import DataSettings, HeadSettings
from trainer.sources import Example, require_field, require_text

Labels = Annotated[list[str], Field(min_length=1)]


class ClassifierSettings(HeadSettings):
    """What every head that classifies has."""

    has_classes: ClassVar[bool] = True

    kind: Literal["single_label", "multi_label", "regression"] = Field(
        "single_label", description="one of the labels, any of them, or a number"
    )
    labels: Labels | None = Field(
        None, description="all labels, in order; null: those of train, sorted"
    )
    label_separator: str = Field(
        "|",
        min_length=1,
        description="multi_label: between labels where the field is text, not a list",
    )
    class_weights: Literal["balanced"] | dict[str, Annotated[float, Field(gt=0)]] | None = Field(
        None,
        description=(
            "single_label: weight of each label's examples in the loss; balanced: n / (C * n_label)"
        ),
    )
    label_smoothing: Annotated[float, Field(ge=0, lt=1)] = Field(
        0.0, description="share of the target spread over all labels"
    )
    threshold: Annotated[float, Field(gt=0, lt=1)] = Field(
        0.5, description="multi_label: probability from which a label is given"
    )


class Classifier(Plain):
    """See trainer/heads/contract.py for what each method is for."""

    def __init__(self, settings: ClassifierSettings, data: DataSettings, tokenizer: Any) -> None:
        self.settings = settings
        self.data = data
        self.tokenizer = tokenizer
        self.fields = [data.text] if isinstance(data.text, str) else list(data.text)
        self.classes: int | None = None  # known when built
        self.text_names = ("text", "text_pair")[: len(self.fields)]
        if settings.kind != "single_label" and settings.class_weights is not None:
            raise ConfigError(
                "head.class_weights: only for head.kind single_label. Received kind"
                f" {settings.kind}."
            )
        if settings.kind == "regression" and settings.labels is not None:
            raise ConfigError(
                "head.labels: a regression has none. Remove head.labels, or set head.kind."
            )
        self._check_label_settings()

    def _check_label_settings(self) -> None:
        """Raises ConfigError where settings of the labels contradict each other."""
        fields = self.data.label_fields
        labels = self.settings.labels
        excluded = set(map(self.plain_name, self.data.exclude_labels))
        if not isinstance(self.data.label, str):
            if self.settings.kind != "multi_label":
                raise ConfigError(
                    "data.label: several fields of 0 and 1 are of head.kind multi_label. Received"
                    f" {shown_value(fields)} with kind {self.settings.kind}. Set"
                    " --head.kind=multi_label, or name one field."
                )
            if labels is not None:
                raise ConfigError(
                    "head.labels: the fields of data.label name the labels already. Leave"
                    " head.labels out."
                )
            if excluded:
                raise ConfigError(
                    "data.exclude_labels: leave the fields out of data.label instead."
                )
            if len(set(fields)) < len(fields):
                raise ConfigError(
                    f"data.label: a field is named twice. Received {shown_value(fields)}."
                )
        if excluded and self.settings.kind == "regression":
            raise ConfigError("data.exclude_labels: a regression has no classes. Leave it out.")
        if both := [name for name in labels or () if self.plain_name(name) in excluded]:
            raise ConfigError(
                f"data.exclude_labels: head.labels names {shown_labels(both)} too. Take it out of"
                " one of them."
            )

    def values(self, example: Example) -> tuple[str, ...]:
        """The raw text, or the two of a pair.

        Raises DataError where a field is missing or no text.
        """
        return tuple(require_text(example, field) for field in self.fields)

    @property
    def given_labels(self) -> Sequence[str] | None:
        """The labels that the settings name, if they do."""
        return self.settings.labels if isinstance(self.data.label, str) else self.data.label

    def plain_name(self, name: str) -> str:
        """How a label is known, however it is written: without blanks at its ends, 1 for 1.0."""
        bare = trimmed(name)
        return number_key(bare) or bare

    def label(self, example: Example) -> Label | float | None:
        """The raw label: a name, a tuple of names, or a number; None where there is no gold label.

        Raises:
            DataError: the field is missing, or holds no label.
        """
        if not isinstance(self.data.label, str):
            return labels_of_columns(example, self.data.label)
        where = f"{example.origin}: field {self.data.label!r}"
        value = example.features.get(self.data.label, "")
        if isinstance(value, float) and math.isnan(value):
            return None
        value = require_field(example, self.data.label, "data.label")
        if self.settings.kind == "regression":
            return _number(value, where)
        if self.settings.kind == "multi_label":
            return several_labels(value, self.settings.label_separator, where)
        as_list = list_in_text(value) if isinstance(value, str) else value
        if isinstance(as_list, (list, tuple)):
            return one_label(as_list, where)
        return as_name(value, where)

    def shown(self, example: Example, texts: Sequence[str], label: Any) -> list[tuple[str, str]]:
        """The texts and the label."""
        names = (
            []
            if label is None
            else [str(name) for name in (label if isinstance(label, (list, tuple)) else [label])]
        )
        return [*super().shown(example, texts, label), ("label", ", ".join(names))]

    def preparation_settings(self) -> dict[str, Any]:
        """What of the settings changes the stored examples."""
        return self.settings.model_dump(include={"name", "kind", "labels", "label_separator"})

    def learn(
        self, labels: Sequence[Any], names: list[str] | None, origin: Callable[[int], str]
    ) -> dict[str, Any]:
        """The label names, from the settings, the source, or train; `vectors` where train has 0 and
        1 for each of them.

        Raises:
            DataError: train has one class only.
        """
        if self.settings.kind == "regression":
            return {"labels": [], "train_counts": {}}
        mentions = Mentions.of(labels)
        if (
            self.settings.kind == "multi_label"
            and isinstance(self.data.label, str)
            and are_vectors(mentions, self.settings.labels, origin)
        ):
            return self._learn_vectors(mentions, names, origin)
        counts = mentions.counts()
        excluded = set(map(self.plain_name, self.data.exclude_labels))
        declared = [name for name in names or () if self.plain_name(name) not in excluded]
        found = list(self.given_labels or declared or learnt_names(counts))
        if self.settings.kind == "single_label":
            self.require_classes(counts, labels, origin)
        if not counts or not found:
            raise DataError(f"data.train: no example has a label in field {self.data.label!r}.")
        return {"labels": found, "train_counts": known_counts(found, counts)}

    def _learn_vectors(
        self, mentions: Mentions, names: list[str] | None, origin: Callable[[int], str]
    ) -> dict[str, Any]:
        size = mentions.longest
        labels = self.settings.labels or (
            names if names and len(names) == size else list(map(str, range(size)))
        )
        counts = sum(
            values.sum(axis=0, dtype=np.int64) for values in vectors(mentions, size, origin)
        ).tolist()
        return {
            "labels": list(labels),
            "train_counts": dict(zip(labels, counts, strict=True)),
            "vectors": True,
        }

    def require_classes(
        self, counts: Mapping[str, int], labels: Sequence[Any], origin: Callable[[int], str]
    ) -> None:
        """Raises DataError where all examples have the same label."""
        if len(learnt_names(counts)) == 1:
            advice = (
                f" data.limit takes the first {self.data.limit:,}: shuffle a file that is sorted by"
                " label."
                if self.data.limit
                else ""
            )
            raise DataError(
                f"data.train: every one of the {len(labels):,} examples has the label"
                f" {shown_value(next(iter(counts)))} (first: {origin(0)}). A classifier needs two"
                f" or more. Is --data.label the right field?{advice}"
            )

    def align(self, split: Any, vocabulary: Mapping[str, Any], ledger: Any) -> Aligned:
        """The labels of a split as numbers, and extras for the metrics; see
        `_label_columns.label_columns`.

        Args:
            split: what is being written: its `name`, `labels` and `origin`.
            ledger: takes what is odd about the labels.
        Raises:
            DataError: a label that is not in the list, with its first place.
        """
        if self.settings.kind == "regression":
            label = split.writer.scratch(np.float32)
            for number in split.labels:
                label.append(number)
            return Aligned({"label": label.mapped()}, {}, {})
        columns, extras = label_columns(
            split,
            vocabulary,
            ledger,
            several=self.settings.kind == "multi_label",
            unseen=self._unseen(split.name),
        )
        names = {
            name: number
            for number, name in enumerate([*vocabulary["labels"], *unseen_names(extras)])
        }

        def first(found: set[str]) -> str:
            return split.origin(
                first_with([names[name] for name in found], columns["label"], extras)
            )

        note_doubts(
            split.name,
            self._counts(vocabulary, columns["label"], extras),
            vocabulary["train_counts"],
            ledger,
            first,
        )
        return Aligned(columns, {}, extras)

    def _unseen(self, split: str) -> Unseen:
        """What becomes of labels of a split that train does not have."""
        listed = self.given_labels is not None
        return Unseen(
            refuse=listed or self.data.unseen_labels == "error",
            held_out=not isinstance(getattr(self.data, split), str),
            known_from="head.labels" if listed else "train",
        )

    def _counts(
        self, vocabulary: Mapping[str, Any], label: np.ndarray, extras: Mapping[str, np.ndarray]
    ) -> dict[str, int]:
        names = [*vocabulary["labels"], *unseen_names(extras)]
        if label.ndim > 1:
            given = [label, extras[UNSEEN_GIVEN]] if UNSEEN_GIVEN in extras else [label]
            counts = np.concatenate(
                [
                    sum(block.sum(axis=0, dtype=np.int64) for block in blocks(column))
                    for column in given
                ]
            )
            return dict(zip(names, counts.tolist(), strict=True))
        return dict(zip(names, count_numbers(label, len(names)).tolist(), strict=True))

    def label_counts(self, vocabulary: Mapping[str, Any], store: Any) -> dict[str, int]:
        """How often each label occurs in a split, also those that train does not have."""
        if self.settings.kind == "regression":
            return {}
        return self._counts(vocabulary, store.columns["label"], store.extras)

    def label_range(self, store: Any) -> tuple[float, float, float] | None:
        """The lowest, mean and highest number of a split, for a regression."""
        if self.settings.kind != "regression":
            return None
        label = np.asarray(store.columns["label"], np.float64)
        return float(label.min()), float(label.mean()), float(label.max())

    def warnings(self, vocabulary: Mapping[str, Any], splits: Mapping[str, Any]) -> list[str]:
        """Labels that may be misspelt, one class in two spellings, or no class."""
        if self.settings.kind == "regression":
            return [
                line
                for split, store in splits.items()
                if split != "train"
                for line in constant_numbers(split, np.asarray(store.columns["label"]))
            ]
        counts = {split: self.label_counts(vocabulary, store) for split, store in splits.items()}
        return doubts_of(
            counts,
            vocabulary["train_counts"],
            named=self.given_labels is not None,
            few=self.lives_on_pretraining,
        )

    def weights(self, batch: Batch) -> dict[str, tf.Tensor]:
        """Of the examples."""
        return {"loss": tf.reduce_sum(self._weight(batch))}

    def _weight(self, batch: Batch) -> tf.Tensor:
        weight = batch.examples.weight
        if self.settings.kind == "single_label" and self.class_weights is not None:
            weight *= tf.gather(tf.constant(self.class_weights), batch.label)
        return weight

    def losses(self, logits: tf.Tensor, batch: Batch) -> dict[str, tf.Tensor]:
        """Sum over the examples of weight x loss.

        Source: Szegedy et al. 2016 for label smoothing.
        """
        label = batch.label
        smoothing = self.settings.label_smoothing
        if self.settings.kind == "regression":
            losses = tf.square(logits[:, 0] - label)
        elif self.settings.kind == "multi_label":
            target = label * (1 - smoothing) + smoothing / 2
            losses = tf.reduce_mean(tf.nn.sigmoid_cross_entropy_with_logits(target, logits), axis=1)
        else:
            target = tf.one_hot(label, self.classes) * (1 - smoothing) + smoothing / self.classes
            losses = -tf.reduce_sum(target * tf.nn.log_softmax(logits), axis=1)
        return {"loss": tf.reduce_sum(losses * self._weight(batch))}

    def results(self, logits: tf.Tensor, batch: Batch) -> dict[str, tf.Tensor]:
        """The logits: all that metrics and answers need."""
        return {"logits": logits}

    def answers(
        self,
        results: Mapping[str, tf.Tensor],
        columns: Mapping[str, tf.RaggedTensor],
        texts: Sequence[tf.Tensor],
    ) -> dict[str, tf.Tensor]:
        """What the SavedModel answers: label (B,) string and probabilities (B, C); several labels:
        (B, C) string, "" where not given.
        """
        return self.token_answers(results)

    def token_answers(self, results: Mapping[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        """The same, to token ids."""
        logits = results["logits"]
        if self.settings.kind == "regression":
            return {"value": logits[:, 0]}
        names = tf.constant(self.vocabulary["labels"])
        if self.settings.kind == "multi_label":
            probabilities = tf.sigmoid(logits)
            return {
                "label": tf.where(probabilities >= self.settings.threshold, names, ""),
                "probabilities": probabilities,
            }
        return {
            "label": tf.gather(names, tf.argmax(logits, axis=1)),
            "probabilities": tf.nn.softmax(logits),
        }

    lower_is_better = ("loss", "mse")

    @property
    def main_metric(self) -> str:
        """What early stopping watches unless told otherwise."""
        return {"single_label": "accuracy", "multi_label": "f1_micro", "regression": "pearson"}[
            self.settings.kind
        ]

    def metric_names(self) -> tuple[str, ...]:
        """The names that `metrics` may give; auc_roc is for two classes, once their number is
        known.
        """
        return {
            "regression": ("loss", "mse", "pearson", "spearman"),
            "multi_label": (
                "loss",
                "accuracy",
                "f1_micro",
                "f1_macro",
                "precision_macro",
                "recall_macro",
            ),
            "single_label": (
                "loss",
                "accuracy",
                "f1_macro",
                "precision_macro",
                "recall_macro",
                *(["auc_roc"] if self.classes in (None, 2) else []),
            ),
        }[self.settings.kind]

    def metrics(self, results: Mapping[str, np.ndarray], store: Any) -> dict[str, float]:
        """Metrics over a whole split, every example once and weighing the same; accuracy of several
        labels is of the exact set.

        Args:
            results: logits (n, C) float32.
            store: the split; its column `label` is used.
        """
        logits = results["logits"].astype(np.float64)
        label = np.asarray(store.columns["label"])
        if self.settings.kind == "regression":
            return regression_metrics(logits[:, 0], label.astype(np.float64))
        return class_metrics(logits, label, store.extras, self._threshold)

    @property
    def _threshold(self) -> float | None:
        return self.settings.threshold if self.settings.kind == "multi_label" else None

    def undefined_metrics(self, vocabulary: Mapping[str, Any], store: Any) -> dict[str, str]:
        """Such as auc_roc where a split has one class, and why."""
        label = np.asarray(store.columns["label"])
        if self.settings.kind == "regression":
            return undefined_regression_metrics(label)
        return undefined_class_metrics(label, store.extras, len(vocabulary["labels"]))

    def per_label(
        self, results: Mapping[str, np.ndarray], store: Any
    ) -> dict[str, dict[str, float]]:
        """precision, recall, f1 and support of each label; a regression has none."""
        if self.settings.kind == "regression":
            return {}
        logits = results["logits"].astype(np.float64)
        label = np.asarray(store.columns["label"])
        return class_scores(logits, label, store.extras, self._threshold, self.vocabulary["labels"])

    def decode(
        self, outputs: Mapping[str, np.ndarray], row: int, example: Example | None = None
    ) -> dict[str, Any]:
        """One row of the answers as JSON for --mode=predict; `example` is what was asked."""
        if self.settings.kind == "regression":
            return {"value": float(outputs["value"][row])}
        probabilities = {
            name: float(p)
            for name, p in zip(
                self.vocabulary["labels"], outputs["probabilities"][row], strict=True
            )
        }
        label = outputs["label"][row]
        given = (
            [name.decode() for name in label if name]
            if self.settings.kind == "multi_label"
            else label.decode()
        )
        return {"label": given, "probabilities": probabilities}

    def ambiguous(
        self,
        answers: Mapping[str, np.ndarray],
        results: Mapping[str, Any],
        columns: Mapping[str, Any],
        tolerance: float,
    ) -> dict[str, np.ndarray]:
        """Answer -> (B,) bool: where the label may turn out otherwise although the probabilities
        agree to `tolerance`.
        """
        if self.settings.kind == "regression":
            return {}
        probabilities = answers["probabilities"]
        if self.settings.kind == "multi_label":
            return {
                "label": (np.abs(probabilities - self.settings.threshold) <= tolerance).any(axis=1)
            }
        top = np.sort(probabilities, axis=1)[:, -2:]
        return {"label": top[:, 1] - top[:, 0] <= 2 * tolerance}


def _number(value: Any, where: str) -> float | None:
    """None where there is none: null, empty, nan."""
    if value is None or (
        isinstance(value, str) and value.strip().casefold() in ("", "nan", "null")
    ):
        return None
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        raise DataError(
            f"{where} should be a number, for a regression. Received {shown_value(value)}."
        ) from None
    if not math.isfinite(number):
        raise DataError(
            f"{where} is {number}. Expected a finite number. Remove the row or correct it."
        )
    return number


def known_counts(labels: Sequence[str], counts: Mapping[str, int]) -> dict[str, int]:
    """How often each of the labels occurs, however it is written."""
    spellings, total = Spellings(labels), Counter()
    for name, count in counts.items():
        total[spellings.find(name)[0]] += count
    return {label: total[label] for label in labels}


def class_weights_of(settings: Any, vocabulary: Mapping[str, Any]) -> np.ndarray | None:
    """(C,) float32, what an example of each label weighs; None where all weigh the same."""
    labels = vocabulary["labels"]
    counts = vocabulary["train_counts"]
    if settings is None:
        return None
    if settings == "balanced":
        total = sum(counts.values())
        return np.array(
            [total / (len(labels) * counts[name]) if counts[name] else 0 for name in labels],
            np.float32,
        )
    unknown = sorted(set(settings) - set(labels))
    if unknown:
        raise ConfigError(
            f"head.class_weights: {shown_labels(unknown)}: no such label. The labels:"
            f" {shown_labels(labels)}."
        )
    return np.array([settings.get(name, 1.0) for name in labels], np.float32)
