"""The pages of the documentation, taken apart: blocks, commands, links, anchors, sentences."""

from __future__ import annotations

import pathlib
import re
import shlex
from collections.abc import Iterator
from typing import NamedTuple

ROOT = pathlib.Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
CHINESE = DOCS / "zh"
PAGES = tuple(
    sorted(
        [ROOT / "README.md", ROOT / "README.zh.md", ROOT / "CONTRIBUTING.md", *DOCS.rglob("*.md")]
    )
)
ENGLISH = tuple(
    page for page in PAGES if CHINESE not in page.parents and page.name != "README.zh.md"
)
TWINS = tuple(
    (ROOT / "README.md" if page.name == "README.zh.md" else DOCS / page.relative_to(CHINESE), page)
    for page in PAGES
    if page not in ENGLISH
)
BLOCK = re.compile(r"^(```+)(\w*)[^\n]*\n(.*?)^\1[ \t]*$", re.MULTILINE | re.DOTALL)


class Block(NamedTuple):
    """A fenced block."""

    language: str
    text: str


class Command(NamedTuple):
    """A command as a page shows it, and the output below."""

    line: str
    output: str

    @property
    def fails(self) -> bool:
        """Whether the page shows a mistake being answered."""
        return self.output.startswith("error:") or "\nerror:" in self.output

    @property
    def exit_code(self) -> int:
        """With which it ends."""
        if not self.fails:
            return 0
        return 3 if "report.require is not met" in self.output else 2


def name(page: pathlib.Path) -> str:
    """Of a page, for people and as a test's id."""
    return str(page.relative_to(ROOT))


def blocks(page: pathlib.Path, language: str = "") -> list[Block]:
    """The fenced blocks, of one language if it is given."""
    found = [Block(match[2], match[3]) for match in BLOCK.finditer(page.read_text("utf-8"))]
    return [block for block in found if language in ("", block.language)]


def commands(page: pathlib.Path) -> Iterator[Command]:
    """Those of its console blocks."""
    for block in blocks(page, "console"):
        yield from commands_of(block.text)


def commands_of(text: str) -> Iterator[Command]:
    """What follows a "$ "; a line that ends with \\ or | goes on."""
    for part in re.split(r"^\$ ", text, flags=re.MULTILINE)[1:]:
        match = re.match(r"((?:[^\n]*(?:\\|\|[ ]*)\n)*[^\n]*)\n?(.*)", part, re.DOTALL)
        assert match is not None
        yield Command(match[1], match[2])


def podtune_calls(line: str) -> Iterator[list[str]]:
    """The words behind "podtune" of each call in a line of the shell."""
    words = shlex.split(line.replace("\\\n", " "), comments=True)
    for start, word in enumerate(words):
        if word == "podtune" and (start == 0 or words[start - 1] in ("|", "&&", "!")):
            rest = words[start + 1 :]
            ends = [
                place for place, other in enumerate(rest) if other in ("|", ">", "&&", "&", "<")
            ]
            yield rest[: min(ends, default=len(rest))]


def told(page: pathlib.Path) -> str:
    """The text without what programs print and without the targets of links."""

    def typed(match: re.Match[str]) -> str:
        if match[2] != "console":
            return match[0]
        return "\n".join(command.line for command in commands_of(match[3]))

    text = BLOCK.sub(typed, page.read_text("utf-8"))
    return re.sub(r"\]\([^)]*\)", "]", text)


def prose(page: pathlib.Path) -> str:
    """The text without blocks, tables, headings and the targets of links."""
    text = BLOCK.sub("\n\n", page.read_text("utf-8"))
    text = re.sub(r"^(\||#|!\[).*$", "", text, flags=re.MULTILINE)
    text = re.sub(r"`[^`]*`", "CODE", text)
    return re.sub(r"\]\([^)]*\)", "]", text)


def sentences(page: pathlib.Path) -> list[str]:
    """The sentences of the prose; an item of a list is one, too."""
    parts = re.split(r"(?<=[.!?:])\s+|\n\s*\n|\n\s*(?:-|\d+\.)\s", prose(page))
    return [part for part in parts if len(part.split()) > 1]


def outside_blocks(page: pathlib.Path) -> str:
    """The text without its fenced blocks."""
    return BLOCK.sub("", page.read_text("utf-8"))


def anchors(page: pathlib.Path) -> set[str]:
    """What a link to a heading of the page is called."""
    return {slug(title) for title in re.findall(r"^#+ (.*)$", outside_blocks(page), re.MULTILINE)}


def heading_levels(page: pathlib.Path) -> list[int]:
    """How deep each heading is, in order."""
    marks = re.findall(r"^(#+) ", outside_blocks(page), re.MULTILINE)
    return list(map(len, marks))


def slug(title: str) -> str:
    """Of a heading, as code hosts and the site make it."""
    plain = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", title).replace("`", "")
    return re.sub(r"[^\w\- ]", "", plain.strip().lower()).replace(" ", "-")


def links(page: pathlib.Path) -> list[str]:
    """The targets of links and pictures that lead to files of the repository."""
    targets = re.findall(r"\]\(([^)\s]+)\)", outside_blocks(page))
    return [target for target in targets if not re.match(r"\w+:", target)]
