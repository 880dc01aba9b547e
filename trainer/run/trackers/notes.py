"""trackers.json: by which id each tracker knows the run, and up to where it was told."""

from __future__ import annotations

import json
import pathlib
import threading
from collections.abc import Mapping
from typing import NamedTuple

from trainer.files.writing import json_text, write_text

FILE = "trackers.json"


class Noted(NamedTuple):
    """What is noted of a tracker.

    Attributes:
        run: the id by which it knows the run; None: it does not.
        steps: by split, the last one that it was told.
    """

    run: str | None
    steps: Mapping[str, int]


class Notes:
    """The file of one job_dir; threads may share it.

    Args:
        folder: the job_dir.
    """

    def __init__(self, folder: pathlib.Path) -> None:
        self._folder = folder
        self._lock = threading.Lock()
        self._noted = _read(folder / FILE)

    def of(self, tracker: str) -> Noted:
        """What is noted of a tracker."""
        return self._noted.get(tracker, Noted(None, {}))

    def write(self, tracker: str, noted: Noted) -> None:
        """Notes it. Raises JobDirError where the file cannot be written."""
        with self._lock:
            self._noted[tracker] = noted
            if self._folder.is_dir():  # else it was removed, and is the run's to make anew
                content = {name: noted._asdict() for name, noted in self._noted.items()}
                write_text(self._folder / FILE, json_text(content))


def _read(file: pathlib.Path) -> dict[str, Noted]:
    """What was noted; a damaged file says nothing, and each tracker begins a new run."""
    try:
        content = json.loads(file.read_bytes())
        return {
            name: Noted(str(noted["run"]), {key: int(n) for key, n in noted["steps"].items()})
            for name, noted in content.items()
        }
    except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return {}
