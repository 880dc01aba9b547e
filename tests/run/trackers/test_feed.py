"""What a tracker is told, when it fails meanwhile, and when the run goes on."""

import json
import threading
import time
import types

import pytest

from trainer.run import trackers
from trainer.run.trackers import feed
from trainer.run.trackers.notes import FILE, Noted, Notes
from trainer.run.trackers.tracker import Ending, Status, TrackedRun

RUN = TrackedRun("job", None, {}, {}, {})
END = Ending(Status.FINISHED, 0, {}, ())


class Heard:
    """A tracker that keeps what it is told; `broken` lets it fail."""

    def __init__(self, known=()):
        self.known = set(known)
        self.points, self.endings = [], []
        self.broken = None

    def start(self, run, run_id):
        self._fail()
        new = f"run {len(self.known)}"
        return run_id if run_id in self.known else self.known.add(new) or new

    def log(self, points):
        self._fail()
        self.points += [(point.step, dict(point.values)) for point in points]

    def finish(self, ending):
        self._fail()
        self.endings.append(ending.status)

    def _fail(self):
        if self.broken:
            raise self.broken


@pytest.fixture
def heard(monkeypatch):
    tracker = Heard()
    module = types.SimpleNamespace(open_tracker=lambda: tracker)
    monkeypatch.setattr(feed, "module_of", lambda name: module)
    monkeypatch.setattr(feed, "PAUSE_SECONDS", 0.01)
    return tracker


class Followed:
    """A feed of a folder's metrics.jsonl, as a process of a run has it."""

    def __init__(self, folder):
        self.folder = folder
        self.file = folder / "metrics.jsonl"
        self.warnings, self.extra = [], {}
        notes = Notes(folder)
        self.feed = feed.Feed("ear", RUN, self.file, self.extra, notes, self.warnings.append)
        self.feed.start()

    def log(self, *steps, split="train"):
        with self.file.open("a") as file:
            for step in steps:
                entry = {"step": step, "split": split, "loss": 1 / step, "odd": None}
                file.write(json.dumps(entry) + "\n")
        self.feed.may_read(self.file.stat().st_size)

    def end(self):
        self.feed.end(END)
        assert self.feed.wait_until(time.monotonic() + 60)


def until(condition):
    for _ in range(6000):
        if condition():
            return
        time.sleep(0.01)
    raise AssertionError("it did not come")


def test_a_line_is_told_while_the_run_goes_on_and_the_rest_at_its_end(heard, tmp_path):
    run = Followed(tmp_path)
    run.extra["train", 1] = {"speed": 7.0}
    run.log(1)
    until(lambda: heard.points)
    run.log(2)
    run.log(2, split="validation")
    run.end()
    assert heard.points == [
        (1, {"train/loss": 1.0, "train/speed": 7.0}),
        (2, {"train/loss": 0.5}),
        (2, {"validation/loss": 0.5}),
    ]
    assert heard.endings == [Status.FINISHED] and run.warnings == []
    noted = {"run": "run 0", "steps": {"train": 2, "validation": 2}}
    assert json.loads((tmp_path / FILE).read_text()) == {"ear": noted}


def test_what_a_killed_run_repeats_is_not_told_again(heard, tmp_path):
    killed = Followed(tmp_path)
    killed.log(1, 2, 3)
    until(lambda: len(heard.points) == 3)
    killed.file.write_text("")  # to a checkpoint before the first line
    run = Followed(tmp_path)
    run.log(1, 2, 3, 4)
    run.end()
    assert [step for step, _ in heard.points] == [1, 2, 3, 4]
    assert heard.known == {"run 0"}


def test_what_may_have_been_taken_is_sent_again_at_the_same_time(heard, tmp_path, monkeypatch):
    sent = []

    def take_and_fail(points):
        sent.append(list(points))
        if len(sent) == 1:
            raise ConnectionError("no answer")

    monkeypatch.setattr(heard, "log", take_and_fail)
    run = Followed(tmp_path)
    run.log(1)
    until(lambda: sent)
    run.log(2)
    run.end()
    (first,), again = sent
    assert [point.step for point in again] == [1, 2] and again[0] == first


def test_it_reads_no_further_than_it_may(heard, tmp_path):
    line = '{"step": 9, "split": "train", "loss": 1}\n'
    (tmp_path / "metrics.jsonl").write_text(line)  # beyond the checkpoint, and not yet cut off
    run = Followed(tmp_path)
    until(lambda: heard.known)
    time.sleep(0.1)
    assert heard.points == []
    run.file.write_text("")
    run.log(1)
    with run.file.open("a") as file:
        file.write(line)
    until(lambda: heard.points)
    time.sleep(0.1)
    assert [step for step, _ in heard.points] == [1]
    run.end()
    assert [step for step, _ in heard.points] == [1, 9]


def test_a_line_that_is_cut_is_left_out(heard, tmp_path):
    run = Followed(tmp_path)
    run.log(1)
    with run.file.open("a") as file:
        file.write('{"step": 2, "split": "tra')
    run.end()
    assert [step for step, _ in heard.points] == [1] and run.warnings == []


def test_a_tracker_that_has_lost_the_run_is_told_all_of_it(heard, tmp_path):
    Notes(tmp_path).write("ear", Noted("of another store", {"train": 2}))
    run = Followed(tmp_path)
    run.log(1, 2, 3)
    run.end()
    assert [step for step, _ in heard.points] == [1, 2, 3]


@pytest.mark.parametrize("when", ["at the start", "on the way"])
def test_a_tracker_that_fails_is_left_alone_and_told_all_at_the_end(heard, tmp_path, when):
    if when == "at the start":
        heard.broken = OSError("gone")
    run = Followed(tmp_path)
    run.log(1)
    if when == "on the way":
        until(lambda: heard.points)
        heard.broken = OSError("gone")
        run.log(2)
    until(lambda: run.warnings)
    run.log(3)
    heard.broken = None
    time.sleep(0.1)
    assert len(heard.points) == (when == "on the way")
    run.end()
    told = [1, 2, 3] if when == "on the way" else [1, 3]
    assert [step for step, _ in heard.points] == told
    assert run.warnings == [
        "ear: gone. The run goes on without it; what it misses it is told at the end."
    ]
    assert heard.endings == [Status.FINISHED]


def test_what_it_misses_at_the_end_it_is_told_by_the_next_start(heard, tmp_path):
    run = Followed(tmp_path)
    run.log(1)
    until(lambda: heard.points)
    heard.broken = SystemExit(3)  # of a library that gives up
    run.log(2)
    run.end()
    assert run.warnings[-1] == (
        "ear: 3. What it misses is in metrics.jsonl, and it is told when the run is started again,"
        " or evaluated."
    )
    heard.broken = None
    again = Followed(tmp_path)
    again.end()
    assert [step for step, _ in heard.points] == [1, 2] and again.warnings == []


def test_nobody_waits_for_a_tracker_that_hangs(heard, tmp_path):
    hangs = threading.Event()
    heard.start = lambda run, run_id: hangs.wait()
    run = Followed(tmp_path)
    run.feed.end(END)
    began = time.monotonic()
    assert not run.feed.wait_until(began + 0.2)
    assert time.monotonic() - began < 5
    assert run.feed._thread.daemon
    hangs.set()


@pytest.mark.parametrize(
    "content", ["", "{", "[]", '{"ear": 1}', '{"ear": {"run": "x", "steps": []}}', "\ud800"]
)
def test_damaged_notes_say_nothing(tmp_path, content):
    (tmp_path / FILE).write_bytes(content.encode("utf-8", "surrogatepass"))
    assert Notes(tmp_path).of("ear") == Noted(None, {})


def test_a_removed_job_dir_is_not_made_anew(tmp_path):
    notes = Notes(tmp_path / "job")
    notes.write("ear", Noted("x", {}))
    assert not (tmp_path / "job").exists()
    assert notes.of("ear") == Noted("x", {})


def test_a_package_that_is_missing_is_told_with_its_remedy(monkeypatch):
    import sys

    from trainer.errors import ConfigError
    from trainer.settings.schema import LogSettings

    for package, tracker in (("mlflow", "mlflow"), ("google.cloud.aiplatform", "vertex")):
        monkeypatch.setitem(sys.modules, package, None)
        with pytest.raises(ConfigError) as refused:
            trackers.require(LogSettings(trackers=[tracker]))
        assert str(refused.value) == (
            f"log.trackers: for {tracker} the package {package} is not installed here. To install"
            f" it: pip install 'podtune[{tracker}]'. To go without it: --log.trackers=[]"
        )
