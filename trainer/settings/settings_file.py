"""Reads the small text files that people write settings into. Anything else is refused at once."""

from __future__ import annotations

import os
import pathlib
import re
import stat

from trainer.errors import ConfigError, shown_name, shown_value
from trainer.files.mirror import shown

LARGEST_BYTES = 500_000
BYTE_ORDER_MARKS = {b"\xff\xfe": "UTF-16", b"\xfe\xff": "UTF-16"}
HIGH_BYTES = re.compile(rb"[\x80-\xff]+")
# Of the runs of high bytes that must be pairs, as ideographs and their punctuation mostly are.
PLAUSIBLE_SHARE = 0.9
LOOKED_AT = 40  # bytes of the beginning
NULS_OF_UTF16 = 5  # of every other byte there
LINE_LENGTH = 60  # characters of a line in a message
PATH_LENGTH = 300  # characters of a path in a message


def read_settings(file: pathlib.Path, *, key: str) -> str:
    """The text of a file that a person wrote, without its byte order mark.

    Args:
        key: the flag that names it, for messages.
    Raises:
        ConfigError: it is missing, no regular file, too large, or not UTF-8.
    """
    where = f"{key}={shown_path(file)}"
    try:
        if not stat.S_ISREG(os.stat(file).st_mode):
            raise ConfigError(
                f"{where}: cannot be read: it is {_kind(file)}. Expected a file of text."
            )
        with open(file, "rb") as opened:
            content = opened.read(LARGEST_BYTES + 1)
            size = os.fstat(opened.fileno()).st_size
    except (OSError, ValueError) as error:  # a ValueError: the name has a NUL or a lone surrogate
        reason = error.strerror if isinstance(error, OSError) and error.strerror else error
        raise ConfigError(f"{where}: cannot be read: {reason}.") from None
    if len(content) > LARGEST_BYTES:
        raise ConfigError(
            f"{where}: has {max(size, len(content)):,} bytes, and at most {LARGEST_BYTES:,} are"
            " read: a file of settings is small. Is it data? Its path belongs in data.train."
        )
    return _decoded(content, file)


def shown_path(file: str | os.PathLike[str]) -> str:
    """A path for messages and for comments: a URL where it stands for one, on one line."""
    return shown_name(shown(file), PATH_LENGTH)


def _kind(file: pathlib.Path) -> str:
    mode = os.stat(file).st_mode
    if stat.S_ISDIR(mode):
        return "a folder"
    if stat.S_ISFIFO(mode):
        return "a pipe"
    if stat.S_ISSOCK(mode):
        return "a socket"
    return "a device"


def _decoded(content: bytes, file: pathlib.Path) -> str:
    for mark, encoding in BYTE_ORDER_MARKS.items():
        if content.startswith(mark):
            raise ConfigError(
                f"{shown_path(file)}: its encoding is {encoding}, and UTF-8 is read. "
                f"{_conversion(encoding, file)}"
            )
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ConfigError(_not_utf8(content, error.start, file)) from None
    if "\0" in text:
        wide = _encoding_with_nuls(content)
        remedy = _conversion(wide, file) if wide else "Is it a text file?"
        line = text.count("\n", 0, text.index("\0")) + 1
        raise ConfigError(
            f"{shown_path(file)}:{line}: has NUL characters, which no text has. {remedy}"
        )
    return text


def _encoding_with_nuls(content: bytes) -> str | None:
    """UTF-16, where every other byte of the beginning is NUL as in ASCII written so."""
    for encoding, first in (("UTF-16LE", 1), ("UTF-16BE", 0)):
        if content[first:LOOKED_AT:2].count(0) >= NULS_OF_UTF16:
            return encoding
    return None


def _not_utf8(content: bytes, start: int, file: pathlib.Path) -> str:
    """Names the byte, and shows the line as the likeliest encoding reads it, to be judged."""
    number = content.count(b"\n", 0, start) + 1
    lines = content.splitlines()
    line = lines[number - 1] if number <= len(lines) else b""
    where = f"{shown_path(file)}:{number}: not UTF-8 (byte 0x{content[start]:02x})"
    text = content.decode("utf-8", "replace")
    damaged = text.count("\ufffd")
    beyond_ascii = sum(ch > "\x7f" for ch in text)
    if beyond_ascii >= 2 * damaged > 0:  # a conversion would lose what is right
        shown_line = _shown_line(line, "utf-8")
        return f"{where}, though the rest of the file is: {shown_line}. Correct that character."
    encoding = _guess(content)
    return (
        f"{where}. Read as {encoding} the line is "
        f"{_shown_line(line, encoding)}. If that is right: {_conversion(encoding, file)}"
    )


def _shown_line(line: bytes, encoding: str) -> str:
    text = line.decode(encoding, "replace")
    return shown_value(text.strip(), LINE_LENGTH)


def _guess(content: bytes) -> str:
    """GB18030 where high bytes come in pairs as in Chinese, not one among letters as in Müller."""
    runs = HIGH_BYTES.findall(content)
    pairs = sum(len(run) % 2 == 0 for run in runs)
    if pairs >= PLAUSIBLE_SHARE * len(runs) and _decodes(content, "gb18030"):
        return "GB18030"
    return "WINDOWS-1252"


def _decodes(content: bytes, encoding: str) -> bool:
    try:
        content.decode(encoding)
    except UnicodeDecodeError:
        return False
    return True


def _conversion(encoding: str, file: pathlib.Path) -> str:
    name = shown_path(file)
    ending = shown_name(file.suffix.lstrip(".") or "yaml", 20)
    return f"iconv -f {encoding} -t UTF-8 {name} > utf8.{ending}"
