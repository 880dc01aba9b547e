"""Comma-separated values (also .gz), with or without a header, quoted or raw."""

import functools
from typing import Any, Literal

from pydantic import Field, field_validator

from trainer.config import DataSettings
from trainer.sources import Source
from trainer.sources._delimited import Dialect, read
from trainer.sources._files import FileSource, files_of


class Settings(DataSettings):
    """The data section for comma-separated values."""

    source: Literal["csv"] = Field("csv", description="comma-separated values")
    header: bool = Field(True, description="the first row names the columns")
    columns: list[str] | None = Field(None, min_length=1, description="names of the columns; null: the header's, else 0, 1, …")
    delimiter: str = Field(",", pattern=r'^[^"\r\n]$', description="one character between columns; \\t is a tab")
    quoting: Literal["minimal", "none"] = Field(
        "minimal", description='minimal: "…" protects delimiters, line ends and ""; none: a quote is a character')

    @field_validator("delimiter", mode="before")
    @classmethod
    def _unescape_tab(cls, value: Any) -> Any:
        return "\t" if value == "\\t" else value  # a shell passes \t on as two characters

    @field_validator("columns")
    @classmethod
    def _refuse_repeated(cls, value: list[str] | None) -> list[str] | None:
        if value is not None and len(set(value)) < len(value):
            raise ValueError("two columns have the same name")
        return value


def open(settings: Settings, split: str, spec: str) -> Source:
    """The examples of csv files: every field is a string; see `trainer.sources.open_source`."""
    dialect = Dialect(settings.delimiter, settings.quoting, settings.header, settings.columns)
    return FileSource(files_of(spec, split), functools.partial(read, dialect=dialect), {"source": settings.source, **dialect._asdict()},
                      fallback_encoding=settings.fallback_encoding)
