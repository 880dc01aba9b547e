"""What language models have in common: documents into rows, every token's loss once, perplexity."""

from __future__ import annotations

import functools
import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Literal

import numpy as np
from pydantic import Field

from trainer.data.batch import Batch
from trainer.data.reader import RowKind
from trainer.errors import ConfigError, DataError
from trainer.heads._plain import Plain
from trainer.lazy import tf
from trainer.settings.schema import DataSettings, HeadSettings
from trainer.sources import Example, require_text


def count_words(text: str) -> int:
    """As white space parts them; an ideograph is one of its own, as Chinese has no spaces."""
    return len(text.split() if text.isascii() else word_pattern().findall(text))


@functools.cache
def word_pattern() -> re.Pattern[str]:
    """What `count_words` counts."""
    from trainer.text.characters import IDEOGRAPHS

    ideographs = "".join(f"{chr(first)}-{chr(stop - 1)}" for first, stop in IDEOGRAPHS)
    return re.compile(rf"[{ideographs}]|[^\s{ideographs}]+")


def ends_document(
    example: np.ndarray,
    labels: Sequence[tuple[bool, int, int]],
    first: int = 0,
    following: int = -1,
) -> np.ndarray:
    """(rows,) bool: the last row of an example that a document ends with.

    Args:
        example: (rows,) ascending, which example each row is of.
        labels: of the examples from `first` on.
        following: the example of the row behind the last.
    """
    ends = np.array([end for end, *_ in labels], bool)
    return (np.r_[example[1:], following] != example) & ends[example - first]


def _find_document_ends(split: Any) -> int:
    """Notes in `split.document_ends` behind which token each document ends, and the last one; how
    many tokens there are.
    """
    last = total = 0
    for splits, example, following in _with_following(split.writer.rows()):
        first = int(example[0])
        labels = split.labels[first : int(example[-1]) + 1]
        ends = np.unique(splits[1:][ends_document(example, labels, first, following)])
        ends = ends[ends > last]  # a document without a token ends where the one before does
        split.document_ends.extend(ends)
        last = int(ends[-1]) if len(ends) else last
        total = int(splits[-1])
    if total > last:
        split.document_ends.extend(np.array([total]))
    return total


def _with_following(
    rows: Iterator[tuple[np.ndarray, dict[str, np.ndarray]]],
) -> Iterator[tuple[np.ndarray, np.ndarray, int]]:
    """Of each block of rows the splits, the examples, and the example of the row behind the last;
    -1: there is none.
    """
    before: tuple[np.ndarray, np.ndarray] | None = None
    for splits, columns in rows:
        if before:
            yield *before, int(columns["example"][0])
        before = splits, columns["example"]
    if before:
        yield *before, -1


def _row_starts(borders: Iterable[np.ndarray], length: int) -> Iterator[np.ndarray]:
    """Where rows of `length` tokens begin, between the beginning, the borders, and the last one."""
    last = 0
    for ends in borders:
        begins = np.r_[last, ends[:-1]]
        counts = -(-(ends - begins) // length)  # rows of each
        within = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
        yield np.repeat(begins, counts) + length * within
        last = int(ends[-1])


class LanguageModelSettings(HeadSettings):
    """What every language model has."""

    documents: Literal["joined", "separate"] = Field(
        "joined",
        description=(
            "joined: end to end in full rows, attention crosses from one to the next; separate: it"
            " stays inside a document"
        ),
    )


class LanguageModel(Plain):
    """The part of a head that is the same for all language models; see trainer/heads/contract.py
    for what each method is for.
    """

    rows = RowKind.RECUT
    overflows = ("window",)  # rows begin and end anywhere
    streams = True
    text_names = ("text",)

    def __init__(self, settings: LanguageModelSettings, data: DataSettings, tokenizer: Any) -> None:
        self.settings = settings
        self.data = data
        self.tokenizer = tokenizer
        self.refuse_dropout()
        if not isinstance(data.text, str):
            raise ConfigError(
                f"data.text: head {settings.name} takes one field. Received {data.text!r}."
            )
        self.overflow_of(data)
        if data.window_overlap is not None:
            raise ConfigError(
                f"data.window_overlap: head {settings.name} has no windows that overlap, as each"
                f" token counts once. Received {data.window_overlap}. Leave it out."
            )
        self.fields = [data.text]

    def values(self, example: Example) -> tuple[str, ...]:
        """The document, or a part of one. Raises DataError where it is missing or no text."""
        return (require_text(example, self.data.text),)

    def label(self, example: Example) -> tuple[bool, int, int]:
        """Whether a document ends here, and how many words and bytes of text this is."""
        text = example.features[self.data.text]
        return example.ends, count_words(text), len(text.encode("utf-8", "replace"))

    def preparation_settings(self) -> dict[str, Any]:
        """What of the settings changes the stored examples."""
        return self.settings.model_dump(include={"name", "documents"})

    def learn(
        self, labels: Sequence[Any], names: list[str] | None, origin: Callable[[int], str]
    ) -> dict[str, Any]:
        """Nothing: the vocabulary is the tokenizer's."""
        return {"labels": []}

    def recut(self, split: Any) -> None:
        """Lets rows begin every seq_len tokens of all, or of each document; notes where documents
        end, as `split.document_ends`.
        """
        split.document_ends = split.writer.scratch(np.int64)
        total = _find_document_ends(split)
        if not total:
            raise DataError(
                f"data.{split.name}: {len(split.labels):,} texts and no token in them. Name the"
                " text field with --data.text."
            )
        borders = (
            split.document_ends.blocks()
            if self.settings.documents == "separate"
            else [np.array([total])]
        )
        split.writer.recut(_row_starts(borders, self.data.seq_len))

    def counts(self, split: Any) -> dict[str, np.ndarray]:
        """Words and bytes of a split, by which its loss is also told."""
        total = np.zeros(2, np.int64)
        for _, words, size in split.labels:
            total += words, size
        return {"text_size": total}

    def proof_samples(self, samples: Sequence[Mapping[str, str]]) -> Sequence[Mapping[str, str]]:
        """The documents' beginnings as they are."""
        return samples

    def prediction_flops(self, config: Any, *, frozen_embeddings: bool) -> float:
        """Of a predicted token: its product with all embeddings, and backward the two for their
        gradients.
        """
        return (
            (2 + 2 * (not frozen_embeddings) + 2) * config.vocabulary_size * config.embedding_size
        )

    def weights(self, batch: Batch) -> dict[str, tf.Tensor]:
        """How many tokens are predicted."""
        return {"loss": tf.reduce_sum(batch.predicted.weight)}

    def losses(self, logits: Any, batch: Batch) -> dict[str, tf.Tensor]:
        """Sum of the losses of the predicted tokens."""
        from trainer.heads._projection import weighted_loss

        target = batch.predicted.target
        return {"loss": weighted_loss(*logits, target, batch.predicted.weight)}

    def results(self, logits: Any, batch: Batch) -> dict[str, tf.Tensor]:
        """Of each example: `loss` (E,), the sum over its predicted tokens; `predicted` (E,), how
        many; `correct` (E,), of how many the target was likeliest.
        """
        from trainer.heads._projection import losses_and_hits

        losses, hits = losses_and_hits(*logits, batch.predicted.target)
        weight = batch.predicted.weight
        slots = tf.shape(batch.examples.row)[0]

        def total(values: tf.Tensor) -> tf.Tensor:
            return tf.math.unsorted_segment_sum(values * weight, batch.predicted.example, slots)

        return {
            "loss": total(losses),
            "predicted": total(tf.ones_like(losses)),
            "correct": total(tf.cast(hits, tf.float32)),
        }

    main_metric = "perplexity"
    lower_is_better = ("loss", "perplexity", "word_perplexity", "bits_per_byte")

    def metric_names(self) -> tuple[str, ...]:
        """The names that `metrics` may give."""
        return ("loss", "perplexity", "accuracy")

    def metrics(self, results: Mapping[str, np.ndarray], store: Any) -> dict[str, float]:
        """Over every predicted token once: mean loss, its exponential, and how often the token was
        the likeliest.
        """
        tokens = float(results["predicted"].sum(dtype=np.float64))
        if not tokens:
            raise DataError(
                f"no token of the {len(store):,} rows to evaluate is predicted, so that there is no"
                " perplexity. Longer texts are needed, a higher data.seq_len, or head.whole_words:"
                " false."
            )
        loss = float(results["loss"].sum(dtype=np.float64)) / tokens
        return {
            "loss": loss,
            "perplexity": math.exp(min(loss, 700)),
            "accuracy": float(results["correct"].sum(dtype=np.float64)) / tokens,
        }
