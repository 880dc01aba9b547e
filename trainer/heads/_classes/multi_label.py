"""head.kind multi_label: any of the labels, or none."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from trainer.data.ledger import Ledger
from trainer.data.reader import Aligned, Columns, Label, Vocabulary
from trainer.errors import ConfigError, DataError, shown_value
from trainer.files.mapped import blocks
from trainer.heads._classes.columns import (
    UNSEEN_GIVEN,
    UNSEEN_NAMES,
    Numbered,
    first_true,
    note_doubtful,
    number_names,
    unseen_names,
)
from trainer.heads._classes.decision import Decision, decided, probability_of
from trainer.heads._classes.doubts import doubts_of
from trainer.heads._classes.labels import Labels, value_of
from trainer.heads._classes.lists import labels_of_columns, several_labels
from trainer.heads._classes.mentions import Mentions
from trainer.heads._classes.metrics import macro_scores
from trainer.heads._classes.names import known_counts
from trainer.heads._classes.naming import Naming, refuse_excluded_labels, refuse_of_one_label
from trainer.heads._classes.per_label import scores_per_label
from trainer.heads._classes.records import by_name, logit_blocks
from trainer.heads._classes.settings import ClassifierSettings
from trainer.heads._classes.vectors import Origin, are_vectors, vectors
from trainer.heads.contract import Metric, Record, Results, Scorer
from trainer.lazy import tf
from trainer.settings.schema import DataSettings
from trainer.sources import Example

if TYPE_CHECKING:  # which preparation and evaluation alone need
    from trainer.data.split import Split
    from trainer.data.store import TokenStore

METRICS = (
    Metric("f1_micro"),
    Metric("loss", lower_is_better=True),
    Metric("accuracy"),
    Metric("f1_macro"),
    Metric("precision_macro"),
    Metric("recall_macro"),
)
OF_LABELS = ("f1_micro", "f1_macro", "recall_macro", "precision_macro")


@dataclasses.dataclass(frozen=True)
class SeveralLabels(Labels):
    """A field that lists the labels of each example, or a field of 0 and 1 for each label.

    Attributes:
        naming: who names the labels.
        separator: between labels, where a field is text.
    """

    naming: Naming
    separator: str

    @property
    def given(self) -> Sequence[str] | None:
        """Those that the settings name, if they do."""
        return self.naming.given

    def read(self, example: Example) -> tuple[str, ...] | None:
        """The names of the labels; None where there is no gold label.

        Raises:
            DataError: a field is missing, or holds no labels.
        """
        fields = self.naming.fields
        if not isinstance(fields, str):
            return labels_of_columns(example, fields)
        where = f"{example.origin}: field {fields!r}"
        return several_labels(value_of(example, fields), self.separator, where)

    def learn(
        self, labels: Sequence[Label], names: list[str] | None, origin: Callable[[int], str]
    ) -> dict[str, Any]:
        """The names of the labels, and how often train has each.

        `vectors` says that train has 0 and 1 for each of them.

        Raises:
            DataError: train has no label.
        """
        mentions = Mentions.of(labels)
        one_field = isinstance(self.naming.fields, str)
        if one_field and are_vectors(mentions, self.given, origin):
            return self._learn_vectors(mentions, names, origin)
        counts = mentions.counts()
        found = self.naming.names(counts, names)
        if not counts or not found:
            raise DataError(f"data.train: no example has a label in field {self.naming.fields!r}.")
        return {"labels": found, "train_counts": known_counts(found, counts)}

    def _learn_vectors(
        self, mentions: Mentions, names: list[str] | None, origin: Origin
    ) -> dict[str, Any]:
        size = mentions.longest
        labels = list(map(str, range(size)))
        if names and len(names) == size:
            labels = list(names)
        if self.given:
            labels = list(self.given)
        counts = np.zeros(size, np.int64)
        for block in vectors(mentions, size, origin):
            counts += block.sum(axis=0, dtype=np.int64)
        train_counts = dict(zip(labels, counts.tolist(), strict=True))
        return {"labels": labels, "train_counts": train_counts, "vectors": True}

    def align(self, split: Split, vocabulary: Vocabulary, ledger: Ledger) -> Aligned:
        """`label`, (n, C) float32 of 0 and 1.

        For labels that train does not have the extra `unseen_given`, (n, U) uint8.
        """
        mentions = Mentions.of(split.labels)
        labels = vocabulary["labels"]
        if vocabulary.get("vectors"):
            label, extras = _vector_columns(split, mentions, len(labels))
        else:
            numbered = number_names(split, mentions, labels, self.naming, ledger)
            label, extras = _named_columns(split, numbered, len(labels))
        counts = _counts(vocabulary, label, extras)

        def first_with(classes: Sequence[int]) -> int:
            return _first_with(classes, label, extras)

        note_doubtful(split, counts, vocabulary["train_counts"], ledger, first_with)
        return Aligned({"label": label}, {}, extras)

    def notes(self, vocabulary: Vocabulary) -> list[str]:
        """Says it where the labels were read as 0 and 1 for each."""
        if not vocabulary.get("vectors"):
            return []
        return [
            f"labels: each example has 0 or 1 for each of {len(vocabulary['labels'])} labels, which"
            " head.labels may name in their order"
        ]

    def counts(self, vocabulary: Vocabulary, store: TokenStore) -> dict[str, int]:
        """How often each label occurs in a split, also those that train does not have."""
        return _counts(vocabulary, store.columns["label"], store.extras)

    def warnings(self, vocabulary: Vocabulary, splits: Mapping[str, TokenStore]) -> list[str]:
        """Labels that may be misspelt, one class in two spellings, or no class."""
        counts = {split: self.counts(vocabulary, store) for split, store in splits.items()}
        return doubts_of(counts, vocabulary["train_counts"], named=self.given is not None)

    def shown(self, label: Label) -> str:
        """Their names."""
        return ", ".join(label)


def _vector_columns(split: Split, mentions: Mentions, size: int) -> tuple[np.ndarray, Columns]:
    """Of labels that are 0 and 1 for each of C: their column, and the extras."""
    label = split.writer.scratch(np.float32, (size,))
    for block in vectors(mentions, size, split.origin):
        label.extend(block)
    return label.mapped(), {UNSEEN_NAMES: np.array([], np.str_)}


def _named_columns(split: Split, numbered: Numbered, classes: int) -> tuple[np.ndarray, Columns]:
    """Of labels that are named: their column, and the extras."""
    unseen = len(numbered.unseen)
    label = split.writer.scratch(np.float32, (classes,))
    unseen_given = split.writer.scratch(np.uint8, (unseen,))
    for given in _given(numbered, classes + unseen):
        label.extend(given[:, :classes])
        unseen_given.extend(given[:, classes:])
    extras = numbered.extras()
    extras[UNSEEN_GIVEN] = unseen_given.mapped()
    return label.mapped(), extras


def _given(numbered: Numbered, size: int) -> Iterator[np.ndarray]:
    """(n, size) bool, which labels each example has, some examples at a time."""
    for name, lengths in numbered.mentions.blocks(size):
        examples = np.arange(len(lengths))
        given = np.zeros((len(lengths), size), bool)
        example = np.repeat(examples, lengths)  # of each mention
        label = numbered.numbers[name]
        given[example, label] = True
        yield given


def _given_columns(label: np.ndarray, extras: Columns) -> list[np.ndarray]:
    """Which labels each example has: of those of train, and of the others."""
    return [label, extras[UNSEEN_GIVEN]] if UNSEEN_GIVEN in extras else [label]


def _counts(vocabulary: Vocabulary, label: np.ndarray, extras: Columns) -> dict[str, int]:
    names = [*vocabulary["labels"], *unseen_names(extras)]
    counts: list[int] = []
    for column in _given_columns(label, extras):
        total = np.zeros(column.shape[1], np.int64)
        for block in blocks(column):
            total += block.sum(axis=0, dtype=np.int64)
        counts += total.tolist()
    return dict(zip(names, counts, strict=True))


def _first_with(classes: Sequence[int], label: np.ndarray, extras: Columns) -> int:
    """The first example that has a label of these numbers."""
    places = []
    start = 0
    for column in _given_columns(label, extras):
        stop = start + column.shape[1]
        own = [number - start for number in classes if start <= number < stop]
        has_one = (_has_any(block[:, own]) for block in blocks(column))
        places.append(first_true(has_one))
        start = stop
    return int(min(places))


def _has_any(given: np.ndarray) -> np.ndarray:
    """(n, C) -> (n,) bool, whether one of the values is not 0."""
    return np.any(given, axis=1)


def labels_of(settings: ClassifierSettings, data: DataSettings, naming: Naming) -> SeveralLabels:
    """Raises ConfigError where the settings are for another kind, or contradict each other.

    See `Kind.labels`.
    """
    refuse_of_one_label(settings)
    if not isinstance(data.label, str):
        _check_fields(settings, data.label, data.exclude_labels)
    refuse_excluded_labels(settings, data)
    return SeveralLabels(naming, settings.label_separator)


def _check_fields(
    settings: ClassifierSettings, fields: Sequence[str], excluded: Sequence[str]
) -> None:
    """Raises ConfigError where a list of fields contradicts what names labels besides."""
    if settings.labels is not None:
        raise ConfigError(
            "head.labels: the fields of data.label name the labels already. Leave head.labels out."
        )
    if excluded:
        raise ConfigError("data.exclude_labels: leave the fields out of data.label instead.")
    if len(set(fields)) < len(fields):
        raise ConfigError(f"data.label: a field is named twice. Received {shown_value(fields)}.")


@dataclasses.dataclass(frozen=True, eq=False)
class AnyOf(Decision):
    """Each of the labels that is likely enough.

    Attributes:
        names: (C,) of the labels.
        smoothing: share of the target that is spread over yes and no.
        threshold: the probability from which a label is given.
    """

    names: Sequence[str]
    smoothing: float
    threshold: float

    def losses(self, logits: tf.Tensor, label: tf.Tensor) -> tf.Tensor:
        """The mean cross-entropy of the labels of each example, (E,) float32.

        Args:
            logits: (E, C) float32.
            label: (E, C) float32 of 0 and 1.
        Source: Szegedy et al. 2016 for label smoothing.
        """
        target = label * (1 - self.smoothing) + self.smoothing / 2
        losses = tf.nn.sigmoid_cross_entropy_with_logits(target, logits)
        return tf.reduce_mean(losses, axis=1)

    def decide(self, logits: tf.Tensor) -> tf.Tensor:
        """(B, C) float32 logits -> whether each label is given, (B, C) bool."""
        return tf.sigmoid(logits) >= self.threshold

    def answers(self, logits: tf.Tensor) -> dict[str, tf.Tensor]:
        """(B, C) float32 logits -> label (B, C) string, "" where not given; probabilities."""
        return {
            "label": tf.where(self.decide(logits), tf.constant(self.names), ""),
            "probabilities": tf.sigmoid(logits),
        }

    def decode(self, answers: Results, row: int) -> dict[str, object]:
        """The labels, and the probability of each."""
        return {
            "label": [name.decode() for name in answers["label"][row] if name],
            "probabilities": probability_of(answers, self.names, row),
        }

    def ambiguous(self, answers: Results, tolerance: float) -> dict[str, np.ndarray]:
        """Where a label is about as likely as the threshold, (B,) bool."""
        distance = np.abs(answers["probabilities"] - self.threshold)
        return {"label": _has_any(distance <= tolerance)}


def decision_of(settings: ClassifierSettings, vocabulary: Vocabulary) -> AnyOf:
    """Over the labels of train."""
    return AnyOf(vocabulary["labels"], settings.label_smoothing, settings.threshold)


@dataclasses.dataclass(frozen=True, eq=False)
class AnyOfScorer(Scorer):
    """Counts an example as right where exactly its labels are given.

    Labels of a split that train does not have count as missed.

    Attributes:
        decision: the rule of the graph.
    """

    decision: Decision

    def metrics(self, results: Results, store: TokenStore) -> dict[str, float]:
        """Over a whole split, every example once and weighing the same.

        The loss is over the labels of train.

        Args:
            results: logits (n, C) float32.
            store: the split; its column `label` is used.
        """
        from sklearn.metrics import accuracy_score, f1_score

        gold, given = self._gold_and_given(results, store)
        f1_micro = f1_score(gold, given, average="micro", zero_division=0)
        accuracy = accuracy_score(gold, given)
        logits = results["logits"].astype(np.float64)
        label = np.asarray(store.columns["label"])
        losses = np.logaddexp(0, logits) - logits * label
        return {
            "loss": float(np.mean(losses)),
            "accuracy": float(accuracy),
            "f1_micro": float(f1_micro),
            **macro_scores(gold, given, gold.shape[1]),
        }

    def per_label(self, results: Results, store: TokenStore) -> dict[str, dict[str, float]]:
        """precision, recall, f1 and support; labels that train does not have are at the end."""
        gold, given = self._gold_and_given(results, store)
        unseen = unseen_names(store.extras)
        names = [*self.decision.names, *unseen]
        return scores_per_label(gold, given, names)

    def records(self, results: Results, store: TokenStore) -> Iterator[Record]:
        """`gold` and `answer`, names each; the `probabilities` of all; the mean cross-entropy."""
        from scipy.special import expit

        names = [*self.decision.names, *unseen_names(store.extras)]
        gold, given = self._gold_and_given(results, store)
        labels = store.columns["label"]  # of those that train has
        for first, logits in logit_blocks(results["logits"]):
            label = labels[first : first + len(logits)]
            losses = np.mean(np.logaddexp(0, logits) - logits * label, axis=1)
            shares = expit(logits)
            for row, (loss, share) in enumerate(zip(losses, shares, strict=True), first):
                yield {
                    "gold": _chosen(names, gold[row]),
                    "answer": _chosen(names, given[row]),
                    "loss": float(loss),
                    "probabilities": by_name(share, self.decision.names),
                }

    def _gold_and_given(self, results: Results, store: TokenStore) -> tuple[np.ndarray, np.ndarray]:
        """(n, C + U) 0 and 1 each, over the labels of train and the split's own."""
        gold = np.asarray(store.columns["label"])
        given = decided(self.decision, results["logits"]).astype(int)
        if UNSEEN_GIVEN not in store.extras:
            return gold, given
        unseen = np.asarray(store.extras[UNSEEN_GIVEN])
        never = np.zeros_like(unseen)
        all_gold = np.concatenate([gold, unseen], axis=1)
        all_given = np.concatenate([given, never], axis=1)
        return all_gold, all_given


def _chosen(names: Sequence[str], is_given: np.ndarray) -> list[str]:
    return [names[number] for number in np.flatnonzero(is_given).tolist()]


def metrics_of(vocabulary: Vocabulary | None) -> tuple[Metric, ...]:
    """The same, whatever the labels are."""
    return METRICS


def undefined_metrics(vocabulary: Vocabulary, store: TokenStore) -> dict[str, str]:
    """The scores of labels, where a split has none."""
    columns = _given_columns(store.columns["label"], store.extras)
    if any(block.any() for column in columns for block in blocks(column)):
        return {}
    return dict.fromkeys(OF_LABELS, "no example has a label there")
