"""Question and context as windows of tokens, in the graph."""

from __future__ import annotations

import dataclasses

import tensorflow as tf

from trainer.data.reader import EncodedTensors
from trainer.heads.question_answering.alignment import EDGE, MIDDLE
from trainer.text.added_tokens import Tokens
from trainer.text.assemble import join
from trainer.text.flat_arrays import in_columns
from trainer.text.places import places_of
from trainer.text.tokenizer import Tokenizer
from trainer.text.windows import Windows, make_windows


@dataclasses.dataclass(frozen=True)
class Encoding:
    """How questions and contexts are laid out.

    Attributes:
        tokenizer: of both.
        seq_len: S, the tokens of a row.
        max_question_tokens: longer questions are cut.
        overlap: tokens of a context that neighbouring windows share.
    """

    tokenizer: Tokenizer
    seq_len: int
    max_question_tokens: int
    overlap: int

    def encode(self, question: tf.Tensor, context: tf.Tensor) -> EncodedTensors:
        """Token columns and counts; see `QuestionReader.encode`.

        Args:
            question, context: (B,) string.
        """
        # At once: a tokenizer is most of the graph's operations.
        both = self.tokenizer.tokenize_with_offsets(tf.concat([question, context], 0))
        columns_of_each = [in_columns(rows, 2) for rows in both]
        questions, tokens = map(Tokens._make, zip(*columns_of_each, strict=True))
        cut = tf.maximum(questions.ids.row_lengths() - self.max_question_tokens, 0)
        asked = questions.ids[:, : self.max_question_tokens]
        windows = self._windows(asked.row_lengths(), tokens.ids.row_lengths())
        before_each = tf.gather(asked, windows.text)
        columns = self._columns(before_each, tokens, windows)
        columns["example"] = tf.cast(windows.text, tf.int32)
        counts = {
            "unknown_tokens": self._count_unknown(asked) + self._count_unknown(tokens.ids),
            "extra_windows": _extra_windows(windows, tf.size(cut)),
            "cut_questions": tf.cast(cut > 0, tf.int32),
        }
        return columns, counts

    def places(self, question: tf.Tensor, context: tf.Tensor) -> tf.RaggedTensor:
        """The characters of the tokens of `encode`; see `PlacesTokens`.

        Args:
            question, context: (B,) string.
        """
        questions, tokens = map(self.tokenizer.tokenize_with_offsets, (question, context))
        asked = Tokens._make(column[:, : self.max_question_tokens] for column in questions)
        windows = self._windows(asked.ids.row_lengths(), tokens.ids.row_lengths())
        nowhere = self.tokenizer.template.filled(-1)

        def row(of_question: tf.RaggedTensor, of_context: tf.RaggedTensor) -> tf.RaggedTensor:
            before_each = tf.gather(of_question, windows.text)
            return join(before_each, windows.take(of_context), template=nowhere)

        return places_of(
            row(asked.starts, tokens.starts),
            row(asked.ends, tokens.ends),
            row(tf.zeros_like(asked.ids), tf.ones_like(tokens.ids)),
        )

    def _windows(self, question_lengths: tf.Tensor, context_lengths: tf.Tensor) -> Windows:
        """Windows of the contexts, with room for the questions in each; lengths (B,) int64."""
        special = self.tokenizer.template.size(pair=True)
        room = self.seq_len - special - question_lengths
        overlap = self.overlap * tf.ones_like(room)
        return make_windows(context_lengths, room, overlap)

    def _columns(
        self, questions: tf.RaggedTensor, tokens: Tokens, windows: Windows
    ) -> dict[str, tf.Tensor | tf.RaggedTensor]:
        """The token columns, (U, None) int32 each.

        Args:
            questions: (U, None) int32, before each window.
            tokens: of the contexts.
            windows: of these.
        """
        template = self.tokenizer.template
        no_candidates = template.filled(0)
        nowhere = template.filled(-1)
        nothing = tf.zeros_like(questions)
        outside = nothing - 1
        ids = windows.take(tokens.ids)
        start = windows.take(tokens.starts)
        end = windows.take(tokens.ends)
        is_edge = end.values > start.values  # some tokens have no character
        edge = EDGE * tf.cast(is_edge, tf.int32)
        candidate = ids.with_values(edge + MIDDLE * windows.owned().values)
        columns = {
            "token_ids": join(questions, ids, template=template),
            "candidate": join(nothing, candidate, template=no_candidates),
            "start": join(outside, start, template=nowhere),
            "end": join(outside, end, template=nowhere),
        }
        if template.segments:
            segments = template.filled(0, last=1)
            columns["segment_ids"] = join(nothing, tf.ones_like(ids), template=segments)
        return columns

    def _count_unknown(self, ids: tf.RaggedTensor) -> tf.Tensor:
        """(B,) int32."""
        is_unknown = ids == self.tokenizer.unk_id
        return tf.reduce_sum(tf.cast(is_unknown, tf.int32), axis=1)


def _extra_windows(windows: Windows, texts: tf.Tensor) -> tf.Tensor:
    """(B,) int32: the windows of each of B texts behind its first."""
    text = tf.cast(windows.text, tf.int32)
    return tf.math.bincount(text, minlength=texts, maxlength=texts) - 1
