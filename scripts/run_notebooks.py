"""Runs the notebooks of examples/ in real kernels, and keeps in them what they show.

usage: run_notebooks.py [NOTEBOOK …]

Each runs in an empty folder of its own. What names this machine or the time is not kept.
"""

from __future__ import annotations

import os
import pathlib
import sys
import tempfile
from collections.abc import Sequence

import nbformat
from nbclient import NotebookClient

ROOT = pathlib.Path(__file__).resolve().parent.parent
NOTEBOOKS = sorted((ROOT / "examples").glob("*.ipynb"))
SECONDS = 1800  # of a cell


def execute(file: pathlib.Path, folder: pathlib.Path) -> nbformat.NotebookNode:
    """The notebook with what it shows; raises nbclient's CellExecutionError where a cell fails.

    Args:
        file: of the notebook.
        folder: that it runs in.
    """
    notebook = nbformat.read(file, as_version=4)
    client = NotebookClient(
        notebook,
        timeout=SECONDS,
        record_timing=False,
        resources={"metadata": {"path": str(folder)}},
    )
    cache = str(folder / ".cache")  # where nothing is encoded yet
    client.execute(env={**os.environ, "PYTHONPATH": str(ROOT), "XDG_CACHE_HOME": cache})
    notebook.metadata.language_info = {"name": "python"}  # and not of which version
    return notebook


def main(files: Sequence[str]) -> None:
    """Runs each, and writes it."""
    for file in map(pathlib.Path, files or NOTEBOOKS):
        with tempfile.TemporaryDirectory() as folder:
            nbformat.write(execute(file, pathlib.Path(folder)), file)


if __name__ == "__main__":
    main(sys.argv[1:])
