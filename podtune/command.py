"""`podtune VERB …`: finds the verb, shows help, and turns mistakes into one message and code 2.

It imports little, so that help and mistakes are answered at once.
"""

from __future__ import annotations

import difflib
import importlib
import shutil
import sys
import textwrap
from collections.abc import Sequence

from podtune.verbs import VERBS, Verb
from trainer import __version__
from trainer.console import standard_streams
from trainer.errors import ConfigError, UserError, shown_message, shown_name

HELP = ("-h", "--help", "-help", "help")
VERSION = ("--version", "-V", "version")
ABOUT = "fine-tunes BERT- and GPT-family models with TensorFlow and Keras"
FIRST_STEPS = (
    "podtune init reviews.csv",
    "podtune train reviews.yaml",
    "podtune predict runs/reviews",
    "podtune settings learning_rate",
)
WIDEST = 100  # columns of help


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs a verb.

    Args:
        arguments: behind the program's name; None: those of this process.
    Returns:
        the exit code: 0 done, 2 a mistake, 3 a run is not as good as report.require asks, 141
        nobody reads what is written any more.
    """
    standard_streams.open_closed()
    try:
        return _run(list(sys.argv[1:] if arguments is None else arguments))
    except UserError as error:
        standard_streams.say(f"error: {shown_message(str(error))}")
        standard_streams.give_up()
        return error.exit_code
    except (standard_streams.ReaderGoneError, BrokenPipeError):
        standard_streams.give_up()
        return standard_streams.READER_GONE_CODE
    except KeyboardInterrupt:  # before a run listens for it
        standard_streams.give_up()
        return 130


def _run(arguments: list[str]) -> int:
    if not arguments or arguments[0] in HELP:
        named = [word for word in arguments[1:] if word in VERBS]
        standard_streams.print_text(verb_page(named[0]) if named else front_page())
        return 0
    name, *rest = arguments
    if name in VERSION:
        standard_streams.print_text(f"podtune {__version__}")
        return 0
    if name not in VERBS:
        raise ConfigError(_unknown(name))
    if any(word in HELP[:-1] for word in rest):
        standard_streams.print_text(verb_page(name))
        return 0
    module, _, function = VERBS[name].runs.partition(":")
    return int(getattr(importlib.import_module(module), function)(rest))


def _unknown(name: str) -> str:
    if name.startswith("-"):
        return (
            f"{shown_name(name)}: a verb comes first. Expected podtune VERB, one of"
            f" {', '.join(VERBS)}; podtune -h says more."
        )
    near = difflib.get_close_matches(name, VERBS, n=1)
    meant = f" Did you mean {near[0]}?" if near else ""
    return (
        f"unknown verb {shown_name(name)}.{meant} Expected one of {', '.join(VERBS)}; podtune -h"
        " says more."
    )


def front_page() -> str:
    """What the command can do, in at most 25 lines."""
    lines = [f"podtune {__version__}: {ABOUT}"]
    lines += ["usage: podtune VERB …; podtune VERB -h says more of each", ""]
    lines += _columns([(name, verb.line) for name, verb in VERBS.items()])
    return "\n".join([*lines, "", "examples:", *(f"  {example}" for example in FIRST_STEPS)])


def verb_page(name: str) -> str:
    """What one verb takes, in at most 25 lines."""
    verb: Verb = VERBS[name]
    lines = [
        f"usage: podtune {name} {verb.usage}",
        "",
        f"{verb.line[0].upper()}{verb.line[1:]}.",
        "",
    ]
    lines += _columns(verb.takes)
    return "\n".join([*lines, "", "examples:", *_examples(verb)])


def _examples(verb: Verb) -> list[str]:
    """Whole commands; a long one goes on in a second line, as a shell takes it."""
    lines = []
    for example in verb.examples:
        wrapped = textwrap.wrap(
            example, width() - 4, break_long_words=False, break_on_hyphens=False
        )
        lines += [f"{'  ' if n == 0 else '    '}{part}" for n, part in enumerate(wrapped)]
        for n in range(len(lines) - len(wrapped), len(lines) - 1):
            lines[n] += " \\"
    return lines


def _columns(rows: Sequence[tuple[str, str]]) -> list[str]:
    """Names and meanings; a meaning is cut to the width of the terminal into several lines."""
    names = max(len(name) for name, _ in rows) + 4
    lines = []
    for name, meaning in rows:
        wrapped = textwrap.wrap(meaning, max(30, width() - names))
        lines.append(f"  {name}".ljust(names) + wrapped[0])
        lines += [" " * names + part for part in wrapped[1:]]
    return lines


def width() -> int:
    """Columns of the terminal, or what COLUMNS says."""
    return min(WIDEST, shutil.get_terminal_size((WIDEST, 24)).columns)
