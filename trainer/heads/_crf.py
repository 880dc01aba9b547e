"""A linear-chain conditional random field over the words of packed rows, in loops that XLA
compiles.

Source: Lafferty et al. 2001; in front of it a network, Huang et al. 2015.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from trainer.heads._tags import OUTSIDE
from trainer.lazy import tf

FORBIDDEN = -1e4  # added to a score: no word's own score outweighs it, and sums of it stay finite


def forbidden_moves(labels: Sequence[str], *, spans: bool = True) -> tuple[np.ndarray, np.ndarray]:
    """What BIO does not allow: (C, C) float32 from one tag to the next, (C,) float32 at a text's
    beginning; 0 where it does, or tags are no spans.
    """
    inside = np.array([spans and label.startswith("I-") for label in labels])
    kinds = [None if label == OUTSIDE else label[2:] for label in labels]
    follows = np.array(
        [[before == after and before is not None for after in kinds] for before in kinds]
    )
    return np.where(inside[None] & ~follows, FORBIDDEN, 0).astype(np.float32), np.where(
        inside, FORBIDDEN, 0
    ).astype(np.float32)


class Chain:
    """Scores of moves between tags.

    Its methods take `logits` (R, L, C) float32; `kind` (R, L) int32: 0 no word of the sequence, 1 a
    word, 2 a text's first word; `fresh` (R, L) bool: a sequence begins here or at the next word.

    Args:
        moves: (C, C) float32, from a tag to the next.
        first: (C,) float32, of a text's first word.
    """

    def __init__(self, moves: tf.Tensor, first: tf.Tensor) -> None:
        self.moves = moves
        self.first = first

    def losses(
        self, logits: tf.Tensor, tags: tf.Tensor, kind: tf.Tensor, fresh: tf.Tensor
    ) -> tf.Tensor:
        """-log P(tag | the tags before it, and all words up to it) of each word: their sum over a
        sequence is -log P(tags | words).

        Args:
            tags: (R, L) int32; used where `kind` is not 0.
        Returns:
            (R, L) float32, 0 where `kind` is 0.
        """
        return self._forward(logits, tags, kind, fresh, tf.reduce_logsumexp)[1]

    def decode(
        self, logits: tf.Tensor, kind: tf.Tensor, fresh: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        """The best tags of each sequence (Viterbi), and how sure they are.

        Returns:
            tag (R, L) int32, 0 where `kind` is 0; score (R, L) float32, P(tag | words); margin (R,
            L) float32 in [0, 1), how much more likely the best sequence is than the best that has
            another tag here, as a share of both.
        """
        # a batch without a row has no places either, and a list of none has no shape
        if logits.shape[1] is None:
            one_more = [[0, 0], [0, 1]]
            found = self._decode(
                tf.pad(logits, [*one_more, [0, 0]]), tf.pad(kind, one_more), tf.pad(fresh, one_more)
            )
            return tuple(values[:, :-1] for values in found)
        return self._decode(logits, kind, fresh)

    def _decode(
        self, logits: tf.Tensor, kind: tf.Tensor, fresh: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        nothing = tf.zeros_like(kind)
        best, _ = self._forward(logits, nothing, kind, fresh, tf.reduce_max)
        tag = self._trace(best, kind, fresh)
        through = best + self._backward(logits, kind, fresh, tf.reduce_max)
        others = tf.reduce_max(
            through + tf.one_hot(tag, logits.shape[2], on_value=2 * FORBIDDEN), axis=2
        )
        gap = tf.gather(through, tag, batch_dims=2) - others
        summed, _ = self._forward(logits, nothing, kind, fresh, tf.reduce_logsumexp)
        shares = tf.nn.softmax(summed + self._backward(logits, kind, fresh, tf.reduce_logsumexp))
        return tag, tf.gather(shares, tag, batch_dims=2), tf.tanh(gap / 2)

    def _forward(
        self,
        logits: tf.Tensor,
        tags: tf.Tensor,
        kind: tf.Tensor,
        fresh: tf.Tensor,
        reduce: Callable,
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """Forward scores of each word and tag (R, L, C), normalised at each word, and the loss of
        `tags` at each word (R, L).
        """
        rows, length, classes = _sizes(logits)
        reached = tf.TensorArray(tf.float32, length, element_shape=(logits.shape[0], classes))
        losses = tf.TensorArray(tf.float32, length, element_shape=(logits.shape[0],))

        def step(
            place: tf.Tensor,
            alpha: tf.Tensor,
            tag: tf.Tensor,
            new: tf.Tensor,
            reached: tf.TensorArray,
            losses: tf.TensorArray,
        ) -> tuple:
            new = new | fresh[:, place]
            word = kind[:, place] > 0
            own = tags[:, place]
            emitted = logits[:, place]
            opening = tf.where((kind[:, place] == 2)[:, None], self.first, 0.0)
            # (R, C)
            scores = (
                tf.where(new[:, None], opening, reduce(alpha[:, :, None] + self.moves, axis=1))
                + emitted
            )
            move = tf.where(
                new,
                tf.gather(opening, own, batch_dims=1),
                tf.gather(tf.gather(self.moves, tag), own, batch_dims=1),
            )
            total = reduce(scores, axis=1)
            loss = tf.where(word, total - move - tf.gather(emitted, own, batch_dims=1), 0.0)
            # kept near 0: the sums before it are in the losses
            alpha = tf.where(word[:, None], scores - total[:, None], alpha)
            return (
                place + 1,
                alpha,
                tf.where(word, own, tag),
                new & ~word,
                reached.write(place, alpha),
                losses.write(place, loss),
            )

        start = (
            tf.constant(0),
            tf.zeros([rows, classes]),
            tf.zeros([rows], tf.int32),
            tf.ones([rows], tf.bool),
            reached,
            losses,
        )
        *_, reached, losses = tf.while_loop(
            lambda place, *_: place < length, step, start, maximum_iterations=length
        )
        return tf.transpose(reached.stack(), (1, 0, 2)), tf.transpose(losses.stack())

    def _backward(
        self, logits: tf.Tensor, kind: tf.Tensor, fresh: tf.Tensor, reduce: Callable
    ) -> tf.Tensor:
        """Of each word and tag, over all ways on from it: (R, L, C), up to a constant a word."""
        rows, length, classes = _sizes(logits)
        ahead = tf.TensorArray(tf.float32, length, element_shape=(logits.shape[0], classes))

        def step(place: tf.Tensor, beta: tf.Tensor, ahead: tf.TensorArray) -> tuple:
            before = reduce(self.moves + (beta + logits[:, place])[:, None, :], axis=2)  # (R, C)
            before -= tf.reduce_max(before, axis=1, keepdims=True)
            ahead = ahead.write(place, beta)
            beta = tf.where((kind[:, place] > 0)[:, None], before, beta)
            return place - 1, tf.where(fresh[:, place][:, None], 0.0, beta), ahead

        start = (length - 1, tf.zeros([rows, classes]), ahead)
        ahead = tf.while_loop(lambda place, *_: place >= 0, step, start, maximum_iterations=length)[
            -1
        ]
        return tf.transpose(ahead.stack(), (1, 0, 2))

    def _trace(self, best: tf.Tensor, kind: tf.Tensor, fresh: tf.Tensor) -> tf.Tensor:
        """From the last word of each sequence back: (R, L) int32, 0 where `kind` is 0."""
        rows, length, _ = _sizes(best)
        tags = tf.TensorArray(tf.int32, length, element_shape=(best.shape[0],))

        def step(
            place: tf.Tensor, tag: tf.Tensor, follows: tf.Tensor, tags: tf.TensorArray
        ) -> tuple:
            word = kind[:, place] > 0
            # to the word behind, where there is one
            onward = tf.where(follows[:, None], tf.gather(tf.transpose(self.moves), tag), 0.0)
            tag = tf.where(
                word, tf.argmax(best[:, place] + onward, axis=1, output_type=tf.int32), tag
            )
            return (
                place - 1,
                tag,
                (follows | word) & ~fresh[:, place],
                tags.write(place, tf.where(word, tag, 0)),
            )

        start = (length - 1, tf.zeros([rows], tf.int32), tf.zeros([rows], tf.bool), tags)
        tags = tf.while_loop(lambda place, *_: place >= 0, step, start, maximum_iterations=length)[
            -1
        ]
        return tf.transpose(tags.stack())


def _sizes(logits: tf.Tensor) -> tuple[Any, Any, int]:
    """R, L and C, as numbers where the shape is known: XLA needs them."""
    return (
        logits.shape[0] or tf.shape(logits)[0],
        logits.shape[1] or tf.shape(logits)[1],
        logits.shape[2],
    )
