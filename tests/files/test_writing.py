import json
import os
import pathlib
import resource
import subprocess
import sys

import numpy as np
import pytest

from trainer.errors import JobDirError
from trainer.files import writing

ROOT = pathlib.Path(writing.__file__).parent.parent


def message(error, call, *arguments, **keywords):
    with pytest.raises(error) as caught:
        call(*arguments, **keywords)
    return str(caught.value)


def test_a_write_replaces_the_file_at_the_end(tmp_path):
    path = tmp_path / "new" / "file.txt"
    writing.write_text(path, "old\r\n…")
    assert path.read_bytes() == "old\r\n…".encode()
    with writing.atomic_write(path) as file:
        file.write("new")
        file.flush()
        assert path.read_bytes() == "old\r\n…".encode()
    assert path.read_text() == "new"
    assert os.listdir(path.parent) == ["file.txt"]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, FileNotFoundError])
def test_an_error_leaves_the_old_file_and_nothing_else(tmp_path, error):
    path = tmp_path / "file.bin"
    path.write_bytes(b"old")
    with pytest.raises(error), writing.atomic_write(path, "wb") as file:
        file.write(b"half")
        raise error("of the block's own")
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["file.bin"]


def test_a_symbolic_link_stays_one(tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "link.txt").symlink_to(tmp_path / "real" / "file.txt")
    writing.write_text(tmp_path / "link.txt", "x")
    assert (tmp_path / "link.txt").is_symlink() and (
        tmp_path / "real" / "file.txt"
    ).read_text() == "x"


def test_the_mode_follows_the_umask(tmp_path):
    old = os.umask(0o027)
    try:
        writing.write_text(tmp_path / "file.txt", "x")
    finally:
        os.umask(old)
    assert (tmp_path / "file.txt").stat().st_mode & 0o777 == 0o640


def test_a_disk_that_fills_up(tmp_path):
    """A real refusal by the kernel: a limit on the size of files, in a process of its own."""
    (tmp_path / "file.bin").write_bytes(b"old")
    program = f"""
from trainer.files import writing
try:
    with writing.atomic_write({str(tmp_path / "file.bin")!r}, "wb") as file:
        file.write(bytes(1 << 20))
except writing.JobDirError as error:
    print(error)
"""
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096)),
    )
    assert (
        f"cannot write '{tmp_path / 'file.bin'}'" in done.stdout and "File too large" in done.stdout
    )
    assert os.listdir(tmp_path) == ["file.bin"] and (tmp_path / "file.bin").read_bytes() == b"old"


def test_no_space_left_says_so(tmp_path, monkeypatch):
    def fsync(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", fsync)
    text = message(JobDirError, writing.write_text, tmp_path / "file.txt", "x")
    assert (
        str(tmp_path / "file.txt") in text
        and "No space left on device" in text
        and "Free some space" in text
    )
    assert os.listdir(tmp_path) == []


def test_places_that_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("")
    (tmp_path / "folder").mkdir()
    assert "A part of the path is a file" in message(
        JobDirError, writing.write_text, tmp_path / "file" / "x", ""
    )
    assert "There is a folder of that name" in message(
        JobDirError, writing.write_text, tmp_path / "folder", ""
    )
    assert os.listdir(tmp_path) in (["file", "folder"], ["folder", "file"])
    text = message(JobDirError, writing.probe_writable, tmp_path / "file")
    assert f"'{tmp_path / 'file'}'" in text and "give another folder" in text
    assert "cannot write" in message(JobDirError, writing.probe_writable, "/proc/job")
    assert "File name too long" in message(
        JobDirError, writing.probe_writable, tmp_path / ("n" * 300)
    )
    assert r"cannot write 'a\x00b': a name has no NUL character." in message(
        JobDirError, writing.probe_writable, "a\0b"
    )
    for path in ("s3://bucket/job", pathlib.Path("gs://bucket/job")):
        assert "expected a local path or gs://BUCKET/NAME." in message(
            JobDirError, writing.probe_writable, path
        )


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_without_permission(tmp_path):
    tmp_path.chmod(0o500)
    assert "Permission denied" in message(JobDirError, writing.probe_writable, tmp_path)
    assert "Permission denied" in message(JobDirError, writing.write_text, tmp_path / "x", "")


def test_the_probe_leaves_nothing(tmp_path):
    assert writing.probe_writable(str(tmp_path / "a" / "b")) == tmp_path / "a" / "b"
    assert os.listdir(tmp_path / "a" / "b") == []


def test_json_holds_what_json_can(tmp_path):
    value = {
        "accuracy": np.float32(0.5),
        "loss": float("nan"),
        "steps": np.int64(3),
        "counts": np.arange(2),
        "path": tmp_path,
        "text": "中文",
        "bad": "\udcff",
        1: (True, None),
        "float64": np.float64("inf"),
    }
    writing.write_json(tmp_path / "x.json", value)
    text = (tmp_path / "x.json").read_text(encoding="utf-8")
    assert json.loads(text) == {
        "accuracy": 0.5,
        "loss": None,
        "steps": 3,
        "counts": [0, 1],
        "path": str(tmp_path),
        "text": "中文",
        "bad": "\ufffd",
        "1": [True, None],
        "float64": None,
    }
    assert "中文" in text and text.endswith("}\n")
    assert "got object" in message(
        TypeError, writing.write_json, tmp_path / "y.json", {"x": object()}
    )
    assert os.listdir(tmp_path) == ["x.json"]
