"""Files that go line by line together, such as seq.in and seq.out, or train.de and train.en."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence

from podtune.init.columns import MOST_CLASSES, REPEATED
from podtune.init.places import Place
from podtune.init.questions import Asker
from podtune.init.reading import rows_of
from podtune.init.tasks import Task, Wishes
from trainer.errors import ConfigError, shown_labels

LINES = 500


def of_aligned(
    place: Place, wishes: Wishes, asker: Asker
) -> tuple[Task, dict[str, object], list[dict[str, object]]]:
    """The task of aligned files, settings of data, and the first examples.

    Args:
        place: of the files.
        wishes: what is said already.
        asker: for open questions.
    Raises:
        ConfigError: nothing says which is the text and what is to be learnt of it.
    """
    folder = place.splits["train"]
    contents = {
        name: (folder / name).read_text(encoding="utf-8", errors="replace").splitlines()[:LINES]
        for name in place.files
    }
    text = wishes.text[0] if wishes.text else None
    for name in filter(None, (text, wishes.label)):
        if name not in contents:
            raise ConfigError(
                f"there is no file {name} in {folder}. There are: {shown_labels(place.files)}."
            )
    readings = [
        (first, second, head)
        for first, second, head in _readings(contents)
        if text in (None, first) and wishes.label in (None, second) and wishes.head in (None, head)
    ]
    if not readings and text and wishes.label and wishes.head:
        readings = [(text, wishes.label, wishes.head)]
    if not readings:
        raise ConfigError(
            f"{shown_labels(place.files)} have as many lines as each other, and nothing says what"
            " is to be learnt. Say it with --text=FILE --label=FILE --head=NAME."
        )
    chosen = readings[0]
    if len(readings) > 1:
        words = [f"{first} -> {second}: {head}" for first, second, head in readings]
        answer = asker.choose(
            "What is to be learnt?", words, "--text=FILE, --label=FILE and --head=NAME"
        )
        chosen = readings[words.index(answer)]
    return _task(place, chosen)


def _task(
    place: Place, chosen: tuple[str, str, str]
) -> tuple[Task, dict[str, object], list[dict[str, object]]]:
    text, label, head_name = chosen
    head: dict[str, object] = {"name": head_name}
    if head_name == "text_generation":
        head["target"] = label
    data: dict[str, object] = {"source": "parallel", "text": text, "label": label}
    rows = rows_of(data, str(place.splits["train"]))
    splits = {split: path.as_posix() for split, path in place.splits.items()}
    task = Task(head, {"text": text, "label": label}, (text,), [("label", label)])
    return task, {"source": "parallel", **splits}, rows


def _readings(contents: Mapping[str, Sequence[str]]) -> Iterator[tuple[str, str, str]]:
    """What may be learnt: of which file's texts, by which file, and by which head."""
    for first, second in itertools.permutations(contents, 2):
        head = _head(contents[first], contents[second])
        if head and not _are_tags(contents[first]):
            yield first, second, head


def _are_tags(lines: Sequence[str]) -> bool:
    """Whether most of a file's words are O or tags of spans: they are no text."""
    words = [word for line in lines for word in line.split()]
    return sum(word == "O" or word[1:2] == "-" for word in words) > len(words) / 2


def _head(texts: Sequence[str], others: Sequence[str]) -> str | None:
    """What may be learnt of one file for another: tags of its words, or its class."""
    pairs = list(zip(texts, others, strict=False))
    if all(len(one.split()) == len(two.split()) for one, two in pairs):
        tags = {tag for line in others for tag in line.split()}
        words = {word for line in texts for word in line.split()}
        if len(tags) < len(words) and any(tag.startswith(("B-", "I-")) for tag in tags):
            return "token_classification"
    classes = set(others)
    if len(classes) <= MOST_CLASSES and len(others) >= REPEATED * len(classes):
        return "classification" if len(classes) < len(set(texts)) else None
    return None
