"""What the tokens that a text has say of the next one: less likely, forbidden, or the last."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import NamedTuple, Protocol

import numpy as np

from trainer.heads._generation.state import NEVER, Mark, Marks, Place
from trainer.lazy import tf

NO_BYTE = -1


class Prompts(NamedTuple):
    """What texts go on from.

    Attributes:
        token_ids: (B, P) int32, 0 behind a prompt's end.
        is_real: (B, P) bool, false behind a prompt's end.
        batch: B, where it is known before the graph runs, else () int32.
        width: P, likewise.
    """

    token_ids: tf.Tensor
    is_real: tf.Tensor
    batch: int | tf.Tensor
    width: int | tf.Tensor


class Rule(Protocol):
    """One rule; its mark is what it notes of each row. Rules inherit the defaults."""

    def begin(self, prompts: Prompts) -> Mark:
        """The mark of each prompt."""
        return ()

    def weigh(self, scores: tf.Tensor, mark: Mark, place: Place) -> tf.Tensor:
        """Changes the scores of the next token, (R, V) float32.

        Args:
            scores: logits, or log-probabilities.
            mark: of the rows.
            place: where the token goes.
        """
        return scores

    def note(self, mark: Mark, token: tf.Tensor, place: Place) -> Mark:
        """The marks with one more token.

        Args:
            mark: of the rows.
            token: (R,) int32.
            place: where the token goes.
        """
        return mark

    def ends(self, mark: Mark, token: tf.Tensor, place: Place) -> tf.Tensor:
        """(R,) bool, the texts that end with a token.

        Args:
            mark: of the rows, without the token.
            token: (R,) int32.
            place: where the token goes.
        """
        return tf.zeros_like(token, tf.bool)


def weighed(rules: Sequence[Rule], scores: tf.Tensor, marks: Marks, place: Place) -> tf.Tensor:
    """The scores of the next token, (R, V) float32, by all rules.

    Args:
        rules: in their order.
        scores: logits, or log-probabilities.
        marks: of the rules.
        place: where the token goes.
    """
    for rule, mark in zip(rules, marks, strict=True):
        scores = rule.weigh(scores, mark, place)
    return scores


def noted(
    rules: Sequence[Rule], marks: Marks, token: tf.Tensor, place: Place
) -> tuple[Marks, tf.Tensor]:
    """The marks with one more token, and (R,) bool, which texts end with it.

    Args:
        rules: in their order.
        marks: of the rules.
        token: (R,) int32.
        place: where the token goes.
    """
    ended = tf.zeros_like(token, tf.bool)
    after = []
    for rule, mark in zip(rules, marks, strict=True):
        ended |= rule.ends(mark, token, place)
        after.append(rule.note(mark, token, place))
    return tuple(after), ended


@dataclasses.dataclass(frozen=True)
class RepetitionPenalty(Rule):
    """Tokens of the prompt and the text are less likely; the mark is (R, V) bool, which those are.

    Attributes:
        penalty: above 1, by which their scores are divided.
        words: V.
    """

    penalty: float
    words: int

    def begin(self, prompts: Prompts) -> Mark:
        """See `Rule`."""
        token = tf.reshape(prompts.token_ids, [-1])
        is_real = tf.reshape(prompts.is_real, [-1])
        rows = tf.range(prompts.batch)
        row = tf.repeat(rows, prompts.width)
        return _marked(row, token, is_real, [prompts.batch, self.words])

    def weigh(self, scores: tf.Tensor, mark: Mark, place: Place) -> tf.Tensor:
        """See `Rule`."""
        less_likely = tf.where(
            scores < 0,
            scores * self.penalty,
            scores / self.penalty,
        )
        return tf.where(mark, less_likely, scores)

    def note(self, mark: Mark, token: tf.Tensor, place: Place) -> Mark:
        """See `Rule`."""
        is_token = tf.one_hot(
            token,
            self.words,
            on_value=True,
            off_value=False,
        )
        return mark | is_token


@dataclasses.dataclass(frozen=True)
class NoRepeatedTokens(Rule):
    """No n tokens in a row come twice; the mark is (R, P + M + n) int32, all tokens side by side.

    Attributes:
        size: n.
        max_new_tokens: M.
    """

    size: int
    max_new_tokens: int

    def begin(self, prompts: Prompts) -> Mark:
        """See `Rule`."""
        room = self.max_new_tokens + self.size
        return tf.pad(prompts.token_ids, [[0, 0], [0, room]])

    def weigh(self, scores: tf.Tensor, mark: Mark, place: Place) -> tf.Tensor:
        """See `Rule`."""
        words = scores.shape[-1]
        repeats = self._repeating(mark, place, words)
        return tf.where(repeats, NEVER, scores)

    def note(self, mark: Mark, token: tf.Tensor, place: Place) -> Mark:
        """See `Rule`."""
        here = place.lengths + place.step
        slots = tf.range(tf.shape(mark)[1])
        is_here = slots == here[:, None]
        return tf.where(is_here, token[:, None], mark)

    def _repeating(self, history: tf.Tensor, place: Place, words: int) -> tf.Tensor:
        """(R, V) bool: tokens that would end n tokens which prompt and text already have."""
        inner = self.size - 1
        rows, width = tf.unstack(tf.shape(history))
        starts = width - inner
        written = place.lengths + place.step
        length = written[:, None]
        last = tf.maximum(length - inner + tf.range(inner), 0)  # (R, n - 1)
        before = tf.gather(history, last, batch_dims=1)
        stops = tf.range(starts) + self.size
        is_repeated = (stops <= length) & (length >= self.size)
        for offset in range(inner):
            there = history[:, offset : starts + offset]
            is_repeated &= there == before[:, offset : offset + 1]
        next_token = history[:, inner : starts + inner]
        row = tf.repeat(tf.range(rows), starts)
        return _marked(
            row,
            tf.reshape(next_token, [-1]),
            tf.reshape(is_repeated, [-1]),
            [rows, words],
        )


@dataclasses.dataclass(frozen=True)
class EndToken(Rule):
    """A token that ends a text, though not too early.

    Attributes:
        eos_id: the token.
        min_new_tokens: before it.
    """

    eos_id: int
    min_new_tokens: int

    def weigh(self, scores: tf.Tensor, mark: Mark, place: Place) -> tf.Tensor:
        """See `Rule`."""
        if not self.min_new_tokens:
            return scores
        is_end = tf.range(scores.shape[-1]) == self.eos_id
        is_too_early = is_end & (place.step < self.min_new_tokens)
        return tf.where(is_too_early, NEVER, scores)

    def ends(self, mark: Mark, token: tf.Tensor, place: Place) -> tf.Tensor:
        """See `Rule`."""
        return token == self.eos_id


@dataclasses.dataclass(frozen=True, eq=False)
class StopTexts(Rule):
    """Texts that end one, also across tokens; the mark is (R, T) int32, the last bytes.

    Attributes:
        stops: (bytes,) int32 each; T of the longest.
        opening: what a text may begin with, a byte at most, in which no stop is looked for.
        token_bytes: (V, bytes) int32, of each token, then NO_BYTE.
        widths: (V,) int32, how many bytes each token has.
    """

    stops: tuple[np.ndarray, ...]
    opening: bytes
    token_bytes: tf.Tensor
    widths: tf.Tensor

    @classmethod
    def of(
        cls, stop: Sequence[bytes], opening: bytes, token_bytes: Sequence[bytes], words: int
    ) -> StopTexts:
        """Makes the tables, in the graph that is being traced.

        Args:
            stop: texts that end one.
            opening: see the class.
            token_bytes: of each token; embeddings to spare have none.
            words: V.
        """
        widest = max(map(len, token_bytes))
        table = np.full((words, widest), NO_BYTE, np.int32)
        widths = np.zeros(words, np.int32)
        for token, content in enumerate(token_bytes):
            width = len(content)
            widths[token] = width
            table[token, :width] = _numbers(content)
        return cls(
            stops=tuple(map(_numbers, stop)),
            opening=opening,
            token_bytes=tf.constant(table),
            widths=tf.constant(widths),
        )

    def begin(self, prompts: Prompts) -> Mark:
        """See `Rule`."""
        longest = max(map(len, self.stops))
        return tf.fill([prompts.batch, longest], NO_BYTE)

    def note(self, mark: Mark, token: tf.Tensor, place: Place) -> Mark:
        """See `Rule`."""
        together = self._together(mark, token, place)
        added = tf.gather(self.widths, token)
        last = added[:, None] + tf.range(mark.shape[1])
        return tf.gather(together, last, batch_dims=1)

    def ends(self, mark: Mark, token: tf.Tensor, place: Place) -> tf.Tensor:
        """See `Rule`."""
        together = self._together(mark, token, place)
        hit = tf.zeros_like(token, tf.bool)
        for stop in self.stops:
            width = len(stop)
            starts = np.arange(together.shape[1] - width + 1)
            places = starts[:, None] + np.arange(width)
            parts = tf.gather(together, places, axis=1)
            is_stop = tf.reduce_all(parts == stop, axis=2)
            hit |= tf.reduce_any(is_stop, axis=1)
        return hit

    def _together(self, tail: tf.Tensor, token: tf.Tensor, place: Place) -> tf.Tensor:
        """The last bytes and those of the token; the opening of the first token is none."""
        added = tf.gather(self.token_bytes, token)
        if self.opening:
            first, others = added[:, :1], added[:, 1:]
            opens = (place.step == 0) & (first == self.opening[0])
            first = tf.where(opens, NO_BYTE, first)
            added = tf.concat([first, others], axis=1)
        return tf.concat([tail, added], axis=1)


def _marked(
    row: tf.Tensor, token: tf.Tensor, is_marked: tf.Tensor, shape: list[int | tf.Tensor]
) -> tf.Tensor:
    """(R, V) bool, of pairs of a row and a token, (n,) each, those that are marked."""
    places = tf.stack([row, token], axis=1)
    times = tf.scatter_nd(places, tf.cast(is_marked, tf.int32), shape)
    return times > 0


def _numbers(text: bytes) -> np.ndarray:
    """(bytes,) int32."""
    content = np.frombuffer(text, np.uint8)
    return content.astype(np.int32)
