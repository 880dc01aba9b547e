"""The files of a job_dir: a changed one is noticed, and a kill between two writes is no change."""

import os
import pathlib

import pytest

from trainer.files import noted_files
from trainer.files.checksums import DamagedError
from trainer.files.noted_files import NotedFiles


class Killed(BaseException):
    """As SIGKILL: nothing is tidied up."""


def write(folder, **contents):
    NotedFiles(folder).write({f"{name}.json": text for name, text in contents.items()})


def test_what_is_written_is_read_and_whole(tmp_path):
    write(tmp_path, a="1", b="2")
    files = NotedFiles(tmp_path)
    assert (files.read("a.json"), files.read("b.json"), files.changed(), files.problem()) == (
        "1",
        "2",
        [],
        None,
    )
    assert files.read("never.json") is None
    assert sorted(os.listdir(tmp_path)) == [".checksums.json", "a.json", "b.json"]


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda file: file.write_text("12"), r"a\.json is damaged \(2 bytes instead of 1\)"),
        (lambda file: file.write_text("7"), "the checksum differs"),
        (lambda file: file.unlink(), r"a\.json is missing\."),
        (lambda file: file.write_text(""), "0 bytes instead of 1"),
    ],
)
def test_a_changed_file_is_noticed_until_it_is_written_again(tmp_path, spoil, said):
    write(tmp_path, a="1", b="2")
    NotedFiles(tmp_path).settle()
    spoil(tmp_path / "a.json")
    write(tmp_path, b="3")
    NotedFiles(tmp_path).settle()  # which does not take damage for what should be
    with pytest.raises(DamagedError, match=said):
        NotedFiles(tmp_path).read("a.json")
    assert [error.path.name for error in NotedFiles(tmp_path).changed()] == ["a.json"]
    write(tmp_path, a="1")
    assert NotedFiles(tmp_path).read("a.json") == "1" and not NotedFiles(tmp_path).changed()


def instants(monkeypatch, limit):
    """Lets `limit` writes happen, then kills."""
    count = [0]

    def counted(real):
        def call(path, *content):
            if count[0] == limit:
                raise Killed
            count[0] += 1
            real(path, *content)

        return call

    for name in ("write_text", "write_sealed"):
        monkeypatch.setattr(noted_files, name, counted(getattr(noted_files, name)))


@pytest.mark.heavy
def test_a_kill_between_any_two_writes_refuses_nothing(tmp_path, monkeypatch):
    """Two runs, killed after so many writes and then so many: all that is there is read."""
    for first in range(9):
        for second in range(9):
            folder = tmp_path / f"{first} {second}"
            folder.mkdir()
            for limit, text in ((first, "one"), (second, "two")):
                with monkeypatch.context() as patched:
                    instants(patched, limit)
                    try:
                        files = NotedFiles(folder)
                        files.note_config({"a": {"b": text}})
                        files.write({"data": "the same", "vocabulary": text})
                        files.write({"results": text})
                        files.settle()
                    except Killed:
                        pass
                assert NotedFiles(folder).changed() == []
                for name in ("data", "vocabulary", "results"):
                    assert NotedFiles(folder).read(name) in (None, "one", "two", "the same")
            NotedFiles(folder).write(
                {"data": "the same", "vocabulary": "three", "results": "three"}
            )
            NotedFiles(folder).settle()
            assert (
                NotedFiles(folder).changed() == []
                and NotedFiles(folder).read("vocabulary") == "three"
            )


def test_after_the_last_write_only_what_was_written_will_do(tmp_path):
    write(tmp_path, a="1")
    write(tmp_path, a="2")
    files = NotedFiles(tmp_path)
    (tmp_path / "a.json").write_text("1")
    assert files.read("a.json") == "1"  # as if a kill had come before the second write
    (tmp_path / "a.json").write_text("2")
    files.settle()
    (tmp_path / "a.json").write_text("1")
    with pytest.raises(DamagedError):
        files.read("a.json")


@pytest.mark.parametrize(
    "spoil",
    [
        lambda file: file.unlink(),
        lambda file: file.write_text("{}"),
        lambda file: file.write_bytes(b"\xff\xfe"),
    ],
)
def test_without_the_checksums_nothing_is_refused_and_the_problem_is_known(tmp_path, spoil):
    write(tmp_path, a="1")
    NotedFiles(tmp_path).note_config({"train": {"seed": 1}})
    spoil(tmp_path / ".checksums.json")
    files = NotedFiles(tmp_path)
    assert str(tmp_path / ".checksums.json") in str(files.problem())
    assert files.read("a.json") == "1" and files.known_config() is None and files.changed() == []
    write(tmp_path, a="2")
    assert files.problem() is None and files.read("a.json") == "2"


def test_the_config_is_known_whatever_becomes_of_its_file(tmp_path):
    files = NotedFiles(tmp_path)
    assert files.known_config() is None
    files.note_config({"train": {"seed": 1, "betas": [0.1, None]}})
    write(tmp_path, a="1")
    assert NotedFiles(tmp_path).known_config() == {"train": {"seed": 1, "betas": [0.1, None]}}


def test_a_file_that_is_as_it_should_be_is_left_alone(tmp_path, monkeypatch):
    write(tmp_path, a="1")
    NotedFiles(tmp_path).settle()
    before = {file.name: file.stat().st_mtime_ns for file in pathlib.Path(tmp_path).iterdir()}
    write(tmp_path, a="1")
    NotedFiles(tmp_path).settle()
    assert before == {
        file.name: file.stat().st_mtime_ns for file in pathlib.Path(tmp_path).iterdir()
    }
