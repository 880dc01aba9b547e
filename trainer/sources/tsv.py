"""Tab-separated values (also .gz), with or without a header.

Quotes are plain characters, unless the file shows that they protect.
"""

import functools
from typing import Literal

from pydantic import Field

from trainer.sources import Source
from trainer.sources._delimited import layout_of, read
from trainer.sources._dialect import DelimitedSettings, Dialect
from trainer.sources._files import FileSource, files_of


class Settings(DelimitedSettings):
    """The data section for tab-separated values."""

    source: Literal["tsv"] = Field("tsv", description="tab-separated values")
    quoting: Literal["auto", "minimal", "none"] = Field(
        "auto",
        description=(
            'none: a quote is a character; minimal: "…" protects tabs, line ends and ""; auto:'
            " none, unless the file shows the other"
        ),
    )


def open(settings: Settings, split: str, spec: str) -> Source:
    """The examples of tsv files: every field is a string; see `trainer.sources.open_source`."""
    dialect = Dialect("\t", settings.quoting, settings.escape, settings.skip_initial_space)
    layout = layout_of(settings, split)
    read_file = functools.partial(read, dialect=dialect, layout=layout)
    return FileSource(
        files_of(spec, split),
        read_file,
        {"source": settings.source, **dialect._asdict(), **layout._asdict()},
        fallback_encoding=settings.fallback_encoding,
    )
