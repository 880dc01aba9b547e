"""What a terminal shows: a process writes to a pseudo-terminal, and its rows are read off as a
person would.
"""

import io
import math
import os
import pty
import re
import signal
import struct
import subprocess
import sys
import termios
import time
from fcntl import ioctl

import pytest

from tests.toy import ROOT
from trainer.console import display as display_module
from trainer.console.display import Display, _Task
from trainer.console.live_line import LiveLine

BEGIN = """
import signal, sys, time
from trainer.console.display import Display
from trainer.console.stopping import StopSignal
from trainer.console import live_line
live_line.REDRAW_SECONDS = 0
display, stop = Display(), StopSignal()
stop.listen()
stop.say = display.last_line
"""
NOTE = "step {0}/1,000  loss 0.6931  1,234 tokens/s"


class Screen:
    """The rows of a terminal, with the few controls that we may use; any other is an error."""

    def __init__(self, columns):
        self.columns = columns
        self.rows = [""]
        self.column = 0

    def feed(self, text):
        for part in re.findall(r"\x1b\[[0-9;?]*[A-Za-z]|\x1b.|.", text, re.DOTALL):
            if part == "\n":
                self.rows.append("")
            elif part == "\r":
                self.column = 0
            elif part == "\x1b[K":
                self.rows[-1] = self.rows[-1][: self.column]
            elif re.fullmatch(r"\x1b\[[0-9;]*m", part):
                pass  # a color
            else:
                assert part.isprintable(), repr(part)
                if self.column == self.columns:
                    self.rows.append("")
                    self.column = 0
                self.rows[-1] = (
                    self.rows[-1][: self.column] + part + self.rows[-1][self.column + 1 :]
                )
                self.column += 1
        return self


def on_terminal(program, *, rows=24, columns=80, interrupt=False, **environment):
    """What a process leaves on the screen, its last live line, and its exit code."""
    ours, theirs = pty.openpty()
    ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
    variables = {**os.environ, "TERM": "xterm", **environment}
    for name in ("COLUMNS", "LINES", "NO_COLOR", "FORCE_COLOR"):
        variables.pop(name, None)
    process = subprocess.Popen(
        [sys.executable, "-c", BEGIN + program],
        cwd=ROOT,
        env=variables,
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        start_new_session=True,
    )
    os.close(theirs)
    written = b""
    while True:
        try:
            part = os.read(ours, 4096)
        except OSError:  # Linux: the other side is closed
            break
        written += part
        if interrupt and b"ready" in written:
            interrupt = False
            time.sleep(0.1)
            process.send_signal(signal.SIGINT)
        if not part:
            break
    os.close(ours)
    text = written.decode()
    return Screen(columns).feed(text).rows, text, process.wait()


@pytest.mark.parametrize(("rows", "columns"), [(24, 80), (1, 80), (1, 20), (24, 200)])
def test_progress_takes_one_row_and_leaves_none(rows, columns):
    program = f"""
display.line("begins")
for step in range(1, 50):
    display.progress("training", step, 1000, {NOTE!r}.format(step), seconds_left=3720)
    if step == 20:
        display.line("step 20: validation accuracy 0.5")
    if step % 10 == 0:
        display.progress("evaluating", step, 1000)
        display.done("evaluating")
display.done()
display.line("ends")
"""
    shown, text, code = on_terminal(program, rows=rows, columns=columns)
    assert code == 0
    assert "".join(shown) == "beginsstep 20: validation accuracy 0.5ends"
    live = [part for part in re.split(r"\r\x1b\[K", text) if part.startswith("training")]
    assert len(live) == 49
    if columns >= 80:
        assert live[-1] == f"training 5% {NOTE.format(49)}  about 1 h 02 min left"
    else:
        assert live[-1] == "training 5% step 4…"
    assert "\x1b[?25l" not in text  # the cursor is never hidden


def test_a_row_with_wide_characters_is_cut_to_the_terminal():
    stream = io.StringIO()
    LiveLine(stream, lambda: 10).show("训练训练训练")
    assert stream.getvalue() == "\r\x1b[K训练训练…"


def test_ctrl_c_leaves_a_clean_terminal():
    program = """
display.line("begins")
display.progress("preparing", 5, 10)
sys.stdout.write("")
display.progress("preparing", 6, 10, "ready")
time.sleep(30)
"""
    shown, text, code = on_terminal(program, rows=1, interrupt=True)
    assert code == 130
    assert shown == [
        "begins",
        "stopped by a signal; finished work is kept, start again to go on",
        "",
    ]
    assert "\x1b[?25l" not in text


def test_a_terminal_that_cannot_draw_anew_gets_plain_lines():
    program = """
for step in range(100):
    display.progress("predicting", step, None)
"""
    shown, text, _ = on_terminal(program, TERM="dumb")
    assert shown == ["predicting 0", ""] and "\x1b" not in text


def clock(monkeypatch, second):
    """Time that goes on by `second` at each look."""
    now = iter(range(0, 10**9, second))
    monkeypatch.setattr(display_module.time, "monotonic", lambda: float(next(now)))


def test_plain_lines_are_few_however_long_a_run_takes(monkeypatch, capsys):
    clock(monkeypatch, 1)
    display = Display()
    for step in range(7 * 86_400):
        display.progress("training", step, 7 * 86_400, seconds_left=60)
    lines = capsys.readouterr().err.splitlines()
    assert 200 < len(lines) < 300
    assert lines[0] == "training 0%  about 1 min 00 s left"
    # more often in the beginning
    assert len([line for line in lines if line.startswith("training 0%")]) > 50


def test_predicting_counts(monkeypatch, capsys):
    clock(monkeypatch, 20)
    display = Display()
    for done in (512, 1024):
        display.progress("predicting", done, None)
    assert capsys.readouterr().err == "predicting 512\npredicting 1,024\n"


def test_time_left_goes_by_what_was_done_since_the_beginning():
    task = _Task(first=500, began=100.0)  # as where a run goes on
    assert task.text("preparing", 500, 1000, "", 100.0, None) == "preparing 50%"
    assert task.text("preparing", 600, 1000, "", 110.0, None) == "preparing 60%  about 40 s left"
    assert task.text("preparing", 1200, 1000, "", 110.0, None) == "preparing 120%"
    assert (
        task.text("training", 600, 1000, "compiling", 110.0, math.inf) == "training 60% compiling"
    )


def test_what_comes_from_outside_cannot_move_the_cursor(capsys):
    display = Display()
    display.line("label \x1b[31mred")
    display.warn("file a\rb")
    display.table("Labels", [("[b]\x9b", "\u202epos [red]")])
    said = capsys.readouterr().err
    assert r"label \x1b[31mred" in said and r"file a\rb" in said
    assert r"[b]\x9b" in said and r"\u202epos [red]" in said
