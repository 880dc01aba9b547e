"""Heads that the package does not have, each of one file, to show what the contract can take."""

from __future__ import annotations

import contextlib
import pathlib
from collections.abc import Iterator

import trainer.heads
from trainer.settings import sections


@contextlib.contextmanager
def installed() -> Iterator[None]:
    """Lets a config name them, as if their files were in the package."""
    before = list(trainer.heads.__path__)
    trainer.heads.__path__.append(str(pathlib.Path(__file__).parent))
    sections.plugins.cache_clear()
    try:
        yield
    finally:
        trainer.heads.__path__[:] = before
        sections.plugins.cache_clear()
