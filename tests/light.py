"""`pytest --light`: the tests that need no TensorFlow and take no seconds, for `make check`.

A file whose imports need TensorFlow is left out. A test that imports it later fails, unless it is
marked `heavy`. So there is no list to keep: an unmarked test is light, or `make check` says so.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib.machinery import ModuleSpec

import pytest

REFUSED = ("tensorflow", "tensorflow_text", "keras")


class Light:
    """Refuses TensorFlow: it stands first among the finders of modules, and is a pytest plugin.

    Attributes:
        collecting: whether test files are being imported; those that are refused are skipped.
    """

    collecting = True

    def find_spec(
        self, module: str, path: Sequence[str] | None = None, target: object = None
    ) -> ModuleSpec | None:
        """Called by the import system; None leaves the module to the other finders.

        Raises:
            pytest.skip.Exception: a test file needs TensorFlow.
            pytest.fail.Exception: a test does.
        """
        if module.partition(".")[0] not in REFUSED:
            return None
        if self.collecting:
            pytest.skip("needs TensorFlow", allow_module_level=True)
        pytest.fail(f"this test imports {module}: mark it with @pytest.mark.heavy")

    def pytest_collection_modifyitems(
        self, config: pytest.Config, items: list[pytest.Item]
    ) -> None:
        """Leaves out the marked tests. What is imported from now on, a test imports."""
        self.collecting = False
        heavy = [test for test in items if test.get_closest_marker("heavy")]
        config.hook.pytest_deselected(items=heavy)
        items[:] = [test for test in items if not test.get_closest_marker("heavy")]


def install(config: pytest.Config) -> None:
    """Refuses TensorFlow from here to the end of the process."""
    light = Light()
    sys.meta_path.insert(0, light)
    config.pluginmanager.register(light)
