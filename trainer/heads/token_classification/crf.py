"""A linear-chain conditional random field over the words of packed rows.

In loops that XLA compiles. Source: Lafferty et al. 2001; in front of it a network, Huang et al.
2015.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import NamedTuple, TypeAlias

import numpy as np

from trainer.heads.token_classification.schemes import OUTSIDE
from trainer.lazy import tf

FORBIDDEN = -1e4  # added to a score: no word's own score outweighs it, and sums of it stay finite

# tf.reduce_logsumexp over all ways, tf.reduce_max for the best
Reduce: TypeAlias = "Callable[..., tf.Tensor]"


class Moves(NamedTuple):
    """Scores of moves between C tags.

    Attributes:
        between: (C, C) float32, from a tag to the next.
        first: (C,) float32, of a text's first word.
    """

    between: np.ndarray | tf.Tensor
    first: np.ndarray | tf.Tensor


class Words(NamedTuple):
    """The words of packed rows.

    Attributes:
        logits: (R, L, C) float32, each tag's own scores.
        kind: (R, L) int32: 0 no word of the sequence, 1 a word, 2 a text's first word.
        fresh: (R, L) bool: a sequence begins here or at the next word.
    """

    logits: tf.Tensor
    kind: tf.Tensor
    fresh: tf.Tensor

    def sizes(self) -> tuple[int | tf.Tensor, int | tf.Tensor, int]:
        """R, L and C, as numbers where the shape is known: XLA needs them."""
        rows, length, classes = self.logits.shape
        dynamic = tf.shape(self.logits)
        return rows or dynamic[0], length or dynamic[1], classes

    def padded(self) -> Words:
        """The same with one more place at the end, which is no word."""
        one_more = [[0, 0], [0, 1]]
        return Words(
            tf.pad(self.logits, [*one_more, [0, 0]]),
            tf.pad(self.kind, one_more),
            tf.pad(self.fresh, one_more),
        )


class BestTags(NamedTuple):
    """The best tags of words, and how sure they are.

    Attributes:
        tag: (R, L) int32; of a chain 0 where no word is.
        score: (R, L) float32, P(tag | words).
        margin: (R, L) float32 in [0, 1), how far the next tag is behind; of a chain how much more
            likely the best sequence is than the best that has another tag here, as a share of both.
    """

    tag: tf.Tensor
    score: tf.Tensor
    margin: tf.Tensor


class _Reached(NamedTuple):
    """What the loop from left to right has at a place.

    Attributes:
        alpha: (R, C) scores of the word before, summed over all ways to it.
        tag: (R,) int32, its tag.
        new: (R,) bool, whether a sequence has begun and had no word yet.
    """

    alpha: tf.Tensor
    tag: tf.Tensor
    new: tf.Tensor


def forbidden_moves(labels: Sequence[str]) -> Moves:
    """What BIO does not allow, and 0 where it does."""
    inside = np.array([label.startswith("I-") for label in labels])
    in_span = np.array([label != OUTSIDE for label in labels])
    types = np.array([label[2:] for label in labels])
    same_type = types[:, None] == types[None]
    follows = same_type & in_span[:, None]
    is_forbidden = inside[None] & ~follows
    between = np.where(is_forbidden, FORBIDDEN, 0)
    first = np.where(inside, FORBIDDEN, 0)
    return Moves(between.astype(np.float32), first.astype(np.float32))


def no_forbidden_moves(labels: Sequence[str]) -> Moves:
    """The same where tags are no spans: all is allowed."""
    count = len(labels)
    return Moves(np.zeros((count, count), np.float32), np.zeros(count, np.float32))


@dataclasses.dataclass(frozen=True)
class Chain:
    """Sequences of tags, scored by the moves between them."""

    moves: Moves

    def losses(self, words: Words, tags: tf.Tensor) -> tf.Tensor:
        """-log P(tag | the tags before it, and all words up to it) of each word.

        Their sum over a sequence is -log P(tags | words).

        Args:
            words: of packed rows.
            tags: (R, L) int32; used where words are.
        Returns:
            (R, L) float32, 0 where no word is.
        """
        _, losses = self._forward(words, tags, tf.reduce_logsumexp)
        return losses

    def decode(self, words: Words) -> BestTags:
        """The best tags of each sequence (Viterbi)."""
        # a batch without a row has no places either, and a list of none has no shape
        if words.logits.shape[1] is None:
            best = self._decode(words.padded())
            return BestTags(best.tag[:, :-1], best.score[:, :-1], best.margin[:, :-1])
        return self._decode(words)

    def _decode(self, words: Words) -> BestTags:
        nothing = tf.zeros_like(words.kind)
        best, _ = self._forward(words, nothing, tf.reduce_max)
        tag = self._trace(best, words)
        through = best + self._backward(words, tf.reduce_max)
        but_tag = tf.one_hot(tag, words.logits.shape[2], on_value=2 * FORBIDDEN)
        others = tf.reduce_max(through + but_tag, axis=2)
        gap = tf.gather(through, tag, batch_dims=2) - others
        summed, _ = self._forward(words, nothing, tf.reduce_logsumexp)
        onward = self._backward(words, tf.reduce_logsumexp)
        probabilities = tf.nn.softmax(summed + onward)
        score = tf.gather(probabilities, tag, batch_dims=2)
        return BestTags(tag, score, tf.tanh(gap / 2))

    def _forward(
        self, words: Words, tags: tf.Tensor, reduce: Reduce
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """Forward scores of each word and tag, normalised at each word, and the tags' losses.

        Args:
            words: of packed rows.
            tags: (R, L) int32.
            reduce: over the ways to a tag.
        Returns:
            (R, L, C) and (R, L).
        """
        rows, length, classes = words.sizes()
        fixed_rows = words.logits.shape[0]
        alphas = tf.TensorArray(tf.float32, length, element_shape=(fixed_rows, classes))
        losses = tf.TensorArray(tf.float32, length, element_shape=(fixed_rows,))

        def step(
            place: tf.Tensor, before: _Reached, alphas: tf.TensorArray, losses: tf.TensorArray
        ) -> tuple[tf.Tensor, _Reached, tf.TensorArray, tf.TensorArray]:
            reached, loss = self._reach(words, tags[:, place], place, before, reduce)
            return place + 1, reached, alphas.write(place, reached.alpha), losses.write(place, loss)

        start = _Reached(
            alpha=tf.zeros([rows, classes]),
            tag=tf.zeros([rows], tf.int32),
            new=tf.ones([rows], tf.bool),
        )
        *_, alphas, losses = tf.while_loop(
            lambda place, *_: place < length,
            step,
            (tf.constant(0), start, alphas, losses),
            maximum_iterations=length,
        )
        return tf.transpose(alphas.stack(), (1, 0, 2)), tf.transpose(losses.stack())

    def _reach(
        self, words: Words, tag: tf.Tensor, place: tf.Tensor, before: _Reached, reduce: Reduce
    ) -> tuple[_Reached, tf.Tensor]:
        """One place further: what is reached there, and the loss of a tag, (R,)."""
        kind = words.kind[:, place]
        is_word = kind > 0
        new = before.new | words.fresh[:, place]
        emitted = words.logits[:, place]
        opening = tf.where((kind == 2)[:, None], self.moves.first, 0.0)  # (R, C)
        onward = reduce(before.alpha[:, :, None] + self.moves.between, axis=1)
        arriving = tf.where(new[:, None], opening, onward)
        scores = arriving + emitted
        total = reduce(scores, axis=1)
        opening_move = tf.gather(opening, tag, batch_dims=1)
        moves_on = tf.gather(self.moves.between, before.tag)
        move_on = tf.gather(moves_on, tag, batch_dims=1)
        move = tf.where(new, opening_move, move_on)
        own = tf.gather(emitted, tag, batch_dims=1)
        reached = _Reached(
            # kept near 0: the sums before it are in the losses
            alpha=tf.where(is_word[:, None], scores - total[:, None], before.alpha),
            tag=tf.where(is_word, tag, before.tag),
            new=new & ~is_word,
        )
        return reached, tf.where(is_word, total - move - own, 0.0)

    def _backward(self, words: Words, reduce: Reduce) -> tf.Tensor:
        """Of each word and tag, over all ways on from it: (R, L, C), up to a constant a word."""
        rows, length, classes = words.sizes()
        shape = (words.logits.shape[0], classes)
        ahead = tf.TensorArray(tf.float32, length, element_shape=shape)

        def step(
            place: tf.Tensor, beta: tf.Tensor, ahead: tf.TensorArray
        ) -> tuple[tf.Tensor, tf.Tensor, tf.TensorArray]:
            ahead = ahead.write(place, beta)
            onward = (beta + words.logits[:, place])[:, None, :]
            before = reduce(self.moves.between + onward, axis=2)  # (R, C)
            before -= tf.reduce_max(before, axis=1, keepdims=True)
            is_word = words.kind[:, place] > 0
            beta = tf.where(is_word[:, None], before, beta)
            is_fresh = words.fresh[:, place]
            return place - 1, tf.where(is_fresh[:, None], 0.0, beta), ahead

        *_, ahead = tf.while_loop(
            lambda place, *_: place >= 0,
            step,
            (length - 1, tf.zeros([rows, classes]), ahead),
            maximum_iterations=length,
        )
        return tf.transpose(ahead.stack(), (1, 0, 2))

    def _trace(self, best: tf.Tensor, words: Words) -> tf.Tensor:
        """From the last word of each sequence back: (R, L) int32, 0 where no word is.

        Args:
            best: (R, L, C), forward scores of the best ways.
            words: of packed rows.
        """
        rows, length, _ = words.sizes()
        tags = tf.TensorArray(tf.int32, length, element_shape=(best.shape[0],))

        def step(
            place: tf.Tensor, tag: tf.Tensor, follows: tf.Tensor, tags: tf.TensorArray
        ) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor, tf.TensorArray]:
            is_word = words.kind[:, place] > 0
            # to the word behind, where there is one
            moves_to = tf.gather(tf.transpose(self.moves.between), tag)
            onward = tf.where(follows[:, None], moves_to, 0.0)
            best_tag = tf.argmax(best[:, place] + onward, axis=1, output_type=tf.int32)
            tag = tf.where(is_word, best_tag, tag)
            follows = (follows | is_word) & ~words.fresh[:, place]
            tags = tags.write(place, tf.where(is_word, tag, 0))
            return place - 1, tag, follows, tags

        nobody = tf.zeros([rows], tf.bool)
        *_, tags = tf.while_loop(
            lambda place, *_: place >= 0,
            step,
            (length - 1, tf.zeros([rows], tf.int32), nobody, tags),
            maximum_iterations=length,
        )
        return tf.transpose(tags.stack())
