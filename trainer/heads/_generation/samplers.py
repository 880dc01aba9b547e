"""What chooses the next token: the likeliest, or a drawn one."""

from __future__ import annotations

import dataclasses
from typing import Protocol

from trainer.heads._generation.rules import Rule, noted, weighed
from trainer.heads._generation.state import NEVER, BeamState, Nothing, State, at_step
from trainer.lazy import tf

LEAST_UNIFORM = 1e-20  # whose logarithm is finite


class Sampler(Protocol):
    """One way to choose tokens.

    Attributes:
        rules: by which scores are weighed, and texts end.
        texts: how many are followed for each prompt.
    """

    rules: tuple[Rule, ...]
    texts: int

    def begin(self, finished: tf.Tensor) -> BeamState | Nothing:
        """What the sampler keeps besides, before the first token.

        Args:
            finished: (B,) bool, where no text is asked for.
        """
        return ()

    def choose(self, logits: tf.Tensor, state: State, seed: tf.Tensor) -> tuple[tf.Tensor, State]:
        """One more token of each row.

        Args:
            logits: (R, V) float32, of the next token.
            state: before it.
            seed: (2,) int32, of the whole text's draws.
        Returns:
            (R,) int32, the tokens; the state with them, which the decoder has not read yet.
        """
        ...


@dataclasses.dataclass(frozen=True)
class Greedy(Sampler):
    """The likeliest token.

    Attributes:
        rules: see `Sampler`.
        pad_id: behind the end.
    """

    rules: tuple[Rule, ...]
    pad_id: int
    texts = 1

    def choose(self, logits: tf.Tensor, state: State, seed: tf.Tensor) -> tuple[tf.Tensor, State]:
        """See `Sampler`."""
        scores = weighed(self.rules, logits, state.marks, state.place)
        token = tf.argmax(scores, axis=-1, output_type=tf.int32)
        return _followed(token, logits, state, self)


@dataclasses.dataclass(frozen=True)
class Drawn(Sampler):
    """A token that is drawn by the Gumbel trick, of those that top_k and top_p leave.

    Attributes:
        rules: see `Sampler`.
        pad_id: behind the end.
        temperature: by which scores are divided.
        top_k: draw from the k likeliest; None: from all.
        top_p: draw from the likeliest that have this share together; None: from all.
    """

    rules: tuple[Rule, ...]
    pad_id: int
    temperature: float = 1.0
    top_k: int | None = None
    top_p: float | None = None
    texts = 1

    def choose(self, logits: tf.Tensor, state: State, seed: tf.Tensor) -> tuple[tf.Tensor, State]:
        """See `Sampler`."""
        scores = weighed(self.rules, logits, state.marks, state.place)
        scores = self._cut(scores / self.temperature)
        step_seed = tf.random.experimental.stateless_fold_in(seed, state.step)
        noisy = scores + _gumbel_noise(tf.shape(scores), step_seed)
        token = tf.argmax(noisy, axis=-1, output_type=tf.int32)
        return _followed(token, logits, state, self)

    def _cut(self, scores: tf.Tensor) -> tf.Tensor:
        """(R, V) with NEVER at tokens that are not drawn."""
        if self.top_k is not None:
            count = min(self.top_k, scores.shape[-1])
            likeliest, _ = tf.math.top_k(scores, count)
            least = likeliest[:, -1:]
            scores = tf.where(scores < least, NEVER, scores)
        if self.top_p is not None:
            ordered = tf.sort(scores, direction="DESCENDING")
            shares = tf.nn.softmax(ordered)
            before = tf.cumsum(shares, axis=-1, exclusive=True)
            kept = tf.where(before < self.top_p, ordered, float("inf"))  # the first always
            least = tf.reduce_min(kept, axis=-1, keepdims=True)
            scores = tf.where(scores < least, NEVER, scores)
        return scores


def _gumbel_noise(shape: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
    uniform = tf.random.stateless_uniform(shape, seed, minval=LEAST_UNIFORM)
    exponential = -tf.math.log(uniform)
    return -tf.math.log(exponential)


def _followed(
    token: tf.Tensor, logits: tf.Tensor, state: State, sampler: Greedy | Drawn
) -> tuple[tf.Tensor, State]:
    """The tokens, or padding where a text has ended, and the state with them."""
    log_probabilities = tf.nn.log_softmax(logits)
    gain = tf.gather(log_probabilities, token, batch_dims=1)
    token = tf.where(state.finished, sampler.pad_id, token)
    marks, ended = noted(sampler.rules, state.marks, token, state.place)
    gain = tf.where(state.finished, 0.0, gain)
    after = state._replace(
        marks=marks,
        tokens=at_step(state.tokens, token, state.step),
        score=state.score + gain,
        finished=state.finished | ended,
    )
    return token, after
