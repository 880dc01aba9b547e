"""`podtune.train` in a real kernel: the stop button, cells that await, threads, what is shown."""

from __future__ import annotations

import pytest

from tests import toy
from tests.kernel import Kernel

pytestmark = [pytest.mark.heavy, pytest.mark.slow]

STEPS = 600
EVERY = "evaluate_every_steps=300"
CALL = f'run = podtune.train("config.yaml", job_dir="{{job}}", {EVERY}, steps={STEPS})'
HANDLERS = """
import signal
print(signal.getsignal(signal.SIGINT) is signal.default_int_handler)
print(signal.getsignal(signal.SIGTERM) is signal.SIG_DFL)
"""


@pytest.fixture(scope="module")
def kernel(tmp_path_factory):
    folder = tmp_path_factory.mktemp("kernel")
    weights = toy.write_checkpoint(folder / "weights", layers=1)
    data = toy.write_sentences(folder / "train.jsonl", 24)
    toy.write_config(folder, weights, data, data={"validation": 0.3})
    started = Kernel(folder)
    assert started.run("import podtune").error is None
    yield started
    started.close()


@pytest.mark.parametrize(
    ("job", "before", "stop_at", "said"),
    [
        ("at_once", "", "podtune train", "finished work is kept"),
        ("in_training", "", "tokens/s", "the checkpoint is written"),
        ("awaits", "import asyncio; await asyncio.sleep(0); ", "tokens/s", "checkpoint is written"),
    ],
)
def test_the_stop_button_keeps_what_is_done_and_the_same_call_goes_on(
    kernel, job, before, stop_at, said
):
    call = before + CALL.format(job=job)
    stopped = kernel.run(call, stop_at=stop_at)
    name, value, lines = stopped.error
    assert (name, value) == ("Stopped", "stopped; call train again to go on")
    assert lines == [value]
    assert stopped.streams["stderr"] == ""
    output = stopped.outputs[-1]
    assert said in output["text/plain"].splitlines()[-1]
    assert "<progress" not in output["text/html"]
    assert kernel.run(HANDLERS).streams["stdout"] == "True\nTrue\n"

    on = kernel.run(call)
    assert on.error is None
    (output,) = on.outputs
    assert ("resuming after step" in output["text/plain"]) == (stop_at == "tokens/s")
    assert f"step {STEPS}: validation loss" in output["text/plain"]
    assert on.streams["stderr"] == ""
    (table,) = kernel.run("run").outputs
    assert table["text/html"].startswith(f"<table><caption>{job}</caption><tr><th></th><th>loss<")
    assert table["text/html"].count("<tr>") == 2  # the heading, and validation


def test_in_a_thread_it_is_the_same(kernel):
    call = CALL.format(job="threaded").replace(f"{STEPS}", "4")
    program = f"""
import threading
runs = []
def train():
    {call}
    runs.append(run)
thread = threading.Thread(target=train)
thread.start()
thread.join()
runs[0].loaded
"""
    shown = kernel.run(program)
    assert shown.error is None
    *_, model = shown.outputs
    assert model["text/plain"].startswith("Model('threaded': classification of neg, pos; 1 layers,")
    assert any("step 4: validation" in output["text/plain"] for output in shown.outputs)


def test_tensorflow_does_not_tell_of_its_files(kernel):
    call = CALL.format(job="exported").replace(f"{STEPS}", "4, format='savedmodel'")
    shown = kernel.run(f"{call}\nrun.model.summary()")
    assert shown.error is None
    assert shown.streams["stderr"] == ""
    assert "INFO" not in shown.streams["stdout"]
    assert any("Total params" in output["text/plain"] for output in shown.outputs)
