"""A preemption notice of a Google machine is as good as SIGTERM."""

import http.server
import threading
import time

import pytest

from tests import toy
from trainer.console.stopping import metadata_host


class Metadata(http.server.BaseHTTPRequestHandler):
    """The machine's metadata server, as far as it is asked; `values` may change while a request
    waits.
    """

    values: dict[str, str]
    asked: list[str]

    def do_GET(self):
        path, _, query = self.path.removeprefix("/computeMetadata/v1/").partition("?")
        assert self.headers["Metadata-Flavor"] == "Google"
        self.asked.append(self.path)
        before = self.values.get(path)
        while "wait_for_change=true" in query and self.values.get(path) == before:
            time.sleep(0.01)
        self.send_response(200 if path in self.values else 404)
        self.send_header("ETag", "1")
        self.end_headers()
        self.wfile.write(self.values.get(path, "").encode())

    def log_message(self, *_):
        pass


@pytest.fixture
def metadata():
    handler = type("Handler", (Metadata,), {"values": {"instance/preempted": "FALSE"}, "asked": []})
    server = http.server.ThreadingHTTPServer(("localhost", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()


@pytest.mark.heavy
def test_a_preemption_notice_saves_a_checkpoint_and_exits_with_143(metadata, launcher, tmp_path):
    config = toy.write_config(
        tmp_path,
        toy.write_checkpoint(tmp_path / "weights", layers=1),
        toy.write_sentences(tmp_path / "train.jsonl", 60),
        train={"steps": 100_000, "checkpoint_every_steps": 100_000},
    )
    job = tmp_path / "job"
    environment = {"GCE_METADATA_HOST": f"localhost:{metadata.server_port}"}
    launcher.start(
        f"--config={config}", f"--job_dir={job}", log=tmp_path / "log", environment=environment
    )
    while (
        not (job / "metrics.jsonl").exists()
        or len((job / "metrics.jsonl").read_bytes().splitlines()) < 3
    ):
        time.sleep(0.01)
    metadata.RequestHandlerClass.values["instance/preempted"] = "TRUE"
    assert launcher.wait() == 143
    assert "the checkpoint is written, start again to go on" in (tmp_path / "log").read_text()
    assert len(list(job.glob("checkpoints/step_*/state.json"))) == 1
    assert any(
        "instance/preempted?wait_for_change=true" in path
        for path in metadata.RequestHandlerClass.asked
    )
    again = [path for path in metadata.RequestHandlerClass.asked if "maintenance" in path]
    assert again == ["/computeMetadata/v1/instance/maintenance-event"]  # 404: not asked again


@pytest.mark.heavy
def test_maintenance_stops_a_run_when_it_is_announced_and_not_the_run_that_is_started_after(
    metadata, launcher, tmp_path
):
    values = metadata.RequestHandlerClass.values
    values |= {"instance/maintenance-event": "TERMINATE_ON_HOST_MAINTENANCE"}
    config = toy.write_config(
        tmp_path,
        toy.write_checkpoint(tmp_path / "weights", layers=1),
        toy.write_sentences(tmp_path / "train.jsonl", 60),
        train={"steps": 100_000, "checkpoint_every_steps": 100_000},
    )
    job = tmp_path / "job"
    launcher.start(
        f"--config={config}",
        f"--job_dir={job}",
        log=tmp_path / "log",
        environment={"GCE_METADATA_HOST": f"localhost:{metadata.server_port}"},
    )
    while (
        not (job / "metrics.jsonl").exists()
        or len((job / "metrics.jsonl").read_bytes().splitlines()) < 10
    ):
        time.sleep(0.01)
    values["instance/maintenance-event"] = "NONE"
    time.sleep(0.5)
    values["instance/maintenance-event"] = "TERMINATE_ON_HOST_MAINTENANCE"
    assert launcher.wait() == 143
    assert "the checkpoint is written, start again to go on" in (tmp_path / "log").read_text()


def test_elsewhere_nobody_is_asked(monkeypatch):
    monkeypatch.delenv("GCE_METADATA_HOST", raising=False)
    monkeypatch.setenv("NO_GCE_CHECK", "true")
    assert metadata_host() is None
    monkeypatch.setenv("GCE_METADATA_HOST", "here:1")
    assert metadata_host() == "here:1"
