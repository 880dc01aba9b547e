"""SQuAD's JSON (v1.1 and v2.0; also .gz), and what is written in its shape: XQuAD, MLQA, CMRC 2018,
COVID-QA, …
"""

import json
import pathlib
import re
from collections.abc import Iterator
from typing import Any, Literal

from pydantic import Field

from trainer.errors import DataError
from trainer.files.mirror import shown
from trainer.settings.schema import DataSettings
from trainer.sources import TO_PREDICT, Example, Origin, Source
from trainer.sources._files import files_of, fingerprint, relative_names
from trainer.sources._json_lines import refuse_half_characters
from trainer.sources._reading import decoded, read_bytes


class Settings(DataSettings):
    """The data section for SQuAD's JSON."""

    source: Literal["squad"] = Field("squad", description="SQuAD's JSON, v1.1 or v2.0")
    text: list[str] = Field(
        ["question", "context"],
        min_length=2,
        max_length=2,
        description="two keys: of the question, and of the context",
    )
    label: str = Field("answers", description="key of the answers")


def open(settings: Settings, split: str, spec: str) -> Source:
    """The questions of SQuAD files; see `trainer.sources.open_source`."""
    return SquadSource(
        files_of(spec, split),
        (*settings.text, settings.label),
        labelled=split != TO_PREDICT,
        fallback_encoding=settings.fallback_encoding,
    )


class SquadSource:
    """A Source over SQuAD files: an example a question, numbered from 1 in each file.

    A file is held in memory while it is read.
    """

    def __init__(
        self,
        paths: list[pathlib.Path],
        names: tuple[str, str, str],
        *,
        labelled: bool = True,
        fallback_encoding: str | None = None,
    ):
        """`names`: the keys of question, context and answers; `labelled`: whether each question
        must have answers.
        """
        self._paths = paths
        self._names = names
        self._labelled = labelled
        self._fallback_encoding = fallback_encoding
        self._read_bytes = 0

    def examples(self) -> Iterator[Example]:
        """One a question, with its `id`; see `Source`.

        Raises:
            DataError: a file is not JSON, or not of SQuAD's shape; names the article, paragraph and
                question.
        """
        self._read_bytes = 0
        for path in self._paths:
            content = read_bytes(path, self._fallback_encoding)
            yield from self._questions(
                _parse(content, path),
                shown(path),
                halves=re.search(rb"\\u[dD][89a-fA-F]", content) is not None,
            )
            self._read_bytes += path.stat().st_size

    def _questions(self, content: Any, name: str, *, halves: bool) -> Iterator[Example]:
        """`halves`: whether there may be halves of surrogate pairs."""
        number, names = 0, self._names
        for article, paragraph, place in _paragraphs(content, name):
            context = _field(paragraph, names[1], str, place, "data.text")
            for index, question in enumerate(_field(paragraph, "qas", list, place)):
                number += 1
                where = f"{place}.qas[{index}]"
                if not isinstance(question, dict):
                    raise DataError(f"{where}: expected an object. Received {question!r:.60}.")
                impossible = question.get("is_impossible", False)
                if not isinstance(impossible, bool):
                    raise DataError(
                        f"{where}: expected true or false in 'is_impossible'. Received"
                        f" {impossible!r:.60}."
                    )
                features = {
                    "id": question.get("id"),
                    "title": article.get("title"),
                    "is_impossible": impossible,
                }
                values = [_field(question, names[0], str, where, "data.text"), context]
                # a file of questions to answer has none, which is not to say that there is none
                if impossible or names[2] in question:
                    values.append(
                        [] if impossible else _field(question, names[2], list, where, "data.label")
                    )
                elif self._labelled:
                    raise DataError(
                        f'{where}: has no {names[2]!r}. Give it "{names[2]}": [] or'
                        ' "is_impossible": true where there is none; if they have another key, set'
                        " data.label."
                    )
                features |= dict(zip(names, values, strict=False))
                if halves:
                    refuse_half_characters(features, where)
                yield Example(features, Origin(name, number))

    def fingerprint(self) -> str:
        """Of contents, relative names and settings; see `Source`."""
        settings = {
            "source": "squad",
            "names": self._names,
            "fallback_encoding": self._fallback_encoding,
        }
        return fingerprint(zip(relative_names(self._paths), self._paths, strict=True), settings)

    def label_names(self) -> None:
        """Questions have no labels."""

    def size(self) -> int:
        """Bytes on disk."""
        return sum(path.stat().st_size for path in self._paths)

    def progress(self) -> int:
        """Bytes of the files that are done."""
        return self._read_bytes


def _parse(content: bytes, path: pathlib.Path) -> Any:
    try:
        return json.loads(decoded(content, shown(path), path))
    except (ValueError, RecursionError) as error:
        raise DataError(
            f"{shown(path)}: not JSON: {error}. Expected SQuAD's shape; for an object a line set"
            " data.source: jsonl."
        ) from None


def _paragraphs(content: Any, name: str) -> Iterator[tuple[dict, dict, str]]:
    articles = content.get("data") if isinstance(content, dict) else None
    if not isinstance(articles, list):
        raise DataError(
            f'{name}: expected {{"data": [{{"paragraphs": [{{"context": …, "qas": […]}}]}}]}}. For'
            " other JSON see data.source: jsonl."
        )
    for index, article in enumerate(articles):
        place = f"{name}: data[{index}]"
        if not isinstance(article, dict):
            raise DataError(f"{place}: expected an object. Received {article!r:.60}.")
        for number, paragraph in enumerate(_field(article, "paragraphs", list, place)):
            yield article, paragraph, f"{place}.paragraphs[{number}]"


def _field(value: Any, key: str, kind: type, where: str, setting: str = "") -> Any:
    found = value.get(key) if isinstance(value, dict) else None
    if not isinstance(found, kind):
        advice = f" If it has another key, set {setting}." if setting else ""
        raise DataError(
            f"{where}: expected {'text' if kind is str else 'a list'} in {key!r}. Received"
            f" {found!r:.60}.{advice}"
        )
    return found
