"""Documents as rows of tokens: end to end, or each for itself."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Literal

import numpy as np
from pydantic import Field

from trainer.errors import DataError
from trainer.heads._language_model.words import Part, count_bytes, count_words
from trainer.settings.schema import HeadSettings
from trainer.sources import Example, require_text

if TYPE_CHECKING:
    from trainer.data.split import Split
    from trainer.files.spool import Numbers


class DocumentSettings(HeadSettings):
    """What a head that learns whole documents has."""

    documents: Literal["joined", "separate"] = Field(
        "joined",
        description=(
            "joined: end to end in full rows, attention crosses from one to the next; separate: it"
            " stays inside a document"
        ),
    )


@dataclasses.dataclass(frozen=True)
class Documents:
    """How documents are read and cut.

    Attributes:
        field: of an example, with the text.
        seq_len: S, tokens of a row at most.
        joined: whether a row goes on with the next document.
    """

    field: str
    seq_len: int
    joined: bool

    def text(self, example: Example) -> str:
        """The document, or a part of one. Raises DataError where it is missing or no text."""
        return require_text(example, self.field)

    def part(self, example: Example) -> Part:
        """Whether a document ends here, and how much text this is."""
        text = example.features[self.field]
        return example.ends, count_words(text), count_bytes(text)

    def recut(self, split: Split) -> None:
        """Lets rows begin every S tokens of all, or of each document.

        It notes in `split.document_ends` where documents end.

        Raises:
            DataError: there is no token.
        """
        split.document_ends = split.writer.scratch(np.int64)
        total = _note_document_ends(split, split.document_ends)
        if not total:
            raise DataError(
                f"data.{split.name}: {len(split.labels):,} texts and no token in them. Name the"
                " text field with --data.text."
            )
        split.writer.recut(_row_starts(self.borders(split, total), self.seq_len))

    def borders(self, split: Split, total: int) -> Iterable[np.ndarray]:
        """Behind which tokens no row goes on: (n,) int64 each, ascending.

        Args:
            split: whose documents' ends are noted.
            total: how many tokens it has.
        """
        if self.joined:
            return [np.array([total])]
        if split.document_ends is None:
            raise RuntimeError("the split was not recut")
        return split.document_ends.blocks()


def ends_document(
    example: np.ndarray, labels: Sequence[Part], first: int = 0, following: int = -1
) -> np.ndarray:
    """(rows,) bool: the last row of an example that a document ends with.

    Args:
        example: (rows,) ascending, which example each row is of.
        labels: of the examples from `first` on.
        first: the number of the first label's example.
        following: the example of the row behind the last.
    """
    ends = np.array([end for end, *_ in labels], bool)
    next_example = np.r_[example[1:], following]
    is_last = next_example != example
    return is_last & ends[example - first]


def _note_document_ends(split: Split, document_ends: Numbers) -> int:
    """Notes behind which token each document ends, and the last one; how many tokens there are."""
    last = total = 0
    for splits, example, following in _with_following(split.writer.rows()):
        first = int(example[0])
        labels = split.labels[first : int(example[-1]) + 1]
        is_end = ends_document(example, labels, first, following)
        ends = np.unique(splits[1:][is_end])
        ends = ends[ends > last]  # a document without a token ends where the one before does
        document_ends.extend(ends)
        if len(ends):
            last = int(ends[-1])
        total = int(splits[-1])
    if total > last:
        document_ends.extend(np.array([total]))
    return total


def _with_following(
    rows: Iterator[tuple[np.ndarray, dict[str, np.ndarray]]],
) -> Iterator[tuple[np.ndarray, np.ndarray, int]]:
    """Of each block of rows the splits, the examples, and the example of the row behind the last.

    That is -1 where there is no such row.
    """
    before: tuple[np.ndarray, np.ndarray] | None = None
    for splits, columns in rows:
        example = columns["example"]
        if before is not None:
            yield *before, int(example[0])
        before = splits, example
    if before is not None:
        yield *before, -1


def _row_starts(borders: Iterable[np.ndarray], length: int) -> Iterator[np.ndarray]:
    """Where rows of `length` tokens begin, between the beginning, the borders, and the last one."""
    last = 0
    for ends in borders:
        begins = np.r_[last, ends[:-1]]
        tokens = ends - begins
        counts = -(-tokens // length)  # rows of each
        rows_before = np.cumsum(counts) - counts
        row = np.arange(counts.sum())
        within = row - np.repeat(rows_before, counts)
        first = np.repeat(begins, counts)
        yield first + length * within
        last = int(ends[-1])
