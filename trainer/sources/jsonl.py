"""JSON lines (also .gz): one object a line, or one array of them; dotted field names reach into
nested objects.
"""

import functools
from typing import Literal

from pydantic import Field

from trainer.settings.schema import DataSettings
from trainer.sources import Source
from trainer.sources._files import FileSource, files_of
from trainer.sources._json_lines import read


class Settings(DataSettings):
    """The data section for JSON lines."""

    source: Literal["jsonl"] = Field(
        "jsonl", description="one JSON object a line, or one array of objects"
    )


def open(settings: Settings, split: str, spec: str) -> Source:
    """The examples of JSON lines files; see `trainer.sources.open_source`."""
    text = [settings.text] if isinstance(settings.text, str) else settings.text
    reader = functools.partial(read, names=(*text, *settings.label_fields))
    return FileSource(
        files_of(spec, split),
        reader,
        {"source": settings.source},
        fallback_encoding=settings.fallback_encoding,
    )
