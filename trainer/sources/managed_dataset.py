"""Vertex AI's managed datasets of text, as a training job gets them.

JSON lines with textContent or textGcsUri, and annotations.

Source: https://cloud.google.com/vertex-ai/docs/training/using-managed-datasets.
"""

import hashlib
import itertools
import json
import pathlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Literal

from pydantic import Field

from trainer.errors import ConfigError, DataError
from trainer.files.mirror import SCHEME
from trainer.files.storage import expand
from trainer.settings.schema import DataSettings
from trainer.sources import Example, FieldValue, Origin, Source, fields_shown, text_fields
from trainer.sources._files import FileSource, files_of
from trainer.sources._json_lines import read as read_json
from trainer.sources._lines import Lines
from trainer.sources._reading import decoded, read_bytes, refuse_irregular

TEXTS_AT_ONCE = 64  # objects of Cloud Storage, fetched together


class Settings(DataSettings):
    """The data section for managed datasets.

    In a job, AIP_TRAINING_DATA_URI and so on give train, validation and test.
    """

    source: Literal["managed_dataset"] = Field(
        "managed_dataset", description="the JSON lines that Vertex AI exports a dataset of text as"
    )


def open(settings: Settings, split: str, spec: str) -> Source:
    """The examples of a managed dataset.

    data.text is the text, data.label its label, labels, spans or sentiment.

    Raises:
        ConfigError: as `trainer.sources.open_source` does; two text fields.
    """
    texts = text_fields(settings)
    if len(texts) > 1:
        raise ConfigError(
            f"data.text: source: managed_dataset has one text an example, got two fields: {texts}."
        )
    return ManagedDatasetSource(
        files_of(spec, split), texts[0], settings.label_fields[0], settings.fallback_encoding
    )


class ManagedDatasetSource(FileSource):
    """A Source over the files of an exported dataset.

    Texts that stand in files of their own are fetched.
    """

    def __init__(
        self,
        paths: list[pathlib.Path],
        text: str,
        label: str,
        fallback_encoding: str | None = None,
    ) -> None:
        """Reads nothing yet.

        Args:
            paths: the files, in order.
            text, label: the names of the features.
            fallback_encoding: of files that are not UTF-8.
        """
        super().__init__(
            paths,
            self._read,
            {"source": "managed_dataset", "text": text, "label": label},
            fallback_encoding=fallback_encoding,
        )
        self._text = text
        self._label = label

    def fingerprint(self) -> str:
        """Of the examples, as their texts may stand in other files; see `Source`."""
        digest = hashlib.blake2b(super().fingerprint().encode(), digest_size=16)
        for example in self.examples():
            digest.update(json.dumps(example.features).encode())
        return digest.hexdigest()

    def _read(self, lines: Lines) -> Iterator[Example]:
        # Examples are small beside their texts: a few are read ahead, so that the texts are fetched
        # together.
        exported = read_json(lines)
        with ThreadPoolExecutor(8) as pool:
            while examples := list(itertools.islice(exported, TEXTS_AT_ONCE)):
                texts = pool.map(self._text_of, examples)
                for example, text in zip(examples, texts, strict=True):
                    features = {self._text: text, self._label: _label(example)}
                    yield example._replace(features=features)

    def _text_of(self, example: Example) -> str:
        text, uri = _inline_or_named(example)
        if text is not None:
            return text
        try:
            path = expand(uri, key="textGcsUri")[0]
            refuse_irregular(path, "textGcsUri")
        except (ConfigError, DataError) as error:
            raise DataError(f"{example.origin}: {error}") from None
        return decoded(read_bytes(path, self._fallback_encoding), uri, path)


def _inline_or_named(example: Example) -> tuple[str | None, str]:
    """The text that stands there, or where it stands."""
    text = example.features.get("textContent")
    uri = example.features.get("textGcsUri")
    if isinstance(text, str):
        return text, ""
    if not isinstance(uri, str):
        names = fields_shown(list(example.features))
        raise DataError(
            f"{example.origin}: expected textContent or textGcsUri, as a managed dataset of text"
            f" has. Fields there: {names}. For JSON lines of your own set data.source: jsonl."
        )
    if example.origin.file.startswith(SCHEME) and not uri.startswith(SCHEME):
        raise DataError(f"{example.origin}: expected textGcsUri to be gs://… Received {uri!r}.")
    return None, uri


def _label(example: Example) -> FieldValue:
    """A label's name, several, spans, or a number; None where there is no annotation."""
    features, origin = example.features, example.origin
    for name in features:
        # an object, which reading has flattened
        if name.startswith(("textSegmentAnnotations.", "classificationAnnotations.")):
            annotations, _, inner = name.partition(".")
            raise DataError(
                f"{origin}: expected {annotations} to be a list. Received an object with {inner}."
            )
    segments = features.get("textSegmentAnnotations")
    if segments is not None:
        listed = _list(segments, "textSegmentAnnotations", origin)
        return [_span(segment, origin) for segment in listed]
    several = features.get("classificationAnnotations")
    if several is not None:
        listed = _list(several, "classificationAnnotations", origin)
        return [_required(annotation, "displayName", origin) for annotation in listed]
    sentiment = features.get("sentimentAnnotation.sentiment")
    if sentiment is not None:
        return sentiment
    return features.get("classificationAnnotation.displayName")


def _list(annotations: FieldValue, name: str, origin: Origin) -> list[FieldValue]:
    if not isinstance(annotations, list):
        raise DataError(f"{origin}: expected {name} to be a list. Received {annotations!r:.80}.")
    return annotations


def _span(segment: FieldValue, origin: Origin) -> dict[str, FieldValue]:
    # Their JSON leaves a zero out.
    return {
        "start": _whole_number(_required(segment, "startOffset", origin, default=0)),
        "end": _whole_number(_required(segment, "endOffset", origin, default=0)),
        "label": _required(segment, "displayName", origin),
    }


def _whole_number(offset: FieldValue) -> FieldValue:
    """Their JSON writes 64-bit integers as text; what is no such text stays as it is."""
    return int(offset) if str(offset).isdigit() else offset


def _required(
    annotation: FieldValue, name: str, origin: Origin, default: int | None = None
) -> FieldValue:
    """The value of a key of an annotation.

    Args:
        annotation: an object, as it should be.
        name: the key.
        origin: of the example, for the message.
        default: where the key is missing; None: it must be there.
    Raises:
        DataError: it is not there, or null.
    """
    value = annotation.get(name, default) if isinstance(annotation, dict) else None
    if value is None:
        raise DataError(
            f"{origin}: expected an annotation with {name}. Received {annotation!r:.80}."
        )
    return value
