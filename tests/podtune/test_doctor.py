"""`podtune doctor`."""

from __future__ import annotations

import importlib.metadata
import json
import socket

import pytest
from packaging.requirements import Requirement

from podtune import doctor, self_test
from trainer import __version__


@pytest.fixture
def nothing_reached(monkeypatch):
    """Every place is a port of this machine that nobody listens at."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        for variable, _ in doctor.PLACES.values():
            monkeypatch.setenv(variable, f"http://127.0.0.1:{taken.getsockname()[1]}")
        yield


def report(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, dict[str, dict]]:
    code = doctor.run([*arguments, "--json"])
    found = json.loads(capsys.readouterr().out)
    return code, {finding["about"]: finding for finding in found}


@pytest.mark.heavy
def test_it_says_what_a_bug_report_needs(capsys, nothing_reached, monkeypatch):
    monkeypatch.setenv("XLA_FLAGS", "--xla_x=1")
    code, found = report(capsys, "--quick")
    assert code == 0
    assert found["podtune"]["says"] == __version__
    assert found["tensorflow"]["says"] == importlib.metadata.version("tensorflow")
    assert "CPU" in found["devices"]["says"]
    assert found["XLA_FLAGS"]["says"] == "--xla_x=1"
    assert found["Hugging Face hub"]["says"].startswith("not reached: ")
    assert "podtune submit" in found["extra vertex"]["says"]
    assert found["extra gpu"]["says"].startswith("not there; pip install 'podtune[gpu]'")
    assert not any(about.startswith("self-test") for about in found)


def test_a_place_that_answers_is_told(capsys, monkeypatch):
    with socket.create_server(("127.0.0.1", 0)) as server:
        import threading

        def answer() -> None:
            while True:
                try:
                    connection, _ = server.accept()
                except OSError:
                    return
                with connection:
                    connection.recv(1000)
                    connection.sendall(b"HTTP/1.0 404 Not Found\r\n\r\n")

        threading.Thread(target=answer, daemon=True).start()
        for variable, _ in doctor.PLACES.values():
            monkeypatch.setenv(variable, f"http://127.0.0.1:{server.getsockname()[1]}")
        places = [finding.says for finding in doctor._reach()]
    assert all(said.startswith("answers, ") for said in places)
    assert len(places) == len(doctor.PLACES)


def test_versions_that_were_not_tried_are_problems(monkeypatch):
    monkeypatch.setattr(
        doctor,
        "_requirements",
        lambda: [Requirement("numpy>=99"), Requirement("no-such-package>=1,<2")],
    )
    old, missing = doctor._packages()
    assert old.problem == "tried with >=99: pip install 'numpy>=99'"
    assert missing.problem == "missing: pip install 'no-such-package<2,>=1'"


def test_a_problem_is_an_exit_code(capsys, monkeypatch):
    broken = [doctor.Finding("numpy", "0.1", "tried with >=1")]
    monkeypatch.setattr(doctor, "_findings", lambda *, quick: iter(broken))
    assert doctor.run([]) == 2
    blanks = " " * doctor.COLUMN
    assert capsys.readouterr().out == f"{'numpy':<29}0.1\n{blanks}! tried with >=1\n"


@pytest.mark.slow
def test_the_self_test_trains_exports_and_asks():
    parts = list(self_test.self_test())
    assert [(part.name, part.problem) for part in parts] == [
        ("train and export", ""),
        ("predict", ""),
    ]


def test_a_part_that_fails_says_why(monkeypatch):
    monkeypatch.setattr(self_test, "EXAMPLES", 0)
    (part,) = self_test.self_test()
    assert part.problem.startswith("exit code 2: ")
    assert "error: data.train = texts.tsv: no examples." in part.problem
