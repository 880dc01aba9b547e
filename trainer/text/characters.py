"""Code points in the graph."""

from __future__ import annotations

import functools
import unicodedata

import numpy as np
import tensorflow as tf

PAGE_BITS = 8  # code points to a page: 256 keeps the table of a vocabulary near 100 KB
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
    return tf.reduce_any(
        tf.stack([(codes >= start) & (codes < stop) for start, stop in IDEOGRAPHS]), 0
    )


@functools.cache
def punctuation() -> tuple[np.ndarray, np.ndarray]:
    """For `look_up`: of each code point 1 where it is punctuation to BERT's tokenizer, which makes
    it a word: ASCII's symbols, and Unicode's.
    """
    entries = np.array(
        [unicodedata.category(chr(code))[0] == "P" for code in range(0x110000)], np.int32
    )
    entries[[code for code in range(33, 127) if not chr(code).isalnum()]] = 1
    return two_levels(entries)


def utf8_widths(codes: tf.Tensor) -> tf.Tensor:
    """(n,) int32 -> (n,) int32, bytes of each in UTF-8."""
    return 1 + sum(tf.cast(codes >= least, tf.int32) for least in (0x80, 0x800, 0x10000))


def begins_row(splits: tf.Tensor, count: tf.Tensor) -> tf.Tensor:
    """(B + 1,) int64, where each of B rows begins, and the end -> (count,) bool: what a row begins
    with.
    """
    return tf.scatter_nd(splits[:, None], tf.ones_like(splits), [count + 1])[:-1] > 0


def every_other(chosen: tf.Tensor) -> tf.Tensor:
    """(n,) bool -> the same: of neighbours, the first, third, …; so pairs that overlap are taken
    from the left: aaa is (aa)a.
    """

    def thin() -> tf.Tensor:
        opens = chosen & ~tf.concat([[False], chosen[:-1]], 0)
        run = tf.cumsum(tf.cast(opens, tf.int32)) - 1
        begin = tf.gather(tf.reshape(tf.where(opens), [-1]), tf.maximum(run, 0))
        return chosen & ((tf.range(tf.size(chosen, tf.int64)) - begin) % 2 == 0)

    return tf.cond(tf.reduce_any(chosen[1:] & chosen[:-1]), thin, lambda: chosen)


def two_levels(entries: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """A table of all code points as pages, (4352,) int32, and the entries of the pages in use;
    `look_up` reads it.
    """
    numbers: dict[bytes, int] = {}
    pages = [
        numbers.setdefault(row.tobytes(), len(numbers))
        for row in entries.reshape(-1, 1 << PAGE_BITS)
    ]
    return np.array(pages, np.int32), np.frombuffer(b"".join(numbers), np.int32)


def look_up(pages: tf.Tensor, entries: tf.Tensor, codes: tf.Tensor) -> tf.Tensor:
    """(n,) int32 -> (n,) int32, the entry of each code point."""
    page = tf.bitwise.left_shift(
        tf.gather(pages, tf.bitwise.right_shift(codes, PAGE_BITS)), PAGE_BITS
    )
    return tf.gather(
        entries, tf.bitwise.bitwise_or(page, tf.bitwise.bitwise_and(codes, (1 << PAGE_BITS) - 1))
    )
