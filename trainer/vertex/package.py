"""The source distribution of this checkout, for jobs that run as a Python package."""

from __future__ import annotations

import pathlib
import subprocess
import sys
import tempfile

import trainer
from trainer.errors import ConfigError
from trainer.files import gcs

ROOT = pathlib.Path(trainer.__file__).resolve().parent.parent
SHOWN_ERROR = 300  # characters
BUILD = "import sys; from setuptools import build_meta; print(build_meta.build_sdist(sys.argv[1]))"


def build(folder: pathlib.Path) -> pathlib.Path:
    """Builds podtune-VERSION.tar.gz in a folder.

    Raises:
        ConfigError: this is no checkout, or it cannot be built.
    """
    if not (ROOT / "setup.py").exists():
        raise ConfigError(
            f"--package: {ROOT} is no checkout of the project: there is no setup.py. Start it from"
            " one, or give an --image."
        )
    run = subprocess.run(
        [sys.executable, "-c", BUILD, str(folder)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    if run.returncode:
        reason = _last_line(run.stderr)[:SHOWN_ERROR]
        raise ConfigError(
            f"--package: the source distribution cannot be built: {reason}. To install what it"
            " takes: pip install 'setuptools>=70'"
        )
    return folder / _last_line(run.stdout)


def _last_line(text: str) -> str:
    return text.strip().splitlines()[-1]


def publish(bucket: str) -> str:
    """Builds it and uploads it to the bucket's folder packages/, by content. Returns its URL."""
    with tempfile.TemporaryDirectory() as folder:
        file = build(pathlib.Path(folder))
        content = gcs.crc32c(file).strip("=").replace("/", "_").replace("+", "-")
        url = f"{bucket}/packages/{content}/{file.name}"
        gcs.upload(file, url, key="--bucket")
    return url
