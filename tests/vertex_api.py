"""A local server that speaks the job methods of Vertex AI's REST API, as the library's own protos
define them.
"""

from __future__ import annotations

import contextlib
import http.server
import json
import re
import threading
from collections.abc import Iterator
from typing import Any

from google.cloud import aiplatform_v1
from google.protobuf import json_format

from tests.cloud import free_port
from tests.vertex_experiments import Experiments

KINDS = {
    "customJobs": aiplatform_v1.CustomJob,
    "hyperparameterTuningJobs": aiplatform_v1.HyperparameterTuningJob,
}
PATH = re.compile(
    r"/v1/(?P<parent>projects/[^/]+/locations/[^/]+)/(?P<kind>\w+)(?:/(?P<number>\d+))?"
    r"(?::(?P<verb>\w+))?(?:\?.*)?"
)
# Methods that answer with an operation: its request and what it comes to.
OPERATIONS = {
    ("models", "upload"): ("UploadModelRequest", "UploadModelResponse"),
    ("endpoints", None): ("Endpoint", "Endpoint"),
    ("endpoints", "deployModel"): ("DeployModelRequest", "DeployModelResponse"),
}


class Api:
    """What the server was asked, and what it answers.

    Attributes:
        jobs: by resource name, as the API's messages.
        states: of the next jobs, each given once to who asks; the last stays.
        refuse: status and message for every request, if set.
        experiments: what it keeps of Vertex AI Experiments.
    """

    def __init__(self) -> None:
        self.jobs: dict[str, Any] = {}
        self.states = ["PENDING", "RUNNING", "SUCCEEDED"]
        self.problem = ""
        self.refuse: tuple[int, str] | None = None
        self.requests: list[tuple[str, str]] = []
        # the path and the request of each, as the API's messages
        self.operations: list[tuple[str, Any]] = []
        self.experiments = Experiments()
        self._left: dict[str, list[str]] = {}

    def answer(self, method: str, path: str, body: bytes) -> tuple[int, dict[str, Any]]:
        self.requests.append((method, path))
        if self.refuse:
            return self.refuse[0], {
                "error": {"code": self.refuse[0], "message": self.refuse[1], "status": "X"}
            }
        answer = self.experiments.answer(method, path, json.loads(body or b"{}"))
        if answer is not None:
            return answer
        match = PATH.fullmatch(path)
        if match and method == "POST" and (match["kind"], match["verb"]) in OPERATIONS:
            return self._operate(
                match["parent"], match["kind"], match["verb"], path, json.loads(body)
            )
        if match is None or match["kind"] not in KINDS:
            return 404, {"error": {"code": 404, "message": f"no such method: {path}"}}
        parent, kind, number, verb = match.group("parent", "kind", "number", "verb")
        name = f"{parent}/{kind}/{number}"
        if method == "POST" and number is None:
            return self._create(parent, kind, json.loads(body))
        if method == "GET" and number is None:
            return 200, {kind: []}
        if name not in self.jobs:
            return 404, {"error": {"code": 404, "message": f"{name} not found"}}
        if verb == "cancel":
            self._left[name] = ["CANCELLED"]
            return 200, {}
        left = self._left[name]
        self._set(name, left.pop(0) if len(left) > 1 else left[0])
        return 200, json_format.MessageToDict(self.jobs[name]._pb)

    def _create(
        self, parent: str, kind: str, content: dict[str, Any]
    ) -> tuple[int, dict[str, Any]]:
        try:
            job = json_format.ParseDict(content, KINDS[kind].pb(KINDS[kind]()))
        except json_format.ParseError as error:
            return 400, {"error": {"code": 400, "message": f"invalid request: {error}"}}
        name = f"{parent}/{kind}/{1000 + len(self.jobs)}"
        job.name = name
        self.jobs[name], self._left[name] = KINDS[kind].wrap(job), list(self.states)
        return 200, json_format.MessageToDict(job)

    def _operate(
        self, parent: str, kind: str, verb: str | None, path: str, content: dict[str, Any]
    ) -> tuple[int, dict[str, Any]]:
        """An operation that is done at once."""
        asked, answered = (getattr(aiplatform_v1, name) for name in OPERATIONS[kind, verb])
        try:
            self.operations.append(
                (
                    path.partition("?")[0],
                    asked.wrap(json_format.ParseDict(content, asked.pb(asked()))),
                )
            )
        except json_format.ParseError as error:
            return 400, {"error": {"code": 400, "message": f"invalid request: {error}"}}
        name = f"{parent}/{kind}/{2000 + len(self.operations)}"
        value = {"models": {"model": name}, "endpoints": {"name": name} if verb is None else {}}[
            kind
        ]
        response = {
            "@type": f"type.googleapis.com/google.cloud.aiplatform.v1.{answered.__name__}",
            **value,
        }
        return 200, {"name": f"{name}/operations/1", "done": True, "response": response}

    def _set(self, name: str, state: str) -> None:
        job = self.jobs[name]
        job.state = aiplatform_v1.JobState[f"JOB_STATE_{state}"]
        if state == "FAILED":
            job.error = {"code": 3, "message": self.problem}
        if "/hyperparameterTuningJobs/" in name and state == "SUCCEEDED":
            job.trials = [
                {
                    "id": str(number),
                    "parameters": [{"parameter_id": "train.learning_rate", "value": rate}],
                    "final_measurement": {
                        "metrics": [{"metric_id": "validation.accuracy", "value": value}]
                    },
                }
                for number, rate, value in ((1, 1e-5, 0.7), (2, 3e-5, 0.9), (3, 9e-5, 0.8))
            ]


@contextlib.contextmanager
def vertex_api() -> Iterator[tuple[str, Api]]:
    """Yields the server's address and what it was asked."""
    api, port = Api(), free_port()

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        wbufsize = -1  # headers and body in one packet, see tests/cloud.py

        def _answer(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            status, value = api.answer(self.command, self.path, body)
            content = json.dumps(value).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_POST = do_PATCH = do_DELETE = _answer  # noqa: N815

        def log_message(self, *args: object) -> None:
            """Quiet."""

    server = http.server.ThreadingHTTPServer(("127.0.0.1", port), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{port}/", api
    finally:
        server.shutdown()
