"""Writes docker/requirements-*.txt: the exact versions of all that the images install.

The ranges are pyproject.toml's. On a TPU, tensorflow-tpu takes the place of tensorflow, and
tensorflow-text, which asks for tensorflow by name, is installed without its dependencies.
"""

from __future__ import annotations

import pathlib
import subprocess
import sys

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = pathlib.Path(__file__).resolve().parent.parent
# 3.10 is that of Vertex AI's base image for TPU pods
PYTHONS = {"cpu": "3.11", "gpu": "3.11", "tpu": "3.10"}
TPU = [
    "tensorflow-tpu==2.20.0",
    "libtpu==0.0.21",  # the newest with wheels for Python 3.10
    # else a newer protobuf is taken, and a release of years ago that does not bound it
    "tensorflow-metadata>=1.17",
]
PLATFORM = "x86_64-manylinux_2_31"  # that of the images
HEADER = (
    "# By scripts/lock_images.py, for Python {python}. Change pyproject.toml and write it anew.\n"
)


def requirements(kind: str) -> list[str]:
    """What an image of that kind installs with its dependencies."""
    content = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    project = tomllib.loads(content)["project"]
    required = project["dependencies"]
    if kind == "tpu":
        required = [
            *(one for one in required if not one.startswith(("tensorflow>", "tensorflow-text>"))),
            *TPU,
        ]
    return required + (project["optional-dependencies"]["gpu"] if kind == "gpu" else [])


def main() -> None:
    """Writes all of them, or those that are named."""
    for kind in sys.argv[1:] or PYTHONS:
        command = [
            sys.executable,
            "-m",
            "uv",
            "pip",
            "compile",
            "-",
            "--quiet",
            "--no-header",
            "--no-annotate",
            "--python-version",
            PYTHONS[kind],
            "--python-platform",
            PLATFORM,
        ]
        locked = subprocess.run(
            command, input="\n".join(requirements(kind)), capture_output=True, text=True, check=True
        ).stdout
        (ROOT / "docker" / f"requirements-{kind}.txt").write_text(
            HEADER.format(python=PYTHONS[kind]) + locked, encoding="utf-8"
        )


if __name__ == "__main__":
    main()
