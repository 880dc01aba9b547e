"""Train in blocks that are read as they are needed, for corpora too large to store.

A block is so many characters of text, encoded and cut into rows like a split. Its rows are shuffled
among themselves, and while they are trained on the next block is read. Which rows a step takes is a
function of the files, the seed and the step
alone: a run that goes on reads again from the beginning of the block that it was in.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, TimeoutError
from typing import Any, TypeAlias

import numpy as np

from trainer.data.batching import TrainingPlan
from trainer.data.encoding import encoder
from trainer.data.ledger import Ledger
from trainer.data.prepare import load, write_splits
from trainer.data.reader import Reader, characters
from trainer.data.store import TokenStore
from trainer.errors import DataError, JobDirError
from trainer.files import gcs, mirror
from trainer.settings.schema import DataSettings
from trainer.sources import Example, open_source
from trainer.sources._files import files_of, relative_names

CLOSING_SECONDS = 5.0
# sources whose files may be read in any order; others are read as one
BY_FILE = ("csv", "jsonl", "text", "tfrecord", "tsv")


@dataclasses.dataclass(frozen=True)
class Place:
    """Where a block begins.

    Attributes:
        block: its number, from 0.
        step: the first optimizer step on it.
        passes: how often all files were read before.
        file: the file, in this pass's order.
        example: of that file.
        lost: the ledger of the first pass, up to and with this block; None until it is read.
    """

    block: int = 0
    step: int = 0
    passes: int = 0
    file: int = 0
    example: int = 0
    lost: dict[str, Any] | None = None


Loaded: TypeAlias = tuple[Place, TokenStore]  # a block that is read, and where it begins


class Stream:
    """The blocks of train, one after the other, without end; in each pass the files come in another
    order.

    Attributes:
        fingerprint: of the files' names and sizes; their content is not read beforehand.
        failure: what ended the reading; TensorFlow, in whose threads it happens, passes on no more
            than its text.
    """

    def __init__(self, settings: DataSettings, head: Reader, *, batch_size: int, seed: int) -> None:
        self.settings = settings.model_copy(update={"validation": None, "test": None})
        self.head = head
        self.batch_size = batch_size
        self.seed = seed
        self._files = _files(settings)
        self.fingerprint = _digest([seed, self._files])
        self.graph = encoder(head)
        self.failure: Exception | None = None
        self._closed = threading.Event()
        self._first = Place()
        self._loaded = 0  # steps whose blocks are there
        self._ahead: Future[Loaded] | None = None

    def go_on(self, state: Mapping[str, Any]) -> None:
        """Takes up what `state` returned in an earlier process.

        Raises:
            JobDirError: other files are there than were then. What was not yet read may be another.
        """
        place = Place(**{name: value for name, value in state.items() if name != "files"})
        if state["files"] != self._read_so_far(place):
            raise JobDirError(
                f"data.train = {self.settings.train}: there are other files than when the run"
                " began, or some that it has read have another size, so that it cannot go on where"
                " it was. Put them back, or start anew in another --job_dir."
            )
        self._first = place

    def state(self, place: Place) -> dict[str, Any]:
        """What another process needs to go on in the block that begins there."""
        return {**dataclasses.asdict(place), "files": self._read_so_far(place)}

    def _read_so_far(self, place: Place) -> str:
        names = [name for name, _ in self._files]
        order = self._order(place.passes)
        read = [self._files[index] for index in order[: place.file]]
        return _digest([names, read])

    def first_block(self) -> Block:
        """What is prepared in train's place, to plan by."""
        return Block(self, self._examples(Place()))

    def steps(self, steps: range) -> Iterator[tuple[Place, TokenStore, np.ndarray]]:
        """Of each optimizer step the block, and which of its examples are taken.

        The first block is read from now on.
        """
        block = Block(self, self._examples(self._first))
        first = _in_background(self._read, self._first, block)
        self._ahead = first
        return self._each_step(steps, block, first)

    def _each_step(
        self, steps: range, block: Block, ahead: Future[Loaded]
    ) -> Iterator[tuple[Place, TokenStore, np.ndarray]]:
        try:
            while True:
                place, store = ahead.result()
                plan = TrainingPlan(len(store), self.batch_size, self.seed)
                after = dataclasses.replace(
                    block.next,
                    block=place.block + 1,
                    step=place.step + plan.steps_per_epoch,
                )
                self._loaded = after.step
                if after.step < steps.stop:
                    ahead = _in_background(self._read, after, block, place.lost)
                    self._ahead = ahead
                begin = max(steps.start, place.step)
                end = min(steps.stop, after.step)
                # the plan's epochs are the blocks
                earlier = place.block * plan.steps_per_epoch - place.step
                for step in range(begin, end):
                    yield place, store, plan.indices(earlier + step)
                if after.step >= steps.stop:
                    return
        except Exception as error:
            self.failure = error
            raise

    def close(self) -> None:
        """Ends the reading at the next example, but does not wait for ever for a file that gives
        none.
        """
        self._closed.set()
        if self._ahead is None:
            return
        with contextlib.suppress(TimeoutError):
            self._ahead.exception(timeout=CLOSING_SECONDS)

    def ready(self, step: int) -> bool:
        """Whether the steps before this one need not wait for a block."""
        return step <= self._loaded or self._ahead is None or self._ahead.done()

    def _read(
        self, place: Place, block: Block, lost: dict[str, Any] | None = None
    ) -> tuple[Place, TokenStore]:
        """The next block, which begins at `place`; `lost` is the ledger up to there."""
        with mirror.scratch(mirror.cache_folder()) as scratch:
            folder = scratch / "block"
            sources = {"train": block}
            write_splits(folder, self.settings, self.head, sources, graph=self.graph)
            # mapped: the files stay until the block is let go
            prepared = load(folder, self.head.losses_of_data, reused=False)
        if place.lost is None:
            lost = self._total_lost(lost, prepared.ledger, place.passes)
            place = dataclasses.replace(place, lost=lost)
        return place, prepared.splits["train"]

    def _total_lost(
        self, earlier: dict[str, Any] | None, of_block: Ledger, passes: int
    ) -> dict[str, Any]:
        """The ledger with a block's entries; only the first pass counts.

        Args:
            earlier: its entries up to the block.
            of_block: the block's own.
            passes: how often all files were read before.
        """
        entries = json.loads(json.dumps(earlier or {}))  # a copy
        total = Ledger(self.head.losses_of_data, entries)
        if passes == 0:
            for kind, entry in of_block.entries.get("train", {}).items():
                total.add("train", kind, entry["first"], entry["count"])
        return total.entries

    def _order(self, passes: int) -> list[int]:
        seeds = np.random.SeedSequence([self.seed, passes])
        generator = np.random.Generator(np.random.Philox(seeds))
        return generator.permutation(len(self._files)).tolist()

    def _examples(self, first: Place) -> Iterator[tuple[Place, Example]]:
        """Every example with its place, from `first` on, pass after pass."""
        place = first
        while True:
            is_empty = True
            for file, index in enumerate(self._order(place.passes)):
                if file < place.file:
                    continue
                name, _ = self._files[index]
                with self._opened(name) as source:
                    for number, example in enumerate(source.examples()):
                        if self._closed.is_set():
                            raise InterruptedError
                        is_empty = False
                        if file > place.file or number >= place.example:
                            yield Place(passes=place.passes, file=file, example=number), example
            if is_empty and place.file == 0:
                raise DataError(f"data.train = {self.settings.train}: no examples. Check the path.")
            place = Place(passes=place.passes + 1)

    @contextlib.contextmanager
    def _opened(self, name: str) -> Iterator[Any]:
        """The source that reads a file; one of gs:// is here only meanwhile.

        TFRecords are read where they are.
        """
        is_remote = name.startswith(mirror.SCHEME)
        is_fetched = self.settings.source in BY_FILE and self.settings.source != "tfrecord"
        if is_remote and is_fetched:
            with mirror.borrowed(name, key="data.train") as path:
                yield open_source(self.settings, "train", str(path))
        else:
            yield open_source(self.settings, "train", name)


class Block:
    """A `Source` of the examples of one block after the other: each call of `examples` goes on
    where the last has ended.

    A block has one example at least, and ends with its pass at the latest.

    Attributes:
        next: where the next one begins.
    """

    def __init__(self, stream: Stream, examples: Iterator[tuple[Place, Example]]) -> None:
        self._stream = stream
        self._examples = examples
        self._waiting: tuple[Place, Example] | None = None
        self._characters = 0

    @property
    def next(self) -> Place:
        """See the class."""
        if self._waiting is None:
            raise RuntimeError("the block was not read")
        return self._waiting[0]

    def examples(self) -> Iterator[Example]:
        """The examples of the next block."""
        waiting = self._waiting or next(self._examples)
        self._waiting = waiting
        self._characters = 0
        place, example = waiting
        passes = place.passes
        while self._characters < self.size() and place.passes == passes:
            inputs = self._stream.head.values(example)
            self._characters += characters(inputs)
            yield example
            waiting = next(self._examples)
            self._waiting = waiting
            place, example = waiting

    def fingerprint(self) -> str:
        """Of the files and their order."""
        return self._stream.fingerprint

    def label_names(self) -> None:
        """There are no labels."""

    def size(self) -> int:
        """Characters of a block."""
        return self._stream.settings.stream_characters or 0

    def progress(self) -> int:
        """Characters read."""
        return min(self._characters, self.size())


def _in_background(function: Callable[..., Loaded], *args: object) -> Future[Loaded]:
    """The function's result, from a thread that no exit of the process waits for."""
    future: Future[Loaded] = Future()

    def run() -> None:
        try:
            future.set_result(function(*args))
        except BaseException as error:  # whoever asks for the result is told
            future.set_exception(error)

    threading.Thread(target=run, name="stream", daemon=True).start()
    return future


def _digest(facts: Any) -> str:
    facts_json = json.dumps(facts)
    return hashlib.blake2b(facts_json.encode(), digest_size=16).hexdigest()


def _files(settings: DataSettings) -> list[tuple[str, Any]]:
    """What data.train names, each to be opened alone, with its size, or what else tells it from
    another. Of gs:// nothing is fetched yet.
    """
    train = settings.train
    if settings.source not in BY_FILE:
        size = open_source(settings, "train", train).size()
        return [(train, size)]
    files: list[tuple[str, Any]] = []
    if train.startswith(mirror.SCHEME):
        for remote in gcs.find(train, key="data.train"):
            identity = [remote.size, remote.crc32c]
            files.append((str(remote), identity))
        return files
    paths = files_of(train, "train")
    for name, path in zip(relative_names(paths), paths, strict=True):
        size = path.stat().st_size
        files.append((str(path), [name, size]))
    return files
