"""Documents as tokens, and each token's target."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from trainer.data.ledger import Ledger
from trainer.data.reader import (
    TARGET,
    Aligned,
    Column,
    EncodedTensors,
    TokenColumns,
    Vocabulary,
)
from trainer.errors import DataError
from trainer.files.mapped import blocks
from trainer.files.spool import Ascending
from trainer.heads._language_model.document_reader import DocumentReader
from trainer.heads._language_model.documents import ends_document
from trainer.heads._language_model.targets import following
from trainer.heads._language_model.words import Part, text_size
from trainer.heads.causal_lm.first_tokens import first_sizes
from trainer.lazy import tf

if TYPE_CHECKING:
    from trainer.data.split import Split
    from trainer.data.store import TokenStore


@dataclasses.dataclass(frozen=True, kw_only=True)
class CausalReader(DocumentReader):
    """Reads documents.

    Attributes:
        is_streamed: whether train comes in blocks, of which one may have nothing to predict.
    """

    is_streamed: bool
    columns = (Column(TARGET),)

    def preparation_settings(self) -> dict[str, object]:
        """See `Reader`."""
        return {
            "name": "causal_lm",
            "joined": self.documents.joined,
            "eos_id": self.tokenizer.eos_id,
        }

    def encode(self, *inputs: tf.Tensor) -> EncodedTensors:
        """Token columns and counts.

        Args:
            inputs: (B,) string.
        Returns:
            token_ids; `target`, 1 + the token that follows in the text, 0 behind the last: each
            ragged (U, None) int32. `example` (U,) int32, the text of each row of at most seq_len
            tokens. Counts, (B,) int32 each.
        """
        from trainer.text.windows import cut_rows

        (text,) = inputs
        ids = self.tokenizer.tokenize(text)
        unknown = tf.cast(ids == self.tokenizer.unk_id, tf.int32)
        target = following(ids.with_values(ids.values + 1))
        windows = cut_rows(ids.row_lengths(), self.documents.seq_len)
        columns = {
            "token_ids": windows.take(ids),
            TARGET: windows.take(target),
            "example": tf.cast(windows.text, tf.int32),
        }
        return columns, {"unknown_tokens": tf.reduce_sum(unknown, axis=1)}

    def finish_rows(
        self, tokens: TokenColumns, example: np.ndarray, labels: Sequence[Part]
    ) -> TokenColumns:
        """Puts the end-of-text token behind each document; `align` makes the targets.

        Args:
            tokens: of the rows.
            example: (rows,) int32, which of the labels' examples each row is of.
            labels: of these examples.
        """
        ids, lengths = tokens["token_ids"]
        if self.tokenizer.eos_id is None:
            return {"token_ids": (ids, lengths)}
        last = ends_document(example, labels)
        ends = np.cumsum(lengths)[last]
        ids = np.insert(ids, ends, self.tokenizer.eos_id)
        return {"token_ids": (ids, lengths + last)}

    def align(self, split: Split, vocabulary: Vocabulary, ledger: Ledger) -> Aligned:
        """Each token's target, and how much text is predicted.

        The target is 1 + the next token, also where that begins another row; 0 at the end, and at a
        document's where they are separate.
        """
        ids = split.writer.token_column("token_ids")
        if not self._write_targets(split, ids) and not self._is_block(split):
            raise DataError(
                f"data.{split.name}: none of its {len(ids):,} tokens is predicted from another"
                f" (first: {split.origin(0)}). Longer documents are needed, or"
                " --head.documents=joined."
            )
        size = text_size(split.labels)
        # Nothing predicts the first token of all, or of each document: what it writes does not
        # count either.
        last = 0
        for ends in self.documents.borders(split, len(ids)):
            starts = np.r_[last, ends[:-1]]
            size -= first_sizes(ids, starts, ends, self.tokenizer.token_bytes)
            last = int(ends[-1])
        return Aligned(columns={}, tokens={}, extras={"text_size": size})

    def warnings(self, vocabulary: Vocabulary, splits: Mapping[str, TokenStore]) -> list[str]:
        """Where documents run into each other."""
        has_end = self.tokenizer.eos_id is not None
        if has_end or not self.documents.joined or splits["train"].meta["examples"] <= 1:
            return []
        return [
            "head.documents: joined, and the tokenizer names no end-of-text token: nothing"
            " stands between two documents"
        ]

    def _write_targets(self, split: Split, ids: np.ndarray) -> bool:
        """Appends the targets to the split; whether there is any."""
        borders = [] if self.documents.joined else self.documents.borders(split, len(ids))
        has_target = False
        for target in _targets(ids, Ascending(borders)):
            has_target |= bool(target.any())
            split.writer.append_tokens(TARGET, target)
        return has_target

    def _is_block(self, split: Split) -> bool:
        return self.is_streamed and split.name == "train"


def _targets(ids: np.ndarray, document_ends: Ascending) -> Iterator[np.ndarray]:
    """Each token's target, a block at a time; (n,) int32 each.

    Args:
        ids: (tokens,) int32.
        document_ends: behind which tokens nothing is predicted.
    """
    start = 0
    for block in blocks(ids):
        stop = start + len(block)
        target = np.zeros(len(block), np.int32)
        target[:-1] = block[1:] + 1
        if stop < len(ids):
            target[-1] = ids[stop] + 1
        last_tokens = document_ends.below(stop + 1) - 1
        target[last_tokens - start] = 0
        yield target
        start = stop
