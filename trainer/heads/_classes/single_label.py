"""head.kind single_label: one label an example."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from trainer.data.ledger import Ledger
from trainer.data.reader import Aligned, Columns, Label, Vocabulary
from trainer.errors import ConfigError, DataError, shown_labels, shown_value
from trainer.files.mapped import blocks, count_numbers
from trainer.heads._classes.columns import (
    first_true,
    note_doubtful,
    number_names,
    unseen_names,
)
from trainer.heads._classes.decision import Decision, decided, probability_of
from trainer.heads._classes.doubts import doubts_of
from trainer.heads._classes.labels import Labels, value_of
from trainer.heads._classes.lists import list_in_text, one_label
from trainer.heads._classes.mentions import Mentions
from trainer.heads._classes.metrics import macro_scores
from trainer.heads._classes.names import as_name, known_counts, learnt_names
from trainer.heads._classes.naming import Naming, refuse_excluded_labels, refuse_several_fields
from trainer.heads._classes.per_label import scores_per_label
from trainer.heads._classes.records import by_name, logit_blocks
from trainer.heads._classes.settings import ClassifierSettings
from trainer.heads._classes.temperature import best_temperature
from trainer.heads.contract import Calibration, Metric, Record, Results, Scorer
from trainer.lazy import tf
from trainer.settings.schema import DataSettings
from trainer.sources import Example

METRICS = (
    Metric("accuracy"),
    Metric("loss", lower_is_better=True),
    Metric("f1_macro"),
    Metric("precision_macro"),
    Metric("recall_macro"),
)

if TYPE_CHECKING:  # which preparation and evaluation alone need
    from trainer.data.split import Split
    from trainer.data.store import TokenStore
OF_TWO_CLASSES = (Metric("auc_roc"),)


@dataclasses.dataclass(frozen=True)
class SingleLabels(Labels):
    """A field that names the label of each example.

    Attributes:
        field: its name.
        naming: who names the labels.
        limit: data.limit, for messages.
    """

    field: str
    naming: Naming
    limit: int | None

    @property
    def given(self) -> Sequence[str] | None:
        """Those that the settings name, if they do."""
        return self.naming.given

    def read(self, example: Example) -> str | None:
        """The name of the label; None where there is no gold label.

        Raises:
            DataError: the field is missing, or holds no label, or several.
        """
        where = f"{example.origin}: field {self.field!r}"
        value = value_of(example, self.field)
        items = list_in_text(value) if isinstance(value, str) else value
        if isinstance(items, (list, tuple)):
            return one_label(items, where)
        return as_name(value, where)

    def learn(
        self, labels: Sequence[Label], names: list[str] | None, origin: Callable[[int], str]
    ) -> dict[str, Any]:
        """The names of the labels, and how often train has each.

        Raises:
            DataError: train has one class only, or none.
        """
        counts = Mentions.of(labels).counts()
        self._require_classes(counts, len(labels), origin)
        found = self.naming.names(counts, names)
        if not counts or not found:
            raise DataError(f"data.train: no example has a label in field {self.field!r}.")
        return {"labels": found, "train_counts": known_counts(found, counts)}

    def _require_classes(
        self, counts: Mapping[str, int], examples: int, origin: Callable[[int], str]
    ) -> None:
        """Raises DataError where all examples have the same label."""
        if len(learnt_names(counts)) != 1:
            return
        advice = ""
        if self.limit:
            advice = (
                f" data.limit takes the first {self.limit:,}: shuffle a file that is sorted by"
                " label."
            )
        raise DataError(
            f"data.train: every one of the {examples:,} examples has the label"
            f" {shown_value(next(iter(counts)))} (first: {origin(0)}). A classifier needs two"
            f" or more. Is --data.label the right field?{advice}"
        )

    def align(self, split: Split, vocabulary: Vocabulary, ledger: Ledger) -> Aligned:
        """`label`, (n,) int32: numbers of labels, also of those that train does not have."""
        mentions = Mentions.of(split.labels)
        numbered = number_names(split, mentions, vocabulary["labels"], self.naming, ledger)
        numbers = split.writer.scratch(np.int32)
        for name, _ in mentions.blocks():
            numbers.extend(numbered.numbers[name])
        label = numbers.mapped()
        extras = numbered.extras()
        counts = _counts(vocabulary, label, extras)

        def first_with(classes: Sequence[int]) -> int:
            has_one = (np.isin(block, classes) for block in blocks(label))
            return int(first_true(has_one))

        note_doubtful(split, counts, vocabulary["train_counts"], ledger, first_with)
        return Aligned({"label": label}, {}, extras)

    def counts(self, vocabulary: Vocabulary, store: TokenStore) -> dict[str, int]:
        """How often each label occurs in a split, also those that train does not have."""
        return _counts(vocabulary, store.columns["label"], store.extras)

    def warnings(self, vocabulary: Vocabulary, splits: Mapping[str, TokenStore]) -> list[str]:
        """Labels that may be misspelt, one class in two spellings, or no class."""
        counts = {split: self.counts(vocabulary, store) for split, store in splits.items()}
        return doubts_of(counts, vocabulary["train_counts"], named=self.given is not None)

    def shown(self, label: Label) -> str:
        """Its name."""
        return str(label)


def _counts(vocabulary: Vocabulary, label: np.ndarray, extras: Columns) -> dict[str, int]:
    names = [*vocabulary["labels"], *unseen_names(extras)]
    return dict(zip(names, count_numbers(label, len(names)).tolist(), strict=True))


def labels_of(settings: ClassifierSettings, data: DataSettings, naming: Naming) -> SingleLabels:
    """Raises ConfigError where the settings are for another kind, or contradict each other.

    See `Kind.labels`.
    """
    refuse_several_fields(settings, data)
    refuse_excluded_labels(settings, data)
    return SingleLabels(str(data.label), naming, data.limit)


@dataclasses.dataclass(frozen=True, eq=False)
class OneOf(Decision):
    """The likeliest of the labels.

    Attributes:
        names: (C,) of the labels.
        smoothing: share of the target that is spread over all labels.
        class_weights: (C,) float32; None: all weigh the same.
        calibrates: whether validation chooses the temperature.
        temperature: by which logits are divided before they are probabilities.
    """

    names: Sequence[str]
    smoothing: float
    class_weights: np.ndarray | None
    calibrates: bool = False
    temperature: float = 1.0

    def weights(self, weight: tf.Tensor, label: tf.Tensor) -> tf.Tensor:
        """What the loss of each example weighs, (E,) float32: as much as its class."""
        if self.class_weights is None:
            return weight
        return weight * tf.gather(tf.constant(self.class_weights), label)

    def losses(self, logits: tf.Tensor, label: tf.Tensor) -> tf.Tensor:
        """The cross-entropy of each example, (E,) float32.

        Args:
            logits: (E, C) float32.
            label: (E,) int32.
        Source: Szegedy et al. 2016 for label smoothing.
        """
        classes = len(self.names)
        gold = tf.one_hot(label, classes)
        target = gold * (1 - self.smoothing) + self.smoothing / classes
        log_shares = tf.nn.log_softmax(logits)
        return -tf.reduce_sum(target * log_shares, axis=1)

    def decide(self, logits: tf.Tensor) -> tf.Tensor:
        """(B, C) float32 logits -> the number of the label, (B,) int64."""
        return tf.argmax(logits, axis=1)

    def answers(self, logits: tf.Tensor) -> dict[str, tf.Tensor]:
        """(B, C) float32 logits -> label (B,) string, probabilities (B, C)."""
        return {
            "label": tf.gather(tf.constant(self.names), self.decide(logits)),
            "probabilities": tf.nn.softmax(logits / self.temperature),
        }

    def calibration(self, results: Results, store: TokenStore) -> Calibration:
        """The temperature by which the gold labels of a split are likeliest.

        Args:
            results: logits (n, C) float32.
            store: the split.
        """
        logits = np.asarray(results["logits"], np.float64)
        gold = np.asarray(store.columns["label"])
        is_known = gold < logits.shape[1]
        if not self.calibrates or not is_known.any():
            return {}
        return {"temperature": best_temperature(logits[is_known], gold[is_known])}

    def calibrated(self, calibration: Calibration) -> OneOf:
        """The same with that temperature."""
        temperature = calibration.get("temperature", self.temperature)
        return dataclasses.replace(self, temperature=temperature)

    def decode(self, answers: Results, row: int) -> dict[str, object]:
        """The label, and the probability of each."""
        return {
            "label": answers["label"][row].decode(),
            "probabilities": probability_of(answers, self.names, row),
        }

    def ambiguous(self, answers: Results, tolerance: float) -> dict[str, np.ndarray]:
        """Where two labels are about as likely, (B,) bool."""
        second, first = np.sort(answers["probabilities"], axis=1)[:, -2:].T
        return {"label": first - second <= 2 * tolerance}


def decision_of(settings: ClassifierSettings, vocabulary: Vocabulary) -> OneOf:
    """Raises ConfigError where head.class_weights names a label that there is not."""
    return OneOf(
        names=vocabulary["labels"],
        smoothing=settings.label_smoothing,
        class_weights=class_weights_of(settings, vocabulary),
        calibrates=settings.calibrate,
    )


def class_weights_of(settings: ClassifierSettings, vocabulary: Vocabulary) -> np.ndarray | None:
    """(C,) float32, what an example of each label weighs; None where all weigh the same."""
    labels = vocabulary["labels"]
    given = settings.class_weights
    if given is None:
        return None
    if given == "balanced":
        return _balanced(labels, vocabulary["train_counts"])
    unknown = sorted(set(given) - set(labels))
    if unknown:
        raise ConfigError(
            f"head.class_weights: {shown_labels(unknown)}: no such label. The labels:"
            f" {shown_labels(labels)}."
        )
    return np.array([given.get(name, 1.0) for name in labels], np.float32)


def _balanced(labels: Sequence[str], counts: Mapping[str, int]) -> np.ndarray:
    """n / (C * n_label); 0 of a label that train does not have."""
    total = sum(counts.values())
    weights = []
    for name in labels:
        share = len(labels) * counts[name]
        weights.append(total / share if share else 0)
    return np.array(weights, np.float32)


@dataclasses.dataclass(frozen=True, eq=False)
class OneOfScorer(Scorer):
    """Counts an example as right where its label is the one decided on.

    Labels of a split that train does not have count as missed.

    Attributes:
        decision: the rule of the graph.
    """

    decision: Decision

    def metrics(self, results: Results, store: TokenStore) -> dict[str, float]:
        """Over a whole split, every example once and weighing the same.

        The loss is the mean over the examples whose label train has.

        Args:
            results: logits (n, C) float32.
            store: the split; its column `label` is used.
        """
        from sklearn.metrics import accuracy_score, roc_auc_score

        label = np.asarray(store.columns["label"])
        predicted = decided(self.decision, results["logits"])
        logits = results["logits"].astype(np.float64)
        accuracy = accuracy_score(label, predicted)
        scores = {
            "loss": _loss(logits / self.decision.temperature, label),
            "accuracy": float(accuracy),
            **macro_scores(label, predicted, len(self._names(store))),
        }
        classes = np.unique(label).tolist()
        if logits.shape[1] == 2 and classes == [0, 1]:
            log_odds = logits[:, 1] - logits[:, 0]  # in the order of the probabilities
            scores["auc_roc"] = float(roc_auc_score(label, log_odds))
        return scores

    def per_label(self, results: Results, store: TokenStore) -> dict[str, dict[str, float]]:
        """precision, recall, f1 and support; labels that train does not have are at the end."""
        names = self._names(store)
        label = np.asarray(store.columns["label"])
        predicted = decided(self.decision, results["logits"])
        return scores_per_label(label, predicted, names)

    def records(self, results: Results, store: TokenStore) -> Iterator[Record]:
        """`gold`, `answer`, its `score`, the `probabilities` of all, and the cross-entropy."""
        from scipy.special import log_softmax

        names = self._names(store)
        known = self.decision.names
        for first, logits in logit_blocks(results["logits"]):
            log_shares = log_softmax(logits / self.decision.temperature, axis=1)
            answers = decided(self.decision, logits)
            golds = store.columns["label"][first : first + len(logits)]
            for gold, answer, log_share in zip(golds, answers, log_shares, strict=True):
                shares = by_name(np.exp(log_share), known)
                yield {
                    "gold": names[gold],
                    "answer": known[answer],
                    "score": shares[known[answer]],
                    "loss": -float(log_share[gold]) if gold < len(known) else None,
                    "probabilities": shares,
                }

    def _names(self, store: TokenStore) -> list[str]:
        """(C + U,) of the labels of train, and of those that the split has besides."""
        return [*self.decision.names, *unseen_names(store.extras)]


def _loss(logits: np.ndarray, label: np.ndarray) -> float:
    """The mean over the examples whose label has logits; 0 where there are none."""
    from scipy.special import log_softmax

    known = np.flatnonzero(label < logits.shape[1])
    if not len(known):
        return 0.0
    log_shares = log_softmax(logits[known], axis=1)
    rows = np.arange(len(known))
    of_gold = log_shares[rows, label[known]]
    return -float(np.mean(of_gold))


def metrics_of(vocabulary: Vocabulary | None) -> tuple[Metric, ...]:
    """auc_roc is of two classes; it may be given where their number is not known yet."""
    may_be_two = vocabulary is None or len(vocabulary["labels"]) == 2
    return (*METRICS, *OF_TWO_CLASSES) if may_be_two else METRICS


def undefined_metrics(vocabulary: Vocabulary, store: TokenStore) -> dict[str, str]:
    """auc_roc, where a split has other labels than two, or one of them alone."""
    classes = len(vocabulary["labels"])
    if classes != 2:
        return {"auc_roc": f"it is of two classes, and train has {classes:,}"}
    if unseen_names(store.extras):
        return {"auc_roc": "it is of two classes, and there are labels that train does not have"}
    if len(np.unique(store.columns["label"])) < 2:
        return {"auc_roc": "all examples have the same label there"}
    return {}
