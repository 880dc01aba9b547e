"""The best spans of a window, of all its beginnings and ends."""

from __future__ import annotations

from trainer.heads.question_answering.alignment import EDGE, MIDDLE
from trainer.lazy import tf

NEVER = -1e9  # the score of what is no candidate


def best_spans(
    logits: tf.Tensor, candidate: tf.Tensor, *, longest: int, count: int
) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """Tries all beginnings with all ends.

    Args:
        logits: (E, L, 2) float32, of the beginning and the end at each token.
        candidate: (E, L) int32, the sum of EDGE and MIDDLE, 0 at tokens of others.
        longest: A, the most tokens of a span.
        count: N.
    Returns:
        score (E, N) float32, best first, NEVER where there are fewer; first and last token (E, N)
        int32 within the row.
    """
    rows, length = _shape(candidate)
    scores = _span_scores(logits, candidate, longest)
    flat = tf.reshape(scores, (rows, length * longest))
    enough = _pad_end(flat, count, 2 * NEVER)  # behind all that are none
    score, place = tf.math.top_k(enough, count)
    score = tf.maximum(score, NEVER)
    first = place // longest
    first = tf.minimum(first, length - 1)
    further = place % longest
    return score, first, first + further


def _span_scores(logits: tf.Tensor, candidate: tf.Tensor, longest: int) -> tf.Tensor:
    """(E, L, A) float32: of the span from each token on that has 1, 2, … A tokens.

    Args:
        logits: (E, L, 2) float32.
        candidate: (E, L) int32.
        longest: A.
    """
    _, length = _shape(candidate)
    is_edge = candidate % 2 == EDGE
    is_middle = candidate >= MIDDLE
    begin, end = tf.unstack(logits, axis=2)
    begin = tf.where(is_edge, begin, NEVER)
    end = tf.where(is_edge, end, NEVER)
    middle = tf.where(is_middle, 0.0, NEVER)
    # behind the row no span ends or has its middle
    end = _pad_end(end, longest, NEVER)
    middle = _pad_end(middle, longest, NEVER)
    scores = []
    for further in range(longest):
        half = further // 2
        at_end = end[:, further : further + length]
        at_middle = middle[:, half : half + length]
        scores.append(begin + at_end + at_middle)
    return tf.stack(scores, axis=2)


def _shape(values: tf.Tensor) -> tuple[int | tf.Tensor, int | tf.Tensor]:
    """The lengths of both dimensions, as numbers where the graph knows them."""
    shape = tf.shape(values)
    rows = values.shape[0] or shape[0]
    length = values.shape[1] or shape[1]
    return rows, length


def _pad_end(values: tf.Tensor, count: int, value: float) -> tf.Tensor:
    """(E, M) as (E, M + count)."""
    widths = [[0, 0], [0, count]]
    return tf.pad(values, widths, constant_values=value)
