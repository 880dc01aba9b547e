"""Opening files and reading their bytes.

Every failure becomes one message; what is not UTF-8 is named, or read as the user says.
"""

from __future__ import annotations

import codecs
import contextlib
import functools
import gzip
import io
import pathlib
import shlex
import stat
import zlib
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, BinaryIO, TypeAlias

from trainer.errors import DataError, shown_name
from trainer.files.mirror import shown
from trainer.sources import _encodings

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

BLOCK_BYTES = 1 << 18
Position = Callable[[], int]  # bytes of the file on disk read so far
ReadAgain = Callable[[], Iterable[bytes]]  # the content of a file from its beginning, in blocks
Bytes: TypeAlias = BinaryIO | gzip.GzipFile | io.BufferedIOBase


@contextlib.contextmanager
def open_bytes(
    path: pathlib.Path, fallback_encoding: str | None = None
) -> Iterator[tuple[Bytes, Position | None]]:
    """Yields the content of a file, unzipped when its name ends in .gz.

    Args:
        path: the file.
        fallback_encoding: of a file that is not UTF-8 as a whole; its content is then yielded as
            UTF-8 all the same.
    Yields:
        The stream, and the position in the file on disk where that is not the stream's.
    Raises:
        DataError: the file cannot be opened; it is neither UTF-8 nor in the fallback encoding.
    """
    name = shown(path)
    encoding = fallback_encoding
    if encoding is not None and _is_utf8(functools.partial(_blocks, path), name, encoding):
        encoding = None
    with reading(name, 0):
        file = path.open("rb")
    with file:
        unzipped = gzip.GzipFile(fileobj=file) if path.suffix == ".gz" else None
        stream = unzipped or file
        if encoding is not None:
            yield _translated(stream, encoding, name), file.tell
        else:
            yield stream, file.tell if unzipped else None


def piped(stream: Bytes, name: str, fallback_encoding: str | None) -> Bytes:
    """What comes through a pipe, as UTF-8.

    Args:
        stream: the pipe.
        name: of it, for messages.
        fallback_encoding: where there is one all is read first, to see whether it is needed.
    """
    if fallback_encoding is None:
        return stream
    content = stream.read()
    if _is_utf8(lambda: [content], name, fallback_encoding):
        return io.BytesIO(content)
    return _translated(io.BytesIO(content), fallback_encoding, name)


def read_bytes(path: pathlib.Path, fallback_encoding: str | None = None) -> bytes:
    """The whole content of a file, as `open_bytes` yields it."""
    with open_bytes(path, fallback_encoding) as (stream, _), reading(shown(path), 0):
        return stream.read()


def refuse_irregular(path: pathlib.Path, key: str) -> None:
    """Refuses a pipe or a device before anything waits for it.

    It is read only once, or never ends.

    Args:
        path: that may be one.
        key: the setting that names it, for the message.
    Raises:
        DataError: it is one, or is not there.
    """
    with reading(shown(path), 0):
        mode = path.stat().st_mode
    if stat.S_ISREG(mode) or stat.S_ISDIR(mode):
        return
    kinds = {
        stat.S_IFIFO: "a pipe",
        stat.S_IFCHR: "a device",
        stat.S_IFBLK: "a device",
        stat.S_IFSOCK: "a socket",
    }
    kind = kinds.get(stat.S_IFMT(mode), "no file")
    raise DataError(
        f"{key}: {shown(path)} is {kind}, and data is read more than once. Write what it gives to a"
        " file, and name that."
    )


@contextlib.contextmanager
def reading(name: str, line: int) -> Iterator[None]:
    """Turns the errors of reading into a DataError that says how far it got.

    Args:
        name: of the file.
        line: the last one that was read; 0: none.
    Raises:
        DataError: the file cannot be opened, read or unzipped.
    """
    try:
        yield
    except (OSError, EOFError, zlib.error) as error:
        where = f"{name}: cannot be read"
        if line:
            where = f"{name}:{line}: cannot be read beyond this line"
        reason = getattr(error, "strerror", None) or str(error)
        remedy = "Check that it exists and that you may read it"
        if isinstance(error, EOFError | zlib.error | gzip.BadGzipFile):
            remedy = "The file is damaged, cut short or not gzip: copy it again"
        raise DataError(f"{where}: {reason.rstrip('.')}. {remedy}.") from None


def decoded(content: bytes, where: str, path: pathlib.Path | None = None) -> str:
    """The text of a whole file, without a byte-order mark.

    Args:
        content: of the file.
        where: its name, for messages.
        path: of the file; None where `content` is all that there is to judge by.
    Raises:
        DataError: it is not UTF-8.
    """
    try:
        text = content.decode("utf-8").removeprefix("\ufeff")
    except UnicodeDecodeError as error:
        raise not_utf8(where, content, error.start, path=path) from None
    if b"\0" in content[:BLOCK_BYTES]:
        refuse_utf16(where, content[:BLOCK_BYTES])
    return text


def not_utf8(
    where: str, text: bytes, start: int, text_offset: int = 0, *, path: pathlib.Path | None = None
) -> DataError:
    """The error for bytes that are not UTF-8.

    Args:
        where: file:line.
        text: the bytes around.
        start: index of the first bad byte in `text`.
        text_offset: of `text` in its file.
        path: of the file; None where `text` is all that there is to judge by.
    """
    around = text[max(0, start - 15) : start + 15]

    def blocks() -> Iterable[bytes]:
        return _blocks(path) if path else [text]

    return DataError(
        f"{where}: not UTF-8: byte 0x{text[start]:02x} at byte {text_offset + start:,} of the file,"
        f" in {around!r}. {_advice(blocks, text)}"
    )


def refuse_utf16(where: str, content: bytes) -> None:
    """Raises a DataError where every other byte is NUL."""
    if _encodings.is_interleaved(content):
        name = "UTF-16BE" if content[:1] == b"\0" else "UTF-16LE"
        raise DataError(
            f"{where}: not UTF-8: every other byte is NUL, in {content[:30]!r}. {_named(name, '')}"
        )


def _advice(blocks: ReadAgain, text: bytes) -> str:
    """What to do about bytes that are not UTF-8.

    Args:
        blocks: reads the file.
        text: the bytes around.
    """
    if text.startswith(b"\x1f\x8b"):
        return "The file looks like gzip: let its name end in .gz."
    guess = _encodings.guess(blocks)
    if guess.utf8_line:
        return (
            f"Other lines are UTF-8, such as line {guess.utf8_line:,}, so that no one encoding fits"
            " the file. Correct the lines that are not, or write the file again from its"
            " originals."
        )
    if guess.encoding is None:
        return (
            "Its encoding cannot be told from its bytes. Find it out, then set"
            " data.fallback_encoding to its name, or re-encode the file: iconv -f ENCODING -t UTF-8"
            " OLD > NEW"
        )
    text_read_so = text.removeprefix(codecs.BOM_UTF8).decode(guess.encoding, "replace")
    shown_text = shown_name(text_read_so.strip("\ufeff\r\n"), 40)
    skip = len(codecs.BOM_UTF8) if _has_mark(blocks) else 0
    return _named(guess.encoding, f" ({shown_text})", skip)


def _named(encoding: str, reading: str, skip: int = 0) -> str:
    """What to do about a file in another encoding.

    Args:
        encoding: its name.
        reading: the text read so, to be shown.
        skip: bytes at its beginning that do not belong to it.
    """
    command = f"iconv -f {encoding} -t UTF-8 OLD > NEW"
    if skip:  # a mark of UTF-8 before another encoding
        command = f"tail -c +{skip + 1} OLD | iconv -f {encoding} -t UTF-8 > NEW"
    return (
        f"It looks like {encoding}{reading}. Set data.fallback_encoding: {encoding}, or re-encode"
        f" the file: {command}"
    )


def _has_mark(blocks: ReadAgain) -> bool:
    return next(iter(blocks()), b"").startswith(codecs.BOM_UTF8)


def _blocks(path: pathlib.Path) -> Iterator[bytes]:
    """The content of a file as far as it can be read."""
    with contextlib.suppress(DataError), open_bytes(path) as (stream, _), reading(shown(path), 0):
        while block := stream.read(BLOCK_BYTES):
            yield block


def _is_utf8(blocks: ReadAgain, name: str, fallback_encoding: str) -> bool:
    """Whether a file is UTF-8 as a whole.

    Args:
        blocks: reads the file.
        name: of it, for messages.
        fallback_encoding: which it may be in instead.
    Raises:
        DataError: some of its lines are UTF-8, and others are not.
    """
    decoder = codecs.getincrementaldecoder("utf-8")()
    wide = codecs.lookup(fallback_encoding).name.startswith(("utf-16", "utf-32"))
    try:
        for block in blocks():
            decoder.decode(block)
            if wide and b"\0" in block:
                return False
        decoder.decode(b"", final=True)
        return True
    except UnicodeDecodeError:
        if wide:
            return False
    line = _encodings.first_utf8_line(blocks())
    if line:
        raise DataError(
            f"{name}:{line}: this line is UTF-8, and others are not, so that"
            f" data.fallback_encoding: {fallback_encoding} would spoil it. Write the whole file in"
            " one encoding."
        )
    return False


def _translated(stream: Bytes, encoding: str, name: str) -> io.BufferedReader:
    return io.BufferedReader(_Translated(stream, encoding, name), BLOCK_BYTES)


class _Translated(io.RawIOBase):
    """A stream in another encoding, as UTF-8."""

    def __init__(self, stream: Bytes, encoding: str, name: str) -> None:
        """Reads nothing yet.

        Args:
            stream: in that encoding.
            encoding: its name.
            name: of the file, for messages.
        """
        self._stream = stream
        self._encoding = encoding
        self._name = name
        self._decoder = codecs.getincrementaldecoder(encoding)()
        self._waiting = b""
        self._line = 1
        self._begun = False
        self._ended = False

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: WriteableBuffer) -> int:
        while not self._waiting and not self._ended:
            block = self._stream.read(BLOCK_BYTES)
            self._ended = not block
            if not self._begun:
                block = block.removeprefix(codecs.BOM_UTF8)
            self._begun = True
            self._waiting = self._translated(block)
        target = memoryview(buffer)
        count = min(len(target), len(self._waiting))
        target[:count] = self._waiting[:count]
        self._waiting = self._waiting[count:]
        return count

    def _translated(self, block: bytes) -> bytes:
        try:
            text = self._decoder.decode(block, final=not block)
        except UnicodeError as error:
            line = self._line
            reason = str(error)
            if isinstance(error, UnicodeDecodeError):
                line += error.object[: error.start].count(b"\n")
                reason = f"byte 0x{error.object[error.start]:02x} is none of it"
            raise DataError(
                f"{self._name}:{line}: neither UTF-8 nor data.fallback_encoding: {self._encoding}:"
                f" {reason}. Name the encoding of the file, or re-encode it as UTF-8."
            ) from None
        self._line += text.count("\n")
        return text.encode("utf-8", "surrogatepass")


def shell_name(path: pathlib.Path) -> str:
    """A file's name as a shell takes it, for commands in messages."""
    return shlex.quote(shown(path))
