"""predictions.jsonl: what the kept model answers to each example of validation and test.

A line an example, in the order of the splits: `split`, `id` (its number there), `origin`
(file:line), `inputs` by their names, and what `Scorer.records` gives. Reports are made of it, and
need no model.
"""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Iterator, Mapping

from trainer.data.reader import RowKind
from trainer.data.store import TokenStore
from trainer.heads._stored_results import blocks_of_texts
from trainer.heads.contract import Record
from trainer.run.job_files import PREDICTIONS
from trainer.run.kept_model import KeptModel
from trainer.run.kept_scores import Scores


def write_predictions(
    kept: KeptModel,
    splits: Mapping[str, TokenStore],
    scores: Scores,
    name: str = PREDICTIONS,
) -> None:
    """Writes the file whole, where this process writes, unless the config says no.

    Args:
        kept: the model.
        splits: the encoded splits, by name.
        scores: of the model on some of them.
        name: of the file in the job_dir.
    """
    job = kept.job
    if not job.writes or not kept.parts.config.report.predictions:
        return
    scorer = kept.evaluator.scorer
    with job.files.writing(name) as file:
        for split, of_split in scores.splits.items():
            store = splits[split]
            records = scorer.records(of_split.results, store)
            written = itertools.chain(of_split.texts, itertools.repeat(None))
            for place, record, text in zip(_places(kept, store), records, written, strict=False):
                answer = {} if text is None else {"answer": text}
                file.write(_line({"split": split, **place, **record, **answer}))


def _line(values: Record) -> str:
    """As JSON has it: null for what is no number, and an escape where UTF-8 has no bytes."""
    try:
        text = json.dumps(values, ensure_ascii=False, allow_nan=False)
    except ValueError:
        text = json.dumps(_finite(values), ensure_ascii=False)
    return text.encode("utf-8", "backslashreplace").decode() + "\n"


def _finite(value: object) -> object:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {key: _finite(item) for key, item in value.items()}
    return list(map(_finite, value)) if isinstance(value, (list, tuple)) else value


def _places(kept: KeptModel, store: TokenStore) -> Iterator[Record]:
    """Of each example of a split its number, where it is from, and its raw inputs."""
    reader = kept.parts.head.reader
    if reader.rows is RowKind.RECUT:  # no input is that of a row
        for row in range(len(store)):
            yield {"id": row, "origin": store.origin(row)}
        return
    names = [item.name for item in reader.inputs]
    for texts, _ in blocks_of_texts(store):
        for text, values in zip(texts, store.inputs(texts), strict=True):
            yield {
                "id": text,
                "origin": store.origin(store.rows_of(text)),
                "inputs": dict(zip(names, values, strict=True)),
            }
