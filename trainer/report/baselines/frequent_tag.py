"""Each token gets the tag that it has most often in train."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from trainer.data.reader import Vocabulary
from trainer.data.store import TokenStore
from trainer.heads.contract import Results


def frequent_tag(train: TokenStore, vocabulary: Vocabulary) -> Callable[[TokenStore], Results]:
    """See above; a token that train does not have gets the most frequent tag of all.

    Its probability is the share of that tag, with one more of each tag than there is.
    """
    labels = len(vocabulary["labels"])
    token_ids = np.asarray(train.tokens["token_ids"])
    label = np.asarray(train.tokens["label"])  # 1 + a tag, 0 where none is learnt
    words = 1 + int(token_ids.max(initial=0))
    is_learnt = label > 0
    counts = np.zeros((words + 1, labels), np.int64)
    np.add.at(counts, (token_ids[is_learnt], label[is_learnt] - 1), 1)
    counts[words] = counts.sum(axis=0)
    unknown = np.flatnonzero(counts.sum(axis=1) == 0)
    counts[unknown] = counts[words]
    shares = (counts + 1) / (counts + 1).sum(axis=1, keepdims=True)

    def predicts(store: TokenStore) -> Results:
        own_ids = np.minimum(np.asarray(store.tokens["token_ids"]), words)
        gold = np.asarray(store.tokens["label"])
        tag = counts.argmax(axis=1)[own_ids].astype(np.int32)
        of_gold = shares[own_ids, np.maximum(gold - 1, 0)]
        return {
            "tag": tag,
            "score": shares[own_ids, tag].astype(np.float32),
            "loss": np.where(gold > 0, -np.log(of_gold), 0).astype(np.float32),
        }

    return predicts
