"""Explanations of texts: attributions at the characters of what was asked."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple, TypeAlias

import numpy as np

from trainer.data.batch import Batch, padded
from trainer.data.reader import PlacesTokens
from trainer.errors import ConfigError
from trainer.heads.contract import Explains, Target
from trainer.lazy import tf
from trainer.report.explain.gradients import Attribution, Columns, Gradients
from trainer.run.kept_model import KeptModel

SHUFFLES = 5  # orders of a random ranking
PARTS = 10  # steps of a deletion curve
DIGITS = 6
Texts: TypeAlias = tuple[str, ...]  # of an example: one, a pair, or a question and its context


class Share(NamedTuple):
    """What a token adds to the answer.

    Attributes:
        text: 0 in the first text of an example, 1 in the second.
        start, end: its characters there.
        value: in units of the logit.
    """

    text: int
    start: int
    end: int
    value: float


class Explanation(NamedTuple):
    """Why an answer was given.

    Attributes:
        texts: of the example.
        answer: a label, or the words of an answer; of a number "".
        start, end: the characters of the last text that the answer is about; -1: about all.
        score, baseline: a sum of logits, and that of the example without its words.
        gap: see `Attribution`.
        shares: of the tokens, in their order.
        kept: the score where the first tenth, two tenths, … of the tokens are taken out, those that
            add most first; (PARTS + 1,).
        kept_random: the same in a random order, on average.
    """

    texts: Texts
    answer: str
    start: int
    end: int
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


class Answer(NamedTuple):
    """What is answered to a row.

    Attributes:
        texts: of the example.
        columns: of its row, (1, S) each.
        places: (S, 3) int32, see `PlacesTokens`.
        target: what is explained.
    """

    texts: Texts
    columns: Columns
    places: np.ndarray
    target: Target


def can_explain(kept: KeptModel) -> bool:
    """Whether the head says what its answers are sums of."""
    return isinstance(kept.model.graph, Explains) and isinstance(
        kept.parts.head.reader, PlacesTokens
    )


class Explainer:
    """Explains what one model answers.

    Args:
        kept: the model.
    Raises:
        ConfigError: its head cannot be explained.
    """

    def __init__(self, kept: KeptModel) -> None:
        graph, reader = kept.model.graph, kept.parts.head.reader
        if not isinstance(graph, Explains) or not isinstance(reader, PlacesTokens):
            raise ConfigError(
                f"podtune explain: head {kept.parts.config.head.name} cannot be explained:"
                " classification, prompt, token_classification and question_answering can."
            )
        self._model = kept.model
        self._graph = graph
        self._reader = kept.parts.head.reader
        self._places = reader.places
        self._gradients = Gradients(kept.model)
        self._nothing = self._embedding_of_nothing()

    def _embedding_of_nothing(self) -> np.ndarray:
        """(E,): what a word is replaced by: the mask where there is one, else zeros."""
        table = self._model.backbone.word_embeddings()
        mask_id = self._reader.tokenizer.mask_id
        if mask_id is None:
            return np.zeros(table.shape[1], np.float32)
        return np.asarray(tf.cast(table[mask_id], tf.float32))

    def answers(self, texts: Texts) -> Iterator[Answer]:
        """What the model answers to an example: a label, or each of several, of each window.

        Args:
            texts: of the example, in the order of the head's inputs.
        """
        raw = [tf.constant([text.encode("utf-8", "replace")]) for text in texts]
        columns, _ = self._reader.encode(*raw)
        places = self._places(*raw)
        batch = Batch.one_a_row(padded(columns))
        logits = self._model.logits(batch)
        for target in self._graph.targets(logits, batch, columns, raw):
            row = slice(target.row, target.row + 1)
            of_row = padded({name: column[row] for name, column in columns.items()})
            yield Answer(texts, of_row, places[target.row].numpy(), _as_long(target, of_row))

    def explain(self, answer: Answer) -> Explanation:
        """Why that is answered."""
        columns, target = answer.columns, answer.target
        is_word = answer.places[:, 0] >= 0
        vectors = self._gradients.vectors(columns)
        begin = np.where(is_word[:, None], self._nothing, vectors)
        found = self._gradients.attribution(columns, begin, target.weights)
        shares = [
            Share(int(text), int(start), int(end), round(float(value), DIGITS))
            for (start, end, text), value in zip(answer.places, found.shares, strict=True)
            if start >= 0
        ]
        kept, kept_random = self._deletion(answer, np.flatnonzero(is_word), vectors, found)
        return Explanation(
            texts=answer.texts,
            answer=target.label,
            start=target.start,
            end=target.end,
            score=found.score,
            baseline=found.baseline,
            gap=found.gap,
            shares=tuple(shares),
            kept=kept,
            kept_random=kept_random,
        )

    def attention(self, answer: Answer) -> Attention:
        """What the tokens of a row look at, layer by layer.

        Source: Abnar and Zuidema 2020 for the rollout: half of each token is itself.
        """
        batch = Batch.one_a_row(answer.columns)
        outputs = self._model.backbone(batch.rows.as_inputs(), output_attentions=True)
        layers = [
            np.asarray(tf.cast(each[0], tf.float32), np.float64).mean(axis=0)
            for each in outputs["attentions"]
        ]
        reaches = np.eye(len(layers[0]))
        for layer in layers:
            reaches = (layer + np.eye(len(layer))) / 2 @ reaches
        words = self._reader.tokenizer.words
        tokens = tuple(words[token] for token in batch.rows.token_ids[0].numpy().tolist())
        return Attention(tokens, tuple(layers), reaches[answer.target.place])

    def _deletion(
        self, answer: Answer, words: np.ndarray, vectors: np.ndarray, found: Attribution
    ) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """The score as more and more words are taken out, best first and in random orders.

        Source: Samek et al. 2017, of pixels; DeYoung et al. 2020, of words.
        """
        generator = np.random.default_rng(0)
        orders = [words[np.argsort(-found.shares[words], kind="stable")]]
        orders += [generator.permutation(words) for _ in range(SHUFFLES)]
        curves = []
        for order in orders:
            without = np.repeat(vectors[None], PARTS + 1, axis=0)
            for part in range(1, PARTS + 1):
                without[part, order[: round(len(order) * part / PARTS)]] = self._nothing
            curves.append(self._gradients.scores(answer.columns, without, answer.target.weights))
        return _rounded(curves[0]), _rounded(np.mean(curves[1:], axis=0))


def _as_long(target: Target, columns: Columns) -> Target:
    """The target for its row without padding, where the logits are of tokens."""
    if target.weights.ndim == 1:
        return target
    return target._replace(weights=target.weights[: columns["token_ids"].shape[1]])


def explain(kept: KeptModel, examples: Sequence[Texts]) -> Iterator[Explanation]:
    """Why each example gets its first answer, one after the other; those without any are left out.

    Args:
        kept: a model.
        examples: texts, or pairs of texts.
    Raises:
        ConfigError: the head cannot be explained.
    """
    explainer = Explainer(kept)
    for texts in examples:
        for answer in explainer.answers(texts):
            yield explainer.explain(answer)
            break


def _rounded(values: np.ndarray) -> tuple[float, ...]:
    return tuple(round(float(value), DIGITS) for value in values)
