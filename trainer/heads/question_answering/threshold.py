"""How much better no answer must be than the best one: what validation says is best."""

from __future__ import annotations

import numpy as np

from trainer.data.store import TokenStore
from trainer.heads.contract import Results
from trainer.heads.question_answering import official
from trainer.heads.question_answering.answers import cut_out, find_candidates, find_characters
from trainer.heads.question_answering.evaluated import Block, have_unanswerable, read_blocks
from trainer.lazy import tf


def find_threshold(results: Results, store: TokenStore, language: official.Language) -> float:
    """The threshold with the highest f1.

    Args:
        results: of all windows of the split.
        store: the split.
        language: of the metrics.
    Source: find_best_thresh of SQuAD 2.0's evaluation script.
    """
    v2 = have_unanswerable(store)
    margins: list[np.ndarray] = []
    f1_answered = []
    f1_refused = []
    for block in read_blocks(results, store):
        with tf.device("CPU:0"):  # where the string operations are
            margin, spans = _best_spans(block)
        margins.append(margin)
        for span, golds in zip(spans, block.golds, strict=True):
            answered = official.figures(span.decode(), golds, language, v2=v2)
            refused = official.figures("", golds, language, v2=v2)
            f1_answered.append(answered.f1)
            f1_refused.append(refused.f1)
    margin = np.concatenate(margins).astype(np.float64)
    return best_threshold(margin, np.array(f1_answered), np.array(f1_refused))


def _best_spans(block: Block) -> tuple[np.ndarray, np.ndarray]:
    """How much better no answer is than the best span of each question, and the text of that.

    Returns:
        (B,) float32; (B,) bytes.
    """
    example = block.columns["example"]
    texts = tf.size(block.contexts)
    found = find_candidates(block.results, example, texts, 1)
    start, end = find_characters(found, block.results, block.columns)
    spans = cut_out(block.contexts, start, end)
    margin = -found.better_than_none()
    margin = tf.squeeze(margin, 1)
    spans = tf.squeeze(spans, 1)
    return margin.numpy(), spans.numpy()


def best_threshold(margin: np.ndarray, f1_answered: np.ndarray, f1_refused: np.ndarray) -> float:
    """The threshold with the highest f1, when questions whose margin is above it are refused.

    Args:
        margin: (Q,) float64, how much better no answer is than the best one.
        f1_answered, f1_refused: (Q,), of the best answer and of none.
    """
    order = np.argsort(margin, kind="stable")
    margin = margin[order]
    gain = f1_answered - f1_refused
    gain = np.cumsum(gain[order])  # of answering all up to each
    is_below_next = np.diff(margin, append=np.inf) > 0  # equal margins are not parted
    gain = np.where(is_below_next, gain, -np.inf)
    last = int(gain.argmax())  # the last that is answered
    if gain[last] <= 0:
        return float(margin[0] - 1)
    if last + 1 == len(margin):
        return float(margin[last] + 1)
    between = margin[last : last + 2].mean()
    return float(between)
