"""Code points in the graph: tables of what each one is, and the width of each in UTF-8."""

from __future__ import annotations

import functools
import unicodedata

import numpy as np
import tensorflow as tf

CODE_POINTS = 0x110000
PAGE_BITS = 8  # code points to a page: 256 keeps the table of a vocabulary near 100 KB
PAGE_SIZE = 1 << PAGE_BITS
# those that Unicode may have given a meaning
ASSIGNED_CODES = (*range(0xD800), *range(0xE000, 0x32400), *range(0xE0000, 0xE0200))
# to Unicode and Rust
WHITE_SPACE = (
    "\t\n\x0b\x0c\r \x85\xa0\u1680"
    + "".join(map(chr, range(0x2000, 0x200B)))
    + "\u2028\u2029\u202f\u205f\u3000"
)
# words of their own, as to BERT's tokenizer
IDEOGRAPHS = ((0x3400, 0x4DC0), (0x4E00, 0xA000), (0xF900, 0xFB00), (0x20000, 0x34000))


def is_ideograph(codes: tf.Tensor) -> tf.Tensor:
    """(n,) int32 -> (n,) bool."""
    in_any_block = tf.zeros_like(codes, tf.bool)
    for start, stop in IDEOGRAPHS:
        in_block = (codes >= start) & (codes < stop)
        in_any_block |= in_block
    return in_any_block


@functools.cache
def punctuation() -> tuple[np.ndarray, np.ndarray]:
    """Which code points BERT's tokenizer makes words of: ASCII's symbols, Unicode's punctuation.

    Returns:
        What a `CodePointMap` is made of: 1 for punctuation, else 0.
    """
    entries = np.zeros(CODE_POINTS, np.int32)
    for code in range(CODE_POINTS):
        if unicodedata.category(chr(code)).startswith("P"):
            entries[code] = 1
    for code in range(33, 127):
        if not chr(code).isalnum():
            entries[code] = 1
    return two_levels(entries)


def utf8_widths(codes: tf.Tensor) -> tf.Tensor:
    """(n,) int32 -> (n,) int32, bytes of each in UTF-8."""
    widths = tf.ones_like(codes)
    for first_wider in (0x80, 0x800, 0x10000):
        widths += tf.cast(codes >= first_wider, tf.int32)
    return widths


def two_levels(entries: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Stores equal pages of a table once.

    Args:
        entries: (1114112,) int32, one for each code point.
    Returns:
        (4352,) int32, the number of each page, and the entries of the pages in use, one page behind
        another; `CodePointMap` reads them.
    """
    page_numbers: dict[bytes, int] = {}
    pages = []
    for page in entries.reshape(-1, PAGE_SIZE):
        number = page_numbers.setdefault(page.tobytes(), len(page_numbers))
        pages.append(number)
    pages_in_use = b"".join(page_numbers)
    entries_in_use = np.frombuffer(pages_in_use, np.int32)
    return np.array(pages, np.int32), entries_in_use


class CodePointMap:
    """An entry for each code point, in the graph."""

    def __init__(self, pages: np.ndarray, entries: np.ndarray) -> None:
        """Takes what `two_levels` gives: (4352,) int32, and (pages in use * 256,) int32."""
        self._pages = tf.constant(pages)
        self._entries = tf.constant(entries)

    def look_up(self, codes: tf.Tensor) -> tf.Tensor:
        """(n,) int32, or any other shape -> the same shape, the entry of each code point."""
        page_of_code = tf.bitwise.right_shift(codes, PAGE_BITS)
        page = tf.gather(self._pages, page_of_code)
        page_start = page * PAGE_SIZE
        within_page = codes & (PAGE_SIZE - 1)
        return tf.gather(self._entries, page_start + within_page)
