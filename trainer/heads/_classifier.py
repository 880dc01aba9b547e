"""Classification as far as no layer is concerned: labels, their loss, metrics and answers. Shared by the heads that classify."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import Field

from trainer.config import DataSettings, HeadSettings
from trainer.errors import ConfigError, DataError
from trainer.heads._per_label import scores_per_label
from trainer.heads._plain import Plain
from trainer.lazy import tf
from trainer.sources import Example, require_field, require_text

Labels = Annotated[list[str], Field(min_length=1)]
SHOWN_LABELS = 30  # in a message


class ClassifierSettings(HeadSettings):
    """What every head that classifies has."""

    kind: Literal["single_label", "multi_label", "regression"] = Field("single_label", description="one of the labels, any of them, or a number")
    labels: Labels | None = Field(None, description="all labels, in order; null: those of train, sorted")
    label_separator: str = Field("|", min_length=1, description="multi_label: between labels where the field is text, not a list")
    class_weights: Literal["balanced"] | dict[str, Annotated[float, Field(gt=0)]] | None = Field(
        None, description="single_label: weight of each label's examples in the loss; balanced: n / (C * n_label)")
    label_smoothing: Annotated[float, Field(ge=0, lt=1)] = Field(0.0, description="share of the target spread over all labels")
    threshold: Annotated[float, Field(gt=0, lt=1)] = Field(0.5, description="multi_label: probability from which a label is given")


class Classifier(Plain):
    """See trainer/heads/__init__.py for what each method is for."""

    def __init__(self, settings: ClassifierSettings, data: DataSettings, tokenizer: Any) -> None:
        self.settings, self.data, self.tokenizer = settings, data, tokenizer
        self.fields = [data.text] if isinstance(data.text, str) else list(data.text)
        self.classes: int | None = None  # known when built
        self.text_names = ("text", "text_pair")[:len(self.fields)]
        if settings.kind != "single_label" and settings.class_weights is not None:
            raise ConfigError(f"head.class_weights: only for head.kind single_label. Received kind {settings.kind}.")
        if settings.kind == "regression" and settings.labels is not None:
            raise ConfigError("head.labels: a regression has none. Remove head.labels, or set head.kind.")

    # --- examples -------------------------------------------------------------------------------------------------

    def texts(self, example: Example) -> tuple[str, ...]:
        """The raw text, or the two of a pair. Raises DataError where a field is missing or no text."""
        return tuple(require_text(example, field) for field in self.fields)

    def label(self, example: Example) -> Any:
        """The raw label: a name, a tuple of names, or a number. Raises DataError where it is missing or NaN."""
        value = require_field(example, self.data.label, "data.label")
        where = f"{example.origin}: field {self.data.label!r}"
        if self.settings.kind == "regression":
            return _number(value, where)
        if self.settings.kind == "multi_label":
            if value == "":
                return ()  # no label; a missing value is a mistake
            parts = value if isinstance(value, (list, tuple)) else [part.strip() for part in str(_name(value, where)).split(self.settings.label_separator)]
            return tuple(_name(part, where) for part in parts if part != "")
        if isinstance(value, (list, tuple)):
            raise DataError(f"{where} has several labels: {value!r}. For several labels an example set --head.kind=multi_label.")
        return _name(value, where)

    def preparation_settings(self) -> dict[str, Any]:
        """What of the settings changes the stored examples."""
        return self.settings.model_dump(include={"name", "kind", "labels", "label_separator"})

    def learn(self, labels: Sequence[Any], names: list[str] | None, origin: Callable[[int], str]) -> dict[str, Any]:
        """The label names, from the settings, the source, or train.

        Raises:
            DataError: train has one class only.
        """
        if self.settings.kind == "regression":
            return {"labels": [], "train_counts": {}}
        counts = Counter(name for label in labels for name in (label if isinstance(label, tuple) else (label,)))
        found = self.settings.labels or names or _sorted_names(counts)
        if self.settings.kind == "single_label":
            self.require_classes(counts, labels, origin)
        if not found:
            raise DataError(f"data.train: no example has a label in field {self.data.label!r}.")
        return {"labels": list(found), "train_counts": {name: counts.get(name, 0) for name in found}}

    def require_classes(self, counts: Mapping[str, int], labels: Sequence[Any], origin: Callable[[int], str]) -> None:
        """Raises DataError where all examples have the same label."""
        if len(counts) == 1:
            advice = f" data.limit takes the first {self.data.limit:,}: shuffle a file that is sorted by label." if self.data.limit else ""
            raise DataError(f"data.train: every one of the {len(labels):,} examples has the label {next(iter(counts))!r} (first: {origin(0)}). "
                            f"A classifier needs two or more. Is --data.label the right field?{advice}")

    def label_columns(self, labels: Sequence[Any], vocabulary: Mapping[str, Any], origin: Callable[[int], str], split: str) -> dict[str, np.ndarray]:
        """The labels of a split as numbers: (n,) int32, (n, C) float32 or (n,) float32.

        Raises:
            DataError: a label that is not in the list, with its first place.
        """
        if self.settings.kind == "regression":
            return {"label": np.array(labels, np.float32)}
        ids = {name: index for index, name in enumerate(vocabulary["labels"])}
        for index, label in enumerate(labels):
            for name in label if isinstance(label, tuple) else (label,):
                if name not in ids:
                    source = "head.labels" if self.settings.labels else "train"
                    shown = ", ".join(list(ids)[:SHOWN_LABELS]) + (", …" if len(ids) > SHOWN_LABELS else "")
                    raise DataError(f"{origin(index)}: label {name!r} of {split} is not among the labels of {source}: {shown}. "
                                    "Correct it, or list every label with --head.labels.")
        if self.settings.kind == "single_label":
            return {"label": np.fromiter((ids[label] for label in labels), np.int32, len(labels))}
        rows = np.zeros((len(labels), len(ids)), np.float32)
        for row, label in zip(rows, labels, strict=True):
            row[[ids[name] for name in label]] = 1
        return {"label": rows}

    def loss(self, logits: tf.Tensor, batch: Mapping[str, tf.Tensor]) -> tuple[tf.Tensor, tf.Tensor]:
        """Sum over the examples of weight x loss, and the sum of the weights; the caller divides by the step's global weight.

        Source: Szegedy et al. 2016 for label smoothing.
        """
        label, weight, smoothing = batch["label"], batch["sample_weight"], self.settings.label_smoothing
        if self.settings.kind == "regression":
            losses = tf.square(logits[:, 0] - label)
        elif self.settings.kind == "multi_label":
            target = label * (1 - smoothing) + smoothing / 2
            losses = tf.reduce_mean(tf.nn.sigmoid_cross_entropy_with_logits(target, logits), axis=1)
        else:
            if self.weights is not None:
                weight *= tf.gather(tf.constant(self.weights), label)
            target = tf.one_hot(label, self.classes) * (1 - smoothing) + smoothing / self.classes
            losses = -tf.reduce_sum(target * tf.nn.log_softmax(logits), axis=1)
        return tf.reduce_sum(losses * weight), tf.reduce_sum(weight)

    def results(self, logits: tf.Tensor, batch: Mapping[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        """The logits: all that metrics and answers need."""
        return {"logits": logits}

    def answers(self, results: Mapping[str, tf.Tensor], columns: Mapping[str, tf.RaggedTensor], texts: Sequence[tf.Tensor]) -> dict[str, tf.Tensor]:
        """What the SavedModel answers: label (B,) string and probabilities (B, C); several labels: (B, C) string, "" where not given."""
        return self.token_answers(results)

    def token_answers(self, results: Mapping[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        """The same, to token ids."""
        logits = results["logits"]
        if self.settings.kind == "regression":
            return {"value": logits[:, 0]}
        names = tf.constant(self.vocabulary["labels"])
        if self.settings.kind == "multi_label":
            probabilities = tf.sigmoid(logits)
            return {"label": tf.where(probabilities >= self.settings.threshold, names, ""), "probabilities": probabilities}
        return {"label": tf.gather(names, tf.argmax(logits, axis=1)), "probabilities": tf.nn.softmax(logits)}

    # --- results --------------------------------------------------------------------------------------------------

    lower_is_better = ("loss", "mse")

    @property
    def main_metric(self) -> str:
        """What early stopping watches unless told otherwise."""
        return {"single_label": "accuracy", "multi_label": "f1_micro", "regression": "pearson"}[self.settings.kind]

    def metric_names(self) -> tuple[str, ...]:
        """The names that `metrics` may give; auc_roc is for two classes, once their number is known."""
        return {"regression": ("loss", "mse", "pearson", "spearman"),
                "multi_label": ("loss", "accuracy", "f1_micro", "f1_macro", "precision_macro", "recall_macro"),
                "single_label": ("loss", "accuracy", "f1_macro", "precision_macro", "recall_macro", *(["auc_roc"] if self.classes in (None, 2) else []))
                }[self.settings.kind]

    def metrics(self, results: Mapping[str, np.ndarray], store: Any) -> dict[str, float]:
        """Metrics over a whole split, every example once and weighing the same; accuracy of several labels is of the exact set.

        Args:
            results: logits (n, C) float32.
            store: the split; its column `label` is used.
        """
        logits, label = results["logits"], np.asarray(store.columns["label"])
        if self.settings.kind == "regression":
            return _regression_metrics(logits[:, 0].astype(np.float64), label.astype(np.float64))
        return _label_metrics(logits.astype(np.float64), label, self.settings)

    def per_label(self, results: Mapping[str, np.ndarray], store: Any) -> dict[str, dict[str, float]]:
        """precision, recall, f1 and support of each label; a regression has none."""
        if self.settings.kind == "regression":
            return {}
        labels = self.vocabulary["labels"]
        predicted = _predicted(results["logits"].astype(np.float64), self.settings)
        return scores_per_label(np.asarray(store.columns["label"]), predicted, labels, list(range(len(labels))))

    def decode(self, outputs: Mapping[str, np.ndarray], row: int, example: Example | None = None) -> dict[str, Any]:
        """One row of the answers as JSON for --mode=predict; `example` is what was asked."""
        if self.settings.kind == "regression":
            return {"value": float(outputs["value"][row])}
        probabilities = {name: float(p) for name, p in zip(self.vocabulary["labels"], outputs["probabilities"][row], strict=True)}
        label = outputs["label"][row]
        given = [name.decode() for name in label if name] if self.settings.kind == "multi_label" else label.decode()
        return {"label": given, "probabilities": probabilities}

    def ambiguous(self, answers: Mapping[str, np.ndarray], results: Mapping[str, Any], columns: Mapping[str, Any],
                  tolerance: float) -> dict[str, np.ndarray]:
        """Answer -> (B,) bool: where the label may turn out otherwise although the probabilities agree to `tolerance`."""
        if self.settings.kind == "regression":
            return {}
        probabilities = answers["probabilities"]
        if self.settings.kind == "multi_label":
            return {"label": (np.abs(probabilities - self.settings.threshold) <= tolerance).any(axis=1)}
        top = np.sort(probabilities, axis=1)[:, -2:]
        return {"label": top[:, 1] - top[:, 0] <= 2 * tolerance}


def _name(value: Any, where: str) -> str:
    """A label as text: 1, 1.0, True and "1" are what a person would write."""
    if isinstance(value, float) and math.isnan(value):
        raise DataError(f"{where} is NaN. Expected a label. Remove the row or correct it.")
    if value is None or value == "":
        raise DataError(f"{where} is empty. Expected a label. Remove the row or correct it.")
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    if not isinstance(value, (str, int, float)):
        raise DataError(f"{where} should be a label. Received {value!r} ({type(value).__name__}).")
    return str(value)


def _number(value: Any, where: str) -> float:
    try:
        number = float(value)
    except (TypeError, ValueError):
        raise DataError(f"{where} should be a number, for a regression. Received {value!r}.") from None
    if not math.isfinite(number):
        raise DataError(f"{where} is {number}. Expected a finite number. Remove the row or correct it.")
    return number


def _sorted_names(counts: Mapping[str, int]) -> list[str]:
    """Numbers by value, everything else by code point."""
    if all(name.removeprefix("-").isdecimal() for name in counts):
        return sorted(counts, key=lambda name: (int(name), name))
    return sorted(counts)


def class_weights_of(settings: Any, vocabulary: Mapping[str, Any]) -> np.ndarray | None:
    """(C,) float32, what an example of each label weighs; None where all weigh the same."""
    labels, counts = vocabulary["labels"], vocabulary["train_counts"]
    if settings is None:
        return None
    if settings == "balanced":
        total = sum(counts.values())
        return np.array([total / (len(labels) * counts[name]) if counts[name] else 0 for name in labels], np.float32)
    unknown = sorted(set(settings) - set(labels))
    if unknown:
        raise ConfigError(f"head.class_weights: {', '.join(unknown)}: no such label. The labels: {', '.join(labels[:SHOWN_LABELS])}.")
    return np.array([settings.get(name, 1.0) for name in labels], np.float32)


def _regression_metrics(value: np.ndarray, label: np.ndarray) -> dict[str, float]:
    from scipy import stats

    mse = float(np.mean((value - label) ** 2))
    varied = len(value) > 1 and np.ptp(value) > 0 and np.ptp(label) > 0  # else a correlation is undefined
    return {"loss": mse, "mse": mse,
            "pearson": float(stats.pearsonr(value, label).statistic) if varied else 0.0,
            "spearman": float(stats.spearmanr(value, label).statistic) if varied else 0.0}


def _predicted(logits: np.ndarray, settings: ClassifierSettings) -> np.ndarray:
    """(n,) the class of each example, or (n, C) 0 and 1 for several."""
    from scipy.special import expit

    return (expit(logits) >= settings.threshold).astype(int) if settings.kind == "multi_label" else logits.argmax(axis=1)


def _label_metrics(logits: np.ndarray, label: np.ndarray, settings: ClassifierSettings) -> dict[str, float]:
    from scipy.special import log_softmax, softmax
    from sklearn import metrics

    classes, predicted = logits.shape[1], _predicted(logits, settings)
    if settings.kind == "multi_label":
        loss = float(np.mean(np.logaddexp(0, logits) - logits * label))
    else:
        loss = float(-np.mean(log_softmax(logits, axis=1)[np.arange(len(label)), label]))
    values = {"loss": loss, "accuracy": float(metrics.accuracy_score(label, predicted))}
    if settings.kind == "multi_label":
        values["f1_micro"] = float(metrics.f1_score(label, predicted, average="micro", zero_division=0))
    scores = metrics.precision_recall_fscore_support(label, predicted, labels=range(classes), average="macro", zero_division=0)
    values |= dict(zip(("precision_macro", "recall_macro", "f1_macro"), map(float, scores[:3]), strict=True))
    if settings.kind == "single_label" and classes == 2 and len(np.unique(label)) == 2:
        values["auc_roc"] = float(metrics.roc_auc_score(label, softmax(logits, axis=1)[:, 1]))
    return values
