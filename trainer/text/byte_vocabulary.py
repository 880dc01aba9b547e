"""What the tokens of a byte-level BPE write, in bytes."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Mapping, Sequence

import numpy as np

from trainer.text.backend import Backend


@functools.cache
def byte_of_character() -> dict[str, int]:
    """GPT-2 writes each byte as a printable character: the byte of each."""
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in printable]
    byte_of = {chr(byte): byte for byte in printable}
    for index, byte in enumerate(others):
        byte_of[chr(256 + index)] = byte
    return byte_of


def token_bytes(backend: Backend, ids: Mapping[str, int], count: int) -> list[bytes]:
    """The bytes of each token; added ones are written as they are.

    Args:
        backend: has the added tokens.
        ids: of the tokens of the model.
        count: how many ids there are.
    """
    byte_of = byte_of_character()
    written = [b""] * count
    for token, id in ids.items():
        if byte_of.keys() >= set(token):
            written[id] = bytes(byte_of[character] for character in token)
    for added in backend.added_tokens:
        written[added.id] = added.content.encode()
    return written


def ids_of_bytes(backend: Backend, ids: Mapping[str, int]) -> np.ndarray:
    """(256,) int32, the token of each byte alone.

    Raises:
        WeightsError: a byte has none.
    """
    byte_of = byte_of_character()
    missing = [character for character in byte_of if character not in ids]
    backend.require(
        not missing,
        "vocabulary",
        "one with a token for each of the 256 bytes",
        f"none for {len(missing)}, such as {missing[:5]}",
    )
    in_order = sorted(byte_of, key=byte_of.__getitem__)
    byte_ids = [ids[character] for character in in_order]
    return np.array(byte_ids, np.int32)


def neighbouring_bytes(written: Sequence[bytes]) -> np.ndarray:
    """Which bytes stand side by side in a token.

    Args:
        written: what each token writes.
    Returns:
        (65536,) bool, at first byte * 256 + second byte.
    """
    are_neighbours = np.zeros(65536, bool)
    for token in written:
        for first, second in itertools.pairwise(token):
            are_neighbours[first * 256 + second] = True
    return are_neighbours


def is_utf8(part: bytes) -> bool:
    """Whether bytes are whole characters."""
    try:
        part.decode()
    except UnicodeDecodeError:
        return False
    return True
