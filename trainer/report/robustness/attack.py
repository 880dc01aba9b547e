"""Looks for the smallest change of spelling or wording by which an answer flips.

Source: Jin et al. 2020 (TextFooler) for the search: words are ranked by what the answer loses
without them. Each is tried by itself; where none flips the answer, the best are put together.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from trainer.files.json_file import JsonObject
from trainer.report.evidence import Line
from trainer.report.robustness.perturbations import IDEOGRAPH, LETTERS, swapped
from trainer.report.robustness.words import homophones, synonyms

MOST_CHANGED = 0.2  # of the words, and at least one
MOST_WORDS = 40  # of a text, that are ranked
MOST_TRIED = 10  # of these, in whose place others are tried
MOST_OTHERS = 4  # of each kind, in place of a word
MOST_SHOWN = 5
Probabilities = Callable[[Sequence[tuple[str, ...]]], np.ndarray]  # texts -> (n, C)


class Place(NamedTuple):
    """A word of a text, or a Chinese character, and what may stand there.

    Attributes:
        start, end: its characters.
        others: in its place.
    """

    start: int
    end: int
    others: tuple[str, ...]


def places_of(text: str) -> list[Place]:
    """The words of a text that may be changed."""
    places = []
    for match in LETTERS.finditer(text):
        word = match[0]
        others = (*swapped(word)[:MOST_OTHERS], *synonyms(word)[:MOST_OTHERS])
        if others:
            places.append(Place(match.start(), match.end(), others))
    if IDEOGRAPH.search(text):
        for place, alike in enumerate(homophones(text)):
            if alike:
                places.append(Place(place, place + 1, tuple(alike[:MOST_OTHERS])))
    return sorted(places)[:MOST_WORDS]


def attack(
    lines: Sequence[Line], names: Sequence[str], probabilities: Probabilities
) -> JsonObject | None:
    """How many right answers flip, and the smallest changes that flip them.

    Args:
        lines: that are answered rightly; others are no victims.
        names: (C,) of the labels.
        probabilities: of the model.
    Returns:
        None where no text can be changed.
    """
    tried = 0
    flipped: list[tuple[int, JsonObject]] = []
    for line in lines:
        text, *others = map(str, line["inputs"].values())
        places = places_of(text)
        if line["answer"] != line["gold"] or not places:
            continue
        tried += 1
        gold = list(names).index(line["gold"])
        changed, changes, label = _attacked(text, others, places, gold, probabilities)
        if label != gold:
            example = {
                "origin": line["origin"],
                "before": text,
                "after": changed,
                "answer_before": line["answer"],
                "answer_after": names[label],
            }
            flipped.append((changes, example))
    if not tried:
        return None
    flipped.sort(key=lambda each: (each[0], len(each[1]["before"])))
    return {
        "texts": tried,
        "flipped": len(flipped),
        "changes": float(np.mean([changes for changes, _ in flipped])) if flipped else 0.0,
        "examples": [example for _, example in flipped[:MOST_SHOWN]],
    }


def _attacked(
    text: str,
    others: Sequence[str],
    places: Sequence[Place],
    gold: int,
    probabilities: Probabilities,
) -> tuple[str, int, int]:
    """The text as it was changed in the end, how many words were, and its label then."""

    def asked(texts: Sequence[str]) -> np.ndarray:
        return probabilities([(each, *others) for each in texts])

    without = asked([text[: place.start] + text[place.end :] for place in places])
    ranked = [places[number] for number in np.argsort(without[:, gold], kind="stable")[:MOST_TRIED]]
    single = [(place, other) for place in ranked for other in place.others]
    found = asked([written(text, {place: other}) for place, other in single])
    flips = np.flatnonzero(found.argmax(axis=1) != gold)
    if len(flips):
        number = flips[found[flips, gold].argmin()]
        return written(text, dict([single[number]])), 1, int(found[number].argmax())
    words: dict[Place, str] = {}
    texts = []
    budget = max(1, round(MOST_CHANGED * len(places)))
    for number in np.argsort(found[:, gold], kind="stable").tolist():
        place, other = single[number]
        if place not in words and len(words) < budget:  # of each the best comes first
            words[place] = other
            texts.append(written(text, words))
    labels = asked(texts).argmax(axis=1)
    changed = int(np.argmax(labels != gold))
    return texts[changed], changed + 1, int(labels[changed])


def written(text: str, words: dict[Place, str]) -> str:
    """A text with other words in some places."""
    parts, end = [], 0
    for place, word in sorted(words.items()):
        parts += [text[end : place.start], word]
        end = place.end
    return "".join([*parts, text[end:]])
