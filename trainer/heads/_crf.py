"""A linear-chain conditional random field over the words of packed rows, in loops that XLA compiles.

Source: Lafferty et al. 2001; in front of it a network, Huang et al. 2015.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from trainer.heads._tags import OUTSIDE
from trainer.lazy import tf

FORBIDDEN = -1e4  # added to a score: no word's own score outweighs it, and sums of it stay finite


def forbidden_moves(labels: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """What BIO does not allow: (C, C) float32 from one tag to the next, and (C,) float32 at a text's beginning; 0 where it does."""
    inside = np.array([label.startswith("I-") for label in labels])
    kinds = [None if label == OUTSIDE else label[2:] for label in labels]
    follows = np.array([[before == after and before is not None for after in kinds] for before in kinds])
    return np.where(inside[None] & ~follows, FORBIDDEN, 0).astype(np.float32), np.where(inside, FORBIDDEN, 0).astype(np.float32)


class Chain:
    """Scores of moves between tags.

    Args:
        moves: (C, C) float32, from a tag to the next.
        first: (C,) float32, of a text's first word.
    """

    def __init__(self, moves: tf.Tensor, first: tf.Tensor) -> None:
        self.moves, self.first = moves, first

    def losses(self, logits: tf.Tensor, tags: tf.Tensor, kind: tf.Tensor, fresh: tf.Tensor) -> tf.Tensor:
        """-log P(tag | the tags before it, and all words up to it) of each word: their sum over a sequence is -log P(tags | words).

        Args:
            logits: (R, L, C) float32.
            tags: (R, L) int32; used where `kind` is not 0.
            kind: (R, L) int32: 0 no word of the sequence, 1 a word, 2 a text's first word.
            fresh: (R, L) bool, a sequence begins here or at the next word.
        Returns:
            (R, L) float32, 0 where `kind` is 0.
        """
        rows, length, classes = logits.shape[0] or tf.shape(logits)[0], logits.shape[1] or tf.shape(logits)[1], logits.shape[2]
        losses = tf.TensorArray(tf.float32, length, element_shape=(logits.shape[0],))

        def step(place: tf.Tensor, alpha: tf.Tensor, tag: tf.Tensor, new: tf.Tensor, losses: tf.TensorArray) -> tuple:
            new = new | fresh[:, place]
            word, own, emitted = kind[:, place] > 0, tags[:, place], logits[:, place]
            opening = tf.where((kind[:, place] == 2)[:, None], self.first, 0.0)
            scores = tf.where(new[:, None], opening, tf.reduce_logsumexp(alpha[:, :, None] + self.moves, axis=1)) + emitted  # (R, C)
            move = tf.where(new, tf.gather(opening, own, batch_dims=1), tf.gather(tf.gather(self.moves, tag), own, batch_dims=1))
            total = tf.reduce_logsumexp(scores, axis=1)
            loss = tf.where(word, total - move - tf.gather(emitted, own, batch_dims=1), 0.0)
            alpha = tf.where(word[:, None], scores - total[:, None], alpha)  # kept near 0: the sums before it are in the losses
            return place + 1, alpha, tf.where(word, own, tag), new & ~word, losses.write(place, loss)

        start = (tf.constant(0), tf.zeros([rows, classes]), tf.zeros([rows], tf.int32), tf.ones([rows], tf.bool), losses)
        losses = tf.while_loop(lambda place, *_: place < length, step, start, maximum_iterations=length)[-1]
        return tf.transpose(losses.stack())

    def decode(self, logits: tf.Tensor, kind: tf.Tensor, fresh: tf.Tensor) -> tf.Tensor:
        """The best tags of each sequence (Viterbi): (R, L) int32, 0 where `kind` is 0. Arguments as of `losses`."""
        rows, length, classes = logits.shape[0] or tf.shape(logits)[0], logits.shape[1] or tf.shape(logits)[1], logits.shape[2]
        back = tf.TensorArray(tf.int32, length, element_shape=(logits.shape[0], classes))
        bests = tf.TensorArray(tf.float32, length, element_shape=(logits.shape[0], classes))

        def forward(place: tf.Tensor, best: tf.Tensor, new: tf.Tensor, back: tf.TensorArray, bests: tf.TensorArray) -> tuple:
            new = new | fresh[:, place]
            word = (kind[:, place] > 0)[:, None]
            opening = tf.where((kind[:, place] == 2)[:, None], self.first, 0.0)
            moved = best[:, :, None] + self.moves  # (R, from, to)
            scores = tf.where(new[:, None], opening, tf.reduce_max(moved, axis=1)) + logits[:, place]
            came = tf.where(word & ~new[:, None], tf.argmax(moved, axis=1, output_type=tf.int32), tf.range(classes))
            best = tf.where(word, scores - tf.reduce_max(scores, axis=1, keepdims=True), best)
            return place + 1, best, new & ~word[:, 0], back.write(place, came), bests.write(place, best)

        start = (tf.constant(0), tf.zeros([rows, classes]), tf.ones([rows], tf.bool), back, bests)
        *_, back, bests = tf.while_loop(lambda place, *_: place < length, forward, start, maximum_iterations=length)
        back, bests = back.stack(), bests.stack()  # (L, R, C)
        tags = tf.TensorArray(tf.int32, length, element_shape=(logits.shape[0],))

        def backward(place: tf.Tensor, tag: tf.Tensor, open_: tf.Tensor, tags: tf.TensorArray) -> tuple:
            word = kind[:, place] > 0
            # The last word of a sequence takes its best tag; the others the one that the word after came from.
            tag = tf.where(word & ~open_, tf.argmax(bests[place], axis=1, output_type=tf.int32), tag)
            tags = tags.write(place, tf.where(word, tag, 0))
            tag = tf.where(word, tf.gather(back[place], tag, batch_dims=1), tag)
            return place - 1, tag, (open_ | word) & ~fresh[:, place], tags

        start = (length - 1, tf.zeros([rows], tf.int32), tf.zeros([rows], tf.bool), tags)
        tags = tf.while_loop(lambda place, *_: place >= 0, backward, start, maximum_iterations=length)[-1]
        return tf.transpose(tags.stack())
