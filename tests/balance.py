"""Which test files a free process takes next: the one that took longest when it was last measured.

So the processes end together. `make test-seconds` measures anew.
"""

from __future__ import annotations

import collections
import json
import pathlib

import pytest

MEASURED = pathlib.Path(__file__).with_name("seconds.json")


def longest_first(items: list[pytest.Item]) -> None:
    """Orders the files of tests; the tests of a file stay together, in their order."""
    seconds = json.loads(MEASURED.read_text())
    items.sort(key=lambda item: -seconds.get(file_of(item.nodeid), 0))


def file_of(nodeid: str) -> str:
    """The file of a test."""
    return nodeid.split("::")[0]


class Stopwatch:
    """Measures what each file takes, fixtures included."""

    def __init__(self) -> None:
        """Nothing has run."""
        self.seconds: collections.Counter[str] = collections.Counter()

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Counts setup, call and teardown of a test, in whatever process it ran."""
        self.seconds[file_of(report.nodeid)] += report.duration

    def pytest_sessionfinish(self) -> None:
        """Writes the files that take a second or more, longest first; others stay as they were."""
        known = json.loads(MEASURED.read_text())
        there = {file: total for file, total in known.items() if pathlib.Path(file).exists()}
        lasting = collections.Counter({**there, **self.seconds})
        shown = {file: round(total) for file, total in lasting.most_common() if total >= 1}
        MEASURED.write_text(json.dumps(shown, indent=1) + "\n")
