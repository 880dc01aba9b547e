"""Checkpoints and metrics.jsonl: what is damaged is noticed, before anything follows from it."""

import os
import pathlib

import numpy as np
import pytest
import tensorflow as tf

from trainer.errors import JobDirError
from trainer.files.checksums import Fingerprint, checksum
from trainer.run import checkpoints as checkpoints_module
from trainer.run.checkpoints import Checkpoints
from trainer.run.metrics_file import MetricsFile
from trainer.run.run_state import RunState

DATA = "weights.data-00000-of-00001"


def checkpoints_of(folder, *, steps=(1, 2), warn=lambda line: None, **keywords):
    made = Checkpoints(folder, keep=9, warn=warn, variables={"weight": tf.Variable([1.0, 2.0])})
    for step in steps:
        made.variables["weight"].assign([step, step])
        state = RunState(step=step, metrics_bytes=10 * step, gradient_norm=float("nan"))
        made.save(state, **keywords)
        made.wait()
    return made


def test_every_changed_byte_of_a_state_is_noticed(tmp_path):
    made = checkpoints_of(tmp_path, steps=(7,))
    file = made.path(7) / "state.json"
    content = file.read_bytes()
    for place, byte in enumerate(content):
        for other in {byte ^ 1, byte ^ 0x80, ord("0"), ord("9"), ord(" "), ord("}")} - {byte}:
            file.write_bytes(content[:place] + bytes([other]) + content[place + 1 :])
            with pytest.raises(JobDirError, match=r"the checkpoint is damaged \(state\.json: it"):
                made.restore(7)
    file.write_bytes(content)
    assert made.restore(7).step == 7


@pytest.mark.parametrize("name", [DATA, "weights.index"])
def test_every_changed_byte_of_the_weights_is_noticed(tmp_path, name):
    made = checkpoints_of(tmp_path, steps=(7,))
    file = made.path(7) / name
    content = file.read_bytes()
    for place in range(len(content)):
        file.write_bytes(content[:place] + bytes([content[place] ^ 4]) + content[place + 1 :])
        with pytest.raises(
            JobDirError,
            match=rf"the checkpoint is damaged \({name}: its content is not what was written",
        ):
            made.restore(7)
    file.write_bytes(content + b"\0")  # grown: TensorFlow would not look there
    with pytest.raises(
        JobDirError, match=rf"{name}: {len(content) + 1} bytes instead of {len(content)}"
    ):
        made.restore(7)
    assert made.variables["weight"].numpy().tolist() == [7, 7]


def test_where_no_checkpoint_is_intact_nothing_starts_from_the_beginning(tmp_path):
    warned = []
    made = checkpoints_of(tmp_path, warn=warned.append)
    for step in (1, 2):
        (made.path(step) / "state.json").write_text("{}")
    with pytest.raises(
        JobDirError,
        match=r"step_00000001: the checkpoint is damaged .*Put back a copy of it, or train again",
    ):
        made.restore_latest()
    assert (
        len(warned) == 1
        and "step_00000002" in warned[0]
        and warned[0].endswith("Trying the one before.")
    )


def test_a_checkpoint_that_lost_its_state_is_passed_over_and_said(tmp_path):
    warned = []
    made = checkpoints_of(tmp_path, warn=warned.append)
    (made.path(2) / "state.json").unlink()
    assert made.restore_latest().step == 1 and made.variables["weight"].numpy().tolist() == [1, 1]
    assert warned == [
        f"{made.path(2)} has no state.json: "
        "it was not written to its end, or has lost it, and is passed over."
    ]
    assert checkpoints_of(tmp_path / "none", steps=()).restore_latest() is None


def test_the_state_is_written_last_when_all_else_is_on_the_disk(tmp_path, monkeypatch):
    order = []
    monkeypatch.setattr(
        "os.fsync",
        lambda descriptor: order.append(
            pathlib.Path(os.readlink(f"/proc/self/fd/{descriptor}")).name
        ),
    )
    monkeypatch.setattr(
        checkpoints_module.mirror, "add", lambda path: order.append(f"published {path.name}")
    )
    write = checkpoints_module.write_sealed
    monkeypatch.setattr(
        checkpoints_module,
        "write_sealed",
        lambda path, value: order.append("state") or write(path, value),
    )
    checkpoints_of(tmp_path, steps=(7,), before_visible=lambda state: order.append("progress"))
    before = order[: order.index("state")]
    assert {DATA, "weights.index", "step_00000007"} <= set(before)
    assert before[-2:] == ["published step_00000007", "progress"]


def test_the_newest_stay_and_the_best(tmp_path):
    made = checkpoints_of(tmp_path, steps=(1,))
    made.keep = 2
    for step in (2, 3, 4, 5):
        made.save(RunState(step=step, best_step=1, gradient_norm=0.0))
        made.wait()
    assert made.complete() == [1, 4, 5]


def test_what_is_saved_again_after_the_same_step_keeps_its_files(tmp_path):
    made = checkpoints_of(tmp_path, steps=(7,))
    made.save(RunState(step=7, settled=False))
    made.wait()
    assert made.restore(7) == RunState(step=7, settled=False)


def test_a_folder_that_is_removed_while_it_is_read_is_no_error(tmp_path, monkeypatch):
    def gone(*_):
        raise FileNotFoundError(2, "No such file or directory")

    made = checkpoints_of(tmp_path, steps=(7,))
    with monkeypatch.context() as patched:
        patched.setattr(checkpoints_module.mirror, "folders", gone)
        made.save(RunState(step=8))
        made.wait()
        patched.setattr(pathlib.Path, "glob", gone)
        assert made.complete() == []
    assert made.complete() == [7, 8]


def metrics_of(folder, lines=3):
    """The file after so many lines, and what it was after each."""
    file = MetricsFile.open(folder / "metrics.jsonl", Fingerprint(0, 0))
    known = {}
    for step in range(1, lines + 1):
        file.write(step, "train", {"loss": step / 3, "worst": float("nan")})
        known[step] = file.written()
    file.close()
    return folder / "metrics.jsonl", known


def test_the_metrics_are_cut_back_to_the_checkpoint_and_written_on(tmp_path):
    path, known = metrics_of(tmp_path)
    whole = path.read_bytes()
    assert known[3] == Fingerprint(len(whole), checksum(whole))
    file = MetricsFile.open(path, known[1])
    assert path.read_bytes() == whole[: known[1].bytes] and file.written() == known[1]
    for step in (2, 3):
        file.write(step, "train", {"loss": step / 3, "worst": float("nan")})
    assert path.read_bytes() == whole and file.written() == known[3]


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda whole: whole[:-1], r"bytes, and at the checkpoint to go on from it had"),
        (
            lambda whole: whole[:100] + b"7" + whole[101:],
            "are not what was written: the checksum differs",
        ),
        (lambda whole: b"", "0 bytes, and at the checkpoint"),
        (lambda whole: None, r"missing"),
    ],
)
def test_metrics_that_lost_something_are_refused(tmp_path, spoil, said):
    path, known = metrics_of(tmp_path)
    spoilt = spoil(path.read_bytes())
    path.unlink() if spoilt is None else path.write_bytes(spoilt)
    with pytest.raises(JobDirError, match=said) as refused:
        MetricsFile.open(path, known[3], known)
    assert "Put back a copy of it" in str(
        refused.value
    ) and "start anew in another --job_dir." in str(refused.value)
    assert ("or remove the checkpoints after step" in str(refused.value)) == bool(spoilt)
    assert (path.read_bytes() if path.exists() else None) == spoilt  # nothing more is lost


def test_the_remedy_names_the_newest_checkpoint_that_fits(tmp_path):
    path, known = metrics_of(tmp_path, lines=4)
    path.write_bytes(path.read_bytes()[: known[2].bytes + 3])
    with pytest.raises(
        JobDirError,
        match=r"or remove the checkpoints after step 2, so that the run goes on from there",
    ):
        MetricsFile.open(path, known[4], known)


def test_a_full_disk_is_one_message(tmp_path):
    os.symlink("/dev/full", tmp_path / "metrics.jsonl")
    # `open` cuts the file, which no device lets be cut
    full = open("/dev/full", "wb", buffering=0)  # noqa: SIM115
    file = MetricsFile(tmp_path / "metrics.jsonl", full, 0)
    with pytest.raises(
        JobDirError,
        match=r"cannot write .*metrics\.jsonl: No space left on device\. Free.*last checkpoint",
    ):
        file.write(1, "train", {"loss": 1.0})
    assert file.written().crc32c == 0


def test_known_metrics_leaves_damaged_states_out(tmp_path):
    made = checkpoints_of(tmp_path)
    (made.path(1) / "state.json").write_text("{}")
    assert made.known_metrics() == {2: Fingerprint(20, 0)}
    assert np.isnan(made.restore(2).gradient_norm)
