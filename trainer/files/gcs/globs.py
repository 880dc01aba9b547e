"""What a glob means among the names of a bucket. fnmatch knows no folders."""

from __future__ import annotations

import re

MAGIC = re.compile(r"[*?\[]")
BRACKETS = re.compile(r"\[!?[^\]/]+\]")
WILDCARDS = {"**/": "(?:.*/)?", "**": ".*", "*": "[^/]*", "?": "[^/]"}
TOKENS = re.compile(r"(\*\*/|\*\*|\*|\?)")
TOKENS_AND_BRACKETS = re.compile(r"(\*\*/|\*\*|\*|\?|\[!?[^\]/]+\])")
NOTHING = "(?!)"


def pattern(glob: str, *, brackets: bool = True) -> re.Pattern[str]:
    """The regular expression for a glob.

    `*`, `?` and `[…]` stay within a folder, `**` does not.

    Args:
        glob: the name of an object, with wildcards.
        brackets: whether `[…]` stands for characters; else it is part of a name.
    """
    tokens = (TOKENS_AND_BRACKETS if brackets else TOKENS).split(glob)
    return re.compile("".join(map(_expression, tokens)), re.DOTALL)


def fixed_prefix(glob: str) -> str:
    """What every name that matches begins with."""
    return MAGIC.split(glob)[0]


def stays_in_its_folder(glob: str) -> bool:
    """Whether only objects directly in the folder before the first wildcard can match."""
    return "/" not in MAGIC.split(glob, maxsplit=1)[-1] and "**" not in glob


def _expression(token: str) -> str:
    if BRACKETS.fullmatch(token):
        return _character_set(token)
    return WILDCARDS.get(token) or re.escape(token)


def _character_set(token: str) -> str:
    """What stands between brackets, where only - has a meaning.

    A range whose ends are in no order has none, as in a shell.
    """
    characters = re.sub(
        r"(.)-(.)",
        lambda match: match[0] if match[1] <= match[2] else "",
        token[1:-1].removeprefix("!"),
    )
    characters = characters.replace("\\", r"\\").replace("^", r"\^")
    if token.startswith("[!"):
        return f"[^/{characters}]"
    return f"[{characters}]" if characters else NOTHING
