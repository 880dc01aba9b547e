"""A conversation on a terminal: what a person sees."""

from __future__ import annotations

import errno
import os
import pty
import re
import subprocess
import sys

import pytest

from tests.toy import ROOT
from trainer.serve.conversation import shown_answer

ENTITIES = [
    {"start": 0, "end": 3, "type": "PER", "text": "Ann", "score": 0.99},
    {"start": 13, "end": 17, "type": "LOC", "text": "Rome", "score": 0.5},
]


def test_spans_are_seen_in_their_text_each_type_in_its_colour():
    styles: dict[str, str] = {}
    shown = shown_answer({"entities": ENTITIES}, "Ann works in Rome.", styles)
    assert shown.plain == "Ann [PER 0.99] works in Rome [LOC 0.50]."
    assert styles == {"PER": "cyan", "LOC": "magenta"}
    assert {shown.plain[span.start : span.end]: span.style for span in shown.spans} == {
        "Ann": "bold cyan",
        " [PER 0.99]": "cyan",
        "Rome": "bold magenta",
        " [LOC 0.50]": "magenta",
    }


def test_a_text_without_spans_says_so():
    assert shown_answer({"entities": []}, "nothing", {}).plain == "nothing  (no span)"


def test_labels_come_with_the_likeliest_others():
    answer = {"label": "b", "probabilities": {"a": 0.25, "b": 0.7, "c": 0.05}}
    assert shown_answer(answer, "x", {}).plain == "b   b 0.700  a 0.250  c 0.050"
    many = {"label": "0", "probabilities": {str(n): 1 / (n + 2) for n in range(9)}}
    assert shown_answer(many, "x", {}).plain.endswith("and 4 more")
    several = {"labels": [], "probabilities": {"a": 0.1}}
    assert shown_answer(several, "x", {}).plain == "(no label)   a 0.100"


@pytest.mark.parametrize(
    ("answer", "plain"),
    [
        ({"answer": "1973", "start": 1, "end": 5, "score": 0.5}, "1973   0.500"),
        ({"answer": "", "start": -1, "end": -1, "score": 0.5}, "(no answer)   0.500"),
        ({"value": 3.5}, "value: 3.5"),
        ({"value": 3.0019426}, "value: 3.002"),
    ],
)
def test_other_answers(answer, plain):
    assert shown_answer(answer, "x", {}).plain == plain


def conversation(folder, lines: str, **variables: str) -> str:
    """What a terminal shows of podtune predict, with what was typed; it ends by itself."""
    master, slave = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "podtune", "predict", str(folder)],
        cwd=ROOT,
        stdin=slave,
        stdout=slave,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "TERM": "xterm", **variables},
    )
    os.close(slave)
    os.write(master, lines.encode() + b"\x04")
    shown = b""
    while True:
        try:
            block = os.read(master, 4096)
        except OSError as error:  # as Linux ends a terminal
            assert error.errno == errno.EIO
            break
        if not block:
            break
        shown += block
    assert process.wait() == 0
    os.close(master)
    return shown.decode().replace("\r\n", "\n")


def test_each_line_is_answered_mistakes_too(trained):
    lines = 'a great film\n{oops\n{"text": "an awful book"}\n'
    shown = conversation(trained, lines, NO_COLOR="1")
    plain = re.sub(r"\x1b\[[0-2]m", "", shown)  # bold and dim are no colours
    assert "\x1b" not in plain
    assert "A text a line, or a JSON object; Ctrl-D ends." in plain
    answers = plain.split("Ctrl-D ends.\n")[1].split("> ")[1:]
    assert re.fullmatch(r"pos   pos 0\.\d{3}  neg 0\.\d{3}\n", answers[0])
    assert answers[1].startswith("! standard input:2: not JSON")
    assert answers[2].startswith("neg   neg 0.")
