"""Preparation: sources are read once, encoded in the graph and written to token stores, with a
ledger of what was lost.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import itertools
import json
import os
import pathlib
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import numpy as np
import tensorflow as tf

from trainer.data import store as store_module
from trainer.data.checked import CHECKSUMS
from trainer.data.contradictions import contradictions, contradictions_of_train, label_keys
from trainer.data.duplicates import duplicates, duplicates_of
from trainer.data.gold import Gold
from trainer.data.ledger import Ledger
from trainer.data.shown_examples import Shown
from trainer.data.store import StoreWriter, TokenStore
from trainer.errors import DataError
from trainer.files.checksums import (
    DamagedError,
    Fingerprint,
    fingerprint,
    read_sealed,
    verify,
    write_sealed,
)
from trainer.files.mapped import blocks
from trainer.files.mirror import cache_folder, use_cache
from trainer.files.spool import Labels, Numbers, Records
from trainer.settings.schema import DataSettings
from trainer.sources import Example, Source, open_source

# texts per call of the graph: long enough to amortise the call, short enough to spread over the
# cores
ENCODE_BATCH = 512
SAMPLES = 256  # raw examples of each split kept in the store, for the export's proof
SAMPLE_CHARACTERS = 2000  # of a document, which may be a book
SPLITS = ("train", "validation", "test")


@dataclasses.dataclass(frozen=True)
class Prepared:
    """The encoded splits, their ledger, and what the head learnt from train (the label names)."""

    folder: pathlib.Path
    splits: dict[str, TokenStore]
    ledger: Ledger
    vocabulary: dict[str, Any]
    reused: bool
    # what was damaged in an earlier run's splits, so that they were encoded anew
    replaced: str = ""

    def digest(self) -> str:
        """Of the examples, their labels, their order and the vocabulary: equal on two hosts that
        may train together.
        """
        digest = hashlib.blake2b(
            json.dumps(self.vocabulary, sort_keys=True).encode(), digest_size=16
        )
        for split, store in sorted(self.splits.items()):
            for name in ("content_hash", "label"):
                # a language model's examples have no label
                if (values := store.columns.get(name, store.tokens.get(name))) is not None:
                    digest.update(f"{split} {name}".encode())
                    for block in blocks(values):
                        digest.update(block.tobytes())
            for block in blocks(store.lengths):
                digest.update(block.tobytes())
        return digest.hexdigest()


def prepare(
    settings: DataSettings,
    head: Any,
    tokenizer_fingerprint: str,
    *,
    train: Source | None = None,
    progress: Callable[[int, int | None], None] | None = None,
) -> Prepared:
    """Encodes every split, or finds them encoded by an earlier run.

    Args:
        head: gives texts, label, encode, learn, and label_columns or align (see trainer/heads).
        train: in place of what data.train names, such as the first block of a stream.
        progress: called with (bytes or examples read, how many there are).
    Raises:
        DataError: a split without examples, an unknown field, a label that only a later split has,
            …
    """
    use_cache(settings.cache_dir)
    sources = {
        split: train if split == "train" and train else open_source(settings, split, spec)
        for split in SPLITS
        if isinstance(spec := getattr(settings, split), str)
    }
    fingerprint = _fingerprint(settings, head, tokenizer_fingerprint, sources)
    folder = cache_folder() / fingerprint
    found = _found(folder)
    if isinstance(found, Prepared):
        return found
    with store_module.one_at_a_time(folder):
        meanwhile = _found(folder)  # by a worker beside this one
        if isinstance(meanwhile, Prepared):
            return meanwhile
        store_module.discard(folder)
        with store_module.building(folder) as temporary:
            write_splits(temporary, settings, head, sources, progress=progress)
    return dataclasses.replace(load(folder, reused=False), replaced=found or meanwhile)


def _found(folder: pathlib.Path) -> Prepared | str:
    """What an earlier run left, or else what is damaged about it; an empty text where there was
    none.
    """
    if not folder.exists():
        return ""
    try:
        return load(folder, reused=True)
    except DamagedError as error:
        return str(error)


def encoder(head: Any) -> Callable[..., Any]:
    """The head's encoding as a graph: one (B,) string tensor for each of its texts."""
    return tf.function(
        head.encode,
        autograph=False,
        input_signature=[tf.TensorSpec([None], tf.string)] * len(head.text_names),
    )


def write_splits(
    folder: pathlib.Path,
    settings: DataSettings,
    head: Any,
    sources: dict[str, Source],
    *,
    graph: Callable[..., Any] | None = None,
    progress: Callable[[int, int | None], None] | None = None,
) -> None:
    """Encodes what the sources have into stores in `folder`, for `load`; `graph` is what `encoder`
    returned, if it was called before.
    """
    _Preparation(settings, head, sources, progress, graph or encoder(head)).write(folder)


def load(folder: pathlib.Path, *, reused: bool) -> Prepared:
    """What `prepare` wrote to a folder.

    Raises DamagedError where it is not all as it was written.
    """
    notes = read_sealed(folder / "ledger.json")
    splits = {}
    for split, expected in notes["splits"].items():
        verify(folder / split / CHECKSUMS, Fingerprint(*expected))
        splits[split] = TokenStore(folder / split)
    return Prepared(folder, splits, Ledger(notes["ledger"]), notes["vocabulary"], reused)


def _fingerprint(
    settings: DataSettings, head: Any, tokenizer_fingerprint: str, sources: dict[str, Source]
) -> str:
    relevant = settings.model_dump(exclude={"batching", "cache_dir", *SPLITS})
    held_out = {
        split: getattr(settings, split)
        for split in SPLITS
        if not isinstance(getattr(settings, split), str)
    }
    facts = [
        store_module.FORMAT,
        relevant,
        held_out,
        head.preparation_settings(),
        tokenizer_fingerprint,
        {split: source.fingerprint() for split, source in sources.items()},
    ]
    return hashlib.blake2b(json.dumps(facts, sort_keys=True).encode(), digest_size=16).hexdigest()


def content_hash(texts: Sequence[str]) -> int:
    """64 bits of the example's text: what decides the split, and what finds duplicates."""
    return int.from_bytes(
        hashlib.blake2b(
            "\x1f".join(texts).encode("utf-8", "surrogatepass"), digest_size=8
        ).digest(),
        "little",
    )


def encode_batch(
    graph: Callable[..., Any], texts: list[list[str]]
) -> tuple[dict[str, tuple[np.ndarray, np.ndarray]], np.ndarray, dict[str, np.ndarray]]:
    """Runs the head's encoding on raw texts.

    Returns:
        token columns as (flat values, row lengths); (rows,) int32, which text each row is of; and
        the counts of what was lost, (B,) int32 each.
    """
    columns, counts = graph(
        *(tf.constant([text.encode("utf-8", "replace") for text in column]) for column in texts)
    )
    text = columns.pop("example", None)
    return (
        {
            name: (ragged.flat_values.numpy(), ragged.row_lengths().numpy())
            for name, ragged in columns.items()
        },
        np.arange(len(texts[0]), dtype=np.int32) if text is None else text.numpy(),
        {name: values.numpy() for name, values in counts.items()},
    )


class _Split:
    """One split while it is written: examples wait in a batch, encoded batches are appended in
    order.
    """

    def __init__(self, name: str, folder: pathlib.Path) -> None:
        self.name = name
        self.writer = StoreWriter(folder)
        self.waiting: list[tuple[str, ...]] = []  # the texts of the last examples
        self.labels = Labels(folder)
        self.samples: list[dict[str, Any]] = []
        self.places = Numbers(folder, np.int32, (2,))  # file, line of each example
        self.hashes = Numbers(folder, np.uint64)
        self.kept = Records(folder)  # texts, as UTF-8
        self.shown = Shown()
        self.count = self.characters = 0

    def origin(self, index: int) -> str:
        file, line = self.places[index].tolist()
        name = self.writer.file(file)
        return f"{name}:{line}" if line else name

    def close(self) -> None:
        """Lets go what only preparation needs."""
        for spool in (self.labels, self.places, self.hashes, self.kept):
            spool.close()


class _Preparation:
    def __init__(
        self,
        settings: DataSettings,
        head: Any,
        sources: dict[str, Source],
        progress: Any,
        graph: Callable[..., Any],
    ) -> None:
        self.settings = settings
        self.head = head
        self.sources = sources
        self.progress = progress
        self.graph = graph
        self.ledger = Ledger()
        self.gold = (
            Gold(settings, head, self._train_labels, self.ledger) if head.classifies else None
        )
        fractions = {
            split: value
            for split in ("validation", "test")
            if isinstance(value := getattr(settings, split), float)
        }
        # split -> where its part of the hashes ends
        self.held_out = dict(zip(fractions, itertools.accumulate(fractions.values()), strict=True))
        # which examples of the split are being encoded
        self.pending: deque[tuple[_Split, slice, Future]] = deque()

    def write(self, folder: pathlib.Path) -> None:
        names = [split for split in SPLITS if getattr(self.settings, split) is not None]
        with contextlib.ExitStack() as stack:
            splits = {
                name: stack.enter_context(contextlib.closing(_Split(name, folder / name)))
                for name in names
            }
            self._read(splits)
            self._finish(splits, folder)

    def _read(self, splits: dict[str, _Split]) -> None:
        """Encodes all examples."""
        workers = os.cpu_count() or 1
        with ThreadPoolExecutor(workers) as pool:
            for name, source in self.sources.items():
                # with the document of the example before, whose parts stay together
                goes_on = False
                for example in self._limited(name, source):
                    texts = self.head.texts(example)
                    digest = content_hash(texts)
                    if not goes_on:
                        split = splits[self._route(texts, digest) if name == "train" else name]
                    goes_on = not example.ends
                    self._take(split, example, texts, digest)
                    if len(split.waiting) == ENCODE_BATCH:
                        self._encode(split, pool)
                        self._collect(2 * workers)
            for split in splits.values():
                self._encode(split, pool)
            self._collect(0)

    def _limited(self, name: str, source: Source) -> Iterator[Example]:
        # asked once: of a folder it is a walk over all files
        size = source.size() if self.progress else None
        for number, example in enumerate(source.examples()):
            if (
                name == "train"
                and self.settings.limit is not None
                and number >= self.settings.limit
            ):
                return
            if self.progress and number % ENCODE_BATCH == 0:
                self.progress(source.progress(), size)
            yield example

    def _route(self, texts: tuple[str, ...], digest: int) -> str:
        """Train, or the fraction held out of it that the hash of the text falls into; `digest` is
        that of all texts of the example.
        """
        if not self.held_out:
            return "train"
        point = (
            digest if self.head.grouping == slice(None) else content_hash(texts[self.head.grouping])
        ) / 2**64
        return next((split for split, edge in self.held_out.items() if point < edge), "train")

    def _train_labels(self) -> Iterator[Any]:
        """The labels of train, read once more."""
        source = open_source(self.settings, "train", self.settings.train)
        return (
            self.head.label(example)
            for example in itertools.islice(source.examples(), self.settings.limit)
        )

    def _take(self, split: _Split, example: Example, texts: tuple[str, ...], digest: int) -> None:
        label = self.head.label(example)
        if self.gold:
            label = self.gold.of(split.name, label, example.origin)
            if label is None:
                return
        split.labels.append(label)
        split.shown.offer(str(example.origin), lambda: self.head.shown(example, texts, label))
        if not all(texts):
            self.ledger.add(split.name, "empty_texts", str(example.origin))
        for kind, count in (*example.doubts, ("long_words", self.head.long_words(texts))):
            if count:
                self.ledger.add(split.name, kind, str(example.origin), count)
        if len(split.samples) < SAMPLES:
            shown = (text[:SAMPLE_CHARACTERS] for text in texts) if self.head.recuts else texts
            split.samples.append(dict(zip(self.head.text_names, shown, strict=True)))
        split.waiting.append(texts)
        split.places.append((split.writer.file_number(example.origin.file), example.origin.line))
        split.hashes.append(digest)
        if self.head.keeps_texts and split.name != "train":
            split.kept.append(texts[-1].encode("utf-8", "surrogatepass"))
        split.count += 1
        split.characters += sum(map(len, texts))

    def _encode(self, split: _Split, pool: ThreadPoolExecutor) -> None:
        if split.waiting:
            batch, split.waiting = split.waiting, []
            texts = [list(column) for column in zip(*batch, strict=True)]
            first = split.count - len(batch)
            self.pending.append(
                (split, slice(first, split.count), pool.submit(encode_batch, self.graph, texts))
            )

    def _collect(self, leave: int) -> None:
        """Appends encoded batches in the order they were read, until `leave` are pending."""
        while len(self.pending) > leave:
            split, batch, future = self.pending.popleft()
            tokens, example, counts = future.result()
            for kind, values in counts.items():
                for row in np.flatnonzero(values):
                    origin = split.origin(batch.start + row)
                    self.ledger.add(split.name, kind, origin, values[row])
                    if kind == "truncated_tokens":
                        self.ledger.add(split.name, "truncated_examples", origin)
                        self._refuse_overflow(
                            origin, f"{self.settings.seq_len + int(values[row]):,} tokens, over"
                        )
                    if kind == "extra_windows":
                        self._refuse_overflow(origin, "more tokens than")
            if self.head.recuts:
                tokens = self.head.finish_rows(tokens, example, split.labels[batch])
            files, lines = split.places[batch][example].T
            columns = {
                "content_hash": split.hashes[batch][example],
                "origin_file": files,
                "origin_line": lines,
            }
            split.writer.append(
                tokens,
                {**columns, "example": batch.start + example} if self.head.windows else columns,
            )

    def _refuse_overflow(self, origin: str, excess: str) -> None:
        if self.settings.overflow == "error":
            others = " or ".join(
                overflow for overflow in self.head.overflows if overflow != "error"
            )
            raise DataError(
                f"{origin}: {excess} data.seq_len = {self.settings.seq_len}, and data.overflow is"
                f" error. Raise data.seq_len, or choose data.overflow {others}."
            )

    def _refuse_without_gold(self, name: str) -> None:
        """Raises DataError where all examples of a split were left out."""
        left_out = {
            kind: count
            for kind in ("unlabelled", "unlabelled_marks", "excluded_labels")
            if (count := self.ledger.count(name, kind))
        }
        if not left_out:
            return
        if "excluded_labels" in left_out:
            raise DataError(
                f"data.{name}: no examples are left: {left_out['excluded_labels']:,} have a label"
                " of data.exclude_labels. Exclude fewer."
            )
        kind = next(iter(left_out))
        advice = (
            "Remove data.test: --mode=predict answers such a file"
            if name == "test"
            else "Is --data.label the right field?"
        )
        raise DataError(
            f"data.{name}: none of its {sum(left_out.values()):,} examples has a gold label (first:"
            f" {self.ledger.first(name, kind)}): it is empty, null, or a mark such as -1 that says"
            f" so. {advice}"
        )

    def _finish(self, splits: dict[str, _Split], folder: pathlib.Path) -> None:
        for name, split in splits.items():
            if split.count == 0:
                self._refuse_without_gold(name)
            if split.count == 0 and isinstance(spec := getattr(self.settings, name), float):
                total = sum(other.count for other in splits.values())
                raise DataError(
                    f"data.{name} = {spec}: no examples: of the {total:,} of data.train none fell"
                    " into this fraction. Hold out a larger one, or name a file."
                    + (
                        " A document is never torn: let data.document make more of them."
                        if self.head.recuts
                        else ""
                    )
                )
            if split.count == 0 and (
                held := {
                    other: splits[other].count for other in self.held_out if splits[other].count
                }
            ):
                got = ", ".join(f"{other} got {count:,}" for other, count in held.items())
                raise DataError(
                    f"data.train = {self.settings.train}: no examples are left: {got}. Texts that"
                    " are equal are held out together, and all may be. Give more different texts,"
                    " or files of their own."
                )
            if split.count == 0:
                raise DataError(
                    f"data.{name} = {getattr(self.settings, name)}: no examples. Check the path."
                )
        names = self.sources["train"].label_names()
        vocabulary = self.head.learn(
            splits["train"].labels, names, lambda index: splits["train"].origin(index)
        )
        if self.gold:
            self.gold.refuse_unknown(vocabulary["labels"])
        train_keys: np.ndarray | None = None
        for name, split in splits.items():
            if name != "train" or self.settings.stream_characters is None:
                self._count_duplicates(split, splits["train"])
            columns = {}
            token_columns = {}
            extras = {}
            if self.head.recuts:
                self.head.recut(split)
            if self.head.windows:
                columns, token_columns, extras = self.head.align(split, vocabulary, self.ledger)
            else:
                columns, extras = self.head.label_columns(split, vocabulary, self.ledger)
                extras = {**extras, **self.head.kept(split)}
            meta = {
                "samples": split.samples,
                "examples": split.count,
                "characters": split.characters,
                "scored_share": self.head.scored_share,
                "shown": split.shown.meta(),
            }
            if self.gold:
                keys = label_keys(columns["label"], split.writer.scratch(np.uint64))
                train_keys = keys if name == "train" else train_keys
                self._count_contradictions(split, keys, splits["train"], train_keys)
            split.writer.close(columns, token_columns, meta, extras=extras)
        written = {name: fingerprint(folder / name / CHECKSUMS) for name in splits}
        write_sealed(
            folder / "ledger.json",
            {"ledger": self.ledger.entries, "vocabulary": vocabulary, "splits": written},
        )

    def _count_contradictions(
        self, split: _Split, labels: np.ndarray, train: _Split, train_labels: np.ndarray
    ) -> None:
        folder = split.writer.folder
        found = {"contradicting_labels": contradictions(split.hashes, labels, folder)}
        if split is not train:
            found["contradicting_train"] = contradictions_of_train(
                split.hashes, labels, train.hashes, train_labels, folder
            )
        for kind, rows in found.items():
            if rows.count:
                self.ledger.add(split.name, kind, split.origin(rows.first), rows.count)

    def _count_duplicates(self, split: _Split, train: _Split) -> None:
        folder = split.writer.folder
        found = {"duplicates": duplicates(split.hashes, folder)}
        if split.name != "train" and self.settings.stream_characters is None:
            found["duplicates_of_train"] = duplicates_of(split.hashes, train.hashes, folder)
        for kind, rows in found.items():
            if rows.count:
                self.ledger.add(split.name, kind, split.origin(rows.first), rows.count)
