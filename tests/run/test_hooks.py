"""When hooks are due, and what each does with an evaluation."""

import math

import pytest

from trainer.errors import ConfigError
from trainer.run.compiled_shapes import CompiledShapes
from trainer.run.hooks.choose import cadence
from trainer.run.hooks.early_stopping import EarlyStopping
from trainer.run.hooks.hook import Every, Moment
from trainer.run.hooks.log import LogValidation
from trainer.run.hooks.trial import ReportTrial
from trainer.run.run_state import RunState
from trainer.settings.schema import TrainSettings


@pytest.mark.parametrize("periods", [(1,), (7,), (7, 25), (100,)])
def test_a_call_ends_where_something_is_due_next(periods):
    every = Every(periods, last_step=60)
    step, ends = 0, []
    while step < 60:
        step += every.steps_left(step)
        ends.append(step)
    assert ends == [step for step in range(1, 61) if every.is_due(step)]
    assert all(any(step % period == 0 for period in periods) for step in ends[:-1])


def test_a_checkpoint_is_due_after_every_evaluation():
    settings = TrainSettings(checkpoint_every_steps=7, evaluate_every_steps=0, log_every_steps=3)
    due = cadence(settings, steps=50, steps_per_epoch=20)
    assert [step for step in range(1, 51) if due.evaluate.is_due(step)] == [20, 40, 50]
    assert [step for step in range(1, 51) if due.checkpoint.is_due(step)] == [
        *(7, 14, 20, 21, 28, 35, 40, 42, 49, 50)
    ]


class Lines:
    """A display that keeps what it is told, and a trial that does."""

    def __init__(self):
        self.lines = []

    def line(self, text, **fields):
        self.lines.append(text)

    def report(self, split, metrics, step):
        self.lines.append((split, dict(metrics), step))


def early_stopping(**changed):
    settings = {
        "every": Every((1,), 100),
        "metric": "loss",
        "lower_is_better": True,
        "min_delta": 0.0,
        "patience": 2,
        "display": Lines(),
    }
    return EarlyStopping(**{**settings, **changed})


def after_evaluations(hook, losses):
    state = RunState()
    for loss in losses:
        state.step += 1
        hook(Moment(state, metrics={"loss": loss}))
    return state


@pytest.mark.parametrize(
    ("losses", "best_step", "stopped"),
    [
        ([3.0, 2.0, 1.0], 3, False),
        ([3.0, 2.0, 2.5], 2, False),
        ([3.0, 2.0, 2.5, 2.0], 2, True),
        ([2.0, math.nan, 1.0, math.nan, math.nan], 3, True),
        ([math.nan, math.nan], None, True),
    ],
)
def test_patience_counts_evaluations_in_a_row(losses, best_step, stopped):
    hook = early_stopping()
    state = after_evaluations(hook, losses)
    assert (state.best_step, state.stopped_early) == (best_step, stopped)
    assert len(hook.display.lines) == int(stopped)
    best = "none" if best_step is None else f"{losses[best_step - 1]:.4f} after step {best_step}"
    said = f"stopping early: 2 evaluations without a better loss (best: {best})"
    assert all(line == said for line in hook.display.lines)


@pytest.mark.parametrize("patience", [None, 0])
def test_without_patience_only_the_best_is_kept(patience):
    state = after_evaluations(early_stopping(patience=patience), [1.0, *[2.0] * 50])
    assert state.best_step == 1 and not state.stopped_early


def test_a_metric_that_validation_does_not_give_is_named():
    with pytest.raises(ConfigError, match=r"validation gives no f1. Expected one of loss\."):
        after_evaluations(early_stopping(metric="f1"), [1.0])


def test_without_an_evaluation_nothing_is_said_of_one():
    heard = Lines()
    every = Every((1,), 100)
    for hook in (
        early_stopping(display=heard),
        LogValidation(every, logs=None, display=heard),
        ReportTrial(every, trial=heard),
    ):
        hook(Moment(RunState(step=1)))
    assert heard.lines == []
    ReportTrial(every, trial=heard)(Moment(RunState(step=3), metrics={"loss": 1.0}))
    assert heard.lines == [("validation", {"loss": 1.0}, 3)]


def test_a_call_compiles_with_each_new_shape_where_shapes_are_static():
    warned = []
    shapes = CompiledShapes([(4, 32), (4, 64)], warned.append)
    assert shapes.add({(4, 32)}) and not shapes.add({(4, 32)})
    assert shapes.add({(4, 32), (4, 64)}) and warned == []
    assert shapes.add({(8, 64)}) and not shapes.add({(8, 64)})
    assert len(warned) == 1 and "8 rows of 64 tokens; 3 shapes by now" in warned[0]


def test_otherwise_only_the_first_call_compiles():
    shapes = CompiledShapes(None, pytest.fail)
    assert shapes.add({(4, 32)}) and not shapes.add({(8, 64)})
