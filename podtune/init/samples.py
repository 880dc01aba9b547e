"""The beginning of a file, as text."""

from __future__ import annotations

import codecs
import functools
import gzip
import pathlib
from collections.abc import Iterator
from typing import NamedTuple

from trainer.errors import ConfigError, shown_name
from trainer.sources import _encodings

SAMPLE_BYTES = 1 << 18
PLAIN = ("utf-8", "utf-8-sig")


class Sample(NamedTuple):
    """What a file begins with.

    Attributes:
        path: of the file.
        lines: whole ones, without their ends.
        encoding: None for UTF-8; else what data.fallback_encoding is to be.
        is_whole: whether the file has no more.
    """

    path: pathlib.Path
    lines: list[str]
    encoding: str | None
    is_whole: bool

    @property
    def text(self) -> str:
        """All of it."""
        return "\n".join(self.lines)


def read_sample(path: pathlib.Path) -> Sample:
    """Reads the first lines of a file, unpacked where its name ends in .gz.

    Raises:
        ConfigError: it cannot be read, is empty, is no text, or its encoding cannot be told.
    """
    shown = shown_name(path)
    try:
        content = next(_blocks(path), b"")
    except (OSError, EOFError) as error:
        raise ConfigError(f"{shown}: cannot be read: {error}.") from None
    is_whole = len(content) < SAMPLE_BYTES
    if not content.strip():
        raise ConfigError(f"{shown}: is empty. Expected a file of examples.")
    if not is_whole and b"\n" in content:
        content = content[: content.rindex(b"\n")]
    encoding = _encoding(path, content)
    text = content.decode(encoding or "utf-8-sig", "replace")
    if text.count("\0") > len(text) // 1000:
        raise ConfigError(f"{shown}: is no text. Expected csv, tsv, jsonl, CoNLL, SQuAD or texts.")
    return Sample(path, text.splitlines(), encoding, is_whole)


def _encoding(path: pathlib.Path, content: bytes) -> str | None:
    """None for UTF-8, else the one encoding that the file can be in."""
    decoder = codecs.getincrementaldecoder("utf-8")()
    try:
        decoder.decode(content)  # the end may be within a character
    except UnicodeDecodeError:
        pass
    else:
        return None
    found = _encodings.guess(functools.partial(_blocks, path)).encoding
    if found is None:
        raise ConfigError(
            f"{shown_name(path)}: is not UTF-8, and its encoding cannot be told. Write it in UTF-8:"
            " iconv -f ENCODING -t UTF-8 OLD > NEW."
        )
    return found.lower()


def _blocks(path: pathlib.Path) -> Iterator[bytes]:
    unpack = gzip.open if path.suffix == ".gz" else open
    with unpack(path, "rb") as stream:
        while block := stream.read(SAMPLE_BYTES):
            yield block
