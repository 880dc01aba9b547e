"""In which format a file is written, by its content."""

from __future__ import annotations

import csv
import itertools
import json
import re
from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

from podtune.init.samples import Sample
from trainer.errors import ConfigError, shown_name

DELIMITERS = {"\t": "tabs", ",": "commas", ";": "semicolons", "|": "bars"}
SOURCES = {".tsv": "\t", ".csv": ","}
ROWS = 300  # looked at
FITTING = 0.98  # of rows with as many columns as most
MOST_COLUMNS = 12  # of CoNLL
CONLLU_COLUMNS = 10
TAG = re.compile(r"(O|[BIESLUM]-\S+)$")
WORDS_A_SENTENCE = 3
ODD_SEPARATOR = re.compile(r"\S (\|\|\||@@@|<sep>|\[SEP\]|:::) \S")


class Format(NamedTuple):
    """What a file is taken for.

    Attributes:
        data: settings of the data section that say so, with the source.
        words: the same, for people.
    """

    data: dict[str, object]
    words: str


def format_of(sample: Sample) -> Format:
    """The one format that a file is in.

    Raises:
        ConfigError: no source reads it, or two would, each otherwise.
    """
    lines = [line for line in sample.lines if line.strip()]
    _refuse_odd_separators(sample, lines)
    found = (
        _json(sample, lines)
        or _conll(sample.lines)
        or _delimited(sample, lines)
        or _text(sample, lines)
    )
    encoding = {"fallback_encoding": sample.encoding} if sample.encoding else {}
    written = sample.encoding.upper() if sample.encoding else "UTF-8"
    return Format({**found.data, **encoding}, f"{found.words}, {written}")


def _refuse_odd_separators(sample: Sample, lines: Sequence[str]) -> None:
    parted = [found[1] for line in lines[:ROWS] if (found := ODD_SEPARATOR.search(line))]
    if len(parted) > len(lines[:ROWS]) // 2:
        raise ConfigError(
            f"{shown_name(sample.path)}: its columns seem to be parted by {parted[0]}, which no"
            " source reads. Write them with tabs, as .tsv, or as JSON lines."
        )


def _json(sample: Sample, lines: Sequence[str]) -> Format | None:
    start = lines[0].lstrip("\ufeff \t")[:1]
    if start not in ("{", "["):
        return None
    head = sample.text[:65536]
    if re.search(r'"paragraphs"\s*:', head) and re.search(r'"qas"\s*:|"context"\s*:', head):
        return Format({"source": "squad"}, "SQuAD's JSON")
    if start == "[" or _parses(lines[0]) or '"' in lines[0] + "".join(lines[1:3]):
        return Format({"source": "jsonl"}, "JSON, an object an example")
    return None


def _parses(line: str) -> bool:
    try:
        return isinstance(json.loads(line), dict)
    except ValueError:
        return False


def _conll(lines: Sequence[str]) -> Format | None:
    """A word a line, blank lines between sentences."""
    if "" not in (line.strip() for line in lines):
        return None
    comments = [line for line in lines if line.startswith("#")]
    words = [line for line in lines if line.strip() and not line.startswith(("#", "-DOCSTART-"))]
    if not words:
        return None
    by_tabs = [line.split("\t") for line in words]
    if comments or all(cells[0].split("-")[0].split(".")[0].isdigit() for cells in by_tabs):
        return _conllu([len(cells) for cells in by_tabs])
    widths = Counter(len(line.split()) for line in words)
    width, count = widths.most_common(1)[0]
    sentences = _sentences(lines)
    is_conll = (
        2 <= width <= MOST_COLUMNS
        and count >= FITTING * len(words)
        and len(words) >= WORDS_A_SENTENCE * sentences
    )
    if not is_conll:
        return None
    tags = Counter(line.split()[-1] for line in words)
    are_tags = len(tags) < max(60, len(words) // 20) or all(map(TAG.match, tags))
    if not are_tags:
        return None
    return Format({"source": "conll"}, f"CoNLL, {width} columns")


def _conllu(widths: Sequence[int]) -> Format | None:
    if min(widths) < CONLLU_COLUMNS:
        return None
    return Format({"source": "conll", "variant": "conllu"}, "CoNLL-U")


def _sentences(lines: Sequence[str]) -> int:
    marks = itertools.pairwise(["", *(line.strip() for line in lines)])
    return sum(bool(now) and not before for before, now in marks) or 1


def _delimited(sample: Sample, lines: Sequence[str]) -> Format | None:
    widths = {}
    for delimiter in DELIMITERS:
        if width := _width(lines[:ROWS], delimiter):
            widths[delimiter] = width
    if not widths:
        return None
    name = sample.path.name.removesuffix(".gz")
    by_name = SOURCES.get(name[name.rfind(".") :])
    if len(widths) == 1 or "\t" in widths:
        delimiter = "\t" if "\t" in widths else next(iter(widths))
    elif by_name in widths:
        delimiter = str(by_name)
    else:
        several = " or ".join(DELIMITERS[found] for found in widths)
        raise ConfigError(
            f"{shown_name(sample.path)}: its columns may be parted by {several}. Name the file .csv"
            " where it is commas, .tsv where it is tabs; or write the config by hand, with"
            " data.delimiter."
        )
    words = f"{widths[delimiter]} columns between {DELIMITERS[delimiter]}"
    if delimiter == "\t":
        return Format({"source": "tsv"}, words)
    data: dict[str, object] = {"source": "csv"}
    if delimiter != ",":
        data["delimiter"] = delimiter
    return Format(data, words)


def _width(lines: Sequence[str], delimiter: str) -> int | None:
    """How many columns there are, where it is the same number in nearly all rows."""
    if delimiter == "\t":
        rows = [line.split("\t") for line in lines]
    else:
        try:
            rows = list(csv.reader(lines, delimiter=delimiter, strict=True))
        except csv.Error:
            return None
    widths = Counter(map(len, rows))
    width, count = widths.most_common(1)[0]
    return width if width > 1 and count >= FITTING * len(rows) else None


def _text(sample: Sample, lines: Sequence[str]) -> Format:
    """Plain text, where nothing shows that it is something else."""
    blank = len(sample.lines) - len(lines)
    lengths = [len(line) for line in lines]
    is_wrapped = blank and max(lengths) < 200
    document = "file" if is_wrapped else "line"
    words = "plain text" if document == "file" else "plain text, a document a line"
    return Format({"source": "text", "document": document}, words)
