"""A real kernel, as Jupyter, VS Code and Colab have: it runs cells, and what it shows is kept."""

from __future__ import annotations

import os
import pathlib
from typing import Any, NamedTuple

from jupyter_client.manager import start_new_kernel

from tests.toy import ROOT

SECONDS = 300  # until a message comes


class Shown(NamedTuple):
    """What a cell has shown.

    Attributes:
        outputs: data by MIME type, in order; of one that was updated, be it of a cell before, the
            last.
        updates: how often an output was replaced.
        streams: text by stream.
        error: name, value and lines of a traceback; None where there is none.
    """

    outputs: list[dict[str, str]]
    updates: int
    streams: dict[str, str]
    error: tuple[str, str, list[str]] | None


class Kernel:
    """Runs cells.

    Args:
        folder: that it runs in.
    """

    def __init__(self, folder: pathlib.Path) -> None:
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "TF_CPP_MIN_LOG_LEVEL": "3"}
        self._manager, self._client = start_new_kernel(cwd=str(folder), env=environment)
        self._displays: set[str] = set()  # that there are, of all cells

    def run(self, code: str, *, stop_at: str | None = None) -> Shown:
        """Runs a cell.

        Args:
            code: of the cell.
            stop_at: a text; once it is shown, the stop button is pressed.
        """
        cell = self._client.execute(code)
        displays: dict[str, dict[str, str]] = {}
        streams = {"stdout": "", "stderr": ""}
        updates, error = 0, None
        while True:
            message = self._client.get_iopub_msg(timeout=SECONDS)
            kind, content = message["msg_type"], message["content"]
            if message["parent_header"].get("msg_id") != cell:
                continue
            if kind == "stream":
                streams[content["name"]] += content["text"]
            elif kind == "error":
                error = content["ename"], content["evalue"], content["traceback"]
            elif "data" in content:
                identity = content.get("transient", {}).get("display_id")
                is_update = kind == "update_display_data"
                assert is_update == (identity in self._displays)
                updates += is_update
                self._displays |= {identity} - {None}
                place = identity or str(len(displays))
                displays[place] = content["data"]
            elif kind == "status" and content["execution_state"] == "idle":
                return Shown(list(displays.values()), updates, streams, error)
            if stop_at and stop_at in _text(content):
                stop_at = None
                self._manager.interrupt_kernel()

    def close(self) -> None:
        """Ends the kernel."""
        self._client.stop_channels()
        self._manager.shutdown_kernel(now=True)


def _text(content: dict[str, Any]) -> str:
    return str(content.get("data", {}).get("text/plain", ""))
