"""The physical lines of a byte stream, decoded and numbered."""

import contextlib
import io
import itertools
import pathlib
from collections.abc import Iterable, Iterator

from trainer.sources import Origin
from trainer.sources._reading import (
    BLOCK_BYTES,
    Bytes,
    not_utf8,
    open_bytes,
    reading,
    refuse_utf16,
)

BYTE_ORDER_MARK = b"\xef\xbb\xbf"


class Lines:
    r"""The lines of a stream, each with its line end: \n or \r\n; in a stream without any \n, \r.

    A lone \r in a file whose lines end in \n is a character of its line: otherwise `wc -l`, editors
    and line-aligned files would count other lines than we do. (`str.splitlines` and files in text
    mode would split at still others.)

    One line that is not UTF-8 ends only this iteration: the next one begins with the line after it.

    Args:
        stream: the bytes.
        name: of the file, for messages.
        path: of the file, if it is one: what its encoding may be is seen from the whole of it.
        fallback_encoding: in which `stream` was opened.

    Attributes:
        number: of the line last yielded, from 1.
        position: bytes of the stream consumed so far.
    """

    def __init__(
        self,
        stream: Bytes,
        name: str,
        path: pathlib.Path | None = None,
        fallback_encoding: str | None = None,
    ) -> None:
        self.name = name
        self.number = 0
        self.position = 0
        self.path = path
        self._fallback_encoding = fallback_encoding
        self._stream = stream
        self._raw = itertools.chain.from_iterable(self._raw_lines())

    def __iter__(self) -> Iterator[str]:
        """The lines behind the one last yielded. Raises DataError where one is not UTF-8."""
        for line in self._raw:
            start = self.position
            self.position = start + len(line)
            self.number += 1
            content = line if start else line.removeprefix(BYTE_ORDER_MARK)
            try:
                text = content.decode()
            except UnicodeDecodeError as error:
                bad = len(line) - len(content) + error.start
                raise not_utf8(str(self.origin), line, bad, start, path=self.path) from None
            if b"\0" in content:
                refuse_utf16(str(self.origin), content)
            yield text

    @contextlib.contextmanager
    def again(self) -> Iterator["Lines"]:
        """The same lines from the beginning; those of a stream that is no file are none."""
        if self.path is None:
            yield Lines(io.BytesIO(), self.name)
            return
        with open_bytes(self.path, self._fallback_encoding) as (stream, _):
            yield Lines(stream, self.name, self.path)

    def beginning(self, size: int) -> Iterator[bytes]:
        """The first bytes of the same file, in blocks; those of a stream that is no file are none.

        Raises:
            DataError: the file cannot be read.
        """
        if self.path is None:
            return
        with open_bytes(self.path, self._fallback_encoding) as (stream, _):
            for block in Lines(stream, self.name)._blocks():
                yield block[:size]
                size -= len(block)
                if size <= 0:
                    return

    @property
    def origin(self) -> Origin:
        """The line last yielded."""
        return Origin(self.name, self.number)

    def _raw_lines(self) -> Iterator[list[bytes]]:
        first = self._up_to_a_newline()
        newlines = bool(first) and b"\n" in first[-1]
        pending: list[bytes] = []  # the beginning of a line longer than a block
        for block in self._all_blocks(first):
            # A BytesIO parts at \n only; bytes.splitlines at \r too, and there is nothing else
            # where there is no \n.
            if newlines:
                lines = io.BytesIO(block).readlines()
                ended = lines[-1].endswith(b"\n")
            else:
                lines = block.splitlines(keepends=True)
                ended = lines[-1].endswith(b"\r")
            if len(lines) > 1 or ended:
                lines[0] = b"".join([*pending, lines[0]])
                pending = []
            if not ended:
                pending.append(lines.pop())
            yield lines
        if pending:
            yield [b"".join(pending)]

    def _up_to_a_newline(self) -> list[bytes]:
        r"""The blocks up to the first with a \n; of what can be read again only the last one."""
        again = self._stream.seekable()
        first: list[bytes] = []
        for block in self._blocks():
            first = [block] if again else [*first, block]
            if b"\n" in block:
                break
        return first

    def _all_blocks(self, first: list[bytes]) -> Iterable[bytes]:
        if self._stream.seekable():
            with reading(self.name, 0):
                self._stream.seek(0)
        else:
            yield from first
        yield from self._blocks()

    def _blocks(self) -> Iterator[bytes]:
        # read1: does not wait for a full block
        read = getattr(self._stream, "read1", self._stream.read)
        while True:
            with reading(self.name, self.number):
                block = read(BLOCK_BYTES)
            if not block:
                return
            yield block


def without_end(line: str) -> str:
    r"""A line without its \n, \r\n or \r: one of them, and no other \r before it."""
    return line.removesuffix("\n").removesuffix("\r")
