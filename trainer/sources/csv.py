"""Comma-separated values (also .gz), with or without a header, quoted or raw."""

import functools
from typing import Literal

from pydantic import Field, ValidationInfo, field_validator

from trainer.sources import Source
from trainer.sources._delimited import layout_of, read
from trainer.sources._dialect import DelimitedSettings, Dialect
from trainer.sources._files import FileSource, files_of


class Settings(DelimitedSettings):
    """The data section for comma-separated values."""

    source: Literal["csv"] = Field("csv", description="comma-separated values")
    delimiter: str = Field(
        ",", pattern=r'^[^"\r\n]$', description="one character between columns; \\t is a tab"
    )
    quoting: Literal["minimal", "none"] = Field(
        "minimal",
        description=(
            'minimal: "…" protects delimiters, line ends and ""; none: a quote is a character'
        ),
    )

    @field_validator("delimiter", mode="before")
    @classmethod
    def _unescape_tab(cls, value: object) -> object:
        return "\t" if value == "\\t" else value  # a shell passes \t on as two characters

    @field_validator("delimiter")
    @classmethod
    def _refuse_contradictions(cls, value: str, others: ValidationInfo) -> str:
        if value == others.data.get("escape"):
            raise ValueError("the same character as data.escape")
        if value == " " and others.data.get("skip_initial_space"):
            raise ValueError("a blank, which data.skip_initial_space would skip")
        return value


def open(settings: Settings, split: str, spec: str) -> Source:
    """The examples of csv files: every field is a string; see `trainer.sources.open_source`."""
    dialect = Dialect(
        settings.delimiter, settings.quoting, settings.escape, settings.skip_initial_space
    )
    layout = layout_of(settings, split)
    read_file = functools.partial(read, dialect=dialect, layout=layout)
    return FileSource(
        files_of(spec, split),
        read_file,
        {"source": settings.source, **dialect._asdict(), **layout._asdict()},
        fallback_encoding=settings.fallback_encoding,
    )
