"""What is known of the tags and spans of each text, for predictions.jsonl."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np

from trainer.heads.contract import Record, Results
from trainer.heads.token_classification.span_scores import ScoredWords

if TYPE_CHECKING:
    from trainer.data.store import TokenStore

DIGITS = 6  # of a score


def tag_records(
    words: ScoredWords, results: Results, store: TokenStore, labels: Sequence[str]
) -> Iterator[Record]:
    """Of each text its gold tags and the predicted ones.

    Args:
        words: of these texts.
        results: of each token of the split.
        store: the split.
        labels: the names of the tags.
    """
    score = results["score"][words.token]
    losses = _losses_of_texts(results, store, words.texts)
    for part, loss in zip(_parts(words), losses, strict=True):
        yield {
            "gold": _names(labels, words.gold[part]),
            "answer": _names(labels, words.predicted[part]),
            "score": _mean(score[part]),
            "loss": loss,
        }


def span_records(
    words: ScoredWords, results: Results, store: TokenStore, labels: Sequence[str]
) -> Iterator[Record]:
    """Of each text its gold spans and the predicted ones, and the tags that they are made of.

    Args:
        words: of these texts.
        results: of each token of the split.
        store: the split; its columns `start` and `end` are used.
        labels: the names of the tags, O, B-x, I-x, B-y, I-y, …
    """
    start, end = _word_places(words, store)
    score = results["score"][words.token]
    losses = _losses_of_texts(results, store, words.texts)
    for part, loss in zip(_parts(words), losses, strict=True):
        gold, predicted = words.gold[part], words.predicted[part]
        places = (start[part], end[part])
        yield {
            "gold": _spans(gold, labels, *places),
            "answer": _spans(predicted, labels, *places, score=score[part]),
            "loss": loss,
            "gold_tags": _names(labels, gold),
            "answer_tags": _names(labels, predicted),
        }


def _losses_of_texts(results: Results, store: TokenStore, texts: range) -> list[float | None]:
    """Of some texts the mean loss of a labelled token; None where there is none.

    Args:
        results: `loss` of each token of the split.
        store: the split.
        texts: which of it.
    """
    means: list[float | None] = []
    for text in texts:
        first, last = store.row_splits[[store.rows_of(text), store.rows_of(text + 1)]]
        labelled = int(np.count_nonzero(store.tokens["label"][first:last]))
        total = float(results["loss"][first:last].sum(dtype=np.float64))
        means.append(total / labelled if labelled else None)
    return means


def _word_places(words: ScoredWords, store: TokenStore) -> tuple[np.ndarray, np.ndarray]:
    """Where each word stands in its text, in characters: the first, and behind the last.

    A word ends with its last token: the one before the next word's.

    Args:
        words: some.
        store: the split they are of.
    """
    token = words.token
    first_of_next = np.append(token[1:], 0)
    is_followed = np.append(words.text[1:] == words.text[:-1], [False] * bool(len(token)))
    row_end = store.row_splits[np.searchsorted(store.row_splits, token, side="right")]
    last = np.where(is_followed, np.minimum(first_of_next, row_end), row_end) - 1
    last = np.maximum(last, token)  # of a word that shares its token
    end = store.tokens["end"][last]
    own_end = store.tokens["end"][token]
    return store.tokens["start"][token], np.where(end > 0, end, own_end)


def _parts(words: ScoredWords) -> Iterator[slice]:
    """Which words each text has."""
    texts = np.arange(words.texts.start, words.texts.stop + 1)
    splits = np.searchsorted(words.text, texts)
    for text in range(len(words.texts)):
        yield slice(int(splits[text]), int(splits[text + 1]))


def _spans(
    tags: np.ndarray,
    labels: Sequence[str],
    start: np.ndarray,
    end: np.ndarray,
    *,
    score: np.ndarray | None = None,
) -> list[dict[str, object]]:
    """The spans of a text.

    Args:
        tags: (W,) of its words.
        labels: the names of the tags.
        start, end: (W,) of the words, in characters.
        score: (W,) of the tags; None: they are gold.
    """
    spans: list[dict[str, object]] = []
    for first in np.flatnonzero(tags % 2 == 1):
        behind = first + 1
        while behind < len(tags) and tags[behind] == tags[first] + 1:
            behind += 1
        span: dict[str, object] = {
            "type": labels[tags[first]][2:],
            "start": int(start[first]),
            "end": int(end[first:behind].max()),
        }
        if score is not None:
            span["score"] = _mean(score[first:behind])
        spans.append(span)
    return spans


def _names(labels: Sequence[str], tags: np.ndarray) -> list[str]:
    return [labels[tag] for tag in tags.tolist()]


def _mean(scores: np.ndarray) -> float | None:
    """None of nothing."""
    return round(float(scores.mean()), DIGITS) if len(scores) else None
