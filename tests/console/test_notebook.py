"""What a cell of a notebook shows, told by a real kernel."""

from __future__ import annotations

import html
import re

import pytest

from tests.kernel import Kernel

pytestmark = pytest.mark.heavy  # a kernel takes seconds

RUN = """
from trainer.console import notebook
from trainer.console.display import Display
notebook.REDRAW_SECONDS = 0
display = Display()
display.line("begins in [red]<b>runs</b> :car:")
for step in range(1, 50):
    display.progress("training", step, 100, f"step {step}/100  loss <0.5>", seconds_left=3720)
    if step == 20:
        display.line("step 20: validation accuracy 0.5")
        display.warn("label \\x1b[31mred")
"""


@pytest.fixture(scope="module")
def kernel(tmp_path_factory):
    started = Kernel(tmp_path_factory.mktemp("kernel"))
    yield started
    started.close()


def text_of(markup: str) -> str:
    return html.unescape(re.sub(r"<[^>]*>", "", markup))


def test_a_run_is_one_output_drawn_anew(kernel):
    shown = kernel.run(RUN)
    assert shown.error is None and shown.streams == {"stdout": "", "stderr": ""}
    (output,) = shown.outputs
    assert shown.updates >= 51
    lines = [
        "begins in [red]<b>runs</b> :car:",
        "step 20: validation accuracy 0.5",
        r"warning: label \x1b[31mred",
        "training 49% step 49/100  loss <0.5>  about 1 h 02 min left",
    ]
    assert output["text/plain"].splitlines() == lines
    markup = output["text/html"]
    # the bar stands before its text
    assert text_of(markup).splitlines() == [*lines[:3], f" {lines[3]}"]
    assert re.findall(r"<(\w+)", markup) == ["pre", "span", "progress"]
    assert '<progress value="0.4900"></progress>' in markup
    assert "color" in re.findall(r"<span[^>]*>warning", markup)[0]

    (after,) = kernel.run("display.done(); display.line('ends')").outputs
    assert after["text/plain"].splitlines() == [*lines[:3], "ends"]
    assert "<progress" not in after["text/html"]


def test_what_nobody_knows_the_end_of_has_a_bar_all_the_same(kernel):
    (output,) = kernel.run("display = Display(); display.progress('predicting', 5, None)").outputs
    assert "<progress></progress> predicting 5" in output["text/html"]


def test_tables_stand_among_the_lines(kernel):
    (output,) = kernel.run("Display().table('Labels', [('<i>', 'of 17'), ('neg', 'of 5')])").outputs
    assert [line.split() for line in text_of(output["text/html"]).splitlines()] == [
        ["Labels"],
        ["<i>", "of", "17"],
        ["neg", "of", "5"],
    ]


def test_what_is_said_for_long_takes_several_outputs(kernel):
    program = "display = Display()\nfor n in range(1000): display.line(f'{n} ' + 'x' * 50)"
    outputs = kernel.run(program).outputs
    assert 1 < len(outputs) < 5
    lines = "".join(output["text/plain"] for output in outputs).splitlines()
    assert [int(line.split()[0]) for line in lines] == list(range(1000))


def test_one_that_is_quiet_shows_nothing(kernel):
    program = "display = Display(); display.quiet = True; display.line('a'); display.done()"
    assert kernel.run(program).outputs == []


def test_the_log_of_a_job_is_no_output_of_a_cell(kernel):
    shown = kernel.run("import sys; Display(sys.stdout).line('begins')")
    assert shown.outputs == []
    assert '"message": "begins"' in shown.streams["stdout"]


def test_mistakes_are_told_without_our_frames(kernel):
    shown = kernel.run("import podtune; podtune.train('nowhere.csv', epoch=1, **{'\\x1b[31m': 1})")
    name, _, lines = shown.error
    assert name == "ConfigError"
    assert "\n".join(lines).splitlines() == [
        "ConfigError: epoch: no such setting. Did you mean train.epochs?",
        r"\x1b[31m: no such setting.",
    ]
