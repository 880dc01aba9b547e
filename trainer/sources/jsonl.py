"""JSON lines (also .gz): one object a line, or one array of them.

Dotted field names reach into nested objects.
"""

import functools
from typing import Literal

from pydantic import Field

from trainer.settings.schema import DataSettings
from trainer.sources import Source, text_fields
from trainer.sources._files import FileSource, files_of
from trainer.sources._json_lines import read


class Settings(DataSettings):
    """The data section for JSON lines."""

    source: Literal["jsonl"] = Field(
        "jsonl", description="one JSON object a line, or one array of objects"
    )


def open(settings: Settings, split: str, spec: str) -> Source:
    """The examples of JSON lines files; see `trainer.sources.open_source`."""
    names = (*text_fields(settings), *settings.label_fields)
    return FileSource(
        files_of(spec, split),
        functools.partial(read, names=names),
        {"source": settings.source},
        fallback_encoding=settings.fallback_encoding,
    )
