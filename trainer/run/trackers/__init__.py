"""Trackers of experiments that a run logs to besides its job_dir, one file each.

A tracker is a `Tracker` (tracker.py); its module has the name that `log.trackers` gives, and
`require` and `open_tracker`. A `Feed` tells it in a thread what the run logs.
"""

from __future__ import annotations

import importlib
import importlib.util
import types

from trainer.errors import ConfigError
from trainer.settings.schema import LogSettings


def require(settings: LogSettings) -> None:
    """Refuses trackers that cannot be logged to from here.

    Raises:
        ConfigError: names the package or the credentials that are missing.
    """
    for name in settings.trackers:
        module_of(name).require(settings)


def module_of(name: str) -> types.ModuleType:
    """The module of a tracker."""
    return importlib.import_module(f"{__name__}.{name}")


def require_package(tracker: str, package: str) -> None:
    """Raises ConfigError where the package that a tracker needs is not installed."""
    try:
        is_there = importlib.util.find_spec(package) is not None
    except ModuleNotFoundError:  # of a package that it is in
        is_there = False
    if not is_there:
        raise ConfigError(
            f"log.trackers: for {tracker} the package {package} is not installed here. To install"
            f" it: pip install 'podtune[{tracker}]'. To go without it: --log.trackers=[]"
        )
