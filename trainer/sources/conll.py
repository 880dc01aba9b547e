"""CoNLL columns (also .gz), and CoNLL-U.

A word a line with its tags in columns, an empty line between sentences.
"""

import functools
import itertools
from collections.abc import Iterator
from typing import Literal, NamedTuple

from pydantic import Field

from trainer.errors import DataError
from trainer.settings.schema import DataSettings
from trainer.sources import TO_PREDICT, Example, FieldValue, Origin, Source
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


class Columns(NamedTuple):
    """What is read of each line, and how.

    Attributes:
        word, tag: columns, from 0, or from the end (-1).
        names: of the fields with the words and with the tags.
        conllu: whether the lines are CoNLL-U's.
        untagged: whether a file may have but one column, of words.
    """

    word: int
    tag: int
    names: tuple[str, str]
    conllu: bool
    untagged: bool = False


class _Line(NamedTuple):
    """The columns of a line, and where it stands: an Origin of each would take longer."""

    cells: list[str]
    number: int
    file: str

    @property
    def origin(self) -> Origin:
        """For examples and messages."""
        return Origin(self.file, self.number)


_Block = list[_Line]  # the lines of a sentence, with the comments above it


def open(settings: Settings, split: str, spec: str) -> Source:
    """The sentences of CoNLL files; see `trainer.sources.open_source`."""
    word, tag = COLUMNS[settings.variant]
    columns = Columns(
        word=word if settings.word_column is None else settings.word_column,
        tag=tag if settings.tag_column is None else settings.tag_column,
        names=(settings.text, settings.label),
        conllu=settings.variant == "conllu",
        untagged=split == TO_PREDICT,
    )
    facts = columns._asdict()
    if not columns.untagged:  # as fingerprints of labelled files have always been
        del facts["untagged"]
    return FileSource(
        files_of(spec, split),
        functools.partial(read, columns=columns),
        {"source": settings.source, **facts},
        fallback_encoding=settings.fallback_encoding,
    )


def read(lines: Lines, columns: Columns) -> Iterator[Example]:
    """An example for each sentence: its words, their tags, and where in the file each stands.

    Comments begin with "#". Outside CoNLL-U "#" may begin a word too: `_comments` tells them apart.

    Raises:
        DataError: a line without the word's or the tag's column, with more or fewer than the one
            before where they are counted from the end, or an empty word or tag; in CoNLL-U one that
            begins with no number of a word.
    """
    word, tag, _, conllu, untagged = columns
    shape, blocks = _first_shape(_blocks(lines), word)
    for number, block in enumerate(blocks):
        if number == 0 and not conllu and word == 0:
            _refuse_conllu(block)
        doubts: tuple[tuple[str, int], ...] = ()
        if conllu:
            doubts = _doubts(block)
            words = [line for line in block if _is_word(line)]
        else:
            cells = [line.cells for line in block]
            shape = shape_of(cells, word) or shape
            words = [block[place] for place in words_of(cells, shape)]
        if min(word, tag) < 0:
            _require_one_width(words)
        if not words:
            continue
        is_untagged = untagged and all(len(line.cells) == 1 for line in words)
        if is_untagged:
            yield _sentence_without_tags(words, columns)
        else:
            yield _sentence(words, columns, doubts)


def _sentence(lines: _Block, columns: Columns, doubts: tuple[tuple[str, int], ...]) -> Example:
    words = []
    tags = []
    for line in lines:
        word, tag = _word_and_tag(line, columns.word, columns.tag)
        words.append(word)
        tags.append(tag)
    words_name, tags_name = columns.names
    features: dict[str, FieldValue] = {words_name: words, tags_name: tags}
    numbers = _line_numbers(lines)
    return Example(features, lines[0].origin, numbers, doubts=doubts)


def _sentence_without_tags(lines: _Block, columns: Columns) -> Example:
    words_name, _ = columns.names
    words = [line.cells[0] for line in lines]
    numbers = _line_numbers(lines)
    return Example({words_name: words}, lines[0].origin, numbers)


def _line_numbers(lines: _Block) -> tuple[int, ...]:
    return tuple(line.number for line in lines)


def _is_word(line: _Line) -> bool:
    """Whether a line of CoNLL-U is a word, and no comment, word range or empty node."""
    first = line.cells[0]
    if not first.startswith("#") and not NUMBER.fullmatch(first):
        raise DataError(
            f"{line.origin}: expected the number of a word, such as 1, 1-2 or 1.1, found"
            f" {first!r:.60}. Correct the line, or for other columns set data.variant=columns."
        )
    return first.isdecimal()


def _doubts(block: _Block) -> tuple[tuple[str, int], ...]:
    """What CoNLL-U's words have that no raw text has: ledger kinds, each with how often."""
    counts = {"split_words": 0, "empty_nodes": 0}
    for line in block:
        number = line.cells[0]
        if not NUMBER.fullmatch(number):
            continue
        if "-" in number:
            counts["split_words"] += 1
        elif "." in number:
            counts["empty_nodes"] += 1
    return tuple((kind, count) for kind, count in counts.items() if count)


def _first_shape(blocks: Iterator[_Block], word_column: int) -> tuple[Shape, Iterator[_Block]]:
    """The shape of the words, and all the blocks.

    The first sentence shows it that has a word which does not begin with "#".
    """
    waiting = []
    for block in blocks:
        waiting.append(block)
        cells = [line.cells for line in block]
        shape = shape_of(cells, word_column)
        if shape is not None:
            return shape, itertools.chain(waiting, blocks)
    width = 0
    if waiting:
        last_line = waiting[-1][-1]
        width = len(last_line.cells)
    return Shape(width, numbered=False), iter(waiting)


def _refuse_conllu(block: _Block) -> None:
    words = [line for line in block if not line.cells[0].startswith("#")]
    if _widths(words) != {CONLLU_COLUMNS}:
        return
    numbers = [line.cells[0] for line in words if line.cells[0].isdecimal()]
    counted = range(1, len(numbers) + 1)
    if numbers and numbers == list(map(str, counted)):
        raise DataError(
            f"{words[0].origin}: this looks like CoNLL-U, whose {CONLLU_COLUMNS} columns begin with"
            " the number of the word. Set data.variant=conllu, or name the columns with"
            " data.word_column and data.tag_column."
        )


def _blocks(lines: Lines) -> Iterator[_Block]:
    """The lines between blank ones; a document's beginning parts sentences like one."""
    file = lines.name
    block: _Block = []
    for line in lines:
        cells = _cells(line)
        if cells and cells[0] != DOCUMENT:
            block.append(_Line(cells, lines.number, file))
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
    if not line.strip(" \t"):
        return []
    return [cell.strip(" ") for cell in line.split("\t")]


def _widths(lines: _Block) -> set[int]:
    return {len(line.cells) for line in lines}


def _require_one_width(lines: _Block) -> None:
    if len(_widths(lines)) < 2:
        return
    for before, line in itertools.pairwise(lines):
        width_before = len(before.cells)
        if len(line.cells) != width_before:
            raise DataError(
                f"{line.origin}: found {_shown_width(line)}, and {width_before} in the line"
                f" before: {' '.join(line.cells)[:60]!r}. Correct the line (a word with a space in"
                " it needs tabs between the columns), or set data.tag_column from 0."
            )


def _word_and_tag(line: _Line, word: int, tag: int) -> tuple[str, str]:
    cells = line.cells
    width = len(cells)
    both_there = -width <= word < width and -width <= tag < width
    if both_there and word % width != tag % width:
        word_cell = cells[word]
        tag_cell = cells[tag]
        if word_cell and tag_cell:
            return word_cell, tag_cell
    raise _wrong_word(line, word, tag)


def _wrong_word(line: _Line, word: int, tag: int) -> DataError:
    cells = line.cells
    origin = line.origin
    for name, column in (("word", word), ("tag", tag)):
        if not -len(cells) <= column < len(cells):
            return DataError(
                f"{origin}: expected a {name} in column {column}, found {_shown_width(line)}:"
                f" {' '.join(cells)[:60]!r}. Correct the line, or set data.{name}_column."
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


def _shown_width(line: _Line) -> str:
    width = len(line.cells)
    return f"{width} column{'s' if width > 1 else ''}"
