"""Standard streams that are closed, full or unread end in one line, and never in a file of ours."""

import os
import subprocess
import sys

import pytest

from tests.toy import ROOT
from trainer.console import standard_streams

TASK = f"{sys.executable} -m trainer.task"


def run(command):
    done = subprocess.run(
        ["bash", "-c", f"set -o pipefail; {command}"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
    )
    assert "Traceback" not in done.stderr and "Exception ignored" not in done.stderr, done.stderr
    return done.returncode, done.stdout, done.stderr


PROGRAM = """
import sys
from trainer import task
from trainer.settings import flags
flags.help_text = lambda *_: "line\\n" * 100_000
sys.exit(task.main(["task.py", "--help"]))
"""


@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_a_reader_that_goes_ends_the_program_as_the_signal_would(unbuffered):
    code, out, err = run(f"PYTHONUNBUFFERED={unbuffered} {sys.executable} -c '{PROGRAM}' | head -1")
    assert (code, out, err) == (141, "line\n", "stopped: nobody reads what is written any more\n")


MESSAGES = """
import sys
from trainer import task
from trainer.settings import flags
from trainer.console.display import Display
flags.help_text = lambda *_: [Display().line("message " * 100) for _ in range(1000)] and ""
sys.exit(task.main(["task.py", "--help"]))
"""


@pytest.mark.parametrize(
    ("where", "code"), [("2>&1 >/dev/null | head -c 1", 141), ("2>/dev/full", 0)]
)
def test_the_reader_of_the_messages_may_go_too(where, code):
    found, _, _ = run(f"{sys.executable} -c '{MESSAGES}' {where}")
    assert found == code


def test_a_full_disk_is_one_line():
    code, _, err = run(f"{TASK} --help > /dev/full")
    assert (
        code == 2
        and err.startswith("error: standard output cannot be written: No space left on device.")
        and err.count("\n") == 1
    )


@pytest.mark.parametrize(
    ("closing", "flags", "code"),
    [
        (">&-", "--help", 0),
        ("2>&-", "--config=not_there.yaml", 2),
        ("<&- >&- 2>&-", "--config=not_there.yaml", 2),
        ("2>/dev/full", "--config=not_there.yaml", 2),
    ],
)
def test_closed_streams_are_no_trouble(closing, flags, code):
    found, _, _ = run(f"{TASK} {flags} {closing}")
    assert found == code


def test_answers_have_somewhere_to_go(tmp_path):
    (tmp_path / "config.yaml").touch()
    code, _, err = run(f"{TASK} --mode=predict --job_dir={tmp_path} --input=- >&-")
    assert (
        code == 2
        and err
        == "error: --output: standard output is closed, and the answers would go there. Give a"
        " file.\n"
    )


def test_the_next_file_that_is_opened_is_no_standard_stream(tmp_path):
    program = f"""
import os, sys
from trainer.console import standard_streams
closed = standard_streams.open_closed()
with open({str(tmp_path / "file")!r}, "w") as file:
    os.write(1, b"printed by a library")
    print("printed", flush=True)
    os.write(2, (repr(sorted(closed)) + repr(file.fileno() > 2)).encode())
"""
    code, _, err = run(f"{sys.executable} -c '{program.replace(chr(39), chr(34))}' <&- >&-")
    assert code == 0 and err == "['stdin', 'stdout']True" and (tmp_path / "file").read_text() == ""


def test_outputs_tell_who_is_gone_from_what_is_full():
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "w") as stream:
        output = standard_streams.Output(lambda: stream, "the pipe")
        output.write("buffered")
        with pytest.raises(standard_streams.ReaderGoneError):
            output.flush()
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
    with open("/dev/full", "w") as stream:
        output = standard_streams.Output(lambda: stream, "the device")
        output.write("buffered")
        with pytest.raises(
            standard_streams.OutputError,
            match="the device cannot be written: No space left on device",
        ):
            output.flush()
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
