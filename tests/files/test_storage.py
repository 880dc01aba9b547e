import json
import os
import pathlib
import resource
import subprocess
import sys
import types

import numpy as np
import pytest

from trainer.errors import ConfigError, JobDirError
from trainer.files import storage

ROOT = pathlib.Path(storage.__file__).parent.parent


@pytest.fixture
def package(tmp_path, monkeypatch):
    """An importable package `toy_weights` with a folder; importing it fails, so nothing may."""
    folder = tmp_path / "site" / "toy_weights" / "inner" / "model"
    folder.mkdir(parents=True)
    (folder / "config.json").write_text("{}")
    for module in ("toy_weights", "toy_weights/inner"):
        (tmp_path / "site" / module / "__init__.py").write_text("raise RuntimeError('executed')")
    (tmp_path / "site" / "toy_single.py").write_text("")
    monkeypatch.syspath_prepend(tmp_path / "site")
    return folder


def message(error, call, *arguments, **keywords):
    with pytest.raises(error) as caught:
        call(*arguments, **keywords)
    return str(caught.value)


def test_local_folder_is_taken_as_it_is(tmp_path):
    assert storage.local_folder(str(tmp_path)) == tmp_path


def test_package_folders_are_found_without_executing_the_package(package):
    assert storage.local_folder("pkg://toy_weights/inner/model") == package
    assert storage.local_folder("pkg://toy_weights.inner/model") == package
    assert storage.local_folder("pkg://toy_weights/inner/model/") == package
    assert storage.expand("pkg://toy_weights/**/*.json", key="data.train") == [
        package / "config.json"
    ]
    assert "toy_weights" not in sys.modules


@pytest.mark.parametrize(
    ("path", "parts"),
    [
        (
            "pkg://toy_weigths/inner/model",
            [
                "backbone.weights",
                "'toy_weigths'",
                "Did you mean pkg://toy_weights/inner/model?",
                "pip install toy-weigths",
            ],
        ),
        ("pkg://not_there_at_all.x/y", ["'not_there_at_all.x'", "pip install not-there-at-all"]),
        ("pkg:///model", ["pip install NAME"]),
        ("pkg://__main__/model", ["'__main__'"]),
        ("pkg://toy_single/model", ["'toy_single'", "single-file module", "Name a package"]),
        (
            "pkg://toy_weights/inner/modle",
            ["no folder 'pkg://toy_weights/inner/modle'", "Did you mean", "inner/model?"],
        ),
        (
            "pkg://toy_weights/inner/model/config.json",
            ["is a file", "Give the folder that holds it", "inner/model"],
        ),
        ("s3://bucket/model", ["unknown scheme s3://", "Expected a local path", "hf://"]),
        ("", ["backbone.weights", "empty"]),
        ("hf://a/b/c", ["expected hf://org/name", "'hf://a/b/c'"]),
    ],
)
def test_a_folder_that_is_not_there(package, path, parts):
    text = message(ConfigError, storage.local_folder, path)
    for part in parts:
        assert part in text


def test_a_missing_folder_names_what_is_there(tmp_path, monkeypatch):
    (tmp_path / "minilm").mkdir()
    monkeypatch.chdir(tmp_path)
    assert "Did you mean minilm?" in message(ConfigError, storage.local_folder, "minilmm/model")
    text = message(ConfigError, storage.local_folder, "xyz")
    assert f"no folder 'xyz' in {tmp_path}" in text and "holds: minilm." in text
    assert "is empty" in message(ConfigError, storage.local_folder, "minilm/model")


@pytest.fixture
def hub(monkeypatch):
    """Stands in for huggingface_hub; `hub.answer` is returned or raised."""
    fake = types.ModuleType("huggingface_hub")
    fake.calls = []

    def snapshot_download(name, **keywords):
        fake.calls.append((name, keywords))
        if isinstance(fake.answer, Exception):
            raise fake.answer
        return fake.answer

    fake.snapshot_download = snapshot_download
    monkeypatch.setitem(sys.modules, "huggingface_hub", fake)
    return fake


def test_hub_names_and_revisions(hub, tmp_path):
    hub.answer = str(tmp_path)
    assert storage.local_folder("hf://org/name@v1.0") == tmp_path
    storage.local_folder("hf://org/name")
    assert [(name, keywords["revision"]) for name, keywords in hub.calls] == [
        ("org/name", "v1.0"),
        ("org/name", None),
    ]
    assert hub.calls[0][1]["allow_patterns"] == ["*.json", "*.txt", "*.model", "*.safetensors"]


@pytest.mark.parametrize(
    ("name", "base", "parts"),
    [
        (
            "RepositoryNotFoundError",
            OSError,
            ["no such repository", "https://huggingface.co/org/name", "hf auth login"],
        ),
        (
            "GatedRepoError",
            OSError,
            ["access has to be asked for", "https://huggingface.co/org/name"],
        ),
        ("RevisionNotFoundError", OSError, ["no branch, tag or commit 'v1'", "tree/main"]),
        (
            "LocalEntryNotFoundError",
            OSError,
            ["cannot be reached", "hf download org/name --local-dir"],
        ),
        (
            "OfflineModeIsEnabled",
            OSError,
            ["cannot be reached", "hf download org/name --local-dir"],
        ),
        ("ReadTimeout", OSError, ["the download failed: first line.", "Try again"]),
        ("HFValidationError", ValueError, ["the download failed: first line."]),
    ],
)
def test_hub_refusals(hub, name, base, parts):
    hub.answer = type(name, (base,), {})("first line\nsecond line")
    text = message(ConfigError, storage.local_folder, "hf://org/name@v1")
    assert "backbone.weights: 'hf://org/name@v1'" in text and "second line" not in text
    for part in parts:
        assert part in text


def test_the_names_of_the_hubs_errors_are_right():
    errors = pytest.importorskip("huggingface_hub.errors")
    for name in (
        "RepositoryNotFoundError",
        "GatedRepoError",
        "RevisionNotFoundError",
        "LocalEntryNotFoundError",
        "OfflineModeIsEnabled",
    ):
        assert issubclass(getattr(errors, name), OSError)
    assert issubclass(errors.HFValidationError, ValueError)


def test_without_the_hubs_client(monkeypatch):
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    assert "pip install huggingface_hub" in message(
        ConfigError, storage.local_folder, "hf://org/name"
    )


def test_expand_sorts_and_recurses(tmp_path):
    for name in ("b.tsv", "a.tsv", "sub/c.tsv", ".hidden.tsv", "[x].tsv"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("")

    def names(pattern):
        return [
            str(path.relative_to(tmp_path))
            for path in storage.expand(str(tmp_path / pattern), key="data.train")
        ]

    assert names("*.tsv") == ["[x].tsv", "a.tsv", "b.tsv"]
    assert names("**/?.tsv") == ["a.tsv", "b.tsv", "sub/c.tsv"]
    assert names("[ab].tsv") == ["a.tsv", "b.tsv"]
    assert names("[x].tsv") == ["[x].tsv"]  # a file of that very name
    assert names("sub") == ["sub"]


def test_expand_keeps_relative_paths_relative(tmp_path, monkeypatch):
    (tmp_path / "a.tsv").write_text("")
    monkeypatch.chdir(tmp_path)
    assert storage.expand("a.tsv", key="data.train") == [pathlib.Path("a.tsv")]
    assert storage.expand("*.tsv", key="data.train") == [pathlib.Path("a.tsv")]


def test_a_missing_file_and_a_glob_without_a_match_differ(tmp_path):
    (tmp_path / "train.tsv").write_text("")
    missing = message(ConfigError, storage.expand, f"{tmp_path}/trian.tsv", key="data.validation")
    assert (
        "data.validation: there is no file or folder" in missing
        and f"Did you mean {tmp_path}/train.tsv?" in missing
    )
    unmatched = message(ConfigError, storage.expand, f"{tmp_path}/*.csv", key="data.train")
    assert (
        f"data.train: no file matches '{tmp_path}/*.csv'" in unmatched
        and "holds: train.tsv." in unmatched
    )
    assert f"Did you mean {tmp_path}" in message(
        ConfigError, storage.expand, f"{str(tmp_path)[:-1]}/*.csv", key="data.train"
    )
    assert "hf:// names weights" in message(
        ConfigError, storage.expand, "hf://org/name", key="data.train"
    )


def test_a_write_replaces_the_file_at_the_end(tmp_path):
    path = tmp_path / "new" / "file.txt"
    storage.write_text(path, "old\r\n…")
    assert path.read_bytes() == "old\r\n…".encode()
    with storage.atomic_write(path) as file:
        file.write("new")
        file.flush()
        assert path.read_bytes() == "old\r\n…".encode()
    assert path.read_text() == "new"
    assert os.listdir(path.parent) == ["file.txt"]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, FileNotFoundError])
def test_an_error_leaves_the_old_file_and_nothing_else(tmp_path, error):
    path = tmp_path / "file.bin"
    path.write_bytes(b"old")
    with pytest.raises(error), storage.atomic_write(path, "wb") as file:
        file.write(b"half")
        raise error("of the block's own")
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["file.bin"]


def test_a_symbolic_link_stays_one(tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "link.txt").symlink_to(tmp_path / "real" / "file.txt")
    storage.write_text(tmp_path / "link.txt", "x")
    assert (tmp_path / "link.txt").is_symlink() and (
        tmp_path / "real" / "file.txt"
    ).read_text() == "x"


def test_the_mode_follows_the_umask(tmp_path):
    old = os.umask(0o027)
    try:
        storage.write_text(tmp_path / "file.txt", "x")
    finally:
        os.umask(old)
    assert (tmp_path / "file.txt").stat().st_mode & 0o777 == 0o640


def test_a_disk_that_fills_up(tmp_path):
    """A real refusal by the kernel: a limit on the size of files, in a process of its own."""
    (tmp_path / "file.bin").write_bytes(b"old")
    program = f"""
from trainer.files import storage
try:
    with storage.atomic_write({str(tmp_path / "file.bin")!r}, "wb") as file:
        file.write(bytes(1 << 20))
except storage.JobDirError as error:
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
    text = message(JobDirError, storage.write_text, tmp_path / "file.txt", "x")
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
        JobDirError, storage.write_text, tmp_path / "file" / "x", ""
    )
    assert "There is a folder of that name" in message(
        JobDirError, storage.write_text, tmp_path / "folder", ""
    )
    assert os.listdir(tmp_path) in (["file", "folder"], ["folder", "file"])
    text = message(JobDirError, storage.probe_writable, tmp_path / "file")
    assert f"'{tmp_path / 'file'}'" in text and "give another folder" in text
    assert "cannot write" in message(JobDirError, storage.probe_writable, "/proc/job")
    assert "File name too long" in message(
        JobDirError, storage.probe_writable, tmp_path / ("n" * 300)
    )
    assert r"cannot write 'a\x00b': a name has no NUL character." in message(
        JobDirError, storage.probe_writable, "a\0b"
    )
    for path in ("s3://bucket/job", pathlib.Path("gs://bucket/job")):
        assert "expected a local path or gs://BUCKET/NAME." in message(
            JobDirError, storage.probe_writable, path
        )


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_without_permission(tmp_path):
    tmp_path.chmod(0o500)
    assert "Permission denied" in message(JobDirError, storage.probe_writable, tmp_path)
    assert "Permission denied" in message(JobDirError, storage.write_text, tmp_path / "x", "")


def test_the_probe_leaves_nothing(tmp_path):
    assert storage.probe_writable(str(tmp_path / "a" / "b")) == tmp_path / "a" / "b"
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
    storage.write_json(tmp_path / "x.json", value)
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
        TypeError, storage.write_json, tmp_path / "y.json", {"x": object()}
    )
    assert os.listdir(tmp_path) == ["x.json"]
