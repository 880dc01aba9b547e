"""The output layer of a fine-tuned checkpoint, carried over row by row, by the names of the labels.

The order of the labels is the data's here and the training script's there, and names differ in case
or are LABEL_0, LABEL_1, …: a row is taken for the label it was trained for, or not at all.
"""

from __future__ import annotations

import dataclasses
import re
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from trainer.errors import shown_name, shown_value

if TYPE_CHECKING:  # which would import TensorFlow
    import keras
    import numpy as np

    from trainer.backbones.huggingface import TaskHead

SHOWN_NAMES = 6
SHOWN_CHARACTERS = 40  # of a name
# LABEL_0: Hugging Face's name of a label that nobody named
_NUMBER = re.compile(r"(?:label[ _-]?)?(\d{1,9})", re.IGNORECASE)
_NAME_THEM = "name them in id2label of the checkpoint's config.json"
_LIST_THEM = "list the data's labels in the checkpoint's order with head.labels"


@dataclasses.dataclass(frozen=True)
class CarriedOver:
    """What a head took of a checkpoint.

    Attributes:
        tensors: taken, by Hugging Face's names.
        output: whether the output layer is among them: what is said of the head as a whole.
        remark: how the rows were found or why they were not taken, and what to set; "" where there
            is nothing to say.
    """

    tensors: list[str]
    output: bool
    remark: str = ""

    @classmethod
    def whole(cls, tensors: Sequence[str]) -> CarriedOver:
        """A head that is taken as it is, or that the checkpoint does not have."""
        return cls(list(tensors), bool(tensors))


@dataclasses.dataclass(frozen=True)
class LabelRows:
    """Which row of the checkpoint's output layer each label takes.

    Attributes:
        order: (C,) rows; None where a label has none.
        remark: how they were found, or why not and what to set.
    """

    order: list[int] | None
    remark: str = ""


def carry_over(
    checkpoint: TaskHead,
    task: str,
    hidden: Mapping[str, keras.Variable],
    output: Mapping[str, keras.Variable],
    find_rows: Callable[[int], LabelRows],
) -> CarriedOver:
    """Assigns a fine-tuned checkpoint's layers to those of a head.

    Args:
        checkpoint: what is above its backbone.
        task: of the head, such as ForTokenClassification: another task's layer of the same name and
            shape is another layer.
        hidden: the weights below the output layer, by Hugging Face's names; they are taken whatever
            the labels.
        output: those of the output layer, kernel (H, C) and perhaps bias (C,).
        find_rows: given how many rows the checkpoint has, says which to take.
    """
    theirs = checkpoint.tensors
    if checkpoint.task not in ("", task):
        own = any(name in theirs for name in (*hidden, *output))
        return CarriedOver(
            [],
            False,
            f"the checkpoint's are those of another task, {checkpoint.task}" if own else "",
        )
    taken = _assign_hidden(theirs, hidden)
    if any(name not in theirs for name in output):
        return CarriedOver(taken, False)
    if wrong := [
        name
        for name, weight in output.items()
        if theirs[name].T.shape[:-1] != tuple(weight.shape)[:-1]
    ]:
        return CarriedOver(
            taken,
            False,
            f"the checkpoint's {wrong[0]} is {theirs[wrong[0]].shape}, which does not fit the"
            " backbone",
        )
    counts = {len(theirs[name]) for name in output}
    found = (
        find_rows(max(counts))
        if len(counts) == 1
        else LabelRows(None, "the checkpoint's weight and bias differ in length")
    )
    if found.order is None:
        return CarriedOver(taken, False, found.remark)
    for name, weight in output.items():
        weight.assign(theirs[name][found.order].T)
    return CarriedOver([*taken, *output], True, found.remark)


def _assign_hidden(
    theirs: Mapping[str, np.ndarray], hidden: Mapping[str, keras.Variable]
) -> list[str]:
    if any(
        name not in theirs or theirs[name].T.shape != tuple(weight.shape)
        for name, weight in hidden.items()
    ):
        return []
    for name, weight in hidden.items():
        weight.assign(theirs[name].T)
    return list(hidden)


def label_rows(
    theirs: Sequence[str] | None,
    ours: Sequence[str],
    rows: int,
    *,
    can_list: bool = False,
    listed: bool = False,
) -> LabelRows:
    """Finds the row of each of the data's labels; all of them, or none is taken.

    Args:
        theirs: the checkpoint's labels in the order of its rows; None where it names none.
        ours: the data's labels.
        rows: of the checkpoint's output layer.
        can_list: whether the head has a setting that lists its labels.
        listed: whether the user did so: then labels without names are taken in that order.
    """
    names = list(theirs) if theirs is not None else [f"LABEL_{row}" for row in range(rows)]
    if len(names) != rows:
        return LabelRows(
            None,
            f"id2label of the checkpoint's config.json has {len(names):,} names for {rows:,} rows:"
            " correct it",
        )
    by_name = _by_name(names, ours)
    order = [row for row in by_name if row is not None]
    if len(order) == len(ours):
        return LabelRows(order, _how(names, ours, order))
    if _numbers(names) is not None:
        return _by_number(names, ours, can_list=can_list, listed=listed)
    absent = [name for name, row in zip(ours, by_name, strict=True) if row is None]
    return LabelRows(
        None,
        f"the checkpoint has no row for {few(absent)}; its labels are {few(names)}. Where these are"
        " the same, name them alike, in the data or in id2label of the checkpoint's config.json",
    )


def few(names: Sequence[str]) -> str:
    """Names from outside for a message: the first ones, escaped and cut, and how many more there
    are.
    """
    shown = ", ".join(map(_shown, names[:SHOWN_NAMES]))
    return shown + (f" and {len(names) - SHOWN_NAMES:,} more" if len(names) > SHOWN_NAMES else "")


def _by_name(theirs: Sequence[str], ours: Sequence[str]) -> list[int | None]:
    """The row of each label: of the very name, else of the only one that differs in case, blanks,
    dashes or Unicode form.
    """
    exact = {name: row for row, name in enumerate(theirs)}
    alike: dict[str, list[int]] = {}
    for row, name in enumerate(theirs):
        alike.setdefault(_plain(name), []).append(row)
    taken = {exact[name] for name in ours if name in exact}
    order: list[int | None] = []
    for name in ours:
        rows = (
            [exact[name]]
            if name in exact
            else [row for row in alike.get(_plain(name), []) if row not in taken]
        )
        order.append(rows[0] if len(rows) == 1 else None)
    twice = (
        {row for row in order if row is not None and order.count(row) > 1}
        if len(set(order)) < len(order)
        else set()
    )
    return [None if row in twice else row for row in order]


def _by_number(
    theirs: Sequence[str], ours: Sequence[str], *, can_list: bool, listed: bool
) -> LabelRows:
    """Rows called LABEL_0, LABEL_1, …: those of the labels 0, 1, …, or of a list that the user has
    given.
    """
    count = len(theirs)
    remedy = f"{_LIST_THEM}, or {_NAME_THEM}" if can_list else _NAME_THEM
    if count != len(ours):
        return LabelRows(
            None,
            f"the checkpoint's {count:,} labels have no names ({few(theirs)}), the data has"
            f" {len(ours):,}: {_NAME_THEM}",
        )
    of_row = _numbers(theirs) or []
    of_label = _numbers(ours)
    if of_label is not None:
        order = [of_row.index(number) for number in of_label]
        return LabelRows(order, f"{_shown(theirs[order[0]])} is {_shown(ours[0])}, and so on")
    if listed:
        pairs = [
            f"{_shown(name)} is {_shown(label)}" for name, label in zip(theirs, ours, strict=True)
        ]
        return LabelRows(
            list(range(count)), f"in the order of head.labels: {', '.join(pairs[:SHOWN_NAMES])}"
        )
    return LabelRows(
        None,
        f"the checkpoint's labels have no names ({few(theirs)}), so which is {few(ours)} is not"
        f" known: {remedy}",
    )


def _numbers(names: Sequence[str]) -> list[int] | None:
    """The number of each name, where they are 0, 1, … to the last, in some order."""
    numbers = [int(match[1]) if (match := _NUMBER.fullmatch(name)) else -1 for name in names]
    return numbers if sorted(numbers) == list(range(len(names))) else None


def _how(theirs: Sequence[str], ours: Sequence[str], order: Sequence[int]) -> str:
    """What of the match is worth saying."""
    renamed = [
        f"{_shown(theirs[row])} is {_shown(name)}"
        for name, row in zip(ours, order, strict=True)
        if theirs[row] != name
    ]
    left = [name for row, name in enumerate(theirs) if row not in set(order)]
    parts = [
        (
            f"{', '.join(renamed[:SHOWN_NAMES])}"
            if renamed
            else "by name, in the data's order"
            if list(order) != sorted(order)
            else ""
        )
    ]
    parts.append(f"without its rows for {few(left)}" if left else "")
    return "; ".join(filter(None, parts))


def _plain(name: str) -> str:
    return re.sub(r"[\s_-]+", " ", unicodedata.normalize("NFKC", name)).strip().casefold()


def _shown(name: str) -> str:
    as_it_is = name and name == name.strip()
    return shown_name(name, SHOWN_CHARACTERS) if as_it_is else shown_value(name, SHOWN_CHARACTERS)
