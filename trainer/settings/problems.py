"""All that is wrong with a config, in one message."""

from __future__ import annotations

from collections.abc import Callable

from trainer.errors import ConfigError

PROBLEMS_SHOWN = 20


class Problems:
    """All that is wrong with a config; only the first few are put into words."""

    def __init__(self) -> None:
        self.count = 0
        self.told: set[tuple[str, str]] = set()  # settings of which one is enough
        self._said: list[str] = []

    def add(self, problem: str | Callable[[], str], setting: tuple[str, str] | None = None) -> None:
        """Counts a problem.

        Args:
            problem: the sentence; or, as a suggestion takes time to find, what makes it, asked only
                where it is shown.
            setting: whose value is then not judged any further.
        """
        self.count += 1
        if setting is not None:
            self.told.add(setting)
        if len(self._said) < PROBLEMS_SHOWN:
            self._said.append(problem if isinstance(problem, str) else problem())

    def refuse(self) -> None:
        """Raises ConfigError with all of them, where there are any."""
        if not self.count:
            return
        heading = f"{self.count:,} problems" if self.count > 1 else "1 problem"
        indented = "\n".join(f"  {line}" for line in self.lines())
        raise ConfigError(f"{heading} in the configuration:\n{indented}")

    def lines(self) -> list[str]:
        """The first problems, and how many more there are."""
        lines = list(self._said)
        more = self.count - len(lines)
        if more:
            lines.append(f"and {more:,} more")
        return lines
