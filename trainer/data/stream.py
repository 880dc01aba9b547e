"""Train in blocks that are read as they are needed, for corpora too large to store.

A block is so many characters of text, encoded and cut into rows like a split. Its rows are shuffled among themselves, and
while they are trained on the next block is read. Which rows a step takes is a function of the files, the seed and the step
alone: a run that goes on reads again from the beginning of the block that it was in.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import pathlib
import tempfile
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

from trainer import gcs, mirror
from trainer.config import DataSettings
from trainer.data.batching import TrainingPlan
from trainer.data.ledger import Ledger
from trainer.data.prepare import encoder, load, write_splits
from trainer.data.store import TokenStore
from trainer.errors import JobDirError
from trainer.mirror import cache_folder
from trainer.sources import Example, open_source
from trainer.sources._files import files_of, relative_names


@dataclasses.dataclass(frozen=True)
class Place:
    """Where a block begins.

    Attributes:
        block: its number, from 0.
        step: the first optimizer step on it.
        passes: how often all files were read before.
        file: the file, in this pass's order.
        example: of that file.
        lost: the ledger of all blocks before.
    """

    block: int = 0
    step: int = 0
    passes: int = 0
    file: int = 0
    example: int = 0
    lost: dict[str, Any] = dataclasses.field(default_factory=dict)


class Stream:
    """The blocks of train, one after the other, without end.

    The first pass takes the files in the order of their names, each later one in another.

    Attributes:
        ledger: what was lost up to and with the block that was begun last.
        failure: what ended the reading; TensorFlow, in whose threads it happens, passes on no more than its text.
    """

    def __init__(self, settings: DataSettings, head: Any, *, batch_size: int, seed: int) -> None:
        self.settings = settings.model_copy(update={"validation": None, "test": None})
        self.head, self.batch_size, self.seed = head, batch_size, seed
        self.files, self.fingerprint = _files(settings)
        self.graph = encoder(head)
        self.ledger = Ledger()
        self.failure: Exception | None = None
        self._places = [Place()]

    def go_on(self, state: Mapping[str, Any]) -> None:
        """Takes up what `state` returned in an earlier process.

        Raises:
            JobDirError: other files are there than were then.
        """
        place = dict(state)
        if place.pop("files") != self.fingerprint:
            raise JobDirError(f"data.train = {self.settings.train}: the names or sizes of the files have changed since the run began, so that it cannot go on "
                              "where it was. Put the files back, or start anew in another --job_dir.")
        self._places = [Place(**place)]

    def state(self, step: int) -> dict[str, Any]:
        """What another process needs to go on from optimizer step `step`."""
        return {**dataclasses.asdict(self._place(step)), "files": self.fingerprint}

    def _place(self, step: int) -> Place:
        return next(place for place in reversed(self._places) if place.step <= step)

    def first_block(self) -> Block:
        """What is prepared in train's place, to plan by."""
        return Block(self, Place())

    def steps(self, first: int) -> Iterator[tuple[TokenStore, np.ndarray]]:
        """Of each optimizer step from `first` on, the block, and which of its examples are taken."""
        place = self._place(first)
        with ThreadPoolExecutor(1) as pool:
            ahead = pool.submit(self._read, place)
            while True:
                try:
                    store, lost, after = ahead.result()
                except Exception as error:
                    self.failure = error
                    raise
                plan = TrainingPlan(len(store), self.batch_size, self.seed)
                self.ledger = lost
                after = dataclasses.replace(after, block=place.block + 1, step=place.step + plan.steps_per_epoch, lost=lost.entries)
                ahead = pool.submit(self._read, after)
                for step in range(max(first, place.step), after.step):
                    yield store, plan.indices(place.block * plan.steps_per_epoch + step - place.step)
                place = after
                self._places.append(place)

    def _read(self, place: Place) -> tuple[TokenStore, Ledger, Place]:
        """A block, what was lost up to its end, and where the next begins."""
        block = Block(self, place)
        cache_folder().mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".block.", dir=cache_folder()) as folder:
            write_splits(pathlib.Path(folder), self.settings, self.head, {"train": block}, graph=self.graph)
            prepared = load(pathlib.Path(folder), reused=False)  # mapped: the files stay until the block is let go
        lost = Ledger(json.loads(json.dumps(place.lost)))
        for kind, entry in prepared.ledger.entries.get("train", {}).items():
            lost.add("train", kind, entry["first"], entry["count"])
        return prepared.splits["train"], lost, block.after


class Block:
    """A `Source` of the examples of one block, which ends with its pass at the latest."""

    def __init__(self, stream: Stream, place: Place) -> None:
        self._stream, self._place = stream, place
        self._characters = 0
        self.after = place  # known when the examples were read

    def examples(self) -> Iterator[Example]:
        """The examples; sets `after`."""
        stream, place = self._stream, self._place
        order = np.arange(len(stream.files))
        if place.passes:
            order = np.random.Generator(np.random.Philox(np.random.SeedSequence([place.passes]))).permutation(order)
        for file in range(place.file, len(order)):
            source = open_source(stream.settings, "train", stream.files[order[file]])
            skipped = place.example if file == place.file else 0
            for number, example in enumerate(source.examples()):
                if number < skipped:
                    continue
                if self._characters >= stream.settings.stream_characters:
                    self.after = dataclasses.replace(place, file=file, example=number)
                    return
                self._characters += sum(map(len, stream.head.texts(example)))
                yield example
        self.after = dataclasses.replace(place, passes=place.passes + 1, file=0, example=0)

    def fingerprint(self) -> str:
        """Of the files' names and sizes: their content is not read beforehand."""
        return f"{self._stream.fingerprint} {self._place.block}"

    def label_names(self) -> None:
        """There are no labels."""

    def size(self) -> int:
        """Characters of a block."""
        return self._stream.settings.stream_characters

    def progress(self) -> int:
        """Characters read."""
        return min(self._characters, self.size())


def _files(settings: DataSettings) -> tuple[list[str], str]:
    """What data.train names, each to be opened alone, and a fingerprint. Of gs:// nothing is fetched yet."""
    if settings.source == "tfds":
        return [settings.train], open_source(settings, "train", settings.train).fingerprint()
    if settings.train.startswith(mirror.SCHEME):
        remote = gcs.find(settings.train, key="data.train")
        found, facts = [str(item) for item in remote], [[str(item), item.size, item.crc32c] for item in remote]
    else:
        paths = files_of(settings.train, "train")
        found, facts = [str(path) for path in paths], [[name, path.stat().st_size] for name, path in zip(relative_names(paths), paths, strict=True)]
    return found, hashlib.blake2b(json.dumps(facts).encode(), digest_size=16).hexdigest()
