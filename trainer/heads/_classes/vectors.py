"""Labels that are a vector of 0 and 1 for each example, in place of the labels' names."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TypeAlias

import numpy as np

from trainer.errors import DataError, shown_labels, shown_value
from trainer.heads._classes.mentions import Mentions, Names
from trainer.heads._classes.names import number_key, truth

Origin: TypeAlias = Callable[[int], str]  # of an example, by its number


def are_vectors(mentions: Mentions, labels: Sequence[str] | None, origin: Origin) -> bool:
    """Whether each example has 0 or 1 for every label.

    So it is where all lists are equally long, two or more, and hold nothing else. Class ids such as
    [0, 2] and [1] are not.

    Args:
        mentions: of train.
        labels: head.labels.
        origin: of an example, for messages.
    Raises:
        DataError: it cannot be told, or head.labels names more or fewer than the vectors have
            values.
    """
    values = [_value(name) for name in mentions.names]
    if not values or None in values:
        _refuse_shares(mentions, origin)
        return False
    size = mentions.longest
    if mentions.shortest < size or size < 2:
        _refuse_uneven(mentions.labels, origin)
        return False
    if labels is not None and len(labels) != size:
        raise DataError(
            f"{origin(0)}: its labels are {size} values of 0 and 1, and head.labels names"
            f" {len(labels)}: {shown_labels(labels)}. Name {size}, in the order of the values."
        )
    return True


def _value(name: str) -> bool | None:
    return truth(number_key(name) or name)


def _refuse_uneven(labels: Sequence[Names], origin: Origin) -> None:
    """Raises DataError where lists differ in length, and one names 0 or 1 twice.

    Ids would not be twice in a list, so that they are values.
    """
    repeating = (index for index, label in enumerate(labels) if len(set(label)) < len(label))
    odd = next(repeating, None)
    if odd is not None:
        size = len(labels[odd])
        other = _first_of_another_size(labels, size)
        raise DataError(
            f"{origin(odd)}: its labels are {size} values of 0 and 1, and {origin(other)} has"
            f" {len(labels[other])}. Give every example a value for each label, or name its labels."
        )


def _first_of_another_size(labels: Sequence[Names], size: int) -> int:
    return next(index for index, label in enumerate(labels) if len(label) != size)


def _refuse_shares(mentions: Mentions, origin: Origin) -> None:
    """Raises DataError where all examples have as many numbers from 0 to 1.

    They are probabilities, which would become names.
    """
    if mentions.shortest < 2 or mentions.shortest < mentions.longest:
        return
    keys = {name: number_key(name) for name in mentions.names}
    numbers = [float(key) for key in keys.values() if key is not None]
    if not numbers or len(numbers) < len(keys):
        return
    if all(0 <= number <= 1 for number in numbers):
        share = next(name for name, key in keys.items() if key is not None and "." in key)
        raise DataError(
            f"{origin(mentions.first_of(share))}: its labels are numbers between 0 and 1, such as"
            f" {share}, and probabilities are no labels. Give 0 and 1 for each label, or the"
            " labels' names."
        )


def vectors(mentions: Mentions, size: int, origin: Origin) -> Iterator[np.ndarray]:
    """(n, C) float32 of 0 and 1, some rows at a time.

    Args:
        mentions: of a split.
        size: C, the values of an example of train.
        origin: of an example, for messages.
    Raises:
        DataError: an example has more or fewer values than train's have, or another value.
    """
    values = [_value(name) for name in mentions.names]
    if None in values:
        odd_name = mentions.names[values.index(None)]
        raise DataError(
            f"{origin(mentions.first_of(odd_name))}: {shown_value(odd_name)} is none of 0 and 1,"
            f" which the labels of train are, {size} for each example. Write the labels of all"
            " splits in the same way."
        )
    if not mentions.shortest == mentions.longest == size:
        odd = _first_of_another_size(mentions.labels, size)
        raise DataError(
            f"{origin(odd)}: has {len(mentions.labels[odd])} values of 0 and 1, and those of train"
            f" have {size}. Give every example a value for each label."
        )
    table = np.array(values, np.float32)
    for name, _ in mentions.blocks(size):
        yield table[name].reshape(-1, size)
