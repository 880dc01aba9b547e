"""The verbs that send work to Vertex AI."""

from __future__ import annotations

from collections.abc import Sequence

from podtune.modes import only_word, refuse_twice
from trainer.settings import flags
from trainer.vertex import __main__ as vertex
from trainer.vertex import command_line


def submit(arguments: Sequence[str]) -> int:
    """Submits a run. Returns the exit code."""
    return _run("submit", "CONFIG", "config", arguments)


def deploy(arguments: Sequence[str]) -> int:
    """Serves a model. Returns the exit code."""
    return _run("deploy", "MODEL", "deploy", arguments)


def _run(verb: str, meaning: str, flag: str, arguments: Sequence[str]) -> int:
    words, others = flags.split_words(arguments, command_line.own_flags())
    word = only_word(verb, meaning, words)
    given = [] if word is None else [f"--{flag}={word}"]
    if word is not None:
        refuse_twice(word, f"--{flag}", others)
    return vertex.main([f"podtune {verb}", *given, *others])
