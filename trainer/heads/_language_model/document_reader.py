"""How every head that learns whole documents reads them."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from trainer.data.reader import Input, Reader, Recuts, RowKind, Value
from trainer.heads._language_model.documents import Documents
from trainer.heads._language_model.words import Part
from trainer.sources import Example

if TYPE_CHECKING:
    from trainer.data.split import Split
    from trainer.text.tokenizer import Tokenizer


@dataclasses.dataclass(frozen=True, kw_only=True)
class DocumentReader(Reader, Recuts):
    """Reads documents, and cuts them into rows.

    Attributes:
        tokenizer: of the texts.
        inputs: the document.
        documents: how they are cut.
    """

    tokenizer: Tokenizer
    inputs: tuple[Input, ...]
    documents: Documents
    rows = RowKind.RECUT
    overflows = ("window",)  # rows begin and end anywhere
    streams = True

    def values(self, example: Example) -> tuple[Value, ...]:
        """The document, or a part of one."""
        return (self.documents.text(example),)

    def label(self, example: Example) -> Part:
        """Whether a document ends here, and how many words and bytes of text this is."""
        return self.documents.part(example)

    def recut(self, split: Split) -> None:
        """Lets rows begin every seq_len tokens of all, or of each document."""
        self.documents.recut(split)

    def learn(
        self, labels: Sequence[Part], names: list[str] | None, origin: Callable[[int], str]
    ) -> dict[str, object]:
        """Nothing: the vocabulary is the tokenizer's."""
        return {"labels": []}
