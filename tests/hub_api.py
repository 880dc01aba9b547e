"""A local server that speaks the Hugging Face hub's API, as far as huggingface_hub asks it in a
push.

It keeps the bytes: small texts come in the commit, large or binary files by LFS's PUT. Where the
client has hf_xet it stores these by itself; the server then gives it a folder as its storage, from
which `from_xet` reads them back.
"""

from __future__ import annotations

import base64
import contextlib
import dataclasses
import hashlib
import http.server
import json
import pathlib
import re
import threading
import time
import urllib.parse
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import yaml

from tests.cloud import free_port

WRITER = "hf_writer_of_the_tests"  # the tokens that the server knows
READER = "hf_reader_of_the_tests"
MAIN = "main"
LARGE_BYTES = 10_000  # which a commit does not take
NAME = r"(?P<repo>[\w.-]+/[\w.-]+)"
REVISION = r"(?P<revision>[^/]+)"


@dataclasses.dataclass
class File:
    """A file of a repository: its bytes, or where LFS or xet has them."""

    content: bytes | None
    oid: str  # sha256 of what LFS has, else git's own
    size: int


@dataclasses.dataclass
class Repository:
    """What was pushed.

    Attributes:
        branches: name -> path -> file.
        commits: summary and branch of each.
    """

    private: bool
    branches: dict[str, dict[str, File]]
    commits: list[tuple[str, str]] = dataclasses.field(default_factory=list)

    @property
    def sha(self) -> str:
        """Of all that it holds."""
        return hashlib.sha1(repr((self.commits, self.branches)).encode()).hexdigest()


class Answer(Exception):  # noqa: N818 - an answer that is none of the method's own
    """Another answer than 200."""

    def __init__(self, status: int, error: str, code: str = "", **more: object) -> None:
        super().__init__(error)
        self.status = status
        self.code = code
        self.more = more


class Hub:
    """What the server has, and what it was asked.

    Attributes:
        url: for HF_ENDPOINT.
        storage: the folder that hf_xet writes to.
        objects: what LFS has, by its sha256.
        plan: asked for each request; a status is answered in place of what was asked for.
    """

    def __init__(self, url: str, storage: pathlib.Path) -> None:
        self.url = url
        self.storage = storage
        self.repositories: dict[str, Repository] = {}
        self.objects: dict[str, bytes] = {}
        self.requests: list[tuple[str, str]] = []
        self.plan: Callable[[str, str], int | None] = lambda method, path: None

    def once(self, status: int, *, method: str, part: str, times: int = 1) -> None:
        """Lets the next requests of that kind fail."""
        left = [times]

        def plan(asked: str, path: str) -> int | None:
            if asked == method and part in path and left[0]:
                left[0] -= 1
                return status
            return None

        self.plan = plan

    def files(self, repository: str, branch: str = MAIN) -> dict[str, File]:
        """The files of a branch."""
        return self.repositories[repository].branches[branch]

    def answer(
        self, method: str, path: str, headers: Mapping[str, str], body: bytes
    ) -> tuple[bytes, dict[str, str]]:
        """Content and headers. Raises Answer where it is no 200."""
        self.requests.append((method, path))
        if planned := self.plan(method, path):
            raise Answer(planned, f"planned, for {headers.get('Authorization')}")
        plain = path.partition("?")[0]
        for wanted, pattern, call in ROUTES:
            if wanted == method and (match := re.fullmatch(pattern, plain)):
                if not plain.startswith(("/lfs/", "/api/validate-yaml")):
                    self._require_token(method, headers)
                names = {
                    name: urllib.parse.unquote(value) for name, value in match.groupdict().items()
                }
                value = call(self, body=body, **names)
                if isinstance(value, bytes):
                    etag = hashlib.sha1(value).hexdigest()
                    sha = self.repositories[names["repo"]].sha
                    return value, {"ETag": f'"{etag}"', "X-Repo-Commit": sha}
                return json.dumps(value).encode(), {"Content-Type": "application/json"}
        raise Answer(404, f"no such method: {method} {path}")

    def _require_token(self, method: str, headers: Mapping[str, str]) -> None:
        token = headers.get("Authorization", "").removeprefix("Bearer ")
        if token not in (WRITER, READER):
            raise Answer(401, "Invalid username or password.")
        if token == READER and method not in ("GET", "HEAD"):
            raise Answer(403, "You don't have the rights to write there")

    def _branch(self, repo: str, revision: str) -> dict[str, File]:
        if repo not in self.repositories:
            raise Answer(404, "Repository not found", "RepoNotFound")
        if revision not in self.repositories[repo].branches:
            raise Answer(404, f"Invalid rev id: {revision}", "RevisionNotFound")
        return self.repositories[repo].branches[revision]

    def create(self, *, body: bytes) -> dict[str, Any]:
        asked = json.loads(body)
        name = f"{asked['organization']}/{asked['name']}"
        if name in self.repositories:
            url = f"{self.url}/{name}"
            raise Answer(409, "You already created this model repo", url=url)
        private = asked.get("private") or asked.get("visibility") == "private"
        attributes = File(b"*.bin filter=lfs\n", "", 17)
        self.repositories[name] = Repository(bool(private), {MAIN: {".gitattributes": attributes}})
        return {"url": f"{self.url}/{name}"}

    def info(self, *, repo: str, revision: str = MAIN, body: bytes) -> dict[str, Any]:
        files = self._branch(repo, revision)
        repository = self.repositories[repo]
        siblings = [{"rfilename": path} for path in files]
        return {
            "id": repo,
            "private": repository.private,
            "sha": repository.sha,
            "siblings": siblings,
        }

    def tree(self, *, repo: str, revision: str, body: bytes) -> list[dict[str, Any]]:
        return [
            {"type": "file", "path": path, "size": file.size, "oid": file.oid}
            for path, file in self._branch(repo, revision).items()
        ]

    def branch(self, *, repo: str, revision: str, body: bytes) -> dict[str, Any]:
        self.repositories[repo].branches[revision] = dict(self._branch(repo, MAIN))
        return {}

    def validate(self, *, body: bytes) -> dict[str, Any]:
        content = json.loads(body)["content"]
        metadata = yaml.safe_load(content.split("---")[1]) if content.startswith("---") else {}
        if not isinstance(metadata.get("tags", []), list):
            message = '"tags" must be an array'
            raise Answer(400, "Invalid metadata", errors=[{"message": message}])
        return {"warnings": [], "errors": []}

    def preupload(self, *, repo: str, revision: str, body: bytes) -> dict[str, Any]:
        there = self._branch(repo, revision)
        answers = []
        for file in json.loads(body)["files"]:
            is_binary = b"\0" in base64.b64decode(file["sample"])
            is_large = file["size"] > LARGE_BYTES
            answer = {
                "path": file["path"],
                "uploadMode": "lfs" if is_binary or is_large else "regular",
                "shouldIgnore": False,
            }
            if file["path"] in there:
                answer["oid"] = there[file["path"]].oid
            answers.append(answer)
        return {"files": answers}

    def xet_token(self, *, repo: str, revision: str, body: bytes) -> dict[str, Any]:
        self._branch(repo, revision)
        return {
            "accessToken": "of-xet",
            "exp": int(time.time()) + 3600,
            "casUrl": f"local://{self.storage}",
        }

    def batch(self, *, repo: str, body: bytes) -> dict[str, Any]:
        objects = []
        for asked in json.loads(body)["objects"]:
            actions = {"upload": {"href": f"{self.url}/lfs/{asked['oid']}"}}
            is_there = asked["oid"] in self.objects
            objects.append(asked if is_there else {**asked, "actions": actions})
        return {"transfer": "basic", "objects": objects}

    def put(self, *, oid: str, body: bytes) -> dict[str, Any]:
        if hashlib.sha256(body).hexdigest() != oid:
            raise Answer(400, "these bytes have another sha256")
        self.objects[oid] = body
        return {}

    def commit(self, *, repo: str, revision: str, body: bytes) -> dict[str, Any]:
        branch = self._branch(repo, revision)
        changed = dict(branch)
        for line in body.splitlines():
            key, value = (json.loads(line)[part] for part in ("key", "value"))
            if key == "header":
                self.repositories[repo].commits.append((value["summary"], revision))
            elif key == "file":
                content = base64.b64decode(value["content"])
                git = hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()
                changed[value["path"]] = File(content, git, len(content))
            elif key == "lfsFile":
                content = self.objects.get(value["oid"])
                changed[value["path"]] = File(content, value["oid"], value["size"])
            elif key == "deletedFile":
                del changed[value["path"]]
            else:
                raise Answer(400, f"unknown key {key}")
        branch.clear()
        branch.update(changed)
        sha = self.repositories[repo].sha
        return {"commitUrl": f"{self.url}/{repo}/commit/{sha}", "commitOid": sha}

    def resolve(self, *, repo: str, revision: str, path: str, body: bytes) -> bytes:
        files = self._branch(repo, revision)
        if path not in files:
            raise Answer(404, "Entry not found", "EntryNotFound")
        content = files[path].content
        assert content is not None, f"{path} is in xet"
        return content


MODELS = f"/api/models/{NAME}"
ROUTES: tuple[tuple[str, str, Callable[..., object]], ...] = (
    ("POST", "/api/repos/create", Hub.create),
    ("POST", "/api/validate-yaml", Hub.validate),
    ("GET", MODELS, Hub.info),
    ("GET", f"{MODELS}/revision/{REVISION}", Hub.info),
    ("GET", f"{MODELS}/tree/{REVISION}", Hub.tree),
    ("POST", f"{MODELS}/branch/{REVISION}", Hub.branch),
    ("POST", f"{MODELS}/preupload/{REVISION}", Hub.preupload),
    ("GET", f"{MODELS}/xet-write-token/{REVISION}", Hub.xet_token),
    ("POST", f"{MODELS}/commit/{REVISION}", Hub.commit),
    ("POST", rf"/{NAME}\.git/info/lfs/objects/batch", Hub.batch),
    ("PUT", "/lfs/(?P<oid>[0-9a-f]{64})", Hub.put),
    ("GET", f"/{NAME}/resolve/{REVISION}/(?P<path>.+)", Hub.resolve),
    ("HEAD", f"/{NAME}/resolve/{REVISION}/(?P<path>.+)", Hub.resolve),
)


@contextlib.contextmanager
def hub_api(storage: pathlib.Path) -> Iterator[Hub]:
    """Yields the server, which listens.

    Args:
        storage: an empty folder, for hf_xet.
    """
    port = free_port()
    hub = Hub(f"http://127.0.0.1:{port}", storage)

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        wbufsize = -1  # headers and body in one packet, see tests/cloud.py

        def _answer(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            status = 200
            try:
                content, headers = hub.answer(self.command, self.path, self.headers, body)
            except Answer as answer:
                status = answer.status
                content = json.dumps({"error": str(answer), **answer.more}).encode()
                headers = {"X-Error-Code": answer.code, "X-Error-Message": str(answer)}
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(content)

        do_GET = do_POST = do_PUT = do_HEAD = do_DELETE = _answer  # noqa: N815

        def log_message(self, *args: object) -> None:
            """Quiet."""

    server = http.server.ThreadingHTTPServer(("127.0.0.1", port), Handler)
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()


def from_xet(hub: Hub, original: pathlib.Path, target: pathlib.Path) -> bytes:
    """What hf_xet has stored of a file; it is found by the hash of the original.

    Args:
        hub: whose storage it is.
        original: the file that was pushed.
        target: gets what was stored.
    """
    import hf_xet

    (pointer,) = hf_xet.hash_files([str(original)])
    stored = hf_xet.XetFileInfo(pointer.hash, pointer.file_size)
    with hf_xet.XetSession().new_file_download_group(endpoint=f"local://{hub.storage}") as group:
        group.start_download_file(stored, str(target))
    return target.read_bytes()
