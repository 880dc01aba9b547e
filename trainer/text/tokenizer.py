"""What every tokenizer is to the rest of the trainer.

Ids of raw strings, where they stand, and the special tokens around them.
"""

from __future__ import annotations

from typing import NamedTuple

import tensorflow as tf

from trainer.text.added_tokens import Added, Spans, Tokens, around_added
from trainer.text.flat_arrays import make_ragged


class Template(NamedTuple):
    """The special tokens around one text or a pair: before first between second after.

    All empty for GPT-2.

    Attributes:
        empty: what a row has that would have nothing else: a model needs something to look at.
        segments: whether the second text of a pair is told apart by segment_ids.
    """

    before: tuple[int, ...] = ()
    between: tuple[int, ...] = ()
    after: tuple[int, ...] = ()
    empty: int = 0
    segments: bool = False

    def size(self, *, pair: bool) -> int:
        """How many special tokens a row has."""
        size = len(self.before) + len(self.after)
        if pair:
            size += len(self.between)
        return size

    def filled(self, value: int, *, last: int | None = None) -> Template:
        """The same with a value in place of each token.

        Args:
            value: in place of each.
            last: in place of those behind the second text; None: `value`.
        """
        value_after = value if last is None else last
        return self._replace(
            before=(value,) * len(self.before),
            between=(value,) * len(self.between),
            after=(value_after,) * len(self.after),
            empty=value,
        )


class Tokenizer(tf.Module):
    """Tokenizes raw strings.

    It may be held by a tf.Module, called in a tf.function and exported in a SavedModel.

    Attributes:
        vocabulary: list of V str, the token of each id.
        template: the special tokens of a row.
        pad_id: int; 0 where there is no padding token, as `has_pad` says.
        unk_id: int; -1 where every text has tokens.
        mask_id, eos_id: int, or None where there is none.
        fingerprint: str, sha256 of everything that determines ids and offsets.
    """

    vocabulary: list[str]
    template: Template
    pad_id: int
    has_pad: bool = True
    unk_id: int
    mask_id: int | None = None
    eos_id: int | None = None
    fingerprint: str
    _added: Added | None = None

    @property
    def token_bytes(self) -> list[bytes]:
        """List of V bytes, what each token writes into a text; special ones nothing."""
        raise NotImplementedError

    @property
    def mask_token(self) -> str:
        """The token that hides a word; "" where there is none."""
        return "" if self.mask_id is None else self.vocabulary[self.mask_id]

    @property
    def words(self) -> list[str]:
        """List of V str, how each token is shown."""
        return self.vocabulary

    def long_words(self, text: str) -> int:
        """How many words of a text are longer than the tokenizer takes, and so unknown."""
        return 0

    def decode(self, ids: tf.RaggedTensor) -> tf.Tensor:
        """The texts of rows of tokens; special tokens write nothing.

        Args:
            ids: (B, None) int32.
        Returns:
            (B,) string.
        """
        raise NotImplementedError

    def tokenize(self, texts: tf.Tensor) -> tf.RaggedTensor:
        """Splits each text into token ids, special tokens not added.

        Args:
            texts: (B,) string, UTF-8. Invalid bytes count as U+FFFD, as after Python's
                `decode(errors="replace")`.
        Returns:
            (B, None) int32.
        """
        ids, splits = self._graph_ids(texts)
        return make_ragged(ids, splits)

    def tokenize_with_offsets(self, texts: tf.Tensor) -> Tokens:
        """As `tokenize`, and where in the text each token stands.

        Args:
            texts: (B,) string.
        """
        return Spans(*self._graph_spans(texts)).ragged()

    # Not the public methods themselves: a tf.function of a method holds the tokenizer weakly, and
    # a public method must keep it alive.
    @tf.function(input_signature=[tf.TensorSpec([None], tf.string)], autograph=False)
    def _graph_ids(self, texts: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        return self._spans(texts, with_offsets=False)[:2]

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string)], autograph=False)
    def _graph_spans(self, texts: tf.Tensor) -> Spans:
        return self._spans(texts, with_offsets=True)

    def _spans(self, texts: tf.Tensor, *, with_offsets: bool) -> Spans:
        def split(plain: tf.Tensor) -> Spans:
            return self._split(plain, with_offsets=with_offsets)

        with tf.device("CPU:0"):  # where the string ops are, also in a process that has a GPU
            return around_added(texts, self._added, "UTF8_CHAR", split, with_offsets=with_offsets)

    def _split(self, texts: tf.Tensor, *, with_offsets: bool) -> Spans:
        """Tokenizes texts without added tokens.

        Args:
            texts: (B,) string.
            with_offsets: False: starts, ends and words may have any length.
        """
        raise NotImplementedError
