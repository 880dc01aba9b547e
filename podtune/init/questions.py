"""What init asks, where the data leave two readings."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from trainer.console import standard_streams
from trainer.errors import ConfigError, shown_label

MOST_QUESTIONS = 3


class Asker:
    """Asks on a terminal; elsewhere, or with --yes, an open question is an error.

    Args:
        may_ask: whether somebody is there to answer.
    """

    def __init__(self, *, may_ask: bool) -> None:
        self.may_ask = may_ask
        self._asked = 0

    def choose(self, question: str, choices: Sequence[str], flag: str) -> str:
        """The choice that somebody makes.

        Args:
            question: in a few words.
            choices: two or more.
            flag: how the command line says the same.
        Raises:
            ConfigError: nobody is there to ask, or no choice was made.
        """
        shown = [shown_label(choice) for choice in choices]
        if not self.may_ask or self._asked == MOST_QUESTIONS:
            raise ConfigError(
                f"{question} It may be {' or '.join(shown)}, and nothing says which. Say it with"
                f" {flag}."
            )
        self._asked += 1
        standard_streams.print_text(question)
        for number, choice in enumerate(shown, 1):
            standard_streams.print_text(f"  {number}  {choice}")
        while True:
            print(f"1 to {len(choices)}: ", end="", file=sys.stderr, flush=True)
            line = sys.stdin.readline()
            if not line:
                raise ConfigError(f"{question} No answer. Say it with {flag}.")
            answer = line.strip()
            if answer in choices:
                return answer
            if answer.isdigit() and 1 <= int(answer) <= len(choices):
                return choices[int(answer) - 1]
