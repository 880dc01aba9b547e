"""Paths as someone has written them."""

import errno
import os
import pathlib

import pytest

from trainer.errors import ConfigError
from trainer.files import paths, storage


@pytest.fixture
def tree(tmp_path):
    for name in (
        "[v1] data/train-1.jsonl",
        "[v1] data/train-2.jsonl",
        "[v1] data/[x].jsonl",
        "v/other.jsonl",
        "sub/deep/a.tsv",
        "sub/.hidden/b.tsv",
        "c.tsv",
    ):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(name)
    return tmp_path


def names(tree, pattern):
    return [
        str(path.relative_to(tree))
        for path in storage.expand(f"{tree}/{pattern}", key="data.train")
    ]


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("[v1] data/train-*.jsonl", ["[v1] data/train-1.jsonl", "[v1] data/train-2.jsonl"]),
        (
            "[v1] data/*",
            ["[v1] data/[x].jsonl", "[v1] data/train-1.jsonl", "[v1] data/train-2.jsonl"],
        ),
        ("[v1] data/train-[2].jsonl", ["[v1] data/train-2.jsonl"]),
        ("[v1] data/[x].jsonl", ["[v1] data/[x].jsonl"]),
        ("[v1]/*", ["v/other.jsonl"]),
        ("[[]v1] data/*2*", ["[v1] data/train-2.jsonl"]),
        ("**/*.tsv", ["c.tsv", "sub/deep/a.tsv"]),
        ("sub/**", ["sub", "sub/deep", "sub/deep/a.tsv"]),
        ("sub/.h*/*", ["sub/.hidden/b.tsv"]),
        ("*/deep/?.tsv", ["sub/deep/a.tsv"]),
    ],
)
def test_a_part_that_exists_is_a_name_and_the_rest_a_glob(tree, pattern, expected):
    assert names(tree, pattern) == expected


@pytest.mark.parametrize(
    "pattern",
    [
        "*",
        "**",
        "**/*.tsv",
        "*/*",
        "v*/*",
        "sub/**/a.tsv",
        "[!v]*/**",
        "?.tsv",
        "**/deep/**",
        "no*/x",
        "c.tsv/*",
    ],
)
def test_other_globs_name_what_pythons_do(tree, pattern):
    import glob

    expected = sorted(
        {
            pathlib.Path(name)
            for name in glob.glob(f"{glob.escape(str(tree))}/{pattern}", recursive=True)
        }
    )
    assert paths.matching(tree / pattern, key="x") == expected


def test_links_in_a_circle_are_entered_once(tree):
    (tree / "sub" / "up").symlink_to(tree)
    (tree / "sub" / "again").symlink_to(tree / "sub")
    (tree / "sub" / "deep" / "top").symlink_to(tree)
    assert names(tree, "**/*.tsv") == ["c.tsv", "sub/deep/a.tsv"]


def refusal(path, reader=storage.expand, key="data.train"):
    with pytest.raises(ConfigError) as caught:
        reader(str(path), key=key)
    assert len(str(caught.value)) < 600 and "\0" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize(
    ("reader", "key"), [(storage.expand, "data.train"), (storage.local_folder, "backbone.weights")]
)
def test_paths_that_cannot_be_are_one_message(tmp_path, monkeypatch, reader, key):
    said = refusal("~nosuchuser/data", reader, key)
    assert said.startswith(
        f"{key}: there is no user 'nosuchuser' on this machine, so that '~nosuchuser/data' names no"
        " folder. Write the whole path;"
    )
    said = refusal(f"{tmp_path}/{'x' * 300}/y", reader, key)
    assert (
        "cannot be used: File name too long. A name has 255 bytes at most; one of this path has"
        " 300." in said
    )
    assert (
        refusal("a\0b", reader, key) == f"{key}: a path has no NUL character. Received 'a\\x00b'."
    )
    assert (
        "is not UTF-8, so that no config can hold it. Rename the file, or name it by a glob:"
        " 'caf?'." in refusal("caf\udce9", reader, key)
    )
    (tmp_path / "a").symlink_to(tmp_path / "b")
    (tmp_path / "b").symlink_to(tmp_path / "a")
    assert (
        "cannot be used: Too many levels of symbolic links. Its symbolic links lead in a circle"
        in refusal(tmp_path / "a", reader, key)
    )
    (tmp_path / "dangling").symlink_to("nowhere")
    assert f"'{tmp_path}/dangling' is a link to 'nowhere', where nothing is." in refusal(
        tmp_path / "dangling", reader, key
    )


def test_a_folder_that_may_not_be_entered_is_named(tmp_path, monkeypatch):
    def stat(path, **_):
        raise PermissionError(errno.EACCES, "Permission denied", str(path))

    (tmp_path / "closed").mkdir()
    monkeypatch.setattr(os, "access", lambda path, mode: pathlib.Path(path) != tmp_path / "closed")
    with monkeypatch.context() as patch, pytest.raises(ConfigError) as caught:
        patch.setattr(os, "stat", stat)
        paths.refuse_unusable(tmp_path / "closed" / "x" / "y", key="data.train")
    assert (
        str(caught.value)
        == f"data.train: '{tmp_path}/closed/x/y' cannot be used: Permission denied. You may not"
        f" enter '{tmp_path}/closed': ask its owner, or copy the files to a folder of yours."
    )


def test_files_whose_names_are_not_utf8_are_found_by_a_glob(tmp_path):
    name = os.fsdecode(b"caf\xe9.tsv")
    (tmp_path / name).write_text("x")
    assert names(tmp_path, "caf?.tsv") == [name]


def test_a_cache_of_nobody(tmp_path):
    from trainer.files import mirror

    with pytest.raises(ConfigError, match=r"data.cache_dir: there is no user 'nosuchuser'"):
        mirror.use_cache("~nosuchuser/cache")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("data/train.jsonl", "data/train.jsonl"),
        ("./data//a/../train-*.jsonl", "data/train-*.jsonl"),
        ("HERE/data", "data"),
        ("HERE", "."),
        ("HERE-other/data", "…/data"),
        ("../up/train.jsonl", "…/train.jsonl"),
        ("/home/anna/train.jsonl", "…/train.jsonl"),
        ("~/train.jsonl", "…/train.jsonl"),
        ("file:///home/anna/train.jsonl", "…/train.jsonl"),
        ("hf://org/name@v1", "hf://org/name@v1"),
        ("gs://bucket/data/*.jsonl", "gs://bucket/data/*.jsonl"),
        ("pkg://module/folder", "pkg://module/folder"),
    ],
)
def test_a_path_that_others_may_read(text, told, tmp_path, monkeypatch):
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    assert paths.shareable(text.replace("HERE", str(tmp_path / "here"))) == told


def test_below_the_root_all_paths_are_shortened(monkeypatch):
    """A container's working directory may be /, and everything lies below that."""
    monkeypatch.chdir("/")
    assert paths.shareable("/home/anna/train.jsonl") == "…/train.jsonl"
