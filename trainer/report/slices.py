"""Parts of the data that are worse than the rest, found by themselves."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from trainer.data.scripts import script_of
from trainer.report.evidence import Line
from trainer.report.say import Say
from trainer.report.tasks.inputs import text_of

FEWEST = 20  # examples of a slice, and of the rest
LEVEL = 0.05  # of finding one where there is none, over all comparisons
SHUFFLES = 1000
AT_ONCE = 50  # shuffles in memory
MOST_WORDS = 300  # that are looked at
MOST_FOUND = 20
WORD = re.compile(r"[^\W\d_]{2,}")
IDEOGRAPHS = re.compile(r"[\u4e00-\u9fff]{2}")


class Slice(NamedTuple):
    """A part of the data.

    Attributes:
        kind: by what it is a part: length, label, file, script, word, digits or repeated.
        name: which one.
        examples: how many it has.
        inside, outside: how right answers are there, and in the rest, from 0 to 1.
        p_value: of being that much worse by chance, corrected for all comparisons.
    """

    kind: str
    name: str
    examples: int
    inside: float
    outside: float
    p_value: float

    def shown(self, say: Say) -> str:
        """For people."""
        kinds = {
            "length": say("length", "长度"),
            "label": say("label", "标签"),
            "file": say("file", "文件"),
            "script": say("script", "文字"),
            "word": say("with the word", "含有"),
            "digits": say("digits", "数字"),
            "repeated": say("repeated", "重复"),
        }
        return f"{kinds[self.kind]}: {self.name}"


def find_slices(lines: Sequence[Line], goodness: np.ndarray) -> list[Slice]:
    """The slices that are worse than the rest beyond chance, most surely first.

    Args:
        lines: of a split.
        goodness: (n,) how right each is; empty: none is right or wrong.
    Source: Westfall and Young 1993: how often, where examples are shuffled, the worst of all
        slices is as bad. So overlapping slices cost nothing, and no distribution is assumed.
    """
    if not len(goodness) or goodness.min() == goodness.max():
        return []
    slices = [
        (kind, name, is_inside)
        for kind, name, is_inside in candidates(lines)
        if FEWEST <= is_inside.sum() <= len(lines) - FEWEST
    ]
    if not slices:
        return []
    members = np.stack([is_inside for _, _, is_inside in slices]).astype(np.float32)
    p_values = chance_of_worse(members, goodness)
    found = []
    for (kind, name, is_inside), p_value in zip(slices, p_values.tolist(), strict=True):
        if p_value <= LEVEL:
            inside = float(goodness[is_inside].mean())
            outside = float(goodness[~is_inside].mean())
            found.append(Slice(kind, name, int(is_inside.sum()), inside, outside, p_value))
    found.sort(key=lambda each: (each.p_value, each.inside - each.outside))
    return found[:MOST_FOUND]


def chance_of_worse(members: np.ndarray, goodness: np.ndarray) -> np.ndarray:
    """(S,) how often a slice among all is as bad where examples are shuffled.

    Args:
        members: (S, n) float32 of 0 and 1.
        goodness: (n,).
    """
    count = goodness.size
    sizes = members.sum(axis=1)
    centred = ((goodness - goodness.mean()) / goodness.std()).astype(np.float32)
    spread = np.sqrt(sizes * (count - sizes) / (count - 1))  # of a sum, where it is chance
    observed = members @ centred / spread
    generator = np.random.default_rng(0)
    as_bad = np.ones(len(members))
    done = 1  # what was observed is one of the orders
    while done < SHUFFLES:
        columns = min(AT_ONCE, SHUFFLES - done)
        shuffled = np.stack([generator.permutation(centred) for _ in range(columns)], axis=1)
        worst = (members @ shuffled / spread[:, None]).min(axis=0)
        as_bad += np.searchsorted(np.sort(worst), observed, side="right")
        done += columns
    return as_bad / done


def candidates(lines: Sequence[Line]) -> Iterator[tuple[str, str, np.ndarray]]:
    """Kinds, names, and (n,) bool each: which lines a slice has."""
    texts = list(map(text_of, lines))
    yield from _lengths(texts)
    golds = [line.get("gold") for line in lines]
    if all(isinstance(gold, str) for gold in golds) and "probabilities" in lines[0]:
        yield from _named("label", list(map(str, golds)))
    yield from _named("file", [line["origin"].rpartition(":")[0] for line in lines])
    yield from _named("script", [script_of([text]) or "" for text in texts])
    yield "digits", "0–9", np.array([any(map(str.isdigit, text)) for text in texts])
    counts = Counter(texts)
    yield "repeated", "×2+", np.array([counts[text] > 1 for text in texts])
    yield from _words(texts)


def _lengths(texts: Sequence[str]) -> Iterator[tuple[str, str, np.ndarray]]:
    """The shortest and the longest quarter, in characters."""
    lengths = np.array(list(map(len, texts)))
    short, long = np.quantile(lengths, [0.25, 0.75])
    yield "length", f"≤ {int(short)}", lengths <= short
    yield "length", f"≥ {int(np.ceil(long))}", lengths >= long


def _named(kind: str, names: Sequence[str]) -> Iterator[tuple[str, str, np.ndarray]]:
    array = np.array(names)
    for name in sorted(set(names)):
        yield kind, name, array == name


def _words(texts: Sequence[str]) -> Iterator[tuple[str, str, np.ndarray]]:
    """The words, and pairs of Chinese characters, that enough texts have."""
    words_of = [set(_words_of(text)) for text in texts]
    counts = Counter(word for words in words_of for word in words)
    fewest = max(FEWEST, len(texts) // 100)
    frequent = [word for word, count in counts.most_common() if count >= fewest]
    for word in frequent[:MOST_WORDS]:
        yield "word", word, np.array([word in words for words in words_of])


def _words_of(text: str) -> list[str]:
    lower = text.lower()
    pairs = [lower[place : place + 2] for place in range(len(lower) - 1)]
    return [*WORD.findall(lower), *filter(IDEOGRAPHS.fullmatch, pairs)]
