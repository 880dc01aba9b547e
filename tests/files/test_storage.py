import pathlib
import sys
import types

import pytest

from trainer.errors import ConfigError
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
