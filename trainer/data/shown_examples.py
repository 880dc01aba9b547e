"""One example of each split as the model sees it, so that a wrong column or separator is seen
before it is trained on.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

from trainer.console.excerpt import excerpt_lines, short_place
from trainer.data.store import TokenStore

AMONG = 64  # the first examples of a split, of which one is shown
KEPT_CHARACTERS = 400  # of each part
KEPT_TOKENS = 200
LINES = 3  # of each part
WIDEST = 100  # columns, which one can still read
NOTHING = "(none)"

Parts = list[tuple[str, str]]  # names, such as of the fields, and what stands there


class Shown:
    """Chooses the example: the first of which no part is empty, else the first."""

    def __init__(self) -> None:
        self._seen = 0
        self._chosen: dict[str, object] = {}
        self._tells = False

    def offer(self, origin: str, make_parts: Callable[[], Parts]) -> None:
        """Takes an example into account; the parts are made only of those that may be chosen."""
        number = self._seen
        self._seen += 1
        if self._tells or number >= AMONG:
            return
        parts = []
        for name, content in make_parts():
            parts.append((name, content[:KEPT_CHARACTERS], len(content)))
        self._tells = all(beginning for _, beginning, _ in parts)
        if self._tells or not self._chosen:
            self._chosen = {
                "number": number,
                "origin": origin,
                "parts": parts,
            }

    def meta(self) -> dict[str, object]:
        """What the store keeps of it, as JSON."""
        return self._chosen


class Vocabulary(Protocol):
    """Of a tokenizer: how each token is shown."""

    words: Sequence[str]


def example_lines(
    splits: Mapping[str, TokenStore], tokenizer: Vocabulary, columns: int
) -> list[str]:
    """The lines that show an example of each split.

    Args:
        splits: the encoded splits.
        tokenizer: shows what the example was encoded as.
        columns: of the terminal.
    """
    lines = []
    for split, store in splits.items():
        chosen = store.meta.get("shown")
        if not chosen:
            continue
        lines.append(f"example of {split} ({short_place(chosen['origin'])})")
        tokens = _tokens(store, chosen["number"], tokenizer.words)
        parts = [
            (name, beginning, f"{length:,} characters")
            for name, beginning, length in chosen["parts"]
        ]
        parts.append(("tokens", " ".join(tokens[:KEPT_TOKENS]), f"{len(tokens):,} tokens"))
        lines += _part_lines(parts, columns)
    return lines


def _part_lines(parts: Sequence[tuple[str, str, str]], columns: int) -> list[str]:
    """Names, and beside them what stands there, cut to LINES with how much it is."""
    name_columns = max(len(name) for name, _, _ in parts)
    room = min(columns, WIDEST) - name_columns - 4
    lines = []
    for name, content, whole in parts:
        shown = excerpt_lines(content or NOTHING, room, LINES, whole=whole)
        for beside, line in zip([name, *[""] * LINES], shown, strict=False):
            lines.append(f"  {beside:{name_columns}}  {line}")
    return lines


def _tokens(store: TokenStore, number: int, words: Sequence[str]) -> list[str]:
    """What the example's first row holds."""
    row = store.rows_of(number)
    if row >= len(store):
        return []
    token_ids = store.example(row)["token_ids"]
    return [words[token] for token in token_ids.tolist()]
