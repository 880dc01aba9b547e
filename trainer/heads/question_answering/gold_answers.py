"""What the metrics need of each question beside its inputs: its gold answers."""

from __future__ import annotations

import itertools
import json
from collections.abc import Sequence

from trainer.data.reader import Columns
from trainer.data.split import Split
from trainer.data.store import TokenStore
from trainer.files.mapped import release

ANSWERS = "answers"
ANSWER_SPLITS = "answer_splits"


def write_answers(split: Split) -> Columns:
    """The gold answers of a split as JSON, one question after the other, and where each begins."""
    records = split.writer.records()
    for gold in split.labels:
        written = json.dumps(gold.texts, ensure_ascii=False)
        records.append(written.encode("utf-8", "surrogatepass"))
    return {ANSWERS: records.content.mapped(), ANSWER_SPLITS: records.splits.mapped()}


def read_answers(store: TokenStore, questions: range) -> list[Sequence[str]]:
    """The gold answers of some questions of a split, none where there are none.

    Args:
        store: the split.
        questions: which, by their numbers.
    """
    content = store.extras[ANSWERS]
    splits = store.extras[ANSWER_SPLITS][questions.start : questions.stop + 1]
    answers = []
    for start, end in itertools.pairwise(splits.tolist()):
        written = content[start:end].tobytes().decode("utf-8", "surrogatepass")
        answers.append(json.loads(written))
    release(content)
    return answers
