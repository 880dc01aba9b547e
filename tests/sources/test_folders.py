import os

import pytest
from pydantic import ValidationError

from trainer.errors import ConfigError, DataError
from trainer.sources import Origin, folders, open_source


@pytest.fixture
def root(tmp_path):
    root = tmp_path / "data"
    texts = {
        "tech/b.txt": "two",
        "tech/a.txt": "\ufeffone\r\n",
        "tech/more/c.txt": "three",
        "art/x.md": "四",
        "art/y.txt": "",
    }
    others = dict.fromkeys(
        ["tech/.hidden", "tech/.git/x", ".cache/x", "__pycache__/x", "README"], "no"
    )
    for name, content in (texts | others).items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode())
    return root


def source(root, **settings):
    return open_source(folders.Settings(train=str(root), **settings), "train", str(root))


def test_each_file_is_an_example_of_its_folder(root):
    examples = list(source(root).examples())
    assert [tuple(example.features.values()) for example in examples] == [
        ("四", "art"),
        ("", "art"),
        ("one\r\n", "tech"),
        ("two", "tech"),
        ("three", "tech"),
    ]
    assert examples[0].features == {"text": "四", "label": "art"}
    assert examples[2].origin == Origin(str(root / "tech" / "a.txt"), 0) and str(
        examples[2].origin
    ) == str(root / "tech" / "a.txt")


def test_names_and_pattern(root):
    examples = list(source(root, text=["body"], label="topic", pattern="*.txt").examples())
    assert len(examples) == 4 and examples[0].features == {"body": "", "topic": "art"}


def test_progress_and_size(root):
    texts = source(root)
    seen = [texts.progress() for _ in texts.examples()]
    assert seen == [3, 3, 11, 14, 19] and texts.size() == 19


def test_streams(root):
    """A bad file later on is not met before it is asked for."""
    (root / "tech" / "z.txt").write_bytes(b"\xff")
    assert next(source(root).examples()).features["text"] == "四"


def test_class_folders_may_be_links(root, tmp_path):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "a.txt").write_text("linked")
    (root / "zoo").symlink_to(tmp_path / "elsewhere")
    assert list(source(root).examples())[-1].features == {"text": "linked", "label": "zoo"}


def test_bytes_that_are_not_utf8(root):
    (root / "tech" / "z.txt").write_bytes("Mutu, a £15.8m signing".encode("cp1252"))
    with pytest.raises(DataError) as caught:
        list(source(root).examples())
    for part in (
        f"{root}/tech/z.txt: not UTF-8: byte 0xa3 at byte 8 of the file",
        "iconv -f WINDOWS-1252",
        "data.fallback_encoding: WINDOWS-1252",
    ):
        assert part in str(caught.value)
    examples = list(source(root, fallback_encoding="windows-1252").examples())
    assert (
        examples[-1].features["text"] == "three"
        and examples[-2].features["text"] == "Mutu, a £15.8m signing"
    )
    assert examples[0].features["text"] == "四"  # UTF-8 comes first
    with pytest.raises(DataError, match=r"neither UTF-8 nor data.fallback_encoding: ascii"):
        list(source(root, fallback_encoding="ascii").examples())
    for name in ("utf-9", "rot13"):
        with pytest.raises(ValidationError, match=rf"unknown encoding '{name}'"):
            folders.Settings(train="x", fallback_encoding=name)
    folders.Settings(train="x", fallback_encoding="utf-16")


def test_folders_without_classes(root):
    with pytest.raises(
        DataError,
        match=r"data.train: expected a folder for each class in .*/tech/more, found none \(1 files",
    ):
        source(root / "tech" / "more")


def test_an_empty_class_folder(root):
    (root / "void" / "nested").mkdir(parents=True)
    with pytest.raises(
        DataError,
        match=(
            r"class folder .*/void holds no file that matches data.pattern: '\*'.*Remove the folder"
        ),
    ):
        source(root)
    (root / "void").rename(root / ".void")
    with pytest.raises(
        DataError, match=r"class folder .*/tech holds no file that matches data.pattern: '\*.md'"
    ):
        source(root, pattern="*.md")


def test_specs_that_are_refused(root):
    with pytest.raises(ConfigError, match=r"data.train: there is no file or folder .*Did you mean"):
        source(root.parent / "dat")
    with pytest.raises(
        ConfigError, match=r"expected one folder that holds the class folders, .* names no folder"
    ):
        source(root / "README")
    with pytest.raises(ConfigError, match=r"names 2 folders: .*art, .*tech. Give the folder above"):
        source(root / "[at]*")
    with pytest.raises(
        ConfigError, match=r"data.text: .*one text a file, got two fields: \['a', 'b'\]"
    ):
        source(root, text=["a", "b"])
    with pytest.raises(ConfigError, match=r"data.label: .*same name, 'text'"):
        source(root, label="text")


def test_the_fingerprint(root):
    first = source(root).fingerprint()
    moved = root.rename(root.parent / "moved")
    assert source(moved).fingerprint() == first
    assert (
        len(
            {
                first,
                source(moved, pattern="*.txt").fingerprint(),
                source(moved, fallback_encoding="gb18030").fingerprint(),
                source(moved, text="body").fingerprint(),
            }
        )
        == 4
    )
    (moved / "tech" / "b.txt").rename(moved / "art" / "b.txt")
    assert source(moved).fingerprint() != first


def test_a_class_folder_whose_name_is_not_utf8_and_what_is_no_file(root):
    (root / "art" / "pipe").unlink(missing_ok=True)
    os.mkfifo(root / "art" / "pipe")
    with pytest.raises(
        DataError, match=r"data.train: .*art/pipe is a pipe, and data is read more than once"
    ):
        source(root).fingerprint()
    (root / "art" / "pipe").unlink()
    os.mkdir(os.fsencode(root) + b"/caf\xe9")
    with pytest.raises(
        DataError,
        match=(
            r"the name of the class folder '.*caf\\udce9' is not UTF-8, and names the label."
            r" Rename it."
        ),
    ):
        source(root)


def test_a_folder_that_cannot_be_listed_is_told(root, monkeypatch):

    def scandir(path):
        if str(path).endswith("more"):
            raise PermissionError(13, "Permission denied", str(path))
        return real(path)

    real = os.scandir
    monkeypatch.setattr(os, "scandir", scandir)
    with pytest.raises(
        DataError,
        match=(
            r"tech/more: cannot be read: Permission denied. Check that it exists and that you may"
            r" read it."
        ),
    ):
        list(source(root).examples())
