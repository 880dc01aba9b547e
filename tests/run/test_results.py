"""What a run took, as results.json has it."""

import dataclasses

import pytest
import tensorflow as tf

from trainer.console.timeline import Timeline
from trainer.machine.hardware import this_machine
from trainer.run.results import measure_expense
from trainer.run.run_state import RunState


@pytest.mark.parametrize(("cores", "counts"), [(0, True), (1, False)])
def test_the_peak_is_the_most_that_this_machine_ever_reached(cores, counts):
    """A run that has ended is started again while the machine is busy."""
    machine = dataclasses.asdict(this_machine())
    machine["cores"] += cores  # another machine
    earlier = {"machine": machine, "throughput": {"measured_peak_gflops": 1e6}}
    state = RunState()
    strategy = tf.distribute.OneDeviceStrategy("/cpu:0")
    expense = measure_expense(state, Timeline(), strategy, "float32", earlier=earlier)
    assert (expense.throughput.measured_peak_gflops == 1e6) == counts
    none = measure_expense(state, Timeline(), strategy, "float32", earlier={})
    assert 0 < none.throughput.measured_peak_gflops < 1e6
