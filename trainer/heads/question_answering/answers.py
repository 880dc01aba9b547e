"""The answer rule: from the best spans of all windows to what is answered.

Serving, metrics and the choice of the threshold take these very functions.
"""

from __future__ import annotations

import dataclasses
from typing import NamedTuple

from trainer.heads.contract import Tensors
from trainer.heads.question_answering.spans import NEVER
from trainer.lazy import tf

ANSWER_FIELDS = ("answer", "start", "end", "score")


class Candidates(NamedTuple):
    """The best spans of each text over all its windows, best first, and no answer.

    Attributes:
        score: (B, N) float32; NEVER where there are fewer.
        span: (B, N) int32, which of the U * M spans of all windows.
        none: (B,) float32, the score of no answer: of the window that says it least.
    """

    score: tf.Tensor
    span: tf.Tensor
    none: tf.Tensor

    @property
    def exists(self) -> tf.Tensor:
        """(B, N) bool."""
        return self.score > NEVER / 2

    def better_than_none(self) -> tf.Tensor:
        """(B, N) float32: by how much each span is better than no answer."""
        return self.score - self.none[:, None]


class Ranked(NamedTuple):
    """What may be answered to each text: its spans and, behind them, no answer.

    Attributes:
        rank: (B, R) float32: the highest is answered.
        share: (B, R) float32: of the probability of all these; 0 where there are fewer spans.
        start, end: (B, R) int32, characters of the context; -1 for no answer.
    """

    rank: tf.Tensor
    share: tf.Tensor
    start: tf.Tensor
    end: tf.Tensor

    def best(self, count: int) -> Ranked:
        """The same of so many, best first; of equals the first, so that no answer comes last."""
        rank, chosen = tf.math.top_k(self.rank, count)
        share = tf.gather(self.share, chosen, batch_dims=1)
        start = tf.gather(self.start, chosen, batch_dims=1)
        end = tf.gather(self.end, chosen, batch_dims=1)
        return Ranked(rank, share, start, end)


@dataclasses.dataclass(frozen=True)
class AnswerRule:
    """What is answered, given the results of all windows.

    Attributes:
        n_best: N, the spans of a text over which the score is a share.
        top_k: K, the answers to give.
        threshold: how much better no answer must be than the best span; None: each question has an
            answer.
    """

    n_best: int
    top_k: int
    threshold: float | None

    def answers(
        self, results: Tensors, columns: Tensors, contexts: tf.Tensor
    ) -> dict[str, tf.Tensor]:
        """The best answers to each question; see `QuestionGraph.answers`.

        Args:
            results: of U windows; see `QuestionGraph.results`.
            columns: of the windows, as `Reader.encode` made them.
            contexts: (B,) string.
        """
        texts = tf.size(contexts)
        found = find_candidates(results, columns["example"], texts, self.n_best)
        ranked = self._ranked(found, results, columns)
        best = ranked.best(self.top_k)
        answers = {
            "answer": cut_out(contexts, best.start, best.end),
            "start": best.start,
            "end": best.end,
            "score": best.share,
        }
        given = {}
        for field, values in answers.items():
            given[field] = values[:, 0]
            if self.top_k > 1:
                given[f"n_best_{field}"] = values
        return given

    def is_near_tie(
        self, results: Tensors, example: tf.Tensor, texts: int, *, near: float
    ) -> tf.Tensor:
        """(B,) bool: whether one of the answers to give and the next are as good.

        Args:
            results: of U windows; `score` and `none`.
            example: (U,) int32, the text of each.
            texts: B.
            near: a difference that may be none.
        """
        count = self.top_k + 1
        found = find_candidates(results, example, tf.constant(texts), count)
        ranks, _ = tf.math.top_k(self._ranks(found), count)
        given = ranks[:, :-1]
        after = ranks[:, 1:]
        exists = after > NEVER / 2
        is_near = given - after <= near
        return tf.reduce_any(exists & is_near, axis=1)

    def _ranks(self, found: Candidates) -> tf.Tensor:
        """(B, N) float32, or (B, N + 1) with no answer, by which the answers are chosen."""
        if self.threshold is None:
            return found.score
        better = found.better_than_none()
        refusal = tf.ones_like(better[:, :1]) * -self.threshold
        return tf.concat([better, refusal], 1)

    def _ranked(self, found: Candidates, results: Tensors, columns: Tensors) -> Ranked:
        start, end = find_characters(found, results, columns)
        score = found.score
        if self.threshold is not None:
            nowhere = -tf.ones_like(start[:, :1])
            start = tf.concat([start, nowhere], 1)
            end = tf.concat([end, nowhere], 1)
            score = tf.concat([score, found.none[:, None]], 1)
        exists = score > NEVER / 2
        share = tf.where(exists, tf.nn.softmax(score), 0.0)
        rank = self._ranks(found)
        return Ranked(rank, share, start, end)


def find_candidates(
    results: Tensors, example: tf.Tensor, texts: tf.Tensor, count: int
) -> Candidates:
    """The best spans of each text over all its windows.

    Args:
        results: of U windows the M best spans of each; `score` (U, M) and `none` (U,) float32.
        example: (U,) int32, the text of each window, in ascending order.
        texts: () int32, B.
        count: N.
    """
    scores = results["score"]
    per_window = scores.shape[1]
    rows = tf.cast(texts, example.dtype)
    of_texts = tf.RaggedTensor.from_value_rowids(scores, example, nrows=rows, validate=False)
    dense = of_texts.to_tensor(NEVER)  # (B, W, M), W the windows of the longest text
    width = tf.shape(dense)[1] * per_window
    flat = tf.reshape(dense, (texts, width))
    enough = tf.pad(flat, [[0, 0], [0, count]], constant_values=NEVER)
    score, place = tf.math.top_k(enough, count)
    first_window = tf.cast(of_texts.row_splits[:-1], tf.int32)
    first_span = first_window[:, None] * per_window
    none = tf.math.unsorted_segment_min(results["none"], example, texts)
    return Candidates(score, first_span + place, none)


def find_characters(
    found: Candidates, results: Tensors, columns: Tensors
) -> tuple[tf.Tensor, tf.Tensor]:
    """Where spans begin and end in their contexts, (B, N) int32 each; -1 where there is none.

    Args:
        found: the spans.
        results: of the windows: `first` and `last` (U, M) int32, tokens of the window.
        columns: of the windows: `start` and `end` of each token, ragged (U, None) int32.
    """
    start = _characters_of(found, results["first"], columns["start"])
    end = _characters_of(found, results["last"], columns["end"])
    return start, end


def _characters_of(found: Candidates, tokens: tf.Tensor, characters: tf.RaggedTensor) -> tf.Tensor:
    """(B, N) int32: where the spans have one of their ends.

    Args:
        found: the spans.
        tokens: (U, M) int32, that end of all spans in their windows.
        characters: (U, None) int32, of the tokens of all windows.
    """
    exists = found.exists
    span = tf.where(exists, found.span, 0)
    window = span // tokens.shape[1]
    window_start = tf.gather(characters.row_splits, window)
    token = tf.gather(tf.reshape(tokens, [-1]), span)
    place = window_start + tf.cast(token, window_start.dtype)
    place = tf.where(exists, place, 0)
    character = tf.gather(characters.values, place)
    return tf.where(exists, character, -1)


def cut_out(contexts: tf.Tensor, start: tf.Tensor, end: tf.Tensor) -> tf.Tensor:
    """(B, K) string: the characters from start to end of a context each; "" of -1.

    Args:
        contexts: (B,) string.
        start, end: (B, K) int32.
    """
    valid = tf.strings.unicode_transcode(contexts, "UTF-8", "UTF-8")
    shape = tf.shape(start)
    of_each = tf.broadcast_to(valid[:, None], shape)
    begin = tf.maximum(start, 0)
    length = tf.maximum(end, 0) - begin
    return tf.strings.substr(of_each, begin, length, unit="UTF8_CHAR")


def as_json(answer: bytes, start: int, end: int, score: float) -> dict[str, object]:
    """One of the answers; see `QuestionGraph.answers`."""
    return {
        "answer": answer.decode(),
        "start": int(start),
        "end": int(end),
        "score": float(score),
    }
