"""How questions are read and prepared."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np

from trainer.data.ledger import Ledger
from trainer.data.reader import (
    Aligned,
    Column,
    EncodedTensors,
    Input,
    Reader,
    RowKind,
    Value,
    Vocabulary,
)
from trainer.errors import ConfigError, DataError
from trainer.heads._settings_checks import overflow_of
from trainer.heads.question_answering.alignment import Alignment, align_answer, windows_of_texts
from trainer.heads.question_answering.gold import FOUND, LOST, MOVED, NO_ANSWER, Gold, read_gold
from trainer.heads.question_answering.gold_answers import write_answers
from trainer.heads.question_answering.settings import Settings
from trainer.settings.schema import DataSettings
from trainer.sources import Example, require_text

if TYPE_CHECKING:
    import tensorflow as tf

    from trainer.data.split import Split
    from trainer.data.store import TokenStore
    from trainer.heads.question_answering.encoding import Encoding
    from trainer.text.tokenizer import Tokenizer

SHOWN_BEFORE = 40  # characters of the context before an answer, where an example is shown


@dataclasses.dataclass(frozen=True)
class QuestionReader(Reader):
    """Reads questions, and finds their answers in windows of the context.

    Attributes:
        settings: of the head.
        data: of the config.
        overlap: tokens of a context that neighbouring windows share.
    """

    settings: Settings
    data: DataSettings
    tokenizer: Tokenizer
    overlap: int
    inputs: tuple[Input, ...]
    columns: tuple[Column, ...]

    rows = RowKind.WINDOWS
    overflows = ("window", "error")
    grouping = slice(1, None)  # the questions of a context stay together
    losses_of_data = MappingProxyType(
        {
            "cut_questions": "questions longer than head.max_question_tokens, cut",
            "answers_moved": (
                "answers that stand elsewhere than they say, or do not say where, found"
            ),
            "answers_not_found": (
                "answers that are not in their context where they say, nor once near by: not"
                " learnt, but scored"
            ),
            "answers_unforeseen": (
                "questions without an answer, of which train has none: the model answers them all"
                " the same"
            ),
            "unreachable_answers": "answers that no window can give, as all of them cut it",
            "long_answers": (
                "answers of more tokens than head.max_answer_tokens, which are never given"
            ),
        }
    )

    def preparation_settings(self) -> dict[str, object]:
        """The settings on which the stored examples depend."""
        # the last for the ledger
        names = {"name", "max_question_tokens", "max_answer_tokens"}
        return self.settings.model_dump(include=names)

    def values(self, example: Example) -> tuple[Value, ...]:
        """Question and context. Raises DataError where one is missing or no text."""
        return tuple([require_text(example, item.field) for item in self.inputs])

    def label(self, example: Example) -> Gold:
        """The gold answers, looked up in the context.

        Raises DataError where they are no answers.
        """
        _, context = self.inputs
        return read_gold(example, str(self.data.label), context.field)

    def shown(
        self, example: Example, values: tuple[Value, ...], label: Gold
    ) -> list[tuple[str, str]]:
        """Question, context from shortly before the answer on, and the answer that is learnt."""
        question, context = map(str, values)
        begin = max(0, label.start - SHOWN_BEFORE)
        around = context[begin:]
        if begin:
            around = f"…{around}"
        answer = ""
        if label.start >= 0:
            answer = context[label.start : label.end]
        asked, read = self.inputs
        return [(asked.field, question), (read.field, around), ("answer", answer)]

    def encode(self, *inputs: tf.Tensor) -> EncodedTensors:
        """Token columns and counts; the very function that serves.

        Args:
            inputs: question and context, (B,) string.
        Returns:
            token_ids, segment_ids; `candidate`, the sum of EDGE where an answer may begin and end,
            which is where a character of the context stands, and MIDDLE where its middle may be, as
            this window has most around it; `start`, `end`, the characters of the context that the
            token has: each ragged (U, None) int32, -1 outside the context. `example` (U,) int32,
            the text of each window. Counts, (B,) int32 each.
        """
        question, context = inputs
        return self._encoding().encode(question, context)

    def places(self, *inputs: tf.Tensor) -> tf.RaggedTensor:
        """The characters that each token stands for; see `PlacesTokens`."""
        question, context = inputs
        return self._encoding().places(question, context)

    def _encoding(self) -> Encoding:
        from trainer.heads.question_answering.encoding import Encoding

        return Encoding(
            tokenizer=self.tokenizer,
            seq_len=self.data.seq_len,
            max_question_tokens=self.settings.max_question_tokens,
            overlap=self.overlap,
        )

    def learn(
        self, labels: Sequence[Gold], names: list[str] | None, origin: Callable[[int], str]
    ) -> dict[str, Any]:
        """Whether train has questions without an answer.

        Args:
            labels: of the examples of train.
            names: none.
            origin: of an example, by its number.
        Raises:
            DataError: no question of train has one that is in its context.
        """
        if not any(gold.state in (FOUND, MOVED) for gold in labels):
            raise DataError(
                f"data.train: none of the {len(labels):,} questions has an answer that stands in"
                f" its context (first: {origin(0)}). Is --data.label={self.data.label} the right"
                " field?"
            )
        return {"labels": [], "unanswerable": any(gold.state == NO_ANSWER for gold in labels)}

    def align(self, split: Split, vocabulary: Vocabulary, ledger: Ledger) -> Aligned:
        """Finds the tokens of each answer.

        Args:
            split: what is being written.
            vocabulary: what train taught.
            ledger: takes what cannot be learnt or given.
        Returns:
            columns: `label` (windows, 2) int32, the answer's first and last token in the window; 0
                where it is not whole in it; -1 where the question cannot be learnt from.
            extras: `longest_answer` (2,), how many answers have more than max_answer_tokens, and
                the tokens of the longest one; of each question but train's its gold `answers`.
        """
        label = split.writer.scratch(np.int32, (2,))
        most = self.settings.max_answer_tokens
        long = 0
        longest = 0
        golds = zip(split.labels, windows_of_texts(split.writer), strict=True)
        for text, (gold, windows) in enumerate(golds):
            found = align_answer(gold, windows, most)
            for tokens in found.labels:
                label.append(tokens)
            for kind in self._losses(gold, found, vocabulary):
                ledger.add(split.name, kind, split.origin(text))
            long += found.length > most
            longest = max(longest, found.length)
        extras = {"longest_answer": np.array([long, longest], np.int32)}
        if split.name != "train":
            extras |= write_answers(split)
        return Aligned({"label": label.mapped()}, {}, extras)

    def _losses(self, gold: Gold, found: Alignment, vocabulary: Vocabulary) -> Iterator[str]:
        """The ledger's kinds of an answer that cannot be learnt or given."""
        if gold.state == MOVED:
            yield "answers_moved"
        if gold.state == LOST:
            yield "answers_not_found"
        if gold.state == NO_ANSWER and not vocabulary["unanswerable"]:
            yield "answers_unforeseen"
        if found.length > self.settings.max_answer_tokens:
            yield "long_answers"
        elif gold.start >= 0 and not found.reached:
            yield "unreachable_answers"

    def warnings(self, vocabulary: Vocabulary, splits: Mapping[str, TokenStore]) -> list[str]:
        """Where gold answers are longer than one that may be given.

        So are many in Chinese, where a character is a token.
        """
        lines = []
        for split, store in splits.items():
            count, longest = store.extras["longest_answer"].tolist()
            if count:
                lines.append(
                    f"data.{split}: {count:,} of {store.meta['examples']:,} gold answers have more"
                    f" than head.max_answer_tokens = {self.settings.max_answer_tokens} tokens (the"
                    f" longest {longest:,}): none of them is ever given. Raise"
                    f" --head.max_answer_tokens{self._remedy(longest)}"
                )
        return lines

    def _remedy(self, longest: int) -> str:
        """How far to raise it, and what is raised with it.

        Neighbouring windows share as many tokens as an answer may have.
        """
        special = self.tokenizer.template.size(pair=True)
        needed = 2 * longest + self.settings.max_question_tokens + special
        remedy = f", to {longest:,} for all"
        if needed <= self.data.seq_len:
            return remedy
        return f"{remedy}, and --data.seq_len to {needed:,}, so that windows share as many"


def make_reader(settings: Settings, data: DataSettings, tokenizer: Tokenizer) -> QuestionReader:
    """The reader that the config asks for.

    Args:
        settings: of the head.
        data: of the config.
        tokenizer: of question and context.
    Raises:
        ConfigError: the settings do not go together.
    """
    if isinstance(data.text, str) or len(data.text) != 2:
        raise ConfigError(
            "data.text: head question_answering takes two fields, [question, context]."
            f" Received {data.text!r}."
        )
    overflow_of(settings, data, QuestionReader.overflows, ", so that no answer goes unseen")
    question, context = data.text
    columns = [
        Column("candidate"),
        Column("start", fed=False),
        Column("end", fed=False),
        Column("label", per_token=False, encoded=False),
    ]
    if tokenizer.template.segments:
        columns.insert(0, Column("segment_ids"))
    return QuestionReader(
        settings=settings,
        data=data,
        tokenizer=tokenizer,
        overlap=_window_overlap(settings, data, tokenizer),
        inputs=(Input("question", question), Input("context", context)),
        columns=tuple(columns),
    )


def _window_overlap(settings: Settings, data: DataSettings, tokenizer: Tokenizer) -> int:
    """Tokens that neighbouring windows share, by the config or as many as an answer has.

    Raises ConfigError where the windows would not move on.
    """
    room = data.seq_len - tokenizer.template.size(pair=True) - settings.max_question_tokens
    overlap = data.window_overlap
    if overlap is None:
        overlap = max(room // 3, min(settings.max_answer_tokens, room // 2))
    if not 0 <= overlap < room:
        raise ConfigError(
            f"data.seq_len: {data.seq_len} leaves {room} tokens beside a question of"
            f" head.max_question_tokens = {settings.max_question_tokens}, and neighbouring"
            f" windows share {overlap}. Raise data.seq_len, or lower one of the others."
        )
    return overlap
