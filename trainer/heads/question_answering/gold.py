"""The gold answers of a question: what the source says of them, and where they stand."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

from trainer.errors import DataError
from trainer.heads._scripts import EAST_ASIAN, UNSPACED
from trainer.sources import Example, require_field

NEAR = 100  # characters within which a misplaced answer is looked for
# how well the place of an answer is known, best first
FOUND = "found"
MOVED = "moved"
LOST = "lost"
STATES = (FOUND, MOVED, LOST)
NO_ANSWER = "none"  # the state of a question that has no answer

_RANGES = [f"{chr(first)}-{chr(stop - 1)}" for first, stop in UNSPACED]
_UNSPACED = re.compile(f"[{''.join(_RANGES)}]")


class Gold(NamedTuple):
    """The gold answers of a question.

    Attributes:
        texts: of all of them.
        start, end: the characters of the context that the first one has that stands in it; -1 where
            none does.
        state: FOUND, MOVED, LOST or NO_ANSWER.
    """

    texts: tuple[str, ...]
    start: int
    end: int
    state: str


class _Answer(NamedTuple):
    """One answer, as the source has it.

    Attributes:
        start: characters of the context before it; None where the source does not say.
    """

    text: str
    start: int | None


class _Place(NamedTuple):
    """Where an answer stands in its context; see `Gold`."""

    start: int
    end: int
    state: str


def read_gold(example: Example, answers_field: str, context_field: str) -> Gold:
    """Reads the gold answers and looks them up in the context.

    Args:
        example: as the source has it.
        answers_field: the field of its answers.
        context_field: the field of the text that they stand in.
    Raises:
        DataError: they are no answers.
    """
    answers = _read_answers(example, answers_field)
    is_impossible = _read_is_impossible(example)
    if not answers or is_impossible:  # SQuAD v2.0 lists plausible answers of impossible questions
        return Gold((), -1, -1, NO_ANSWER)
    context = example.features[context_field]
    places = [_locate(context, answer) for answer in answers]
    best = min(places, key=lambda place: STATES.index(place.state))  # the first of equals
    return Gold(tuple(answer.text for answer in answers), *best)


def _read_is_impossible(example: Example) -> bool:
    value = example.features.get("is_impossible")
    if value is not None and not isinstance(value, bool):
        raise DataError(
            f"{example.origin}: field 'is_impossible': expected true or false. Received"
            f" {value!r:.60}. Correct it, or leave it out."
        )
    return bool(value)


def _read_answers(example: Example, field: str) -> list[_Answer]:
    """The answers of a list of objects, as SQuAD has it, or of one object of lists.

    An answer without text and place says that there is none.
    """
    where = f"{example.origin}: field {field!r}"
    if f"{field}.text" in example.features:
        items = _side_by_side(example, field, where)
    else:
        items = _listed(example, field, where)
    answers = [_read_answer(item, where) for item in items]
    return [
        answer
        for answer in answers
        if answer.text or (answer.start is not None and answer.start >= 0)
    ]


def _side_by_side(example: Example, field: str, where: str) -> Sequence[object]:
    """Answers of two lists: of texts, and of places."""
    texts = example.features[f"{field}.text"]
    starts = example.features.get(f"{field}.answer_start")
    if not isinstance(texts, list) or not isinstance(starts, list) or len(texts) != len(starts):
        raise DataError(
            f"{where}: expected as many texts as answer_starts. Received {texts!r:.60} and"
            f" {starts!r:.60}."
        )
    return [
        {"text": text, "answer_start": start} for text, start in zip(texts, starts, strict=True)
    ]


def _listed(example: Example, field: str, where: str) -> Sequence[object]:
    """Answers of a list of objects, which may be empty."""
    answers = require_field(example, field, "data.label")
    if answers is None:
        raise DataError(
            f"{where} is null. Expected a list of answers, or [] for a question that has none."
        )
    if not isinstance(answers, list):
        raise DataError(
            f'{where}: expected a list of {{"text", "answer_start"}}. Received {answers!r:.80}.'
        )
    return answers


def _read_answer(item: object, where: str) -> _Answer:
    text = item.get("text") if isinstance(item, dict) else None
    if not isinstance(item, dict) or not isinstance(text, str):
        raise DataError(
            f'{where}: expected answers {{"text", "answer_start"}}. Received {item!r:.80}.'
            " Give each the text that it has in the context."
        )
    start = item.get("answer_start")
    if isinstance(start, float) and start.is_integer():
        start = int(start)
    if start is not None and type(start) is not int:  # True is an int, but no place
        raise DataError(
            f"{where}: expected answer_start to be a whole number, of the context's characters"
            f" before the answer, or null where it is not known. Received {start!r}."
        )
    return _Answer(text, start)


def _locate(context: str, answer: _Answer) -> _Place:
    """Where an answer stands: where it says, or at the one place near by that has its text.

    Where it does not say, all of the context is near. The text must be there as words of its own.
    """
    text, start = answer
    if not text:
        return _Place(-1, -1, LOST)
    if start is not None and start >= 0 and context.startswith(text, start):
        return _Place(start, start + len(text), FOUND)
    low = 0
    high = len(context)
    if start is not None:
        low = max(0, start - NEAR)
        high = max(start, 0) + NEAR + len(text)
    # a lookahead, as places may overlap
    matches = re.compile(f"(?={re.escape(text)})").finditer(context, low, high)
    places = [
        match.start() for match in matches if _is_of_whole_words(context, match.start(), len(text))
    ]
    if len(places) != 1:
        return _Place(-1, -1, LOST)
    return _Place(places[0], places[0] + len(text), MOVED)


def _is_of_whole_words(context: str, start: int, length: int) -> bool:
    return not _inside_word(context, start) and not _inside_word(context, start + length)


def _inside_word(context: str, place: int) -> bool:
    """Whether letters or digits stand on both sides of a place.

    Only those of scripts that part words by spaces count.
    """
    if not 0 < place < len(context):
        return False
    around = context[place - 1 : place + 1]
    are_letters = all(char.isalnum() and ord(char) < EAST_ASIAN for char in around)
    return are_letters and not _UNSPACED.search(around)
