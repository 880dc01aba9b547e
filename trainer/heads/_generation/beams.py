"""Several texts of each prompt that are followed at once."""

from __future__ import annotations

import dataclasses
from typing import Literal, NamedTuple

from trainer.heads._generation.rules import Rule, noted, weighed
from trainer.heads._generation.samplers import Sampler
from trainer.heads._generation.state import NEVER, BeamState, Marks, Place, State, at_step
from trainer.lazy import tf


class _Candidates(NamedTuple):
    """The best 2 K ways to go on, of which K do not end at least: only one token ends a text.

    Attributes:
        score: (B, 2K) float32.
        row: (B, 2K) int32, which of the R rows goes on.
        token: (B, 2K) int32.
        tokens: (B, 2K, M) int32, all of the text.
        marks: of the rules, (B * 2K, …).
        ended: (B, 2K) bool.
    """

    score: tf.Tensor
    row: tf.Tensor
    token: tf.Tensor
    tokens: tf.Tensor
    marks: Marks
    ended: tf.Tensor


@dataclasses.dataclass(frozen=True)
class Beams(Sampler):
    """Every row's beams by one token; those that end leave their place to the next best.

    Attributes:
        rules: see `Sampler`.
        texts: K, followed for each prompt.
        max_new_tokens: M.
        pad_id: behind the end.
        length_penalty: to what power of its length a text's score is divided by.
        early_stopping: see the settings.

    Source: the algorithm of Hugging Face's generate.
    """

    rules: tuple[Rule, ...]
    texts: int
    max_new_tokens: int
    pad_id: int
    length_penalty: float = 1.0
    early_stopping: bool | Literal["never"] = False

    def begin(self, finished: tf.Tensor) -> BeamState:
        """One beam that goes on; the others begin when there are several tokens to go on with."""
        batch = finished.shape[0] if finished.shape[0] is not None else tf.shape(finished)[0]
        tokens = tf.fill([batch, self.texts, self.max_new_tokens], self.pad_id)
        others = [NEVER] * (self.texts - 1)
        return BeamState(
            score=tf.tile([[0.0, *others]], [batch, 1]),
            tokens=tokens,
            best_score=tf.fill([batch, self.texts], NEVER),
            best=tokens,
            has_ended=tf.repeat(finished[:, None], self.texts, axis=1),
        )

    def choose(self, logits: tf.Tensor, state: State, seed: tf.Tensor) -> tuple[tf.Tensor, State]:
        """See `Sampler`."""
        before = state.kept
        assert isinstance(before, BeamState)  # as `begin` made it
        candidates = self._candidates(logits, state, before)
        kept = self._with_ended(candidates, state, before)
        goes_on = candidates.score + tf.where(candidates.ended, NEVER, 0.0)
        score, chosen = tf.math.top_k(goes_on, self.texts)  # (B, K)
        tokens = tf.gather(candidates.tokens, chosen, batch_dims=1)
        kept = kept._replace(score=score, tokens=tokens)
        row = _flat(tf.gather(candidates.row, chosen, batch_dims=1))
        place = _flat(_row_of(chosen, 2 * self.texts))
        token = _flat(tf.gather(candidates.token, chosen, batch_dims=1))
        after = state._replace(
            hidden=tf.gather(state.hidden, row),
            cache=tuple(tf.gather(part, row) for part in state.cache),
            marks=_taken(candidates.marks, place),
            tokens=kept.best[:, 0],
            score=kept.best_score[:, 0],
            finished=state.finished | self._is_final(kept, state.step + 1),
            kept=kept,
        )
        return token, after

    def _candidates(self, logits: tf.Tensor, state: State, kept: BeamState) -> _Candidates:
        log_probabilities = tf.nn.log_softmax(logits)
        gain = weighed(self.rules, log_probabilities, state.marks, state.place)
        batch, words = tf.shape(kept.score)[0], gain.shape[-1]
        scores = tf.reshape(gain, [batch, self.texts, words]) + kept.score[:, :, None]
        flat_scores = tf.reshape(scores, [batch, self.texts * words])
        score, choice = tf.math.top_k(flat_scores, 2 * self.texts)
        beam, token = choice // words, choice % words
        row = _row_of(beam, self.texts)
        flat_row = _flat(row)
        place = Place(tf.gather(state.lengths, flat_row), state.step)
        marks, ended = noted(self.rules, _taken(state.marks, flat_row), _flat(token), place)
        is_full = state.step + 1 == self.max_new_tokens
        before = tf.gather(kept.tokens, beam, batch_dims=1)
        return _Candidates(
            score=score,
            row=row,
            token=token,
            tokens=at_step(before, token, state.step),
            marks=marks,
            ended=tf.reshape(ended, [batch, -1]) | is_full,
        )

    def _with_ended(self, candidates: _Candidates, state: State, kept: BeamState) -> BeamState:
        """The best ended texts so far, with those of the first K candidates that just ended."""
        is_among_first = tf.range(2 * self.texts) < self.texts
        is_taken = candidates.ended & is_among_first & ~state.finished[:, None]
        length = tf.cast(state.step + 1, tf.float32) ** self.length_penalty
        score = tf.where(is_taken, candidates.score / length, NEVER)
        all_scores = tf.concat([kept.best_score, score], axis=1)
        best_score, chosen = tf.math.top_k(all_scores, self.texts)
        best = tf.concat([kept.best, candidates.tokens], axis=1)
        has_ended = tf.concat([kept.has_ended, is_taken], axis=1)
        return kept._replace(
            best_score=best_score,
            best=tf.gather(best, chosen, batch_dims=1),
            has_ended=tf.gather(has_ended, chosen, batch_dims=1),
        )

    def _is_final(self, kept: BeamState, step: tf.Tensor) -> tf.Tensor:
        """(B,) bool: whether no beam that goes on may be better than the worst ended text."""
        counts_longest = self.early_stopping == "never" and self.length_penalty > 0
        length = tf.cast(self.max_new_tokens if counts_longest else step, tf.float32)
        best = kept.score[:, :1] / length**self.length_penalty
        least = tf.reduce_min(kept.best_score, axis=1, keepdims=True)
        worst = tf.where(kept.has_ended, least, NEVER)
        is_final = ~tf.reduce_any(best > worst, axis=1)
        if self.early_stopping is True:
            is_final |= tf.reduce_all(kept.has_ended, axis=1)
        return is_final


def _row_of(number: tf.Tensor, each: int) -> tf.Tensor:
    """(B, n), numbers within a prompt's `each` rows, as numbers of all rows."""
    first = tf.range(tf.shape(number)[0]) * each
    return number + first[:, None]


def _flat(numbers: tf.Tensor) -> tf.Tensor:
    return tf.reshape(numbers, [-1])


def _taken(marks: Marks, rows: tf.Tensor) -> Marks:
    return tf.nest.map_structure(lambda mark: tf.gather(mark, rows), marks)
