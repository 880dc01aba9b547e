"""A report as a page: sections of paragraphs, tables, figures and texts, in one file of HTML.

It needs no network and no script: a few lines let tables be sorted where there is one.
"""

from __future__ import annotations

import dataclasses
import html
import pathlib
from collections.abc import Sequence
from typing import Literal, NamedTuple, Protocol, TypeAlias

from trainer.files.json_file import JsonObject
from trainer.run.job_files import GENERATOR

HERE = pathlib.Path(__file__).parent
FAINTEST = 0.05  # of what speaks for an answer, that is shown
Cell: TypeAlias = str | int | float | None
Language: TypeAlias = Literal["en", "zh"]


class Block(Protocol):
    """A part of a section."""

    def html(self) -> str:
        """As HTML."""
        ...


@dataclasses.dataclass(frozen=True)
class Paragraph:
    """Some sentences.

    Attributes:
        text: of them.
        kind: "" or verdict, good, bad or note, which look another way.
    """

    text: str
    kind: Literal["", "verdict", "good", "bad", "note"] = ""

    def html(self) -> str:
        """See `Block`."""
        kind = f' class="{self.kind}"' if self.kind else ""
        return f"<p{kind}>{escaped(self.text)}</p>"


@dataclasses.dataclass(frozen=True)
class Table:
    """Rows under named columns.

    Attributes:
        caption: what it shows.
        columns: their names.
        rows: a cell a column each; floats are shown with three decimals.
    """

    caption: str
    columns: Sequence[str]
    rows: Sequence[Sequence[Cell]]

    def html(self) -> str:
        """See `Block`."""
        head = "".join(
            f'<th scope="col"{self._alignment(place)}>{escaped(name)}</th>'
            for place, name in enumerate(self.columns)
        )
        body = "".join(f"<tr>{''.join(map(_cell, row))}</tr>" for row in self.rows)
        return (
            f'<div class="wide" tabindex="0" role="region" aria-label="{escaped(self.caption)}">'
            f"<table><caption>{escaped(self.caption)}</caption>"
            f"<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>"
        )

    def _alignment(self, column: int) -> str:
        """Over numbers to the right."""
        numbers = [isinstance(row[column], (int, float)) for row in self.rows]
        return ' class="number"' if any(numbers) else ""


def _cell(value: Cell) -> str:
    if value is None:
        return "<td>–</td>"
    if isinstance(value, str):
        return f"<td>{escaped(value)}</td>"
    return f'<td class="number" data-value="{value!r}">{shown_number(value)}</td>'


@dataclasses.dataclass(frozen=True)
class Folded:
    """What is shown when it is asked for.

    Attributes:
        title: that stands for it.
        blocks: of it.
    """

    title: str
    blocks: Sequence[Block]

    def html(self) -> str:
        """See `Block`."""
        blocks = "\n".join(block.html() for block in self.blocks)
        return f"<details><summary>{escaped(self.title)}</summary>{blocks}</details>"


@dataclasses.dataclass(frozen=True)
class Figure:
    """A picture.

    Attributes:
        svg: of it.
        caption: what it shows, also for those who cannot see it.
    """

    svg: str
    caption: str

    def html(self) -> str:
        """See `Block`."""
        return (
            f'<figure><div class="wide" role="img" aria-label="{escaped(self.caption)}">'
            f"{self.svg}</div><figcaption>{escaped(self.caption)}</figcaption></figure>"
        )


MarkKind: TypeAlias = Literal["gold", "right", "wrong"]


class Mark(NamedTuple):
    """A part of a text.

    Attributes:
        start, end: its first character, and the one behind its last.
        label: what is said of it.
        kind: its colour.
    """

    start: int
    end: int
    label: str
    kind: MarkKind


@dataclasses.dataclass(frozen=True)
class Text:
    """A text of the data, with what is said of it.

    Attributes:
        title: such as what was answered, and what is right.
        origin: file:line.
        text: of the data.
        marks: parts of it, which may overlap; the earlier ones are shown.
        notes: further lines, such as a question.
    """

    title: str
    origin: str
    text: str
    marks: Sequence[Mark] = ()
    notes: Sequence[str] = ()

    def cut(self, longest: int) -> Text:
        """The same without what is behind so many characters."""
        if len(self.text) <= longest:
            return self
        return dataclasses.replace(self, text=f"{self.text[:longest]} …")

    def html(self) -> str:
        """See `Block`."""
        notes = "".join(f"<p>{escaped(note)}</p>" for note in self.notes)
        return (
            f'<article class="example"><h3>{escaped(self.title)}</h3>{notes}'
            f"<p>{_marked(self.text, self.marks)}</p>"
            f'<p class="origin">{escaped(self.origin)}</p></article>'
        )


@dataclasses.dataclass(frozen=True)
class Heat:
    """A text whose parts speak for something, or against it.

    Attributes:
        title, note: what it is about.
        origin: file:line.
        parts: of the text, in their order, each from -1, against, to 1, for.
    """

    title: str
    origin: str
    note: str
    parts: Sequence[tuple[str, float]]

    def html(self) -> str:
        """See `Block`."""
        parts = "".join(_heated(text, value) for text, value in self.parts)
        return (
            f'<article class="example"><h3>{escaped(self.title)}</h3><p>{parts}</p>'
            f'<p class="origin">{escaped(self.note)}</p>'
            f'<p class="origin">{escaped(self.origin)}</p></article>'
        )


def _heated(text: str, value: float) -> str:
    if abs(value) < FAINTEST:
        return escaped(text)
    kind = "for" if value > 0 else "against"
    return f'<mark class="{kind}" style="--share:{abs(value):.2f}">{escaped(text)}</mark>'


def _marked(text: str, marks: Sequence[Mark]) -> str:
    parts = []
    end_before = 0
    for start, end, label, kind in sorted(marks):
        if start < end_before or end <= start:
            continue
        parts.append(escaped(text[end_before:start]))
        parts.append(
            f'<mark class="{kind}">{escaped(text[start:end])}<small>{escaped(label)}</small></mark>'
        )
        end_before = end
    return "".join(parts) + escaped(text[end_before:])


@dataclasses.dataclass(frozen=True)
class Section:
    """A part of a report.

    Attributes:
        key: by which report.json has its facts.
        title: for people.
        facts: all that it says, as JSON.
        blocks: the same for people.
    """

    key: str
    title: str
    facts: JsonObject
    blocks: Sequence[Block]

    def html(self) -> str:
        """As HTML."""
        blocks = "\n".join(block.html() for block in self.blocks)
        return f'<section id="{self.key}"><h2>{escaped(self.title)}</h2>\n{blocks}\n</section>'


def page(title: str, sections: Sequence[Section], language: Language) -> str:
    """The whole page.

    Args:
        title: of it.
        sections: in their order.
        language: of its sentences.
    """
    links = "".join(f'<a href="#{each.key}">{escaped(each.title)}</a>' for each in sections)
    body = "\n".join(section.html() for section in sections)
    style = (HERE / "page.css").read_text("utf-8")
    script = (HERE / "page.js").read_text("utf-8")
    lang = "zh-Hans" if language == "zh" else "en"
    return f"""<!DOCTYPE html>
<html lang="{lang}">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
{GENERATOR}
<meta name="color-scheme" content="light dark">
<title>{escaped(title)}</title>
<style>
{style}</style>
</head>
<body>
<header><h1>{escaped(title)}</h1><nav>{links}</nav></header>
<main>
{body}
</main>
<script>
{script}</script>
</body>
</html>
"""


def escaped(text: str) -> str:
    """Text as HTML has it; a lone surrogate, which UTF-8 has no bytes for, as "?"."""
    return html.escape(text.encode("utf-8", "replace").decode(), quote=True)


def shown_number(value: float) -> str:
    """Whole numbers with commas, others with three decimals or three digits."""
    if isinstance(value, int):
        return f"{value:,}"
    if value != value:  # not a number
        return "–"
    if abs(value) >= 0.001 or value == 0:
        return f"{value:,.3f}"
    return f"{value:.2e}"
