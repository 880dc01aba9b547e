"""What the steps of a run are fed with."""

import numpy as np
import pytest

from trainer.console.stopping import StoppedError
from trainer.data.batching import TrainingPlan
from trainer.data.example_rows import StoredRows
from trainer.run.step_feed import StepFeed
from trainer.run.step_layouts import step_layout
from trainer.settings.schema import Config

STEPS = 12


class Store:
    """As much of a token store as a feed asks for."""

    def __init__(self, examples=23, damage=None):
        self.lengths = np.random.default_rng(5).integers(3, 17, examples).astype(np.int32)
        self.damage = damage

    def __len__(self):
        return len(self.lengths)


def config_of(batching="packed"):
    return Config.model_validate(
        {
            "head": {"name": "classification"},
            "backbone": {"weights": "w"},
            "data": {"source": "jsonl", "train": "t", "seq_len": 16, "batching": batching},
            "train": {"global_batch_size": 5},
        }
    )


def feed_of(store, stream=None, *, static_shapes=False):
    plan = TrainingPlan(len(store), 5, seed=1)
    layout = step_layout(
        config_of(), store, plan, StoredRows(), shards=1, static_shapes=static_shapes
    )
    return StepFeed(store, plan, layout, STEPS, stream)


def indices_of(layouts):
    return [(layout.step, np.sort(layout.index[layout.index >= 0]).tolist()) for layout in layouts]


def test_the_steps_after_a_restart_take_what_they_would_have_taken():
    whole = indices_of(feed_of(Store()).start(0))
    assert [step for step, _ in whole] == list(range(STEPS))
    assert indices_of(feed_of(Store()).start(7)) == whole[7:]


def test_a_feed_tells_once_what_a_step_had():
    store = Store()
    feed = feed_of(store)
    layouts = list(feed.start(0))
    for layout, laid_out in zip(layouts, feed.take(range(STEPS)), strict=True):
        assert laid_out.shape == (layout.rows, layout.row_length)
        present = layout.index[layout.index >= 0]
        assert sorted(laid_out.lengths) == sorted(store.lengths[present])
        assert feed.position(laid_out) is None
    with pytest.raises(KeyError):
        feed.take(range(1))


def test_static_shapes_are_few():
    shapes = {(layout.rows, layout.row_length) for layout in feed_of(Store()).start(0)}
    layouts = feed_of(Store(), static_shapes=True).start(0)
    static_shapes = {(layout.rows, layout.row_length) for layout in layouts}
    assert len(static_shapes) < len(shapes)
    assert {row_length for _, row_length in static_shapes} == {16}


class Stream:
    """A stream that is never ready."""

    failure = None

    def ready(self, step):
        return False


def test_a_signal_is_seen_while_a_block_is_waited_for():
    def stop():
        raise StoppedError

    with pytest.raises(StoppedError):
        feed_of(Store(), Stream()).wait_for(1, on_wait=stop)
    feed_of(Store()).wait_for(1, on_wait=stop)  # what is stored is there


def test_what_ended_the_examples_is_known():
    stream = Stream()
    store = Store(damage=OSError("damaged"))
    assert str(feed_of(store, stream).failure()) == "damaged"
    stream.failure = ValueError("the file is gone")
    assert str(feed_of(store, stream).failure()) == "the file is gone"
    assert feed_of(Store()).failure() is None
