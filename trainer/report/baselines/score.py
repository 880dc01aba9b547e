"""Fits the baselines of a head, and scores them as the model is scored."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import TypeAlias

from trainer.data.reader import Vocabulary
from trainer.data.store import TokenStore
from trainer.files.json_file import JsonObject
from trainer.heads.contract import Results, Scorer
from trainer.report.baselines import bag_of_words, constant, frequent_tag, n_gram
from trainer.settings.schema import HeadSettings

Predicts: TypeAlias = Callable[[TokenStore], Results]
Fit: TypeAlias = Callable[[TokenStore, Vocabulary], Predicts]
SPLITS = ("validation", "test")

OF_ONE_LABEL: Mapping[str, Fit] = {
    "majority": constant.majority,
    "bag_of_words": bag_of_words.one_label,
}
KINDS: Mapping[str, Mapping[str, Fit]] = {
    "single_label": OF_ONE_LABEL,
    "prompt": OF_ONE_LABEL,
    "multi_label": {"majority": constant.none, "bag_of_words": bag_of_words.several_labels},
    "regression": {"mean": constant.mean, "bag_of_words": bag_of_words.number},
    "token_classification": {"frequent_tag": frequent_tag.frequent_tag},
    "causal_lm": {"bigram": n_gram.bigram},
    "text_generation": {"bigram": n_gram.bigram},
}


def score_baselines(
    settings: HeadSettings,
    scorer: Scorer,
    splits: Mapping[str, TokenStore],
    vocabulary: Vocabulary,
) -> JsonObject:
    """Of each baseline of a head its metrics by split, and the seconds that it took.

    Args:
        settings: of the head; one that is not ours has no baselines.
        scorer: of the model.
        splits: the encoded splits, train among them.
        vocabulary: what train taught.
    """
    kind = getattr(settings, "kind", None) or settings.name
    scores: JsonObject = {}
    for name, fit in KINDS.get(kind, {}).items():
        begun = time.monotonic()
        predicts = fit(splits["train"], vocabulary)
        metrics = {
            split: scorer.metrics(predicts(splits[split]), splits[split])
            for split in SPLITS
            if split in splits
        }
        scores[name] = {**metrics, "seconds": round(time.monotonic() - begun, 2)}
    return scores
