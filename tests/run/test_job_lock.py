"""One process a job_dir: here by the kernel's lock, elsewhere by signs of life."""

import dataclasses
import errno
import fcntl
import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import time

import pytest

from tests.cloud import bucket_of_cloud_storage
from tests.toy import ROOT
from trainer.errors import JobDirError
from trainer.files import mirror
from trainer.files.gcs import connection
from trainer.run import job_files, job_lock, signs_of_life
from trainer.run.job_lock import JobLock
from trainer.run.lock_holder import Holder, this_process

HOLDER = """
import pathlib, sys, time
from trainer.run.job_lock import JobLock
lock = JobLock.take(pathlib.Path(sys.argv[1]), "train")
print("held", flush=True)
time.sleep(60)
"""


def holder(folder):
    """Another process that holds the lock."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(folder)], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout.readline() == "held\n"
    return process


def refusal(folder, work="train"):
    with pytest.raises(JobDirError) as caught:
        JobLock.take(folder, work)
    return str(caught.value)


def test_the_second_of_two_processes_is_told_who_is_the_first(tmp_path):
    with holder(tmp_path) as process:
        said = refusal(tmp_path)
        assert said.startswith(
            f"--job_dir={tmp_path} is in use: process {process.pid} on {os.uname().nodename} has"
            " been at work there since "
        )
        assert said.endswith(
            "(--mode=train). Wait until it ends, or stop it; or give another --job_dir."
        )
        process.send_signal(signal.SIGKILL)
        process.wait()
    JobLock.take(tmp_path, "train").release()  # a killed one holds nothing


def test_a_released_lock_is_free_and_leaves_no_name(tmp_path):
    lock = JobLock.take(tmp_path, "train")
    assert refusal(tmp_path)
    lock.release()
    lock.release()
    assert (tmp_path / job_lock.FILE).read_text() == ""
    JobLock.take(tmp_path, "evaluate").release()


def test_a_lock_whose_folder_was_removed_is_taken_anew_or_lost(tmp_path):
    folder = tmp_path / "job"
    folder.mkdir()
    lock = JobLock.take(folder, "train")
    assert lock.require()
    shutil.rmtree(folder)
    assert not lock.require() and lock.require() and refusal(folder)
    shutil.rmtree(folder)
    folder.mkdir()
    other = JobLock.take(folder, "train")
    with pytest.raises(JobDirError, match="is in use: process"):
        lock.require()
    lock.release()
    assert refusal(folder)
    other.release()


def test_a_file_that_is_removed_between_opening_and_locking_is_no_lock(tmp_path, monkeypatch):
    flock, left = fcntl.flock, [1]

    def remove_first(file, operation):
        flock(file, operation)
        if left:
            left.pop()
            os.unlink(tmp_path / job_lock.FILE)

    monkeypatch.setattr(fcntl, "flock", remove_first)
    lock = JobLock.take(tmp_path, "train")
    assert (tmp_path / job_lock.FILE).exists() and refusal(tmp_path)
    lock.release()


@pytest.fixture
def quick(monkeypatch):
    """A silent holder is noticed within two seconds."""
    for name, seconds in {"SIGN_SECONDS": 0.1, "STALE_SECONDS": 1.5, "WATCH_SECONDS": 0.5}.items():
        monkeypatch.setattr(signs_of_life, name, seconds)


@pytest.fixture(scope="module")
def bucket():
    with bucket_of_cloud_storage("locks") as faults:
        yield faults


@pytest.fixture(params=["bucket", "a network's file system", "no locks"])
def place(request, tmp_path, monkeypatch):
    """A folder, here or in a bucket, where the kernel's lock does not keep others out."""
    if request.param == "bucket":
        request.getfixturevalue("bucket")
        monkeypatch.setattr(mirror, "_chosen", [tmp_path / "cache"])
        mirror._jobs.cache_clear()
        folder = mirror.local(f"gs://locks/{time.time_ns()}/job")
        folder.mkdir(parents=True)
        yield folder
        mirror._jobs.cache_clear()
        return

    def refuse(file, operation):
        raise OSError(errno.ENOLCK if request.param == "no locks" else errno.EOPNOTSUPP, "not here")

    monkeypatch.setattr(job_lock.fcntl, "flock", refuse)
    if request.param != "no locks":
        monkeypatch.setattr(job_lock, "_is_of_a_network", lambda folder: True)
    yield tmp_path


def sign(folder):
    url = mirror.url_of(folder)
    return (
        signs_of_life.BucketPlace(f"{url}/{job_lock.SIGN_FILE}")
        if url
        else signs_of_life.FilePlace(folder / job_lock.SIGN_FILE)
    ).read()


def as_another(monkeypatch, **changes):
    """From now on this process looks like another one."""
    me = dataclasses.replace(this_process("train"), **changes)
    monkeypatch.setattr(
        job_lock, "this_process", lambda work: dataclasses.replace(me, work=work, since=time.time())
    )


ELSEWHERE = {"host": "vm-1", "machine": "other boot", "began": "7"}


def test_a_living_holder_elsewhere_is_named(place, monkeypatch):
    as_another(monkeypatch, **ELSEWHERE, process=42)
    lock = JobLock.take(place, "train")
    as_another(monkeypatch, host="vm-2", machine="this boot")
    said = refusal(place)
    assert (
        f"--job_dir={mirror.shown(place)} is in use: process 42 on vm-1 has been at work there"
        " since" in said
    )
    assert "Its last sign of life was 0 s ago; 180 s after the last one its place is free." in said
    lock.release()
    assert sign(place) is None
    JobLock.take(place, "train").release()


def test_a_living_holder_gives_signs_and_is_not_taken_over(place, monkeypatch, quick):
    as_another(monkeypatch, **ELSEWHERE)
    lock = JobLock.take(place, "train")
    first = sign(place).version
    time.sleep(1)
    assert sign(place).version != first and lock.require()
    as_another(monkeypatch, host="vm-2")
    assert refusal(place)
    lock.release()


def test_one_that_has_become_silent_is_taken_over_after_a_while(place, monkeypatch, quick):
    as_another(monkeypatch, **ELSEWHERE)
    give = signs_of_life.SignsOfLife._give
    monkeypatch.setattr(signs_of_life.SignsOfLife, "_give", lambda self: None)
    JobLock.take(place, "train")
    monkeypatch.setattr(signs_of_life.SignsOfLife, "_give", give)
    as_another(monkeypatch, host="vm-2", machine="this boot")
    assert refusal(place)
    time.sleep(signs_of_life.STALE_SECONDS + 0.2)
    JobLock.take(place, "train").release()


@pytest.mark.parametrize("again", ["the same job", "the same machine"])
def test_a_job_that_is_started_again_takes_over_at_once(place, monkeypatch, again):
    ended = {"process": 4_000_000, "began": "7"}
    as_another(
        monkeypatch, **{**ELSEWHERE, "job": "123/4", **ended} if again == "the same job" else ended
    )
    before = JobLock.take(place, "train")
    as_another(
        monkeypatch,
        **(
            {"host": "vm-2", "machine": "new boot", "job": "123/4"}
            if again == "the same job"
            else {}
        ),
    )
    lock = JobLock.take(place, "train")
    before._signs._give_one()  # were it not dead, it would see that
    with pytest.raises(
        JobDirError,
        match=(
            r"is in use: process \d+ on .* It has taken over from this process, which stops: it"
            r" writes nothing there any more"
        ),
    ):
        before.require()
    before.release()
    assert lock.require() and sign(place) is not None
    lock.release()


def test_another_trial_of_the_job_is_another_job(place, monkeypatch):
    as_another(monkeypatch, **ELSEWHERE, job="123/1")
    lock = JobLock.take(place, "train")
    as_another(monkeypatch, host="vm-2", machine="x", job="123/2")
    assert refusal(place)
    lock.release()


def test_a_sign_that_was_removed_is_given_again(place, monkeypatch):
    lock = JobLock.take(place, "train")
    lock._signs._place.remove(sign(place).version)
    assert lock.require() and sign(place) is None  # not known yet
    assert not lock.require(ask=True) and lock.require(ask=True)
    assert sign(place).holder == lock._signs._me
    lock.release()


def test_an_answer_that_was_lost_is_no_other_process(place, monkeypatch):
    me = this_process("train")
    monkeypatch.setattr(job_lock, "this_process", lambda work: me)
    lock = JobLock.take(place, "train")
    lock._signs._version -= 1  # as after a request whose answer was cut
    lock._signs._give_one()
    assert lock.require() and JobLock.take(place, "train").require()


def test_an_outage_is_outlived(bucket, tmp_path, monkeypatch, quick):
    monkeypatch.setattr(connection, "PATIENCE_SECONDS", 0.5)
    monkeypatch.setattr(mirror, "_chosen", [tmp_path / "cache"])
    mirror._jobs.cache_clear()
    folder = mirror.local("gs://locks/outage/job")
    folder.mkdir(parents=True)
    lock = JobLock.take(folder, "train")
    bucket.plan = lambda method, path: 503
    time.sleep(1)
    bucket.plan = lambda method, path: None
    first = sign(folder).version
    time.sleep(1)
    assert lock.require() and sign(folder).version != first
    lock.release()
    mirror._jobs.cache_clear()


@pytest.mark.parametrize("content", ["", "x", "[]", "{}", '{"host": 1}', '"text"'])
def test_a_lock_that_cannot_be_read_names_nobody(tmp_path, content):
    assert Holder.read(content) is None
    with holder(tmp_path) as process:
        (tmp_path / job_lock.FILE).write_text(content)
        assert "is in use: another process is at work there. Wait until" in refusal(tmp_path)
        process.kill()


def test_names_from_outside_are_escaped(tmp_path):
    assert "\x1b" not in str(Holder("a\x1b[2J", 1, "train\n", 0.0))


@pytest.mark.parametrize(
    ("mounts", "network"),
    [
        ("/dev/vda / ext4 rw 0 0\n", False),
        ("/dev/vda / ext4 rw 0 0\nserver:/x TMP nfs4 rw 0 0\n", True),
        ("b /gcs fuse.gcsfuse rw 0 0\n/dev/vda / ext4 rw 0 0\n", False),
        ("/dev/vda / ext4 rw 0 0\nb TMP\\040x fuse rw 0 0\n", False),
    ],
)
def test_file_systems_of_networks_are_known(tmp_path, monkeypatch, mounts, network):
    (tmp_path / "mounts").write_text(mounts.replace("TMP", str(tmp_path)))
    monkeypatch.setattr(job_lock, "MOUNTS", tmp_path / "mounts")
    assert job_lock._is_of_a_network(tmp_path) is network


def own(folder):
    job_files.require_own(folder, folder / "checkpoints", folder / "logs")


def test_a_folder_with_other_things_is_taken_and_one_with_our_names_is_not(tmp_path):
    (tmp_path / "thesis.txt").write_text("precious")
    own(tmp_path)
    for name in job_files.FILES:
        (tmp_path / name).write_text("precious: 1\n")
        with pytest.raises(JobDirError) as caught:
            own(tmp_path)
        assert (
            str(caught.value)
            == f"--job_dir={tmp_path} holds {name}, which no run of podtune wrote there: a run"
            " would overwrite that. Give another --job_dir, such as a new folder in this one."
        )
        (tmp_path / name).unlink()
    (tmp_path / "checkpoints" / "step_00000001").mkdir(parents=True)
    with pytest.raises(JobDirError, match="holds checkpoints/step_00000001, which no run"):
        own(tmp_path)
    job_files.mark(tmp_path)
    own(tmp_path)


def test_a_job_dir_of_an_earlier_version_is_known_by_its_config_or_plan(tmp_path):
    (tmp_path / "config.yaml").write_text(
        "head:\n  name: classification  # a.yaml:1\ndata:\n  train: x  # --data.train\n"
    )
    (tmp_path / "results.json").write_text("{}")
    own(tmp_path)
    (tmp_path / "config.yaml").write_text(
        "head:\n  name: classification  # my comment\n  dropout: 0.1\n"
    )
    with pytest.raises(JobDirError, match=r"holds config.yaml, results.json, which"):
        own(tmp_path)
    (tmp_path / "plan.json").write_text(json.dumps({"splits": {}, "steps": 1, "memory": {}}))
    own(tmp_path)


@pytest.mark.parametrize(
    ("name", "make", "said"),
    [
        ("checkpoints", pathlib.Path.touch, "should be a folder of the run, and is a file"),
        ("logs", os.mkfifo, "should be a folder of the run"),
        ("metrics.jsonl", pathlib.Path.mkdir, "should be a file of the run, and is something else"),
        ("results.json", os.mkfifo, "should be a file of the run"),
    ],
)
def test_what_is_in_the_way_is_named(tmp_path, name, make, said):
    job_files.mark(tmp_path)
    make(tmp_path / name)
    with pytest.raises(JobDirError, match=said):
        own(tmp_path)


def test_copies_are_written_where_files_are_missing(tmp_path):
    job_files.mark(tmp_path)
    (tmp_path / "config.yaml").write_text("a")
    copies = job_files.Copies(tmp_path)
    assert copies.restore() == []
    shutil.rmtree(tmp_path)
    assert (
        copies.restore() == ["config.yaml", job_files.MARKER]
        and (tmp_path / "config.yaml").read_text() == "a"
    )
