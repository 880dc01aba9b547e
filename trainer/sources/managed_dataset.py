"""Vertex AI's managed datasets of text, as a training job gets them: JSON lines with textContent or
textGcsUri, and annotations.

Source: https://cloud.google.com/vertex-ai/docs/training/using-managed-datasets.
"""

import hashlib
import itertools
import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Literal

from pydantic import Field

from trainer.errors import ConfigError, DataError
from trainer.files.mirror import SCHEME
from trainer.files.storage import expand
from trainer.settings.schema import DataSettings
from trainer.sources import Example, Origin, Source, fields_shown
from trainer.sources._files import FileSource, files_of
from trainer.sources._json_lines import read as read_json
from trainer.sources._lines import Lines
from trainer.sources._reading import decoded, read_bytes, refuse_irregular

SEGMENT = {"start": "startOffset", "end": "endOffset", "label": "displayName"}
TEXTS_AT_ONCE = 64  # objects of Cloud Storage, fetched together


class Settings(DataSettings):
    """The data section for managed datasets; in a job, AIP_TRAINING_DATA_URI and so on give train,
    validation and test.
    """

    source: Literal["managed_dataset"] = Field(
        "managed_dataset", description="the JSON lines that Vertex AI exports a dataset of text as"
    )


def open(settings: Settings, split: str, spec: str) -> Source:
    """The examples of a managed dataset: data.text is the text, data.label its label, labels, spans
    or sentiment.

    Raises:
        ConfigError: as `trainer.sources.open_source` does; two text fields.
    """
    text = [settings.text] if isinstance(settings.text, str) else settings.text
    if len(text) > 1:
        raise ConfigError(
            f"data.text: source: managed_dataset has one text an example, got two fields: {text}."
        )
    return ManagedDatasetSource(
        files_of(spec, split), text[0], settings.label, settings.fallback_encoding
    )


class ManagedDatasetSource(FileSource):
    """A Source over the files of an exported dataset; texts that stand in files of their own are
    fetched.
    """

    def __init__(
        self, paths: list[Any], text: str, label: str, fallback_encoding: str | None = None
    ) -> None:
        """`text` and `label` are the names of the features."""
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
        found = read_json(lines)
        with ThreadPoolExecutor(8) as pool:
            while some := list(itertools.islice(found, TEXTS_AT_ONCE)):
                for example, text in zip(some, pool.map(self._text_of, some), strict=True):
                    yield example._replace(
                        features={self._text: text, self._label: _label(example)}
                    )

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
    text, uri = (example.features.get(name) for name in ("textContent", "textGcsUri"))
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


def _label(example: Example) -> Any:
    """A label's name, several, spans, or a number; None where there is no annotation."""
    features, origin = example.features, example.origin
    for name in features:
        # an object, which reading has flattened
        if name.startswith(("textSegmentAnnotations.", "classificationAnnotations.")):
            raise DataError(
                f"{origin}: expected {name.partition('.')[0]} to be a list. Received an object with"
                f" {name.partition('.')[2]}."
            )
    if (segments := features.get("textSegmentAnnotations")) is not None:
        return [
            _span(segment, origin) for segment in _list(segments, "textSegmentAnnotations", origin)
        ]
    if (several := features.get("classificationAnnotations")) is not None:
        return [
            _named(annotation, "displayName", origin)
            for annotation in _list(several, "classificationAnnotations", origin)
        ]
    if (sentiment := features.get("sentimentAnnotation.sentiment")) is not None:
        return sentiment
    return features.get("classificationAnnotation.displayName")


def _list(value: Any, name: str, origin: Origin) -> list[Any]:
    if not isinstance(value, list):
        raise DataError(f"{origin}: expected {name} to be a list. Received {value!r:.80}.")
    return value


def _span(segment: Any, origin: Origin) -> dict[str, Any]:
    # Their JSON leaves a zero out, and writes 64-bit integers as text.
    found = {
        name: _named(segment, key, origin, default=None if name == "label" else 0)
        for name, key in SEGMENT.items()
    }
    return {
        name: int(value) if name != "label" and str(value).isdigit() else value
        for name, value in found.items()
    }


def _named(annotation: Any, name: str, origin: Origin, default: Any = None) -> Any:
    value = annotation.get(name, default) if isinstance(annotation, dict) else None
    if value is None:
        raise DataError(
            f"{origin}: expected an annotation with {name}. Received {annotation!r:.80}."
        )
    return value
