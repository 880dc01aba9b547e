"""CoNLL columns (also .gz): a word a line with its tags in columns, an empty line between
sentences; and CoNLL-U.
"""

import functools
import itertools
from collections.abc import Iterator
from typing import Any, Literal

from pydantic import Field

from trainer.errors import DataError
from trainer.settings.schema import DataSettings
from trainer.sources import TO_PREDICT, Example, Origin, Source
from trainer.sources._comments import NUMBER, Shape, shape_of, words_of
from trainer.sources._files import FileSource, files_of
from trainer.sources._lines import Lines, without_end

DOCUMENT = "-DOCSTART-"  # the only word of a line that begins a document
CONLLU_COLUMNS = 10
COLUMNS = {"columns": (0, -1), "conllu": (1, 3)}  # word and tag: FORM and UPOS in CoNLL-U


class Settings(DataSettings):
    """The data section for CoNLL columns."""

    source: Literal["conll"] = Field(
        "conll", description="CoNLL columns: a word a line, an empty line after a sentence"
    )
    text: str = Field("words", description="name of the field with a sentence's words")
    label: str = Field("tags", description="name of the field with the words' tags")
    variant: Literal["columns", "conllu"] = Field(
        "columns",
        description=(
            "columns between tabs or spaces; CoNLL-U: ten columns, without its word ranges (1-2)"
            " and empty nodes (8.1)"
        ),
    )
    word_column: int | None = Field(
        None, description="from 0, or from the end (-1); null: the first, FORM in CoNLL-U"
    )
    tag_column: int | None = Field(
        None, description="from 0, or from the end (-1); null: the last, UPOS in CoNLL-U"
    )


def open(settings: Settings, split: str, spec: str) -> Source:
    """The sentences of CoNLL files; see `trainer.sources.open_source`."""
    word, tag = (
        default if given is None else given
        for given, default in zip(
            (settings.word_column, settings.tag_column), COLUMNS[settings.variant], strict=True
        )
    )
    layout = {
        "word": word,
        "tag": tag,
        "names": [settings.text, settings.label],
        "conllu": settings.variant == "conllu",
    }
    if split == TO_PREDICT:
        layout["untagged"] = True
    return FileSource(
        files_of(spec, split),
        functools.partial(read, **layout),
        {"source": settings.source, **layout},
        fallback_encoding=settings.fallback_encoding,
    )


def read(
    lines: Lines,
    *,
    word: int,
    tag: int,
    names: tuple[str, str],
    conllu: bool,
    untagged: bool = False,
) -> Iterator[Example]:
    """An example for each sentence: its words, their tags, and where in the file each stands;
    `untagged`: also where there is but one column, of words.

    Comments begin with "#". Outside CoNLL-U "#" may begin a word too: `_comments` tells them apart.

    Raises:
        DataError: a line without the word's or the tag's column, with more or fewer than the one
            before where they are counted from the end, or an empty word or tag; in CoNLL-U one that
            begins with no number of a word.
    """
    shape, blocks = _first_shape(_blocks(lines), word)
    for number, rows in enumerate(blocks):
        if number == 0 and not conllu and word == 0:
            _refuse_conllu(rows)
        doubts: tuple[tuple[str, int], ...] = ()
        if conllu:
            doubts = _doubts(rows)
            rows = [(cells, origin) for cells, origin in rows if _is_word(cells, origin)]
        else:
            lines_of_block = _cells_of(rows)
            shape = shape_of(lines_of_block, word) or shape
            rows = [rows[place] for place in words_of(lines_of_block, shape)]
        if min(word, tag) < 0:
            _require_one_width(rows)
        if untagged and rows and all(len(cells) == 1 for cells, _ in rows):
            yield Example(
                {names[0]: [cells[0] for cells, _ in rows]},
                rows[0][1],
                tuple(origin.line for _, origin in rows),
            )
        elif words := [_word(cells, origin, word, tag) for cells, origin in rows]:
            features: dict[str, Any] = dict(
                zip(names, map(list, zip(*words, strict=True)), strict=True)
            )
            yield Example(
                features, rows[0][1], tuple(origin.line for _, origin in rows), doubts=doubts
            )


def _is_word(cells: list[str], origin: Origin) -> bool:
    """Whether a line of CoNLL-U is a word, and no comment, word range or empty node."""
    if not cells[0].startswith("#") and not NUMBER.fullmatch(cells[0]):
        raise DataError(
            f"{origin}: expected the number of a word, such as 1, 1-2 or 1.1, found"
            f" {cells[0]!r:.60}. Correct the line, or for other columns set data.variant=columns."
        )
    return cells[0].isdecimal()


def _doubts(rows: list[tuple[list[str], Origin]]) -> tuple[tuple[str, int], ...]:
    """What CoNLL-U's words have that no raw text has: ledger kinds, each with how often."""
    numbers = [cells[0] for cells, _ in rows if NUMBER.fullmatch(cells[0])]
    counts = {
        "split_words": sum("-" in number for number in numbers),
        "empty_nodes": sum("." in number for number in numbers),
    }
    return tuple((kind, count) for kind, count in counts.items() if count)


def _cells_of(rows: list[tuple[list[str], Origin]]) -> list[list[str]]:
    return [cells for cells, _ in rows]


def _first_shape(
    blocks: Iterator[list[tuple[list[str], Origin]]], word: int
) -> tuple[Shape, Iterator[list[tuple[list[str], Origin]]]]:
    """The shape of the words, as the first sentence shows that has one which does not begin with
    "#"; and all the blocks.
    """
    waiting = []
    for block in blocks:
        waiting.append(block)
        if shape := shape_of(_cells_of(block), word):
            return shape, itertools.chain(waiting, blocks)
    width = len(waiting[-1][-1][0]) if waiting else 0
    return Shape(width, numbered=False), iter(waiting)


def _refuse_conllu(rows: list[tuple[list[str], Origin]]) -> None:
    words = [(cells, origin) for cells, origin in rows if not cells[0].startswith("#")]
    numbers = [cells[0] for cells, _ in words if cells[0].isdecimal()]
    if (
        words
        and all(len(cells) == CONLLU_COLUMNS for cells, _ in words)
        and numbers
        and numbers == [str(1 + place) for place in range(len(numbers))]
    ):
        raise DataError(
            f"{words[0][1]}: this looks like CoNLL-U, whose {CONLLU_COLUMNS} columns begin with the"
            " number of the word. Set data.variant=conllu, or name the columns with"
            " data.word_column and data.tag_column."
        )


def _blocks(lines: Lines) -> Iterator[list[tuple[list[str], Origin]]]:
    """The lines between blank ones; a document's beginning parts sentences like one."""
    name, block = lines.name, []
    for line in lines:
        cells = _cells(line)
        if cells and cells[0] != DOCUMENT:
            block.append((cells, Origin(name, lines.number)))
        elif block:
            yield block
            block = []
    if block:
        yield block


def _cells(line: str) -> list[str]:
    # Only these two part columns: other spaces, such as a no-break or an ideographic one, may be
    # words or stand in them.
    line = without_end(line).strip(" ")
    if "\t" not in line:
        return [*filter(None, line.split(" "))]
    return [cell.strip(" ") for cell in line.split("\t")] if line.strip(" \t") else []


def _require_one_width(rows: list[tuple[list[str], Origin]]) -> None:
    if len({len(cells) for cells, _ in rows}) < 2:
        return
    for (before, _), (cells, origin) in itertools.pairwise(rows):
        if len(cells) != len(before):
            shown = f"{len(cells)} column{'s' if len(cells) > 1 else ''}"
            raise DataError(
                f"{origin}: found {shown}, and {len(before)} in the line before:"
                f" {' '.join(cells)[:60]!r}. Correct the line (a word with a space in it needs tabs"
                " between the columns), or set data.tag_column from 0."
            )


def _word(cells: list[str], origin: Origin, word: int, tag: int) -> tuple[str, str]:
    width = len(cells)
    if (
        -width <= word < width
        and -width <= tag < width
        and word % width != tag % width
        and cells[word]
        and cells[tag]
    ):
        return cells[word], cells[tag]
    raise _wrong_word(cells, origin, word, tag)


def _wrong_word(cells: list[str], origin: Origin, word: int, tag: int) -> DataError:
    for name, column in (("word", word), ("tag", tag)):
        if not -len(cells) <= column < len(cells):
            return DataError(
                f"{origin}: expected a {name} in column {column}, found {len(cells)}"
                f" column{'s' if len(cells) > 1 else ''}: {' '.join(cells)[:60]!r}. Correct the"
                f" line, or set data.{name}_column."
            )
        if not cells[column]:
            return DataError(
                f"{origin}: the {name} in column {column} is empty. Correct the line, or set"
                f" data.{name}_column."
            )
    return DataError(
        f"{origin}: expected a word and a tag, found one column: {cells[word][:60]!r}. "
        "Correct the line, or set data.word_column and data.tag_column."
    )
