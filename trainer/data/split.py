"""One split while it is written: what is noted of each example, until its store is closed."""

from __future__ import annotations

import json
import pathlib
from collections.abc import Sequence

import numpy as np

from trainer.data.reader import Columns, Input, Value, characters
from trainer.data.shown_examples import Shown
from trainer.data.store import INPUT_SPLITS, INPUTS
from trainer.data.store_writer import StoreWriter
from trainer.files.spool import Labels, Numbers, Records
from trainer.sources import Example

SAMPLES = 256  # raw examples of each split kept in the store, for the export's proof
SAMPLE_CHARACTERS = 2000  # of a document, which may be a book


class Split:
    """Examples wait in a batch; encoded batches are appended in order.

    Attributes:
        waiting: the raw inputs of the examples that are not yet encoded.
        labels: of all examples, in their order; on disk.
        samples: the first examples' raw inputs, by their names.
        places: (examples, 2) int32, the file and the line of each.
        hashes: (examples,) uint64, of the texts.
        inputs: the raw inputs of each example as JSON, of what is evaluated.
        document_ends: (documents,) int64, behind which token each ends, where rows are cut anew.
    """

    def __init__(self, name: str, folder: pathlib.Path) -> None:
        self.name = name
        self.writer = StoreWriter(folder)
        self.waiting: list[tuple[Value, ...]] = []
        self.labels = Labels(folder)
        self.samples: list[dict[str, Value]] = []
        self.places = Numbers(folder, np.int32, (2,))
        self.hashes = Numbers(folder, np.uint64)
        self.inputs = Records(folder)
        self.document_ends: Numbers | None = None
        self.shown = Shown()
        self.count = 0
        self.characters = 0

    def note(self, example: Example, values: tuple[Value, ...], digest: int) -> None:
        """Takes in what does not depend on the head.

        Args:
            example: has its place.
            values: its raw inputs.
            digest: their hash.
        """
        origin = example.origin
        file_number = self.writer.file_number(origin.file)
        self.waiting.append(values)
        self.places.append((file_number, origin.line))
        self.hashes.append(digest)
        self.count += 1
        self.characters += characters(values)

    def keep(self, values: tuple[Value, ...]) -> None:
        """Keeps the raw inputs of the example, of which answers are made and shown."""
        written = json.dumps(values, ensure_ascii=False)
        self.inputs.append(written.encode("utf-8", "surrogatepass"))

    def kept(self) -> Columns:
        """Those of all examples, one after the other, and where each begins; {}: none are kept."""
        if not len(self.inputs):
            return {}
        return {
            INPUTS: self.inputs.content.mapped(),
            INPUT_SPLITS: self.inputs.splits.mapped(),
        }

    def sample(self, inputs: Sequence[Input], values: tuple[Value, ...], *, cut: bool) -> None:
        """Keeps the raw inputs of one of the first examples.

        Args:
            inputs: of the head.
            values: of the example, in their order.
            cut: keep only the beginnings of texts.
        """
        if len(self.samples) == SAMPLES:
            return
        sample = {}
        for item, value in zip(inputs, values, strict=True):
            if cut and isinstance(value, str):
                value = value[:SAMPLE_CHARACTERS]
            sample[item.name] = value
        self.samples.append(sample)

    def origin(self, index: int) -> str:
        """Where an example was found: file:line."""
        file, line = self.places[index].tolist()
        name = self.writer.file(file)
        return f"{name}:{line}" if line else name

    def close(self) -> None:
        """Lets go what only preparation needs."""
        self.labels.close()
        self.places.close()
        self.hashes.close()
        self.inputs.close()
