"""A folder is replaced whole or not at all, and only where it is missing, empty or ours."""

import json
import os
import pathlib
import shutil
import subprocess
import sys

import pytest

from tests.toy import ROOT
from trainer.errors import JobDirError
from trainer.files import ownership, replacing
from trainer.files.replacing import replaced_folder


def export(folder, content="new", name="file"):
    with replaced_folder(folder) as new:
        (new / name).write_text(content)
    return folder


def refusal(folder):
    with pytest.raises(JobDirError) as caught:
        export(folder, "half")
    return str(caught.value)


def names(folder):
    return {
        str(path.relative_to(folder))
        for path in folder.rglob("*")
        if path.is_symlink() or not path.is_dir()
    }


@pytest.mark.parametrize("error", [ValueError, SystemExit, KeyboardInterrupt])
def test_a_folder_is_replaced_whole_or_not_at_all(tmp_path, error):
    folder = export(tmp_path / "model", "old")
    other = tmp_path / ".model.mine"
    other.mkdir()
    with pytest.raises(error), replaced_folder(folder) as new:
        (new / "file").write_text("half")
        raise error
    assert sorted(tmp_path.iterdir()) == [other, folder] and (folder / "file").read_text() == "old"
    export(folder, "new")
    assert sorted(tmp_path.iterdir()) == [other, folder] and (folder / "file").read_text() == "new"
    assert (
        names(folder) == {"file", ownership.MARKER}
        and folder.stat().st_mode & 0o777 == 0o777 & ~umask()
    )


def umask():
    mask = os.umask(0)
    os.umask(mask)
    return mask


def test_the_marker_names_what_was_written(tmp_path):
    export(tmp_path / "model", "content")
    noted = json.loads((tmp_path / "model" / ownership.MARKER).read_text())
    assert noted["files"] == {"file": {"bytes": 7, "crc32c": "Ya91Mw=="}}


@pytest.mark.parametrize(
    "prepare",
    [
        lambda folder: (folder / "thesis.txt").write_text("precious"),
        lambda folder: (folder / "a" / "b").mkdir(parents=True) or (folder / "a/b/c").touch(),
        lambda folder: (folder / "link").symlink_to("/etc"),
        lambda folder: os.mkfifo(folder / "pipe"),
        lambda folder: (folder / ".hidden").touch(),
        lambda folder: (
            (folder / ".partial.mine").mkdir() or (folder / ".partial.mine" / "notes").touch()
        ),
    ],
    ids=["file", "deep", "link", "pipe", "hidden", "named like unfinished work"],
)
@pytest.mark.parametrize("ours", [False, True])
def test_what_we_did_not_write_stays_and_is_named(tmp_path, prepare, ours):
    folder = tmp_path / "model"
    export(folder, "old") if ours else folder.mkdir()
    prepare(folder)
    before = names(folder)
    said = refusal(folder)
    (foreign,) = before - {"file", ownership.MARKER}
    assert (
        said
        == f"{folder} holds {foreign}, which podtune did not write: it is not replaced. Move it"
        " away, or give another --export.directory."
    )
    assert names(folder) == before and [path.name for path in tmp_path.iterdir()] == ["model"]


def test_a_file_of_ours_that_was_changed_since_stays(tmp_path):
    folder = export(tmp_path / "model", "old")
    (folder / "file").write_text("OLD")
    assert f"{folder}: file changed since podtune wrote this export" in refusal(folder)
    (folder / "file").write_text("longer")
    assert "holds file, which podtune did not write or that changed since" in refusal(folder)
    assert (folder / "file").read_text() == "longer"


def test_a_damaged_marker_makes_nothing_ours(tmp_path):
    folder = export(tmp_path / "model", "old")
    for content in ("", "[]", "{}", '{"files": 3}', '{"files": {"file": {"bytes": "x"}}}', "\x00"):
        (folder / ownership.MARKER).write_text(content)
        assert "holds file, which podtune did not write" in refusal(folder)


def test_what_the_system_leaves_is_no_ones(tmp_path):
    folder = export(tmp_path / "model", "old")
    for name in (".DS_Store", "Thumbs.db", ".nfs0001"):
        (folder / name).touch()
    (folder / "empty").mkdir()
    export(folder, "new")
    assert names(folder) == {"file", ownership.MARKER}


def test_many_names_are_counted(tmp_path):
    (tmp_path / "model").mkdir()
    for name in "edcba":
        (tmp_path / "model" / name).touch()
    assert "holds a, b, c and 2 more, which podtune did not write" in refusal(tmp_path / "model")


def test_a_folder_with_more_files_than_anyone_counts_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(ownership, "FILES_LOOKED_AT", 20)
    folder = export(tmp_path / "model")
    for number in range(40):
        (folder / f"{number:02d}").touch()
    assert "holds 00, 01, 02 and thousands more, which podtune did not write" in refusal(folder)


@pytest.mark.parametrize(
    ("make", "kind"),
    [
        (lambda path: path.write_text("x"), "a file"),
        (os.mkfifo, "a named pipe"),
        (lambda path: path.symlink_to("/dev/null"), "a device"),
    ],
)
def test_a_target_that_is_no_folder_is_refused(tmp_path, make, kind):
    make(tmp_path / "model")
    shown = "/dev/null" if kind == "a device" else tmp_path / "model"
    assert (
        refusal(tmp_path / "model")
        == f"{shown} is {kind}, and a folder is to be written there. Move it away, or give another"
        " --export.directory."
    )
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


def test_a_symbolic_link_stays_one(tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "model").symlink_to("real")
    for content in ("old", "new"):
        export(tmp_path / "model", content)
    assert (tmp_path / "model").is_symlink() and (tmp_path / "real" / "file").read_text() == "new"
    (tmp_path / "later").symlink_to("not_there_yet")
    export(tmp_path / "later")
    assert (tmp_path / "later").is_symlink() and (
        tmp_path / "not_there_yet" / "file"
    ).read_text() == "new"
    (tmp_path / "real" / "notes").write_text("precious")
    assert f"{tmp_path / 'real'} holds notes" in refusal(tmp_path / "model")


def test_what_comes_while_the_new_one_is_written_stays(tmp_path):
    folder = export(tmp_path / "model", "old")
    with (
        pytest.raises(JobDirError, match="holds notes, which podtune did not write"),
        replaced_folder(folder) as new,
    ):
        (new / "file").write_text("new")
        (folder / "notes").write_text("precious")
    assert (folder / "file").read_text() == "old" and (folder / "notes").read_text() == "precious"


def test_of_two_at_once_the_second_says_so(tmp_path):
    with (
        pytest.raises(JobDirError, match=r"model: another process has written there meanwhile\."),
        replaced_folder(tmp_path / "model") as new,
    ):
        (new / "file").write_text("first to begin")
        export(tmp_path / "model", "first to end")
    assert (tmp_path / "model" / "file").read_text() == "first to end" and [
        path.name for path in tmp_path.iterdir()
    ] == ["model"]


def test_a_folder_is_there_also_when_its_replacement_is_stopped_between_two_renames(
    tmp_path, monkeypatch
):
    folder = export(tmp_path / "model", "old")
    rename = pathlib.Path.rename

    def stop(path, target):
        if path.name == "new":
            raise SystemExit(143)
        rename(path, target)

    monkeypatch.setattr(pathlib.Path, "rename", stop)
    with pytest.raises(SystemExit):
        export(folder, "new")
    assert (folder / "file").read_text() == "old" and list(tmp_path.iterdir()) == [folder]


def killed(tmp_path, name, *, inside=False):
    """What a process leaves that is killed between its two renames."""
    folder = export(tmp_path / name, "old")
    place = folder / ".partial.x1" if inside else tmp_path / f".{name[:50]}.partial.x1"
    place.mkdir()
    (place / "lock").write_text(name)
    if not inside:
        folder.rename(place / "old")
    shutil.copytree(
        place / "old" if not inside else folder,
        place / "new",
        ignore=shutil.ignore_patterns(".partial.*"),
    )
    return folder, place


@pytest.mark.parametrize("name", ["model", "a" * 240])
def test_a_folder_that_a_kill_has_left_aside_is_put_back(tmp_path, name):
    folder, _ = killed(tmp_path, name)
    with pytest.raises(ValueError), replaced_folder(folder):
        raise ValueError
    assert (folder / "file").read_text() == "old" and list(tmp_path.iterdir()) == [folder]


def test_one_that_an_earlier_version_left_aside_is_put_back(tmp_path):
    export(tmp_path / "model", "old").rename(tmp_path / "aside")
    (tmp_path / ".model.partial.x1").mkdir()
    (tmp_path / "aside").rename(tmp_path / ".model.partial.x1" / "old")
    with pytest.raises(ValueError), replaced_folder(tmp_path / "model"):
        raise ValueError
    assert (tmp_path / "model" / "file").read_text() == "old"


@pytest.mark.parametrize("removals", range(1, 4))
def test_a_kill_while_it_tidies_up_leaves_what_the_next_call_removes(
    tmp_path, monkeypatch, removals
):
    folder = export(tmp_path / "model", "old")
    rmtree = shutil.rmtree
    left = [removals]

    def stop(path, **keywords):
        left[0] -= 1
        if left[0] == 0:
            os._exit(9)
        rmtree(path, **keywords)

    child = os.fork()
    if not child:
        monkeypatch.setattr(shutil, "rmtree", stop)
        export(folder, "new")
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 9
    with pytest.raises(ValueError), replaced_folder(folder):
        raise ValueError
    assert (folder / "file").read_text() == "new" and list(tmp_path.iterdir()) == [folder]


def test_the_unfinished_work_of_a_process_that_lives_is_left_alone(tmp_path):
    with replaced_folder(tmp_path / "model") as first:
        with pytest.raises(ValueError), replaced_folder(tmp_path / "model"):
            raise ValueError
        (first / "file").write_text("first")
    assert (tmp_path / "model" / "file").read_text() == "first"


def test_what_is_only_named_like_unfinished_work_is_left_alone(tmp_path):
    for name in (".model.partial.mine", ".model.partial.old"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "thesis.txt").write_text("precious")
    export(tmp_path / "model")
    assert names(tmp_path) >= {".model.partial.mine/thesis.txt", ".model.partial.old/thesis.txt"}


@pytest.fixture
def in_place(monkeypatch):
    monkeypatch.setattr(replacing, "_stays_in_place", lambda target: target.is_dir())


def test_a_folder_that_stays_gets_the_new_content(tmp_path, in_place):
    folder = tmp_path / "model"
    folder.mkdir()
    inode = folder.stat().st_ino
    for content, name in (("old", "first"), ("new", "second")):
        export(folder, content, name)
        assert names(folder) == {name, ownership.MARKER} and (folder / name).read_text() == content
    with pytest.raises(ValueError), replaced_folder(folder) as new:
        (new / "third").touch()
        raise ValueError
    assert names(folder) == {"second", ownership.MARKER} and folder.stat().st_ino == inode
    (folder / "notes").touch()
    assert "holds notes" in refusal(folder) and names(folder) == {
        "second",
        "notes",
        ownership.MARKER,
    }


@pytest.mark.parametrize("moves", range(5))
def test_a_kill_at_each_move_leaves_the_old_content(tmp_path, in_place, monkeypatch, moves):
    folder = export(tmp_path / "model", "old", "first")
    move = shutil.move
    left = [moves]

    def stop(source, target):
        left[0] -= 1
        if left[0] < 0:
            os._exit(9)
        move(source, target)

    child = os.fork()
    if not child:
        monkeypatch.setattr(shutil, "move", stop)
        export(folder, "new", "second")
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == (9 if moves < 4 else 0)
    with pytest.raises(ValueError), replaced_folder(folder):
        raise ValueError
    assert names(folder) == {"first" if moves < 4 else "second", ownership.MARKER}


def test_a_folder_of_a_containers_image_is_filled(tmp_path, monkeypatch):
    """Which the kernel renames as little as one of another file system."""
    folder = export(tmp_path / "model", "old")
    rename = pathlib.Path.rename

    def refuse(path, target):
        if path == folder:
            raise OSError(18, "Invalid cross-device link")
        return rename(path, target)

    monkeypatch.setattr(pathlib.Path, "rename", refuse)
    export(folder, "new")
    assert (folder / "file").read_text() == "new" and names(folder) == {"file", ownership.MARKER}


MOUNT = """
import pathlib, subprocess, sys
from tests.files.test_replacing import export, names
folder = pathlib.Path(sys.argv[1])
folder.mkdir()
subprocess.run(["mount", "-t", "tmpfs", "tmpfs", folder], check=True)
for content in ("old", "new"):
    export(folder, content)
print((folder / "file").read_text(), sorted(names(folder)), folder.is_mount())
"""


@pytest.mark.skipif(
    shutil.which("unshare") is None
    or subprocess.run(["unshare", "-rm", "true"], capture_output=True).returncode != 0,
    reason="needs a mount namespace of its own",
)
def test_a_mount_point_gets_the_new_content(tmp_path):
    done = subprocess.run(
        ["unshare", "-rm", sys.executable, "-c", MOUNT, tmp_path / "mounted"],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert done.stdout == f"new ['file', '{ownership.MARKER}'] True\n", done.stderr
