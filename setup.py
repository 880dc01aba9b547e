"""What pyproject.toml cannot say: a wheel carries the example configs, which stand beside it."""

import pathlib
import shutil

import setuptools
from setuptools.command.build_py import build_py

CONFIGS = pathlib.Path(__file__).parent / "configs"


class BuildWithConfigs(build_py):
    """Copies configs/ into the package podtune, where `podtune init --example` looks."""

    def run(self) -> None:
        """Copies them once the packages are there."""
        super().run()
        if self.editable_mode or not CONFIGS.is_dir():
            return
        target = pathlib.Path(self.build_lib, "podtune", "configs")
        target.mkdir(parents=True, exist_ok=True)
        for file in (*CONFIGS.glob("*.yaml"), CONFIGS / "schema.json"):
            shutil.copy(file, target)


setuptools.setup(cmdclass={"build_py": BuildWithConfigs})
