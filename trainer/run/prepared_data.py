"""The encoded data of a run: made or found, and shown before anything is trained on it."""

from __future__ import annotations

import math

import tensorflow as tf

from trainer.console.display import Display
from trainer.data.doubts import doubts
from trainer.data.prepare import Prepared, prepare
from trainer.data.shown_examples import example_lines
from trainer.errors import ConfigError
from trainer.files import mirror
from trainer.run.assembly import Parts, best_metric
from trainer.run.job import Job
from trainer.run.label_report import label_counts, label_lines, range_lines
from trainer.run.workers import agree, hosts
from trainer.settings.schema import Config

STEPS_OF_A_BLOCK = 10
SHOWN_KINDS = 3  # of the ledger


def prepare_data(
    parts: Parts,
    strategy: tf.distribute.Strategy | None = None,
    job: Job | None = None,
    *,
    ledger_kinds: int | None = SHOWN_KINDS,
) -> Prepared:
    """Encodes the splits, or finds them encoded; shows what is in them.

    Args:
        parts: of the run.
        strategy: of several workers.
        job: of several workers. Where it is in Cloud Storage the chief encodes, and the others take
            what it has published there: no file of the data is fetched twice.
        ledger_kinds: of the ledger to show, where the job_dir has the rest; None: all.
    """
    prepared = _prepared_by_one(parts, strategy, job)
    display = parts.display
    display.done("preparing")
    if prepared.replaced:
        display.warn(f"{prepared.replaced} The data was encoded anew.")
    display.line(_sizes_line(prepared))
    if parts.config.data.stream_characters:
        display.line("  train is streamed: what is said of it here is of its first block")
        _check_block(parts.config, prepared)
    _show_labels(parts, prepared)
    for line in prepared.ledger.lines(ledger_kinds):
        display.line(line)
    warnings = parts.head.reader.warnings(prepared.vocabulary, prepared.splits)
    for line in (*warnings, *doubts(prepared.splits, prepared.ledger)):
        display.warn(line)
    return prepared


def _prepared_by_one(
    parts: Parts, strategy: tf.distribute.Strategy | None, job: Job | None
) -> Prepared:
    """What this process prepares, or what the chief has."""
    if job is None or strategy is None or hosts(strategy) == 1 or mirror.url_of(job.folder) is None:
        return _prepared_here(parts)
    mine = job.share(lambda: _prepared_here(parts)) if job.writes else None
    agree(strategy, "the preparation", "done")
    return mine or job.shared(parts.head.reader)


def _prepared_here(parts: Parts) -> Prepared:
    display: Display = parts.display
    return prepare(
        parts.config.data,
        parts.head.reader,
        parts.tokenizer.fingerprint,
        train=parts.stream.first_block() if parts.stream else None,
        progress=lambda done, total: display.progress("preparing", done, total),
    )


def _sizes_line(prepared: Prepared) -> str:
    """How many examples each split has, and how many rows where those are not the same."""
    sizes = []
    for split, store in prepared.splits.items():
        examples = store.meta["examples"]
        rows = f" ({len(store):,} rows)" if len(store) != examples else ""
        sizes.append(f"{split} {examples:,}{rows}")
    how = "encoded before" if prepared.reused else "encoded"
    return f"data: {', '.join(sizes)} examples ({how})"


def _show_labels(parts: Parts, prepared: Prepared) -> None:
    """Says what train has taught, and how often each label occurs."""
    reader = parts.head.reader
    for line in reader.notes(prepared.vocabulary):
        parts.display.line(f"  {line}")
    counts = label_counts(reader, prepared.vocabulary, prepared.splits)
    ranges = range_lines(reader, prepared.splits)
    for line in (*label_lines(counts), *ranges):
        parts.display.line(f"labels: {line}")


def require_best_metric(parts: Parts, prepared: Prepared) -> None:
    """Before training: raises ConfigError where the metric that picks the checkpoint is one that
    validation cannot give.
    """
    available = parts.head.available_metrics(prepared.vocabulary)
    metric = best_metric(parts.config, available)
    if metric is None or "validation" not in prepared.splits:
        return
    reasons = parts.head.undefined_metrics(prepared.vocabulary, prepared.splits["validation"])
    if metric.name not in reasons:
        return
    others = [other.name for other in available if other.name not in reasons]
    chosen = (
        "train.best_metric" if parts.config.train.best_metric else "train.early_stopping_patience"
    )
    raise ConfigError(
        f"{chosen}: {metric.name} picks the checkpoint, and data.validation cannot give it:"
        f" {reasons[metric.name]}. Set --train.best_metric to one of {', '.join(others)}, or give"
        " another data.validation."
    )


def show_examples(parts: Parts, prepared: Prepared) -> None:
    """Shows an example of each split that has files of its own, as the model sees it."""
    own = {
        split: store
        for split, store in prepared.splits.items()
        if not isinstance(getattr(parts.config.data, split), float)  # held out of train
    }
    for line in example_lines(own, parts.tokenizer, parts.display.console.width):
        parts.display.line(line)


def _check_block(config: Config, prepared: Prepared) -> None:
    """A block should have many steps, unless it is all there is: the last one of each has what is
    left.
    """
    store = prepared.splits["train"]
    size = config.data.stream_characters or 0
    batch = config.train.global_batch_size
    if len(store) < batch and store.meta["characters"] >= size:
        raise ConfigError(
            f"data.stream_characters: a block of {size:,} characters has {len(store):,} rows, and a"
            f" step takes {batch:,} (train.global_batch_size). Raise it to"
            f" {math.ceil(size * STEPS_OF_A_BLOCK * batch / len(store)):,}, for {STEPS_OF_A_BLOCK}"
            " steps."
        )
