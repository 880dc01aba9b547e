"""In a bucket, too, nothing is replaced or removed that is not ours."""

import itertools
import json

import pytest

from tests.cloud import bucket_of_cloud_storage
from trainer.errors import ConfigError, JobDirError
from trainer.files import gcs, mirror, ownership
from trainer.files.replacing import replaced_folder
from trainer.run import job_files
from trainer.serve import answers_file

NUMBERS = itertools.count()


@pytest.fixture(scope="module")
def server():
    with bucket_of_cloud_storage("mine") as faults:
        yield faults


@pytest.fixture
def url(server, tmp_path, monkeypatch):
    """A folder of the bucket of the test's own; each `mirror.local` of it is on a machine that
    knows nothing yet.
    """
    server.plan = lambda method, path: None
    monkeypatch.setattr(mirror, "_chosen", [tmp_path / "cache"])
    mirror._jobs.cache_clear()
    yield f"gs://mine/{next(NUMBERS)}"
    mirror._jobs.cache_clear()


def put(url, content="precious"):
    bucket, name = gcs.parse(url, key="test")
    gcs.client().bucket(bucket).blob(name).upload_from_string(content)


def objects(url):
    """Names and contents."""
    return {
        str(item).removeprefix(f"{url}/"): gcs.content(item, key="test").decode()
        for item in gcs.listing(url, key="test")
    }


def another_machine(tmp_path, monkeypatch):
    monkeypatch.setattr(mirror, "_chosen", [tmp_path / f"cache{next(NUMBERS)}"])
    mirror._published.clear()
    mirror._jobs.cache_clear()


def export(url, files, last=("config.json",)):
    folder = mirror.local(url)
    with replaced_folder(folder) as new:
        for name, content in files.items():
            (new / name).parent.mkdir(parents=True, exist_ok=True)
            (new / name).write_text(content)
    ownership.publish(folder, last=last)


OLD = {"config.json": "old", "model.safetensors": "old weights", "only/in.old": "x"}
NEW = {"config.json": "new", "model.safetensors": "new weights", "only/in.new": "y"}


def test_an_export_of_ours_is_replaced(url, tmp_path, monkeypatch):
    export(url, OLD)
    another_machine(tmp_path, monkeypatch)
    export(url, NEW)
    there = objects(url)
    assert set(json.loads(there.pop(ownership.MARKER))["files"]) == set(NEW) and there == NEW


@pytest.mark.parametrize("ours", [False, True])
@pytest.mark.parametrize("name", ["thesis.txt", "deep/thesis.txt", "config.json.bak"])
def test_what_is_not_ours_stays(url, tmp_path, monkeypatch, ours, name):
    if ours:
        export(url, OLD)
    put(f"{url}/{name}")
    before = objects(url)
    another_machine(tmp_path, monkeypatch)
    with pytest.raises(JobDirError, match=f"{url} holds {name}, which podtune did not write"):
        export(url, NEW)
    assert objects(url) == before


def test_what_was_changed_stays(url):
    export(url, OLD)
    put(f"{url}/config.json", "OLD")
    with pytest.raises(
        JobDirError, match=f"{url}: config.json changed since podtune wrote this export"
    ):
        export(url, NEW)
    put(f"{url}/config.json", "longer")
    with pytest.raises(
        JobDirError,
        match=f"{url} holds config.json, which podtune did not write or that changed since",
    ):
        export(url, NEW)


def test_what_comes_while_it_is_written_stays(url):
    folder = mirror.local(url)
    with replaced_folder(folder) as new:
        (new / "config.json").write_text("new")
    put(f"{url}/thesis.txt")
    with pytest.raises(JobDirError, match=r"holds thesis\.txt, which"):
        ownership.publish(folder, last=("config.json",))
    assert objects(url) == {"thesis.txt": "precious"}


@pytest.mark.parametrize("requests", range(2, 30, 6))
def test_one_that_was_interrupted_anywhere_is_ours_to_go_on_with(
    server, url, tmp_path, monkeypatch, requests
):
    export(url, OLD)
    left = [requests]

    def plan(method, path):
        left[0] -= 1
        return 400 if left[0] < 0 else None  # which is not tried again

    server.plan = plan
    another_machine(tmp_path, monkeypatch)
    try:
        export(url, NEW)
    except ConfigError:
        assert left[0] < 0
    server.plan = lambda method, path: None
    there = objects(url)
    # readers see it whole or not at all
    assert there.get("config.json") != "new" or there["model.safetensors"] == "new weights"
    another_machine(tmp_path, monkeypatch)
    export(url, NEW)
    there = objects(url)
    there.pop(ownership.MARKER)
    assert there == NEW


def test_a_file_where_a_folder_is_wanted(url):
    put(url)
    with pytest.raises(JobDirError, match="which podtune did not write"):
        export(url, NEW)


def test_a_job_dir_with_the_users_config_is_refused(url):
    put(f"{url}/config.yaml", "head: {name: x}\n")
    folder = mirror.local(url)
    mirror.bring(folder, nested=False)
    with pytest.raises(
        JobDirError, match=f"--job_dir={url} holds config.yaml, which no run of podtune wrote there"
    ):
        job_files.require_own(folder, folder / "checkpoints", folder / "logs")
    gcs.delete(gcs.listing(url, key="test"), key="test")
    # here, of an earlier run; the bucket is the truth
    (folder / "checkpoints" / "step_00000001").mkdir(parents=True)
    mirror.bring(folder, nested=False)
    job_files.require_own(folder, folder / "checkpoints", folder / "logs")
    put(f"{url}/checkpoints/step_00000001/state.json")
    with pytest.raises(JobDirError, match="holds checkpoints/step_00000001, which"):
        job_files.require_own(folder, folder / "checkpoints", folder / "logs")
    put(f"{url}/{job_files.MARKER}")
    mirror.bring(folder, nested=False)
    job_files.require_own(folder, folder / "checkpoints", folder / "logs")


def test_small_files_that_were_removed_from_the_bucket_are_written_anew(url):
    folder = mirror.local(url)
    job_files.mark(folder)
    (folder / "config.yaml").write_text("a")
    mirror.add(folder / "config.yaml")
    copies = job_files.Copies(folder)
    gcs.delete(gcs.listing(url, key="test"), key="test")
    assert copies.restore() == []  # which asks nobody
    assert copies.restore(ask=True) == ["config.yaml", job_files.MARKER]
    assert objects(url)["config.yaml"] == "a" and set(objects(url)) == {
        "config.yaml",
        job_files.MARKER,
    }


def test_pruning_leaves_notes_and_other_objects(url):
    folder = mirror.local(f"{url}/step_00000001")
    for name in ("state.json", "notes.txt"):
        put(f"{url}/step_00000001/{name}")
    assert mirror.names(folder) == {"state.json", "notes.txt"}
    mirror.remove(folder, first=("state.json",), but={"notes.txt"})
    assert objects(url) == {"step_00000001/notes.txt": "precious"}


ANSWER = '{"text": "a", "label": "b", "probabilities": {"b": 1.0}}\n'


@pytest.mark.parametrize(("content", "refused"), [(ANSWER, False), ("", False), ("precious", True)])
def test_an_output_in_the_bucket_replaces_answers_only(url, content, refused):
    put(f"{url}/out.jsonl", content)
    path = mirror.local(f"{url}/out.jsonl")
    if refused:
        with pytest.raises(
            ConfigError,
            match=(
                f"--output: {url}/out.jsonl is there and holds no answers of --mode=predict: it"
                " begins 'precious'"
            ),
        ):
            answers_file._require_answers(path)
    else:
        answers_file._require_answers(path)
    answers_file._require_answers(mirror.local(f"{url}/new.jsonl"))


@pytest.mark.parametrize(
    ("spec", "url", "named"),
    [
        ("gs://b/in.jsonl", "gs://b/in.jsonl", True),
        ("gs://b/data/", "gs://b/data/in.jsonl", True),
        ("gs://b/in*.jsonl", "gs://b/in1.jsonl", True),
        ("gs://b/in", "gs://b/in.jsonl", False),
        ("gs://b/*.jsonl", "gs://c/in.jsonl", False),
        ("gs://b/*.jsonl", "gs://b/deep/in.jsonl", False),
    ],
)
def test_what_a_url_names(spec, url, named):
    assert gcs.names(spec, url) is named
