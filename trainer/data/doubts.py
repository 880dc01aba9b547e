"""What a person should know of the data before training on it: signs that it was not read as it was
meant.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from trainer.data.ledger import Ledger
from trainer.data.store import TokenStore
from trainer.errors import shown_value

NUMBERED = re.compile(r"([^\d\s]+)(\d+)")
NUMBERED_SHARE = 0.9  # of the characters, and of the numbers that run on
LEAST_NUMBERED = 10  # words
SHOWN_CHARACTERS = 24

# Ledger kinds that are worth a warning, and what to do.
WARNINGS = {
    "long_words": (
        "words have more characters than the tokenizer takes, and each is one unknown token: the"
        " model does not see them. Where no spaces part words, as in Thai, part them before, or"
        " take a tokenizer made for the language"
    ),
    "split_words": (
        "words that the text writes as one are read as their parts (1-2 in CoNLL-U): raw text never"
        " has the parts, so that scores say nothing of it. Give predict words that are split alike"
    ),
}


def doubts(splits: Mapping[str, TokenStore], ledger: Ledger) -> list[str]:
    """A line for each doubt."""
    lines = []
    for split, kinds in ledger.entries.items():
        for kind, entry in kinds.items():
            if kind in WARNINGS:
                count = f"{entry['count']:,}"
                lines.append(f"data.{split}: {count} {WARNINGS[kind]} (first: {entry['first']})")
    for split, store in splits.items():
        texts = []
        for sample in store.meta["samples"]:
            texts += [value for value in sample.values() if isinstance(value, str)]
        example = numbered_words(texts)
        if example:
            lines.append(
                f"data.{split}: each word carries a number that runs on, as in"
                f" {shown_value(example, SHOWN_CHARACTERS)}: the model learns it as part of the"
                " text, and texts to predict have none. Take the numbers out of the words"
            )
    return lines


def numbered_words(texts: list[str]) -> str:
    """The beginning of a text where the words carry running numbers, as the places in a word do in
    Weibo's NER data; "" where they do not.
    """
    words = characters = covered = running = 0
    first = ""
    for text in texts:
        before = None
        for match in NUMBERED.finditer(text):
            number = int(match[2]) if len(match[2]) < 7 else -1
            running += number in (0, 1) or number - 1 == before
            before = number
            words += 1
            covered += len(match[0])
        characters += len("".join(text.split()))
        first = first or text
    numbered = (
        words >= LEAST_NUMBERED
        and covered >= NUMBERED_SHARE * characters
        and running >= NUMBERED_SHARE * words
    )
    return first if numbered else ""
