"""`podtune settings [WORD …]`: what can be set, in groups, or what is about a word."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

from podtune.command import width
from trainer.console import standard_streams
from trainer.errors import ConfigError, shown_name
from trainer.settings import flags
from trainer.settings.suggestions import ELSEWHERE, suggest_setting

NAME_COLUMNS = 36
TITLES = {
    "head": "the task",
    "backbone": "the pretrained model",
    "data": "the examples, and how they become rows of tokens",
    "train": "optimisation, evaluation and checkpoints",
    "log": "where figures go besides the run's own folder",
    "report": "what is kept to see how good the model is",
    "distribution": "where the steps run",
    "export": "what is written for those who serve the model",
    "plan": "what podtune plan looks at besides the data",
}


def run(words: Sequence[str]) -> int:
    """Prints the settings. Returns the exit code.

    Raises:
        ConfigError: nothing is about the words.
    """
    settings = flags.setting_flags()
    if words:
        shown = [flag for flag in settings.values() if _is_about(flag, words)]
        if not shown:
            word = words[0]
            near = suggest_setting(word.lstrip("-"), list(settings))
            raise ConfigError(
                f"{shown_name(' '.join(words))}: no setting is about it.{near} podtune settings"
                " lists them all."
            )
        standard_streams.print_text("\n".join(map(_whole, shown)))
    else:
        standard_streams.print_text("\n".join(_listed(list(settings.values()))))
    return 0


def _is_about(flag: flags.Flag, words: Sequence[str]) -> bool:
    return all(_has_word(flag, word) for word in words)


def _has_word(flag: flags.Flag, word: str) -> bool:
    wanted = word.lstrip("-").lower()
    name = wanted.replace("-", "_")
    also = ELSEWHERE.get(name.rpartition(".")[2])
    return name in flag.name or flag.name == also or wanted in flag.meaning.lower()


def _whole(flag: flags.Flag) -> str:
    """All there is to say of a setting."""
    default = "" if flag.default is None else f" (default: {flag.default})"
    head = textwrap.wrap(
        f"--{flag.name}: {flag.accepts}{default}", width(), subsequent_indent="    "
    )
    meaning = [
        part
        for line in flag.meaning.splitlines()
        for part in textwrap.wrap(line.strip(), width() - 4)
    ]
    return "\n".join([*head, *(f"    {line}" for line in meaning)])


def _listed(settings: Sequence[flags.Flag]) -> list[str]:
    """One line a setting, under the name of its section."""
    lines = []
    section = ""
    for flag in settings:
        own_section = flag.name.split(".")[0]
        if own_section != section:
            section = own_section
            lines += ["", f"{section}: {TITLES[section]}"]
        lines.append(_line(flag))
    return [*lines[1:], "", "podtune settings WORD says more of those that are about it."]


def _line(flag: flags.Flag) -> str:
    name = f"  {flag.name}"
    default = "" if flag.default is None else flag.default
    meaning = flag.meaning.splitlines()[0].rstrip(":")
    text = f"{name:<{NAME_COLUMNS}}{default:<12} {meaning}"
    most = width()
    return text if len(text) <= most else f"{text[: most - 1]}…"
