"""`podtune push`: the real client of the Hugging Face hub, against a server on this machine."""

from __future__ import annotations

import dataclasses
import hashlib
import os
import pathlib
import shutil
import subprocess
import sys
from collections.abc import Iterator

import pytest
from huggingface_hub import ModelCard, constants

from podtune import command, push
from tests.cloud import bucket_of_cloud_storage
from tests.hub_api import LARGE_BYTES, READER, WRITER, Hub, from_xet, hub_api
from tests.toy import ROOT
from trainer.files import gcs, mirror, ownership
from trainer.files.ownership import CARD, MARKER
from trainer.files.replacing import replaced_folder

NAME = "anna/reviews"
CARD_TEXT = "---\ntags:\n- podtune\n---\n\n# reviews\n"
FILES = {
    CARD: CARD_TEXT.encode(),
    "config.json": b'{"model_type": "bert"}\n',
    "model.safetensors": b"\0\1" * LARGE_BYTES,
    "sub/vocab.txt": "[UNK]\n好\n".encode(),
}


def write_export(folder: pathlib.Path, files: dict[str, bytes]) -> pathlib.Path:
    """An export with these files, by the code that writes each export."""
    with replaced_folder(folder) as new:
        for name, content in files.items():
            (new / name).parent.mkdir(parents=True, exist_ok=True)
            (new / name).write_bytes(content)
    return folder


@pytest.fixture
def export(tmp_path) -> pathlib.Path:
    return write_export(tmp_path / "export", FILES)


@pytest.fixture
def hub(tmp_path, monkeypatch) -> Iterator[Hub]:
    """The server as the hub of this process, and of those that it starts."""
    with hub_api(tmp_path / "xet") as served:
        monkeypatch.setattr(constants, "ENDPOINT", served.url)
        template = served.url + "/{repo_id}/resolve/{revision}/{filename}"
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
        monkeypatch.setattr(push, "PAUSE_SECONDS", 0)
        for name, value in environment(served, tmp_path).items():
            monkeypatch.setenv(name, value)
        yield served


def environment(hub: Hub, folder: pathlib.Path) -> dict[str, str]:
    return {
        "HF_ENDPOINT": hub.url,
        "HF_HOME": str(folder / "hf_home"),
        "HF_TOKEN": WRITER,
        "NO_PROXY": "127.0.0.1",
    }


def pushed(hub: Hub, folder: pathlib.Path, scratch: pathlib.Path, branch: str = "main") -> set[str]:
    """The names of the files on the hub, each of which has the bytes of the export."""
    there = hub.files(NAME, branch)
    for name, file in there.items():
        if name == ".gitattributes":
            continue
        expected = (folder / name).read_bytes()
        content = file.content
        if content is None:
            content = from_xet(hub, folder / name, scratch / "stored")
            assert file.oid == hashlib.sha256(content).hexdigest()
        assert content == expected, name
    return there.keys() - {".gitattributes"}


@pytest.mark.heavy
@pytest.mark.parametrize("disabled", ["0", "1"])
def test_every_file_arrives_by_xet_and_by_lfs(disabled, hub, export, tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "podtune", "push", str(export), NAME, "--message=Three epochs"],
        cwd=ROOT,
        env={**os.environ, "HF_HUB_DISABLE_XET": disabled},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"{hub.url}/{NAME}\n"
    assert WRITER not in done.stderr
    assert pushed(hub, export, tmp_path) == {*FILES, MARKER}
    assert hub.repositories[NAME].commits == [("Three epochs", "main")]
    assert bool(hub.objects) == (disabled == "1")  # else xet has the bytes
    assert not hub.repositories[NAME].private


def run(*arguments: object) -> int:
    return command.main(["push", *map(str, arguments)])


def refusal(capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    """The one message of a push that is refused."""
    assert run(*arguments) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert WRITER not in captured.err
    (error,) = [line for line in captured.err.splitlines() if line.startswith("error: ")]
    return error


def test_the_next_push_replaces_what_the_last_one_sent_and_nothing_else(hub, export, tmp_path):
    assert run(export, NAME) == 0
    licence = hub.files(NAME)[CARD]
    hub.files(NAME)["LICENSE"] = licence  # of the owners, by the hub's pages
    others = {**FILES, "model.safetensors": b"\0\2" * LARGE_BYTES, "new.txt": b"new"}
    del others["sub/vocab.txt"]
    write_export(export, others)
    assert run(export, NAME) == 0
    assert hub.files(NAME).pop("LICENSE") == licence
    assert pushed(hub, export, tmp_path) == {*others, MARKER}
    assert len(hub.repositories[NAME].commits) == 2


def test_files_that_were_removed_or_changed_on_the_hub_are_no_obstacle(hub, export, tmp_path):
    assert run(export, NAME) == 0
    del hub.files(NAME)[CARD]
    assert run(export, NAME) == 0
    assert pushed(hub, export, tmp_path) == {*FILES, MARKER}
    marker = hub.files(NAME)[MARKER]
    hub.files(NAME)[MARKER] = dataclasses.replace(marker, content=b"[]", oid="another")
    without_card = {name: content for name, content in FILES.items() if name != CARD}
    write_export(export, without_card)  # as of a version that wrote none
    assert run(export, NAME) == 0
    assert hub.files(NAME)[MARKER].content == (export / MARKER).read_bytes()
    assert CARD in hub.files(NAME)


def test_the_same_push_again_makes_no_commit(hub, export):
    assert run(export, NAME) == 0
    assert run(export, NAME) == 0
    assert len(hub.repositories[NAME].commits) == 1


def test_a_branch_is_made(hub, export, tmp_path, capsys):
    assert run(export, NAME, "--revision=small/rate") == 0
    assert capsys.readouterr().out == f"{hub.url}/{NAME}/tree/small%2Frate\n"
    assert pushed(hub, export, tmp_path, "small/rate") == {*FILES, MARKER}
    assert pushed(hub, export, tmp_path) == set()
    assert run(export, NAME, "--revision=small/rate") == 0


def test_private_makes_a_private_repository_and_refuses_a_public_one(hub, export, capsys):
    assert run(export, NAME, "--private") == 0
    assert hub.repositories[NAME].private
    assert run(export, NAME, "--private") == 0
    hub.repositories[NAME].private = False
    hub.requests.clear()
    capsys.readouterr()
    said = refusal(capsys, export, NAME, "--private")
    assert f"--private: {NAME} is there already, and everybody may read it." in said
    assert not [path for _, path in hub.requests if "commit" in path or "upload" in path]


def test_texts_of_the_data_are_not_sent(hub, tmp_path, capsys):
    folder = write_export(tmp_path / "saved", {**FILES, push.WARMUP: b"a review"})
    assert run(folder, NAME) == 0
    assert pushed(hub, folder, tmp_path) == {*FILES, MARKER}
    assert f"left out: {push.WARMUP}, which has texts of your data" in capsys.readouterr().err


@pytest.mark.parametrize("status", [500, 503])
@pytest.mark.parametrize("part", ["/repos/create", "/preupload/", "/commit/"])
def test_a_problem_of_the_hub_is_waited_out(status, part, hub, export, tmp_path):
    hub.once(status, method="POST", part=part)
    assert run(export, NAME) == 0
    assert pushed(hub, export, tmp_path) == {*FILES, MARKER}
    assert len(hub.repositories[NAME].commits) == 1


def test_a_hub_that_stays_ill_is_one_message(hub, export, capsys):
    hub.once(503, method="POST", part="/repos/create", times=push.TRIES)
    said = refusal(capsys, export, NAME)
    assert said.startswith(f"error: {NAME} on {hub.url}: Try again later")
    assert "(the hub says 503: planned, for Bearer …)" in said  # which the server has repeated


@pytest.mark.parametrize(
    ("status", "said"),
    [
        (403, "the token may not do that. It needs the right to write there"),
        (404, "the hub has no such place"),
        (409, "somebody else is writing there"),
        (429, "too many requests"),
    ],
)
def test_an_answer_that_refuses_is_one_message(status, said, hub, export, capsys):
    # to a commit, the client itself would repeat a 429 with growing pauses
    part = "/repos/create" if status == 429 else "/commit/"
    hub.once(status, method="POST", part=part, times=10)
    message = refusal(capsys, export, NAME)
    assert said in message and f"(the hub says {status}: " in message


def test_a_store_that_refuses_is_one_message(hub, export, capsys, monkeypatch):
    """Also where the files go: of xet there is no status."""
    hub.once(403, method="GET", part="/xet-write-token/", times=10)
    said = refusal(capsys, export, NAME)
    assert "the push failed: " in said and "403 Forbidden" in said
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
    hub.once(403, method="PUT", part="/lfs/", times=10)
    assert "the token may not do that." in refusal(capsys, export, NAME)
    assert hub.repositories[NAME].commits == []


@pytest.mark.parametrize(
    ("token", "said"),
    [
        ("hf_nobody", "the hub does not know the token. Make one at https://huggingface.co"),
        (READER, "the token may not do that."),
        ("", "no token of the Hugging Face hub is at hand."),
    ],
)
def test_a_token_that_may_not_write_is_refused_and_not_shown(
    token, said, hub, export, capsys, monkeypatch, tmp_path
):
    monkeypatch.setenv("HF_TOKEN", token)
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "none"))
    message = refusal(capsys, export, NAME)
    assert said in message
    assert not token or token not in message
    assert hub.repositories == {}


def test_a_hub_that_cannot_be_reached_is_one_message(export, monkeypatch, capsys):
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setenv("HF_TOKEN", WRITER)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    said = refusal(capsys, export, NAME)
    assert "on http://127.0.0.1:9: the push failed: [Errno 111] Connection refused" in said
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert "HF_HUB_OFFLINE is set" in refusal(capsys, export, NAME)


def test_a_card_may_be_completed_and_one_on_the_hub_is_not_replaced_silently(
    hub, export, tmp_path, capsys
):
    completed = CARD_TEXT.replace("tags:", "license: mit\ntags:") + "For reviews of films.\n"
    (export / CARD).write_text(completed)
    assert run(export, NAME) == 0
    assert hub.files(NAME)[CARD].content == completed.encode()
    assert run(export, NAME) == 0
    assert "completed by hand" not in capsys.readouterr().err
    write_export(tmp_path / "next", FILES)
    assert run(tmp_path / "next", NAME) == 0
    assert f"{CARD} in {NAME} was completed by hand: this one takes" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("metadata", "said"),
    [
        ("tags: [", "its metadata, between the lines ---, cannot be read"),
        ("- a", "its metadata, between the lines ---, cannot be read"),
        ("tags: podtune", '"tags" must be an array'),  # which only the hub knows
    ],
)
def test_metadata_that_the_hub_would_refuse_is_told_before_files_are_sent(
    metadata, said, hub, export, capsys
):
    (export / CARD).write_text(f"---\n{metadata}\n---\n")
    assert said in refusal(capsys, export, NAME)
    assert not [path for _, path in hub.requests if "commit" in path or "preupload" in path]


def test_a_dry_run_lists_all_and_asks_nobody(hub, export, capsys, monkeypatch):
    monkeypatch.delenv("HF_TOKEN")
    assert run(export, NAME, "--dry_run") == 0
    captured = capsys.readouterr()
    assert captured.out.splitlines() == [
        *(f"{(export / name).stat().st_size:>15,}  {name}" for name in sorted([*FILES, MARKER])),
        *CARD_TEXT.splitlines(),
    ]
    assert f"would go to {hub.url}/{NAME}" in captured.err
    assert hub.requests == []


def change(folder: pathlib.Path) -> None:
    (folder / "config.json").write_bytes(FILES["config.json"].replace(b"bert", b"BERT"))


def lose(folder: pathlib.Path) -> None:
    (folder / "model.safetensors").unlink()


def add(folder: pathlib.Path) -> None:
    (folder / "notes.txt").touch()


def unmark(folder: pathlib.Path) -> None:
    (folder / MARKER).write_text("{}")


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (change, "changed since podtune wrote it: config.json."),
        (lose, "missing: model.safetensors."),
        (add, "not written by podtune: notes.txt."),
        (unmark, "not written by podtune: config.json, model.safetensors, sub/vocab.txt."),
    ],
)
def test_what_is_no_whole_export_is_not_sent(spoil, said, hub, export, capsys):
    spoil(export)
    for flag in ((), ("--dry_run",)):
        assert said in refusal(capsys, export, NAME, *flag)
    assert hub.requests == []


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["EXPORT"], "expected a run or an export, and ORG/NAME. Received "),
        ([], "Received nothing."),
        (["EXPORT", NAME, "third"], "expected a run or an export, and ORG/NAME."),
        (["EXPORT", "reviews"], "expected ORG/NAME, a repository of the hub"),
        (["EXPORT", "anna/re--views"], "Received 'anna/re--views'."),
        (["EXPORT", "a/b/c"], "expected ORG/NAME"),
        (["EXPORT", NAME, "--privat"], "unknown flag --privat. Did you mean --private?"),
        (["EXPORT", NAME, "--train.epochs=3"], "--train.epochs: podtune push takes no settings"),
        (["nowhere", NAME], "nowhere: no export of podtune is there."),
    ],
)
def test_a_mistake_is_told_before_the_hub_is_asked(arguments, said, hub, export, capsys):
    given = [str(export) if word == "EXPORT" else word for word in arguments]
    assert said in refusal(capsys, *given)
    assert hub.requests == []


def test_a_run_is_named_by_its_folder(export, tmp_path, capsys):
    job = tmp_path / "job"
    shutil.copytree(export, job / "huggingface")
    assert run(job, NAME, "--dry_run") == 0
    assert f"{job}/huggingface: 5 files" in capsys.readouterr().err
    for version in ("2", "10"):
        shutil.copytree(export, job / "model" / version)
    said = refusal(capsys, job, NAME, "--dry_run")
    assert f"holds several exports. Name one: {job}/huggingface or {job}/model/10" in said
    assert run(job / "model", NAME, "--dry_run") == 0
    assert f"{job}/model/10: 5 files" in capsys.readouterr().err
    assert run(f"{job}/model/2/", NAME, "--dry_run") == 0


@pytest.mark.heavy
def test_the_export_of_a_run_is_sent(hub, trained, tmp_path):
    assert run(trained, NAME) == 0
    folder = trained / "model"
    files = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    assert pushed(hub, folder, tmp_path) == files - {push.WARMUP}
    card = hub.files(NAME)[CARD].content
    assert card and ModelCard(card.decode()).data.eval_results


@pytest.fixture
def bucket(tmp_path) -> Iterator[str]:
    mirror.use_cache(str(tmp_path / "cache"))
    with bucket_of_cloud_storage("runs"):
        yield "gs://runs"
    mirror.use_cache(None)


@pytest.mark.heavy
def test_an_export_in_a_bucket_is_sent(hub, bucket, export, tmp_path, capsys):
    for file in [path for path in export.rglob("*") if path.is_file()]:
        place = f"{bucket}/job/huggingface/{file.relative_to(export)}"
        gcs.upload(file, place, key="test")
    gcs.upload(export / CARD, f"{bucket}/job/checkpoints/step_1/weights", key="test")
    assert run(f"{bucket}/job", NAME) == 0
    assert f"{bucket}/job/huggingface: 5 files" in capsys.readouterr().err
    assert pushed(hub, export, tmp_path) == {*FILES, MARKER}
    assert "no export of podtune is there" in refusal(capsys, f"{bucket}/other", NAME)


def test_only_a_folder_with_a_marker_is_an_export(tmp_path):
    assert not ownership.is_export(tmp_path / "missing")
    assert not ownership.is_export(tmp_path)
