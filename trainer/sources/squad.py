"""SQuAD's JSON (v1.1 and v2.0; also .gz).

And what is written in its shape: XQuAD, MLQA, CMRC 2018, COVID-QA, …
"""

import json
import pathlib
import re
from collections.abc import Iterator, Mapping
from typing import Literal, NamedTuple

from pydantic import Field

from trainer.errors import DataError
from trainer.files.mirror import shown
from trainer.settings.schema import DataSettings
from trainer.sources import TO_PREDICT, Example, FieldValue, Origin, Source
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
    question, context = settings.text
    return SquadSource(
        files_of(spec, split),
        Names(question, context, settings.label),
        labelled=split != TO_PREDICT,
        fallback_encoding=settings.fallback_encoding,
    )


class Names(NamedTuple):
    """The keys of a question's parts."""

    question: str
    context: str
    answers: str


class _Paragraph(NamedTuple):
    """A paragraph with its article, and where it stands, for messages."""

    article: Mapping[str, FieldValue]
    content: object
    place: str


class SquadSource:
    """A Source over SQuAD files: an example a question, numbered from 1 in each file.

    A file is held in memory while it is read.
    """

    def __init__(
        self,
        paths: list[pathlib.Path],
        names: Names,
        *,
        labelled: bool = True,
        fallback_encoding: str | None = None,
    ) -> None:
        """Reads nothing yet.

        Args:
            paths: the files, in order.
            names: the keys of a question's parts.
            labelled: whether each question must have answers.
            fallback_encoding: of files that are not UTF-8.
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
            yield from self._examples_of(path, content)
            self._read_bytes += path.stat().st_size

    def _examples_of(self, path: pathlib.Path, content: bytes) -> Iterator[Example]:
        file = shown(path)
        may_have_halves = re.search(rb"\\u[dD][89a-fA-F]", content) is not None
        number = 0
        for paragraph in _paragraphs(_parse(content, path), file):
            context = _text(paragraph.content, self._names.context, paragraph.place)
            questions = _list(paragraph.content, "qas", paragraph.place)
            for index, question in enumerate(questions):
                number += 1
                place = f"{paragraph.place}.qas[{index}]"
                features = self._features(paragraph.article, context, question, place)
                if may_have_halves:
                    refuse_half_characters(features, place)
                yield Example(features, Origin(file, number))

    def _features(
        self, article: Mapping[str, FieldValue], context: str, question: object, place: str
    ) -> dict[str, FieldValue]:
        """The fields of an example; without answers where a question is to be answered.

        Args:
            article: that the question is in.
            context: the text of its paragraph.
            question: as it is written.
            place: where it stands, for messages.
        """
        if not isinstance(question, dict):
            raise DataError(f"{place}: expected an object. Received {question!r:.60}.")
        impossible = question.get("is_impossible", False)
        if not isinstance(impossible, bool):
            raise DataError(
                f"{place}: expected true or false in 'is_impossible'. Received {impossible!r:.60}."
            )
        names = self._names
        features = {
            "id": question.get("id"),
            "title": article.get("title"),
            "is_impossible": impossible,
            names.question: _text(question, names.question, place),
            names.context: context,
        }
        if impossible:
            features[names.answers] = []
        elif names.answers in question:
            features[names.answers] = _list(question, names.answers, place, setting="data.label")
        elif self._labelled:
            raise DataError(
                f'{place}: has no {names.answers!r}. Give it "{names.answers}": [] or'
                ' "is_impossible": true where there is none; if they have another key, set'
                " data.label."
            )
        return features

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


def _parse(content: bytes, path: pathlib.Path) -> object:
    try:
        return json.loads(decoded(content, shown(path), path))
    except (ValueError, RecursionError) as error:
        raise DataError(
            f"{shown(path)}: not JSON: {error}. Expected SQuAD's shape; for an object a line set"
            " data.source: jsonl."
        ) from None


def _paragraphs(content: object, file: str) -> Iterator[_Paragraph]:
    articles = content.get("data") if isinstance(content, dict) else None
    if not isinstance(articles, list):
        raise DataError(
            f'{file}: expected {{"data": [{{"paragraphs": [{{"context": …, "qas": […]}}]}}]}}. For'
            " other JSON see data.source: jsonl."
        )
    for index, article in enumerate(articles):
        place = f"{file}: data[{index}]"
        if not isinstance(article, dict):
            raise DataError(f"{place}: expected an object. Received {article!r:.60}.")
        for number, paragraph in enumerate(_list(article, "paragraphs", place)):
            yield _Paragraph(article, paragraph, f"{place}.paragraphs[{number}]")


def _text(parent: object, key: str, place: str) -> str:
    """The text at a key that data.text may name; raises DataError where there is none."""
    text = parent.get(key) if isinstance(parent, dict) else None
    if not isinstance(text, str):
        raise DataError(
            f"{place}: expected text in {key!r}. Received {text!r:.60}."
            " If it has another key, set data.text."
        )
    return text


def _list(parent: object, key: str, place: str, *, setting: str = "") -> list[FieldValue]:
    """The list at a key that `setting` may name; raises DataError where there is none."""
    items = parent.get(key) if isinstance(parent, dict) else None
    if not isinstance(items, list):
        advice = f" If it has another key, set {setting}." if setting else ""
        raise DataError(f"{place}: expected a list in {key!r}. Received {items!r:.60}.{advice}")
    return items
