"""Which tokens of its windows an answer has."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from trainer.data.store_writer import StoreWriter
from trainer.files.mapped import release
from trainer.heads.question_answering.gold import LOST, Gold

# bits of `candidate`: an answer may begin and end at the token; its middle may be there
EDGE = 1
MIDDLE = 2

# labels of windows that have no answer's tokens
NOT_HERE = (0, 0)
NOT_LEARNT = (-1, -1)


class Edges(NamedTuple):
    """The tokens of a window at which an answer may begin and end, (N,) each.

    Attributes:
        token: its place in the window.
        start, end: the characters of the context that it has.
    """

    token: np.ndarray
    start: np.ndarray
    end: np.ndarray

    def touched(self, gold: Gold) -> np.ndarray:
        """The places of those that have a character of an answer."""
        ends_behind = self.end > gold.start
        starts_before = self.start < gold.end
        return self.token[ends_behind & starts_before]


class Window(NamedTuple):
    """Of the tokens of a window, (S,) int32 each, what `Reader.encode` says."""

    start: np.ndarray
    end: np.ndarray
    candidate: np.ndarray

    def edges(self) -> Edges:
        """The tokens at which an answer may begin and end."""
        token = np.flatnonzero(self.candidate & EDGE)
        return Edges(token, self.start[token], self.end[token])

    def owns(self, token: int) -> bool:
        """Whether the middle of an answer may be there."""
        return bool(self.candidate[token] & MIDDLE)

    def count_owned(self, tokens: np.ndarray) -> int:
        """Of how many of these tokens that is so; each token of a text is owned by one window."""
        owned = self.candidate[tokens] & MIDDLE
        return int(np.count_nonzero(owned))


class Alignment(NamedTuple):
    """What of an answer is found in the windows of its text.

    Attributes:
        labels: of each window, the answer's first and last token in it; NOT_HERE, where it is not
            whole in it; NOT_LEARNT.
        length: of the answer, in tokens.
        reached: whether a window can give it.
    """

    labels: list[tuple[int, int]]
    length: int
    reached: bool


def align_answer(gold: Gold, windows: Sequence[Window], max_answer_tokens: int) -> Alignment:
    """Finds the tokens of an answer in each window of its text.

    Args:
        gold: the answer.
        windows: of its text, in their order.
        max_answer_tokens: of an answer that is given.
    """
    if gold.start < 0:
        label = NOT_LEARNT if gold.state == LOST else NOT_HERE
        return Alignment([label] * len(windows), 0, reached=False)
    labels = []
    length = 0
    reached = False
    for number, window in enumerate(windows):
        edges = window.edges()
        touched = edges.touched(gold)
        length += window.count_owned(touched)
        if not len(touched) or _is_cut(gold, edges, number, len(windows)):
            labels.append(NOT_HERE)
            continue
        first, last = touched[[0, -1]].tolist()
        labels.append((first, last))
        is_short = last - first < max_answer_tokens
        reached |= is_short and window.owns((first + last) // 2)
    return Alignment(labels, length, reached)


def _is_cut(gold: Gold, edges: Edges, number: int, count: int) -> bool:
    """Whether tokens of an answer lie before or behind its window.

    Args:
        gold: the answer.
        edges: of the window, which has some of it.
        number: of the window.
        count: of the windows of its text.
    """
    begins_before = edges.start[0] > gold.start
    goes_on = edges.end[-1] < gold.end
    is_last = number + 1 == count
    return bool((begins_before and number > 0) or (goes_on and not is_last))


def windows_of_texts(writer: StoreWriter) -> Iterator[list[Window]]:
    """The windows of each text of a split that is being written."""
    columns = [writer.token_column(column) for column in Window._fields]
    for splits, example in writer.whole_texts():
        is_first = np.diff(example, prepend=-1)  # of its text
        firsts = np.flatnonzero(is_first).tolist()
        for first, stop in itertools.pairwise([*firsts, len(example)]):
            yield _cut_windows(columns, splits[first : stop + 1])
        for values in columns:
            release(values)


def _cut_windows(columns: Sequence[np.ndarray], splits: np.ndarray) -> list[Window]:
    """Some windows.

    Args:
        columns: of all tokens.
        splits: (windows + 1,), where their tokens begin and the last one's end.
    """
    windows = []
    for start, end in itertools.pairwise(splits.tolist()):
        window = (np.asarray(values[start:end]) for values in columns)
        windows.append(Window(*window))
    return windows
