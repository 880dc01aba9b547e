"""How well tokens are predicted: of each token, each word and each byte of text."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from trainer.errors import DataError
from trainer.heads.contract import Metric, Results

LARGEST_EXPONENT = 700  # of which float64 still holds the exponential
OF_TOKENS = (
    Metric("perplexity", lower_is_better=True),
    Metric("loss", lower_is_better=True),
    Metric("accuracy"),
)
OF_TEXT = (
    Metric("word_perplexity", lower_is_better=True),
    Metric("bits_per_byte", lower_is_better=True),
)


def total(numbers: np.ndarray) -> float:
    """The sum in float64."""
    return float(numbers.sum(dtype=np.float64))


def scores_of_tokens(results: Results) -> dict[str, float]:
    """Over every predicted token once.

    Args:
        results: `loss`, `predicted` and `correct` of each row.
    Returns:
        the mean loss, its exponential, and how often the token was the likeliest.
    Raises:
        DataError: no token is predicted.
    """
    tokens = total(results["predicted"])
    if not tokens:
        rows = len(results["predicted"])
        raise DataError(
            f"no token of the {rows:,} rows to evaluate is predicted, so that there is no"
            " perplexity. Longer texts are needed, a higher data.seq_len, or head.whole_words:"
            " false."
        )
    loss = total(results["loss"]) / tokens
    return {
        "loss": loss,
        "perplexity": _exponential(loss),
        "accuracy": total(results["correct"]) / tokens,
    }


def records_of_tokens(results: Results) -> Iterator[dict[str, object]]:
    """Of each row how many `tokens` are predicted, how many rightly, and their mean `loss`.

    Args:
        results: `loss`, `predicted` and `correct` of each row.
    """
    columns = (results[name].tolist() for name in ("loss", "predicted", "correct"))
    for loss, predicted, correct in zip(*columns, strict=True):
        mean = loss / predicted if predicted else None
        yield {"tokens": int(predicted), "correct": int(correct), "loss": mean}


def scores_of_text(loss: float, words: int, size: int) -> dict[str, float]:
    """What the loss is in measures that no tokenizer changes.

    Args:
        loss: the sum over all tokens of the text.
        words: as white space parts them, in Chinese characters; 0: there is none.
        size: bytes; 0: there is none.
    Returns:
        the perplexity of a word, and the bits of a byte, where there are any.
    """
    scores = {}
    if words:  # else there is nothing to be perplexed at
        scores["word_perplexity"] = _exponential(loss / words)
    if size:
        scores["bits_per_byte"] = loss / math.log(2) / size
    return scores


def _exponential(loss: float) -> float:
    return math.exp(min(loss, LARGEST_EXPONENT))
