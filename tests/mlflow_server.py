"""MLflow's own server on this machine, in a process that a test may kill; and its store."""

from __future__ import annotations

import contextlib
import os
import pathlib
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator

from tests.cloud import free_port

PROGRAM = """
import sys
from mlflow.server import app
from werkzeug.serving import run_simple
run_simple("127.0.0.1", int(sys.argv[1]), app, threaded=True)
"""


class MlflowServer:
    """The server of one store.

    Args:
        folder: gets the store and the artifacts.
    """

    def __init__(self, folder: pathlib.Path) -> None:
        self._folder = folder
        self._port = free_port()
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def address(self) -> str:
        """With a name and a password, which must not be shown."""
        return f"http://me:opensesame@127.0.0.1:{self._port}"

    def start(self) -> None:
        """Starts it, and waits until it answers."""
        environment = {
            **os.environ,
            "MLFLOW_DISABLE_TELEMETRY": "true",
            "_MLFLOW_SERVER_FILE_STORE": f"sqlite:///{self._folder}/server.db",
            "_MLFLOW_SERVER_ARTIFACT_ROOT": str(self._folder / "artifacts"),
        }
        with open(self._folder / "server.log", "ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-c", PROGRAM, str(self._port)],
                env=environment,
                stdout=log,
                stderr=log,
            )
        for _ in range(1200):
            with contextlib.suppress(urllib.error.URLError, ConnectionError):
                urllib.request.urlopen(f"http://127.0.0.1:{self._port}/health", timeout=5)
                return
            time.sleep(0.1)
        raise TimeoutError((self._folder / "server.log").read_text())

    def kill(self) -> None:
        """Ends it as a power failure would."""
        if self._process is not None:
            self._process.send_signal(signal.SIGKILL)
            self._process.wait()
            self._process = None


@contextlib.contextmanager
def mlflow_server(folder: pathlib.Path) -> Iterator[MlflowServer]:
    """Yields a server that answers."""
    server = MlflowServer(folder)
    server.start()
    try:
        yield server
    finally:
        server.kill()
