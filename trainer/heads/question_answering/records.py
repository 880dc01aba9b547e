"""What the metrics need of each question beside its tokens: its context and gold answers."""

from __future__ import annotations

import itertools
import json
from typing import NamedTuple

import numpy as np

from trainer.data.reader import Columns
from trainer.data.split import Split
from trainer.data.store import TokenStore
from trainer.files.mapped import release


class Record(NamedTuple):
    """The context of a question, and its gold answers, none where there are none."""

    context: str
    answers: tuple[str, ...]


def write_records(split: Split) -> Columns:
    """The records of a split as JSON, one after the other, and where each begins."""
    records = split.writer.records()
    for kept, gold in zip(split.kept, split.labels, strict=True):
        context = kept.decode("utf-8", "surrogatepass")
        record = Record(context, gold.texts)._asdict()
        written = json.dumps(record, ensure_ascii=False)
        records.append(written.encode("utf-8", "surrogatepass"))
    content = records.content.mapped()
    splits = records.splits.mapped()
    return {"record": content, "record_splits": splits}


def read_records(store: TokenStore, questions: range) -> list[Record]:
    """The records of some questions of a split.

    A context stands in the record of each of its questions: all of them need not fit in memory.

    Args:
        store: the split.
        questions: which, by their numbers.
    """
    content = store.extras["record"]
    splits = store.extras["record_splits"][questions.start : questions.stop + 1]
    borders = itertools.pairwise(splits.tolist())
    records = [_read(content[start:end]) for start, end in borders]
    release(content)
    return records


def _read(content: np.ndarray) -> Record:
    written = content.tobytes().decode("utf-8", "surrogatepass")
    record = json.loads(written)
    return Record(record["context"], tuple(record["answers"]))
