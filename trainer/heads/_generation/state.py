"""What the loop over tokens knows between two of them."""

from __future__ import annotations

from typing import NamedTuple, TypeAlias

from trainer.lazy import tf

NEVER = -1e9  # the score of what may not be
Nothing: TypeAlias = tuple[()]
Mark: TypeAlias = "tf.Tensor"  # what a rule notes of the R rows; () where that is nothing
Marks: TypeAlias = tuple[Mark, ...]  # of each rule


class Place(NamedTuple):
    """Where the next token of each row goes.

    Attributes:
        lengths: (R,) int32, tokens of the row's prompt.
        step: () int32, tokens that are written.
    """

    lengths: tf.Tensor
    step: tf.Tensor


class BeamState(NamedTuple):
    """What beams keep, K of each prompt.

    Attributes:
        score: (B, K) float32, of those that go on, the best first.
        tokens: (B, K, M) int32, of the same.
        best_score: (B, K) float32, of those that have ended, the best first.
        best: (B, K, M) int32, of the same.
        has_ended: (B, K) bool, whether there is one at all.
    """

    score: tf.Tensor
    tokens: tf.Tensor
    best_score: tf.Tensor
    best: tf.Tensor
    has_ended: tf.Tensor


class State(NamedTuple):
    """Of B prompts, each in R / B rows: as many as a sampler follows texts.

    Attributes:
        step: () int32, tokens that are written.
        width: () int32, P, to which the prompts were filled up.
        lengths: (R,) int32, tokens of each row's prompt.
        hidden: (R, H), the decoder's output of each row's last token.
        cache: of the decoder, with P + M slots.
        marks: of the rules.
        tokens: (B, M) int32, the answer so far.
        score: (B,) float32, of the answer.
        finished: (B,) bool, whether the answer is final.
        kept: what the sampler keeps besides.
    """

    step: tf.Tensor
    width: tf.Tensor
    lengths: tf.Tensor
    hidden: tf.Tensor
    cache: tuple[tf.Tensor, ...]
    marks: Marks
    tokens: tf.Tensor
    score: tf.Tensor
    finished: tf.Tensor
    kept: BeamState | Nothing

    @property
    def place(self) -> Place:
        """Of the next token."""
        return Place(self.lengths, self.step)


def at_step(tokens: tf.Tensor, token: tf.Tensor, step: tf.Tensor) -> tf.Tensor:
    """(…, M) int32 with one more token of each text.

    Args:
        tokens: (…, M) int32.
        token: (…) int32.
        step: () int32, its place.
    """
    is_here = tf.range(tokens.shape[-1]) == step
    return tf.where(is_here, token[..., None], tokens)
