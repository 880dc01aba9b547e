"""Damage as disks, editors and people do it to files: for tests of what then happens."""

from __future__ import annotations

import pathlib
import random

KINDS = ("bit", "byte", "digit", "cut", "grown", "empty", "zeros", "swapped", "deleted")


def files_below(folder: pathlib.Path) -> list[pathlib.Path]:
    """Every file, in the order of their names."""
    return sorted(path for path in folder.rglob("*") if path.is_file())


def damage(file: pathlib.Path, kind: str, rng: random.Random) -> None:
    """Changes a file in one of `KINDS`, so that its content is another."""
    before = file.read_bytes()
    if kind == "deleted":
        file.unlink()
        return
    after = _changed(bytearray(before), kind, rng) if before else b"\0"
    file.write_bytes(after if after != before else before + b"\0")


def _changed(content: bytearray, kind: str, rng: random.Random) -> bytes:
    place = rng.randrange(len(content))
    if kind == "bit":
        content[place] ^= 1 << rng.randrange(8)
    elif kind == "byte":
        content[place] = rng.randrange(256)
    elif kind == "digit":  # what still is JSON, YAML or a number afterwards
        digits = [index for index, byte in enumerate(content) if chr(byte).isdigit()] or [place]
        content[rng.choice(digits)] = ord(rng.choice("0123456789"))
    elif kind == "swapped":
        other = rng.randrange(len(content))
        content[place], content[other] = content[other], content[place]
    elif kind == "zeros":
        content = bytearray(len(content))
    elif kind == "grown":
        content += bytes(rng.randrange(256) for _ in range(rng.randrange(1, 9)))
    else:
        content = content[: 0 if kind == "empty" else place]
    return bytes(content)
