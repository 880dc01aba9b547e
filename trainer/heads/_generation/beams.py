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
        batch = finished.shape[0]
        if batch is None:
            batch = tf.shape(finished)[0]
        none = tf.fill([batch, self.texts, self.max_new_tokens], self.pad_id)
        others = [NEVER] * (self.texts - 1)
        first_score = [0.0, *others]
        return BeamState(
            score=tf.tile([first_score], [batch, 1]),
            tokens=none,
            best_score=tf.fill([batch, self.texts], NEVER),
            best=none,
            has_ended=tf.repeat(finished[:, None], self.texts, axis=1),
        )

    def choose(self, logits: tf.Tensor, state: State, seed: tf.Tensor) -> tuple[tf.Tensor, State]:
        """See `Sampler`."""
        before = state.kept
        assert isinstance(before, BeamState)  # as `begin` made it
        candidates = self._candidates(logits, state, before)
        kept = self._with_ended(candidates, state, before)
        penalty = tf.where(candidates.ended, NEVER, 0.0)
        score, chosen = tf.math.top_k(candidates.score + penalty, self.texts)  # (B, K)
        tokens = tf.gather(candidates.tokens, chosen, batch_dims=1)
        kept = kept._replace(score=score, tokens=tokens)
        row = tf.gather(candidates.row, chosen, batch_dims=1)
        row = _flat(row)
        place = _row_of(chosen, 2 * self.texts)
        token = tf.gather(candidates.token, chosen, batch_dims=1)
        is_final = self._is_final(kept, state.step + 1)
        after = state._replace(
            hidden=tf.gather(state.hidden, row),
            cache=_taken(state.cache, row),
            marks=_taken(candidates.marks, _flat(place)),
            tokens=kept.best[:, 0],
            score=kept.best_score[:, 0],
            finished=state.finished | is_final,
            kept=kept,
        )
        return _flat(token), after

    def _candidates(self, logits: tf.Tensor, state: State, kept: BeamState) -> _Candidates:
        log_probabilities = tf.nn.log_softmax(logits)
        gain = weighed(self.rules, log_probabilities, state.marks, state.place)
        score, beam, token = self._best(gain, kept)
        row = _row_of(beam, self.texts)
        flat_row = _flat(row)
        lengths = tf.gather(state.lengths, flat_row)
        before = _taken(state.marks, flat_row)
        place = Place(lengths, state.step)
        marks, ended = noted(self.rules, before, _flat(token), place)
        is_full = state.step + 1 == self.max_new_tokens
        tokens = tf.gather(kept.tokens, beam, batch_dims=1)
        return _Candidates(
            score=score,
            row=row,
            token=token,
            tokens=at_step(tokens, token, state.step),
            marks=marks,
            ended=tf.reshape(ended, tf.shape(token)) | is_full,
        )

    def _best(self, gain: tf.Tensor, kept: BeamState) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        """The best 2 K of all ways to go on.

        Args:
            gain: (R, V) float32, the weighed log-probabilities of the next token.
            kept: the beams before it.
        Returns:
            (B, 2K) each: scores, beams, tokens.
        """
        batch = tf.shape(kept.score)[0]
        words = gain.shape[-1]
        gain = tf.reshape(gain, [batch, self.texts, words])
        scores = gain + kept.score[:, :, None]
        scores = tf.reshape(scores, [batch, self.texts * words])
        score, choice = tf.math.top_k(scores, 2 * self.texts)
        return score, choice // words, choice % words

    def _with_ended(self, candidates: _Candidates, state: State, kept: BeamState) -> BeamState:
        """The best ended texts so far, with those of the first K candidates that just ended."""
        is_among_first = tf.range(2 * self.texts) < self.texts
        is_open = ~state.finished
        is_taken = candidates.ended & is_among_first & is_open[:, None]
        length = tf.cast(state.step + 1, tf.float32)
        score = candidates.score / length**self.length_penalty
        score = tf.where(is_taken, score, NEVER)
        scores = tf.concat([kept.best_score, score], axis=1)
        best_score, chosen = tf.math.top_k(scores, self.texts)
        best = tf.concat([kept.best, candidates.tokens], axis=1)
        has_ended = tf.concat([kept.has_ended, is_taken], axis=1)
        return kept._replace(
            best_score=best_score,
            best=tf.gather(best, chosen, batch_dims=1),
            has_ended=tf.gather(has_ended, chosen, batch_dims=1),
        )

    def _is_final(self, kept: BeamState, step: tf.Tensor) -> tf.Tensor:
        """(B,) bool: whether no beam that goes on may be better than the worst ended text."""
        length = tf.cast(step, tf.float32)
        if self.early_stopping == "never" and self.length_penalty > 0:
            length = tf.constant(self.max_new_tokens, tf.float32)
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


def _taken(parts: tuple[tf.Tensor, ...], rows: tf.Tensor) -> tuple[tf.Tensor, ...]:
    """Some rows of each part; of a mark that is () nothing."""
    return tf.nest.map_structure(lambda part: tf.gather(part, rows), parts)
