"""What train teaches of tags: their scheme and their names; and the tags of a split as numbers."""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from trainer.data.ledger import Ledger
from trainer.data.reader import Vocabulary
from trainer.errors import DataError
from trainer.files.spool import Numbers
from trainer.heads.token_classification.gold import Gold, origin_of
from trainer.heads.token_classification.schemes import (
    OUTSIDE,
    PREFIXES,
    find_scheme,
    odd_one_out,
    other_spelling,
    to_bio,
)

if TYPE_CHECKING:
    from trainer.data.split import Split

SHOWN = 30  # labels in a message
SET_SCHEME = "Correct it, or set --head.scheme."


class TagNumbers(NamedTuple):
    """The tags of a split as numbers.

    Attributes:
        tags: (T,) int32, of all texts, one after the other.
        unseen: the names of those that train does not have: their numbers come after its own.
    """

    tags: Numbers
    unseen: list[str]


def marks_spans(vocabulary: Vocabulary | None) -> bool:
    """Whether tags are O, B-x, I-x, B-y, I-y, …, or a tag a word.

    As long as nobody knows it, they mark spans. Those are numbered so that B- is odd, and I- of the
    same type comes next.
    """
    return vocabulary is None or vocabulary["scheme"] != "none"


def scheme_of(labels: Sequence[Gold], scheme: str, origin: Callable[[int], str]) -> str:
    """The scheme of train's tags: the one given, or "auto" found.

    Args:
        labels: of the examples of train.
        scheme: as the settings name it.
        origin: of an example, by its number.
    Raises:
        DataError: a tag that looks like a slip among those of spans; spans, where the scheme is to
            be none; no tags, where others have one a word.
    """
    spans = first_with_spans(labels)
    has_words = not all(gold.spans for gold in labels)
    if has_words and not any(gold.tags for gold in labels if gold.spans):
        require_tags(labels, origin)
    if scheme == "none" and spans is not None:
        raise DataError(
            f"head.scheme: none is for a tag a word, and {origin(spans)} has spans. Leave"
            " head.scheme out."
        )
    if scheme != "auto":
        return scheme
    if spans is not None:
        return "bio"
    found = find_scheme(gold.tags for gold in labels)
    if found == "none":
        _refuse_slips(labels, origin)
    return found


def first_with_spans(labels: Sequence[Gold]) -> int | None:
    """The number of the first text that comes with spans."""
    return next((index for index, gold in enumerate(labels) if gold.spans), None)


def require_tags(labels: Sequence[Gold], origin: Callable[[int], str]) -> None:
    """Raises DataError where a text has [] in place of a tag a word.

    That says "no spans", in data that has none.
    """
    empty = next((index for index, gold in enumerate(labels) if gold.spans and not gold.tags), None)
    if empty is not None:
        raise DataError(
            f"{origin(empty)}: has no tags, and the other texts have one for each word. Give each"
            " word one, or leave the text out."
        )


def _refuse_slips(labels: Sequence[Gold], origin: Callable[[int], str]) -> None:
    """Raises DataError where tags look like those of spans, but for a spelling or a slip."""

    def tag_at(index: int, place: int) -> str:
        where = origin_of(labels[index], functools.partial(origin, index), place)
        return f"{where}: tag {labels[index].tags[place]!r}"

    if other := other_spelling(gold.tags for gold in labels):
        raise DataError(
            f"{tag_at(*other)} marks a span in another spelling than B-X, I-X and O. Write"
            " the tags so, or set --head.scheme=none for a tag a word."
        )
    if slip := odd_one_out(gold.tags for gold in labels):
        index, place = slip
        raise DataError(
            f"{tag_at(index, place)} {_problem(labels[index].tags[place])}. Correct it (O is for"
            " words outside of spans), or set --head.scheme=none for a tag a word."
        )


def _problem(tag: str) -> str:
    if tag[1:2] != "-":
        return "has no prefix, and most others have, such as B-… and I-…"
    known = ", ".join(f"{scheme} {' '.join(prefixes)}" for scheme, prefixes in PREFIXES.items())
    return f"has a prefix that no scheme has beside the others ({known})"


def bio_tags(
    gold: Gold, scheme: str, origin: Callable[[], str], advice: str = SET_SCHEME
) -> tuple[list[str], list[int]]:
    """The tags in BIO, and which break the scheme.

    Args:
        gold: of a text.
        scheme: of its tags, if it has words.
        origin: of the text.
        advice: how to get on, for the message.
    Raises:
        DataError: a tag is none of the scheme's.
    """
    if gold.spans:
        return list(gold.tags), []
    try:
        return to_bio(gold.tags, scheme)
    except ValueError as error:
        unknown = str(error)
        where = origin_of(gold, origin, gold.tags.index(unknown))
        known = "O, " + ", ".join(f"{prefix}-…" for prefix in PREFIXES[scheme])
        raise DataError(
            f"{where}: tag {unknown!r} is none of scheme {scheme}: {known}. {advice}"
        ) from None


def learn_tags(
    labels: Sequence[Gold], scheme: str, origin: Callable[[int], str], field: str
) -> dict[str, object]:
    """The scheme and the tags of train, in BIO: O, then B- and I- of each type by name.

    Without spans they are the tags by name.

    Args:
        labels: of the examples of train.
        scheme: as the settings name it.
        origin: of an example, by its number.
        field: data.label, for messages.
    Raises:
        DataError: train has no tags, or some that its scheme does not know.
    """
    scheme = scheme_of(labels, scheme, origin)
    counts: Counter[str] = Counter()
    for index, gold in enumerate(labels):
        tags, _ = bio_tags(gold, scheme, functools.partial(origin, index))
        counts.update(tags)
    if not counts:
        raise DataError(f"data.train: no example has a tag in field {field!r}.")
    names = sorted(counts) if scheme == "none" else _names_of_types(counts)
    if len(names) == 1:
        raise DataError(
            f"data.train: every word has the tag {names[0]!r}. Is --data.label the right field?"
        )
    return {
        "labels": names,
        "scheme": scheme,
        "tagged": "text" if any(gold.spans for gold in labels) else "words",
        "train_counts": {tag: counts.get(tag, 0) for tag in names},
    }


def _names_of_types(counts: Mapping[str, int]) -> list[str]:
    types = {tag[2:] for tag in counts if tag != OUTSIDE}
    return [OUTSIDE, *(f"{part}-{name}" for name in sorted(types) for part in "BI")]


def tag_numbers(
    split: Split, vocabulary: Vocabulary, ledger: Ledger, *, held_out: bool, convert: bool
) -> TagNumbers:
    """The tags of all texts as numbers.

    Args:
        split: what is being written.
        vocabulary: what train taught.
        ledger: takes the tags that break the scheme, and those that train does not have.
        held_out: whether the split is a fraction of the same file as train.
        convert: a split whose tags train's scheme does not know is read by its own.
    Raises:
        DataError: train has none of the split's tags, and it is not held out.
    """
    _refuse_other_tagging(split, vocabulary)
    scheme = vocabulary["scheme"]
    if convert:
        scheme = _scheme_of_split(split.labels, scheme)
    known = len(vocabulary["labels"])
    numbers = {tag: number for number, tag in enumerate(vocabulary["labels"])}
    result = split.writer.scratch(np.int32)
    any_known = False  # of the tags of words inside spans
    for index, gold in enumerate(split.labels):
        origin = functools.partial(split.origin, index)
        tags, broken = bio_tags(gold, scheme, origin, "Correct it." if convert else SET_SCHEME)
        if gold.trimmed:
            ledger.add(split.name, "spans_trimmed", origin(), gold.trimmed)
        for place in broken:
            ledger.add(split.name, "scheme_violations", origin_of(gold, origin, place))
        for place, tag in enumerate(tags):
            if tag not in numbers:
                _number_new(tag, numbers, scheme)
            if numbers[tag] >= known:
                ledger.add(split.name, "unseen_tags", origin_of(gold, origin, place))
            elif tag != OUTSIDE:
                any_known = True
            result.append(numbers[tag])
    unseen = list(numbers)[known:]
    if unseen and not any_known and not held_out:
        raise _none_of_trains(split, unseen, vocabulary["labels"])
    return TagNumbers(result, unseen)


def _number_new(tag: str, numbers: dict[str, int], scheme: str) -> None:
    """Gives a tag the next number, and the other one of its type the one behind."""
    names = [tag] if scheme == "none" else [f"B-{tag[2:]}", f"I-{tag[2:]}"]
    for name in names:
        numbers[name] = len(numbers)


def _refuse_other_tagging(split: Split, vocabulary: Vocabulary) -> None:
    """Raises DataError where a split has spans and train has none, or the other way round."""
    spans_with_tags = (gold for gold in split.labels if gold.spans and gold.tags)
    # where there are some, [] says that a text has none
    if vocabulary["tagged"] == "words" and next(spans_with_tags, None) is None:
        require_tags(split.labels, split.origin)
    spans = first_with_spans(split.labels)
    if vocabulary["scheme"] == "none" and spans is not None:
        raise DataError(
            f"{split.origin(spans)}: has spans, and train has a tag for each word. Give each word"
            " one, or leave the text out."
        )


def _scheme_of_split(labels: Sequence[Gold], scheme: str) -> str:
    """Train's scheme where it knows all tags of a split; else the split's own.

    Both become BIO.
    """
    tags = {tag for gold in labels if not gold.spans for tag in gold.tags} - {OUTSIDE}
    if scheme == "none" or all(tag[:1] in PREFIXES[scheme] for tag in tags):
        return scheme
    own = find_scheme(gold.tags for gold in labels if not gold.spans)
    return scheme if own == "none" else own


def _none_of_trains(split: Split, unseen: Sequence[str], labels: Sequence[str]) -> DataError:
    return DataError(
        f"data.{split.name}: its tags are none of those of train (first: {split.origin(0)})."
        f" Received {_few(unseen)}. Expected some of {_few(labels)}. Is it the right file, and are"
        " text and tags the right fields or columns?"
    )


def _few(tags: Sequence[str]) -> str:
    return ", ".join(tags[:SHOWN]) + (", …" if len(tags) > SHOWN else "")
