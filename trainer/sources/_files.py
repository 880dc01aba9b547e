"""Reading the files of a split: physical lines with their numbers, decoding, fingerprints, progress. Shared by the formats."""

import contextlib
import gzip
import hashlib
import json
import os
import pathlib
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import IO, Any

from trainer.errors import ConfigError, DataError
from trainer.gcs import RemoteObject
from trainer.mirror import shown
from trainer.sources import Example, Origin, setting_of
from trainer.storage import expand

BLOCK_BYTES = 1 << 18
BYTE_ORDER_MARK = b"\xef\xbb\xbf"


class Lines:
    r"""The physical lines of a byte stream, decoded, each with its line end: \n, \r\n or \r, and nothing else.

    (`str.splitlines` and files in text mode would also split, or rewrite, at other characters.)

    Attributes:
        name: of the file, for messages.
        number: of the line last yielded, from 1.
        position: bytes of the stream consumed so far.
    """

    def __init__(self, stream: IO[bytes], name: str):
        self.name = name
        self.number = 0
        self.position = 0
        self._stream = stream

    def __iter__(self) -> Iterator[str]:
        """Raises DataError at the first byte that is not UTF-8."""
        for line in self._raw_lines():
            self.number += 1
            start = self.position
            self.position += len(line)
            if start == 0:
                line = line.removeprefix(BYTE_ORDER_MARK)
            try:
                yield line.decode("utf-8")
            except UnicodeDecodeError as error:
                marked = BYTE_ORDER_MARK if self.position - start > len(line) else b""
                raise not_utf8(str(self.origin), marked + line, len(marked) + error.start, start) from None

    @property
    def origin(self) -> Origin:
        """The line last yielded."""
        return Origin(self.name, self.number)

    def _raw_lines(self) -> Iterator[bytes]:
        pending: list[bytes] = []  # the beginning of a line longer than a block
        for block in self._blocks():
            lines = block.splitlines(keepends=True)  # of bytes: splits at \n, \r\n and \r only
            ended = lines[-1].endswith((b"\n", b"\r"))
            if len(lines) > 1 or ended:
                lines[0] = b"".join([*pending, lines[0]])
                pending = []
            if not ended:
                pending.append(lines.pop())
            yield from lines
        if pending:
            yield b"".join(pending)

    def _blocks(self) -> Iterator[bytes]:
        held = b""  # a final \r, which may be the first half of \r\n
        while True:
            with reading(self.name, self.number):
                read = getattr(self._stream, "read1", self._stream.read)(BLOCK_BYTES)  # read1: does not wait for a full block
            block = held + read
            held = b"\r" if read and block.endswith(b"\r") else b""
            block = block[:len(block) - len(held)]
            if block:
                yield block
            if not read:
                return


class FileSource:
    """A Source over files that are read one after the other, line by line.

    Args:
        paths: the files, in order.
        read: the format: turns the lines of a file into examples.
        settings: what else the examples depend on.
    """

    def __init__(self, paths: list[pathlib.Path], read: Callable[[Lines], Iterator[Example]], settings: Mapping[str, Any]):
        self._paths = paths
        self._read = read
        self._settings = settings
        self._finished = 0  # bytes
        self._position: Callable[[], int] = lambda: 0

    def examples(self) -> Iterator[Example]:
        """The examples of all files; see `Source`."""
        self._finished = 0
        for path in self._paths:
            with open_bytes(path) as (stream, position):
                lines = Lines(stream, shown(path))
                self._position = position or (lambda lines=lines: lines.position)
                yield from self._read(lines)
            self._position = lambda: 0
            self._finished += path.stat().st_size

    def fingerprint(self) -> str:
        """Of contents, relative names and settings; see `Source`."""
        return fingerprint(zip(relative_names(self._paths), self._paths, strict=True), self._settings)

    def label_names(self) -> None:
        """Lines of text declare no labels."""

    def size(self) -> int:
        """Bytes on disk."""
        return sum(path.stat().st_size for path in self._paths)

    def progress(self) -> int:
        """Bytes on disk read so far; exact to the line in files that are not compressed."""
        return self._finished + self._position()


def files_of(spec: str, split: str) -> list[pathlib.Path]:
    """The files that a path or glob names.

    Raises:
        ConfigError: there are none.
    """
    key = setting_of(split)
    found = expand(spec, key=key)
    files = [path for path in found if not path.is_dir()]
    if files:
        return files
    raise ConfigError(f"{key}: expected files, {spec!r} names folders only: {shown(found[0])}. Name the files in it: {spec.rstrip('/')}/*"
                      " (or data.source: folders, where each folder is a class)")


@contextlib.contextmanager
def open_bytes(path: pathlib.Path) -> Iterator[tuple[IO[bytes], Callable[[], int] | None]]:
    """Yields the content of a file, unzipped when its name ends in .gz; then also the position in the compressed file.

    Raises:
        DataError: the file cannot be opened.
    """
    with reading(shown(path), 0):
        file = path.open("rb")
    with file:
        if path.suffix == ".gz":
            yield gzip.GzipFile(fileobj=file), file.tell
        else:
            yield file, None


@contextlib.contextmanager
def reading(name: str, line: int) -> Iterator[None]:
    """Turns the errors of reading into a DataError that says how far it got.

    Raises:
        DataError: the file cannot be opened, read or unzipped.
    """
    try:
        yield
    except (OSError, EOFError, zlib.error) as error:
        where = f"{name}:{line}: cannot be read beyond this line" if line else f"{name}: cannot be read"
        reason = getattr(error, "strerror", None) or str(error)
        damaged = isinstance(error, EOFError | zlib.error | gzip.BadGzipFile)
        remedy = "The file is damaged, cut short or not gzip: copy it again" if damaged else "Check that it exists and that you may read it"
        raise DataError(f"{where}: {reason.rstrip('.')}. {remedy}.") from None


def not_utf8(where: str, text: bytes, start: int, text_offset: int = 0, *, or_else: str = "") -> DataError:
    """The error for bytes that are not UTF-8.

    Args:
        where: file:line.
        text: the bytes around.
        start: index of the first bad byte in `text`.
        text_offset: of `text` in its file.
        or_else: another remedy; {guess} stands for the likely encoding.
    """
    around = text[max(0, start - 15):start + 15]
    guess = _guess_encoding(text)
    if guess == "gzip":
        advice = "The file looks like gzip: let its name end in .gz."
    else:
        advice = f"It looks like {guess}. Re-encode the file: iconv -f {guess} -t UTF-8 OLD > NEW{or_else.format(guess=guess)}"
    return DataError(f"{where}: not UTF-8: byte 0x{text[start]:02x} at byte {text_offset + start:,} of the file, in {around!r}. {advice}")


def _guess_encoding(text: bytes) -> str:
    marks = {b"\x1f\x8b": "gzip", b"\xff\xfe": "UTF-16LE", b"\xfe\xff": "UTF-16BE"}
    for mark, name in marks.items():
        if text.startswith(mark):
            return name
    high = sum(byte >= 0x80 for byte in text)
    with contextlib.suppress(UnicodeDecodeError):
        # Western text has single high bytes between ASCII letters; Chinese text is pairs of them, decoded to ideographs.
        decoded = text.decode("gb18030")
        if sum("\u3000" <= char <= "\u9fff" or "\uff00" <= char <= "\uffef" for char in decoded) > 0.4 * high:
            return "GB18030"
    return "WINDOWS-1252"


def relative_names(paths: list[pathlib.Path]) -> list[str]:
    """The paths relative to the deepest folder that holds them all: what stays when the data moves."""
    if not paths:
        return []
    folder = os.path.commonpath([os.path.abspath(path.parent) for path in paths])
    return [os.path.relpath(os.path.abspath(path), folder) for path in paths]


def fingerprint(files: Iterable[tuple[str, pathlib.Path | RemoteObject]], settings: Mapping[str, Any]) -> str:
    """Hash of named contents, in order, and of settings. Of what stays in Cloud Storage, its checksum there stands for the content.

    Raises:
        DataError: a file cannot be read.
    """
    digest = hashlib.blake2b(json.dumps(settings, sort_keys=True).encode(), digest_size=16)
    for name, path in files:
        if isinstance(path, RemoteObject):
            digest.update(json.dumps([name, path.crc32c, path.size]).encode())
            continue
        content = hashlib.blake2b()
        with reading(shown(path), 0), path.open("rb", buffering=0) as file:
            while block := file.read(BLOCK_BYTES):
                content.update(block)
        digest.update(json.dumps([name, content.hexdigest()]).encode())
    return digest.hexdigest()
