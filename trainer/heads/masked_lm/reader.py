"""Documents as tokens, of which some are hidden at each step."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from trainer.data.ledger import Ledger
from trainer.data.reader import (
    TARGET,
    Aligned,
    Column,
    Columns,
    Draw,
    Draws,
    EncodedTensors,
    TokenColumns,
    Vocabulary,
)
from trainer.heads._language_model.document_reader import DocumentReader
from trainer.heads._language_model.words import Part, text_size
from trainer.heads.masked_lm.masking import Masking
from trainer.lazy import tf

if TYPE_CHECKING:
    from trainer.data.split import Split
    from trainer.data.store import TokenStore

WORDS = "words"  # 0 where a token goes on with a word


@dataclasses.dataclass(frozen=True, kw_only=True)
class MaskedReader(DocumentReader, Draws):
    """Reads documents.

    Attributes:
        columns: see `Reader`.
        scored_share: of the tokens, hidden and predicted.
        masking: how tokens are hidden.
        whole_words: whether all tokens of a word are hidden, or none.
    """

    columns: tuple[Column, ...]
    scored_share: float
    masking: Masking
    whole_words: bool

    def preparation_settings(self) -> dict[str, object]:
        """See `Reader`."""
        return {
            "name": "masked_lm",
            "joined": self.documents.joined,
            "whole_words": self.whole_words,
            "mask_probability": self.scored_share,
        }

    def encode(self, *inputs: tf.Tensor) -> EncodedTensors:
        """Token columns and counts.

        Args:
            inputs: (B,) string.
        Returns:
            token_ids, special tokens included, and with head.whole_words `words`, 0 where a token
            goes on with a word: each ragged (U, None) int32. `example` (U,) int32, the text of each
            row of at most seq_len tokens. Counts, (B,) int32 each.
        """
        from trainer.text.assemble import join
        from trainer.text.windows import cut_rows

        (text,) = inputs
        template = self.tokenizer.template
        tokens = self.tokenizer.tokenize_with_offsets(text)
        room = self.documents.seq_len - template.size(pair=False)
        windows = cut_rows(tokens.ids.row_lengths(), room)
        columns = {
            "token_ids": join(windows.take(tokens.ids), template=template),
            "example": tf.cast(windows.text, tf.int32),
        }
        if self.whole_words:
            columns[WORDS] = join(windows.take(tokens.words), template=template.filled(1))
        unknown = tf.cast(tokens.ids == self.tokenizer.unk_id, tf.int32)
        return columns, {"unknown_tokens": tf.reduce_sum(unknown, axis=1)}

    def finish_rows(
        self, tokens: TokenColumns, example: np.ndarray, labels: Sequence[Part]
    ) -> TokenColumns:
        """Nothing: a document's rows have their special tokens already."""
        return tokens

    def align(self, split: Split, vocabulary: Vocabulary, ledger: Ledger) -> Aligned:
        """Targets are drawn at each step: the column says that there are some."""
        for splits, _ in split.writer.rows():
            tokens = int(splits[-1] - splits[0])
            split.writer.append_tokens(TARGET, np.zeros(tokens, np.int32))
        return Aligned(columns={}, tokens={}, extras={"text_size": text_size(split.labels)})

    def draw(self, store: TokenStore, index: int, draw: Draw) -> Columns:
        """Hides tokens of an example, see `Masking.hide`."""
        seeds = [draw.seed, draw.step + 1, index]
        bits = np.random.Philox(np.random.SeedSequence(seeds))
        random = np.random.Generator(bits)
        tokens = store.example(index)
        starts_word = tokens[WORDS] if self.whole_words else None
        return self.masking.hide(tokens["token_ids"], starts_word, random)
