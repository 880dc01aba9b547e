"""Tab-separated values (also .gz), with or without a header; quotes are plain characters unless told otherwise."""

import functools
from typing import Literal

from pydantic import Field, field_validator

from trainer.config import DataSettings
from trainer.sources import Source
from trainer.sources._delimited import Dialect, read
from trainer.sources._files import FileSource, files_of


class Settings(DataSettings):
    """The data section for tab-separated values."""

    source: Literal["tsv"] = Field("tsv", description="tab-separated values")
    header: bool = Field(True, description="the first row names the columns")
    columns: list[str] | None = Field(None, min_length=1, description="names of the columns; null: the header's, else 0, 1, …")
    quoting: Literal["minimal", "none"] = Field(
        "none", description='none: a quote is a character; minimal: "…" protects tabs, line ends and ""')

    @field_validator("columns")
    @classmethod
    def _refuse_repeated(cls, value: list[str] | None) -> list[str] | None:
        if value is not None and len(set(value)) < len(value):
            raise ValueError("two columns have the same name")
        return value


def open(settings: Settings, split: str, spec: str) -> Source:
    """The examples of tsv files: every field is a string; see `trainer.sources.open_source`."""
    dialect = Dialect("\t", settings.quoting, settings.header, settings.columns)
    return FileSource(files_of(spec, split), functools.partial(read, dialect=dialect), {"source": settings.source, **dialect._asdict()},
                      fallback_encoding=settings.fallback_encoding)
