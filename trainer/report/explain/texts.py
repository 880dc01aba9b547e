"""Explanations of texts: attributions at the characters of what was asked."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import tensorflow as tf

from trainer.data.batch import Batch
from trainer.errors import ConfigError
from trainer.heads._classes.graph import ClassGraph
from trainer.heads._classes.reader import ClassReader
from trainer.heads.classification import TextEncoding
from trainer.report.explain.gradients import Attribution, integrated_gradients, with_vectors
from trainer.run.kept_model import KeptModel
from trainer.text.assemble import assemble

if TYPE_CHECKING:
    from trainer.text.tokenizer import Tokenizer

SHUFFLES = 5  # orders of a random ranking
PARTS = 10  # steps of a deletion curve
DIGITS = 6


class Share(NamedTuple):
    """What a token adds to the answer.

    Attributes:
        text: 0 in the first text of an example, 1 in the second of a pair.
        start, end: its characters there.
        value: in units of the logit.
    """

    text: int
    start: int
    end: int
    value: float


class Explanation(NamedTuple):
    """Why a text got its answer.

    Attributes:
        texts: of the example.
        answer: the label; of a number "".
        score, baseline: the logit, and that of the example without its words.
        gap: see `Attribution`.
        shares: of the tokens, in their order.
        kept: the logit where the first tenth, two tenths, … of the tokens are taken out, those that
            add most first; (PARTS + 1,).
        kept_random: the same in a random order, on average.
    """

    texts: tuple[str, ...]
    answer: str
    score: float
    baseline: float
    gap: float
    shares: tuple[Share, ...]
    kept: tuple[float, ...]
    kept_random: tuple[float, ...]

    def as_json(self) -> dict[str, object]:
        """For explanations.json."""
        return {**self._asdict(), "shares": [share._asdict() for share in self.shares]}


class Attention(NamedTuple):
    """What the tokens of a row look at.

    Attributes:
        tokens: (S,) as they are shown.
        layers: of each layer (S, S) float64, the mean over its heads: row i looks at column j.
        rollout: (S,) how much of each token reaches the one that is decided by.
    """

    tokens: tuple[str, ...]
    layers: tuple[np.ndarray, ...]
    rollout: np.ndarray


def explain(kept: KeptModel, examples: Sequence[tuple[str, ...]]) -> Iterator[Explanation]:
    """Why each example gets its answer, one after the other.

    Args:
        kept: a model with the head classification.
        examples: texts, or pairs of texts.
    Raises:
        ConfigError: the head is another.
    """
    explainer = explainer_of(kept)
    for texts in examples:
        yield explainer.explain(texts)


def explainer_of(kept: KeptModel) -> Explainer:
    """What explains a model. Raises ConfigError where its head is not classification."""
    graph, reader = kept.model.graph, kept.parts.head.reader
    if (
        not isinstance(graph, ClassGraph)
        or not isinstance(reader, ClassReader)
        or not isinstance(reader.encoding, TextEncoding)
    ):
        raise ConfigError(
            f"podtune explain: head {kept.parts.config.head.name} cannot be explained yet:"
            " classification can."
        )
    return Explainer(kept, graph, reader.encoding)


class Explainer:
    """Explains what one model answers.

    Args:
        kept: the model.
        graph: of its head.
        encoding: of its texts.
    """

    def __init__(self, kept: KeptModel, graph: ClassGraph, encoding: TextEncoding) -> None:
        self._model = kept.model
        self._graph = graph
        self._encoding = encoding
        self._names = list(graph.decision.names)
        self._nothing = self._embedding_of_nothing(encoding.tokenizer)

    def _embedding_of_nothing(self, tokenizer: Tokenizer) -> np.ndarray:
        """(E,): what a word is replaced by: the mask where there is one, else zeros."""
        table = self._model.backbone.word_embeddings()
        if tokenizer.mask_id is None:
            return np.zeros(table.shape[1], np.float32)
        return np.asarray(tf.cast(table[tokenizer.mask_id], tf.float32))

    def attention(self, texts: tuple[str, ...]) -> Attention:
        """What the tokens of an example look at, layer by layer.

        Source: Abnar and Zuidema 2020 for the rollout: half of each token is itself.
        """
        batch = self._batch(_raw(texts))
        outputs = self._model.backbone(batch.rows.as_inputs(), output_attentions=True)
        layers = [
            np.asarray(tf.cast(each[0], tf.float32), np.float64).mean(axis=0)
            for each in outputs["attentions"]
        ]
        reaches = np.eye(len(layers[0]))
        for layer in layers:
            reaches = (layer + np.eye(len(layer))) / 2 @ reaches
        words = self._encoding.tokenizer.words
        tokens = tuple(words[token] for token in batch.rows.token_ids[0].numpy().tolist())
        place = int(self._graph.places(batch)[0])
        return Attention(tokens, tuple(layers), reaches[place])

    def _batch(self, raw: Sequence[tf.Tensor]) -> Batch:
        columns, _ = self._encoding.encode(*raw)
        return Batch.one_a_row({name: column.to_tensor() for name, column in columns.items()})

    def explain(self, texts: tuple[str, ...]) -> Explanation:
        """Why an example gets its answer."""
        raw = _raw(texts)
        places = self._places(raw)
        batch = self._batch(raw)
        is_word = places[:, 0] >= 0
        logits = self._model.logits(batch)
        target = int(tf.argmax(logits[0]))
        found = integrated_gradients(self._model, batch, target, is_word, self._nothing)
        shares = [
            Share(int(text), int(start), int(end), round(float(value), DIGITS))
            for (start, end, text), value in zip(places, found.shares, strict=True)
            if start >= 0
        ]
        kept, kept_random = self._deletion(batch, target, is_word, found)
        return Explanation(
            texts=texts,
            answer=self._names[target] if self._names else "",
            score=found.score,
            baseline=found.baseline,
            gap=found.gap,
            shares=tuple(shares),
            kept=kept,
            kept_random=kept_random,
        )

    def _places(self, raw: Sequence[tf.Tensor]) -> np.ndarray:
        """(S, 3) of the row's tokens: start, end, which text; -1 of special ones.

        They go the way of the token ids: the same cuts, the same template.
        """
        tokenizer = self._encoding.tokenizer
        tokens = [tokenizer.tokenize_with_offsets(text) for text in raw]
        starts = [each.ids.with_values(each.starts.values) for each in tokens]
        ends = [each.ids.with_values(each.ends.values) for each in tokens]
        numbers = [tf.ones_like(each.ids) * place for place, each in enumerate(tokens)]
        columns = []
        for column in (starts, ends, numbers):
            assembled, _, _ = assemble(
                column[0],
                column[1] if len(column) > 1 else None,
                seq_len=self._encoding.seq_len,
                overflow=self._encoding.overflow,
                template=tokenizer.template.filled(-1),
            )
            columns.append(assembled.values.numpy())
        return np.stack(columns, axis=1)

    def _deletion(
        self, batch: Batch, target: int, is_word: np.ndarray, found: Attribution
    ) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """The logit as more and more words are taken out, best first and in random orders.

        Source: Samek et al. 2017, of pixels; DeYoung et al. 2020, of words.
        """
        words = np.flatnonzero(is_word)
        orders = [words[np.argsort(-found.shares[words], kind="stable")]]
        generator = np.random.default_rng(0)
        orders += [generator.permutation(words) for _ in range(SHUFFLES)]
        table = self._model.backbone.word_embeddings()
        row = np.asarray(tf.cast(tf.gather(table, batch.rows.token_ids[0]), tf.float32))
        curves = []
        for order in orders:
            vectors = np.repeat(row[None], PARTS + 1, axis=0)
            for part in range(1, PARTS + 1):
                vectors[part, order[: round(len(order) * part / PARTS)]] = self._nothing
            logits = self._model.logits(with_vectors(batch, tf.constant(vectors)))
            curves.append(logits[:, target].numpy().astype(np.float64))
        random = np.mean(curves[1:], axis=0)
        return _rounded(curves[0]), _rounded(random)


def _raw(texts: Sequence[str]) -> list[tf.Tensor]:
    """As the encoding takes them, (1,) string each."""
    return [tf.constant([text.encode("utf-8", "replace")]) for text in texts]


def _rounded(values: np.ndarray) -> tuple[float, ...]:
    return tuple(round(float(value), DIGITS) for value in values)
