"""One pass over the sources: examples are read, routed to their splits, encoded and written."""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import os
import pathlib
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import NamedTuple

import numpy as np

from trainer.data.checked import CHECKSUMS
from trainer.data.contradictions import contradictions, contradictions_of_train, label_keys
from trainer.data.duplicates import Found, duplicates, duplicates_of
from trainer.data.empty_splits import refuse_empty_split
from trainer.data.encoding import Encoded, EncodingGraph, encode_batch
from trainer.data.gold import Gold
from trainer.data.ledger import Ledger
from trainer.data.reader import Label, Reader, ReadsClasses, Recuts, RowKind, Value, Vocabulary
from trainer.data.split import Split
from trainer.errors import DataError
from trainer.files.checksums import fingerprint, write_sealed
from trainer.settings.schema import DataSettings
from trainer.sources import Example, Source, open_source

# Texts per call of the graph: many, to amortise the call; few, to spread over the cores.
ENCODE_BATCH = 512
# odd: another number of the same hash, so that a part of train is none of what is held out
PART_FACTOR = 0x9E3779B97F4A7C15
SPLITS = ("train", "validation", "test")

Progress = Callable[[int, int | None], None]  # bytes or examples read, and how many there are


class Pending(NamedTuple):
    """Examples of a split that are being encoded."""

    split: Split
    examples: slice
    encoded: Future[Encoded]


def content_hash(values: Sequence[Value]) -> int:
    """64 bits of the example's inputs: what decides the split, and what finds duplicates."""
    content = "\x1f".join(map(str, values)).encode("utf-8", "surrogatepass")
    digest = hashlib.blake2b(content, digest_size=8).digest()
    return int.from_bytes(digest, "little")


class Preparation:
    """Writes the token stores of all splits, and the ledger of what was lost.

    Args:
        sources: of the splits that have one of their own; the others are held out of train.
        graph: of the head's encoding.
    """

    def __init__(
        self,
        settings: DataSettings,
        head: Reader,
        sources: Mapping[str, Source],
        graph: EncodingGraph,
        progress: Progress | None = None,
    ) -> None:
        self.settings = settings
        self.head = head
        self.sources = sources
        self.graph = graph
        self.progress = progress
        self.ledger = Ledger(head.losses_of_data)
        self.gold: Gold | None = None
        if isinstance(head, ReadsClasses):
            self.gold = Gold(settings, head, self._train_labels, self.ledger)
        # split -> where its part of the hashes ends
        self.held_out: dict[str, float] = {}
        edge = 0.0
        for name in ("validation", "test"):
            fraction = getattr(settings, name)
            if isinstance(fraction, float):
                edge += fraction
                self.held_out[name] = edge
        self.pending: deque[Pending] = deque()

    def write(self, folder: pathlib.Path) -> None:
        """Encodes all examples into stores in `folder`. Raises DataError where they are none."""
        splits = {}
        with contextlib.ExitStack() as stack:
            for name in SPLITS:
                if getattr(self.settings, name) is not None:
                    splits[name] = Split(name, folder / name)
                    stack.callback(splits[name].close)
            self._read(splits)
            self._require_examples(splits)
            vocabulary = self._learn(splits["train"])
            self._write_stores(splits, vocabulary)
        written = {name: fingerprint(folder / name / CHECKSUMS) for name in splits}
        notes = {
            "ledger": self.ledger.entries,
            "vocabulary": vocabulary,
            "splits": written,
        }
        write_sealed(folder / "ledger.json", notes)

    def _read(self, splits: dict[str, Split]) -> None:
        """Encodes all examples."""
        workers = os.cpu_count() or 1
        with ThreadPoolExecutor(workers) as pool:
            for name, source in self.sources.items():
                goes_on = False  # with the document of the example before
                route: str | None = None
                for example in self._limited(name, source):
                    inputs = self.head.values(example)
                    digest = content_hash(inputs)
                    if not goes_on:  # the parts of a document stay together
                        route = self._route(name, inputs, digest)
                    goes_on = not example.ends
                    if route is None:
                        continue
                    split = splits[route]
                    self._take(split, example, inputs, digest)
                    if len(split.waiting) == ENCODE_BATCH:
                        self._encode(split, pool)
                        self._collect(leave=2 * workers)
            for split in splits.values():
                self._encode(split, pool)
            self._collect(leave=0)

    def _limited(self, name: str, source: Source) -> Iterator[Example]:
        """The examples of a source; of train no more than data.limit."""
        # asked once: of a folder it is a walk over all files
        size = source.size() if self.progress else None
        limit = self.settings.limit if name == "train" else None
        examples = itertools.islice(source.examples(), limit)
        for number, example in enumerate(examples):
            if self.progress and number % ENCODE_BATCH == 0:
                self.progress(source.progress(), size)
            yield example

    def _train_labels(self) -> Iterator[Label]:
        """The labels of train, read once more."""
        source = open_source(self.settings, "train", self.settings.train)
        examples = itertools.islice(source.examples(), self.settings.limit)
        for example in examples:
            yield self.head.label(example)

    def _route(self, source: str, values: tuple[Value, ...], digest: int) -> str | None:
        """The split of an example.

        An example of train is in train, or in the fraction held out of it that the hash of the
        inputs falls into; where data.part asks for a part of train, the others are in none.

        Args:
            source: the split that the source is named for.
            values: the raw inputs.
            digest: `content_hash` of all of them.
        """
        part = self.settings.part
        if source != "train" or not (self.held_out or part):
            return source
        if self.head.grouping != slice(None):
            digest = content_hash(values[self.head.grouping])
        point = digest / 2**64
        for name, edge in self.held_out.items():
            if point < edge:
                return name
        is_in = part is None or digest * PART_FACTOR % 2**64 < part * 2**64
        return "train" if is_in else None

    def _take(self, split: Split, example: Example, values: tuple[Value, ...], digest: int) -> None:
        """Notes an example, unless it has no gold label."""
        label = self.head.label(example)
        if self.gold:
            label = self.gold.of(split.name, label, example.origin)
            if label is None:
                return
        split.labels.append(label)
        split.shown.offer(
            str(example.origin),
            lambda: self.head.shown(example, values, label),
        )
        texts = [value for value in values if isinstance(value, str)]
        self._note_doubts(split, example, texts)
        only_beginnings = self.head.rows is RowKind.RECUT
        split.sample(self.head.inputs, values, cut=only_beginnings)
        split.note(example, values, digest)
        if split.name != "train" and not only_beginnings:
            split.keep(values)

    def _note_doubts(self, split: Split, example: Example, texts: Sequence[str]) -> None:
        """Puts into the ledger what is odd about an example before it is encoded."""
        origin = str(example.origin)
        if not all(texts):
            self.ledger.add(split.name, "empty_texts", origin)
        for kind, count in example.doubts:
            if count:
                self.ledger.add(split.name, kind, origin, count)
        long_words = sum(map(self.head.tokenizer.long_words, texts))
        if long_words:
            self.ledger.add(split.name, "long_words", origin, long_words)

    def _encode(self, split: Split, pool: ThreadPoolExecutor) -> None:
        """Has the waiting examples of a split encoded in a thread."""
        batch = split.waiting
        if not batch:
            return
        split.waiting = []
        encoded = pool.submit(
            encode_batch,
            self.graph,
            self.head.inputs,
            batch,
        )
        examples = slice(split.count - len(batch), split.count)
        self.pending.append(Pending(split, examples, encoded))

    def _collect(self, *, leave: int) -> None:
        """Appends encoded batches in the order they were read, until `leave` are pending."""
        while len(self.pending) > leave:
            split, examples, future = self.pending.popleft()
            encoded = future.result()
            self._count_losses(split, examples.start, encoded.lost)
            tokens = encoded.tokens
            of_row = encoded.example
            if isinstance(self.head, Recuts):
                labels = split.labels[examples]
                tokens = self.head.finish_rows(tokens, of_row, labels)
            files, lines = split.places[examples][of_row].T
            columns = {
                **encoded.columns,
                "content_hash": split.hashes[examples][of_row],
                "origin_file": files,
                "origin_line": lines,
            }
            if self.head.rows is not RowKind.ONE:
                columns["example"] = examples.start + of_row
            split.writer.append(tokens, columns)

    def _count_losses(self, split: Split, first: int, lost: Mapping[str, np.ndarray]) -> None:
        """Puts into the ledger what encoding some examples has lost, from number `first` on."""
        for kind, counts in lost.items():
            for number in np.flatnonzero(counts):
                origin = split.origin(first + number)
                count = int(counts[number])
                self.ledger.add(split.name, kind, origin, count)
                if kind == "truncated_tokens":
                    self.ledger.add(split.name, "truncated_examples", origin)
                    tokens = self.settings.seq_len + count
                    self._refuse_overflow(origin, f"{tokens:,} tokens, over")
                if kind == "extra_windows":
                    self._refuse_overflow(origin, "more tokens than")

    def _refuse_overflow(self, origin: str, excess: str) -> None:
        if self.settings.overflow != "error":
            return
        others = [overflow for overflow in self.head.overflows if overflow != "error"]
        raise DataError(
            f"{origin}: {excess} data.seq_len = {self.settings.seq_len}, and data.overflow is"
            f" error. Raise data.seq_len, or choose data.overflow {' or '.join(others)}."
        )

    def _require_examples(self, splits: Mapping[str, Split]) -> None:
        counts = {name: split.count for name, split in splits.items()}
        for name, count in counts.items():
            if count:
                continue
            refuse_empty_split(
                name,
                counts,
                self.settings,
                self.ledger,
                whole_documents=self.head.rows is RowKind.RECUT,
            )

    def _learn(self, train: Split) -> Vocabulary:
        names = self.sources["train"].label_names()
        vocabulary = self.head.learn(train.labels, names, train.origin)
        if self.gold:
            self.gold.refuse_unknown(vocabulary["labels"])
        return vocabulary

    def _write_stores(self, splits: Mapping[str, Split], vocabulary: Vocabulary) -> None:
        """Completes the stores; train is the first of the splits."""
        train = splits["train"]
        train_keys = np.zeros(0, np.uint64)
        for split in splits.values():
            self._count_duplicates(split, train)
            if isinstance(self.head, Recuts):
                self.head.recut(split)
            aligned = self.head.align(split, vocabulary, self.ledger)
            if self.gold:
                hashes_of_labels = split.writer.scratch(np.uint64)
                keys = label_keys(aligned.columns["label"], hashes_of_labels)
                if split is train:
                    train_keys = keys
                self._count_contradictions(split, keys, train, train_keys)
            split.writer.close(
                aligned.columns,
                aligned.tokens,
                self._meta(split),
                extras={**aligned.extras, **split.kept()},
            )

    def _meta(self, split: Split) -> dict[str, object]:
        """What the store notes of a split."""
        return {
            "samples": split.samples,
            "examples": split.count,
            "characters": split.characters,
            "scored_share": self.head.scored_share,
            "shown": split.shown.meta(),
            "host_columns": [column.name for column in self.head.columns if not column.fed],
        }

    def _count_contradictions(
        self, split: Split, keys: np.ndarray, train: Split, train_keys: np.ndarray
    ) -> None:
        """Counts equal texts with different labels.

        Args:
            keys, train_keys: numbers of the labels, see `label_keys`.
        """
        folder = split.writer.folder
        within = contradictions(split.hashes, keys, folder)
        self._count(split, "contradicting_labels", within)
        if split is train:
            return
        of_train = contradictions_of_train(
            split.hashes,
            keys,
            train.hashes,
            train_keys,
            folder,
        )
        self._count(split, "contradicting_train", of_train)

    def _count_duplicates(self, split: Split, train: Split) -> None:
        streams = self.settings.stream_characters is not None
        if streams and split is train:
            return
        folder = split.writer.folder
        within = duplicates(split.hashes, folder)
        self._count(split, "duplicates", within)
        if split is train or streams:
            return
        of_train = duplicates_of(split.hashes, train.hashes, folder)
        self._count(split, "duplicates_of_train", of_train)

    def _count(self, split: Split, kind: str, rows: Found) -> None:
        if rows.count:
            first = split.origin(rows.first)
            self.ledger.add(split.name, kind, first, rows.count)
