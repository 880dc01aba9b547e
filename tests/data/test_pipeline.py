"""Batches: the plan's examples, set into rows."""

import functools
import gc
import weakref

import numpy as np
import pytest

from trainer.data import pipeline
from trainer.data.batching import lay_out
from trainer.data.pipeline import batches, fill
from trainer.data.store import TokenStore
from trainer.data.store_writer import StoreWriter

ROWS = [[2, 7, 3], [2, 8, 9, 7, 3], [2, 3], [2, 5, 6, 3], [2, 4, 3]]


@pytest.fixture
def store(tmp_path):
    writer = StoreWriter(tmp_path / "split")
    lengths = np.array([len(row) for row in ROWS])
    flat = np.concatenate(ROWS).astype(np.int32)
    writer.append(
        {"token_ids": (flat, lengths), "segment_ids": (flat % 2, lengths)},
        {
            "content_hash": np.zeros(5, np.uint64),
            "origin_file": np.zeros(5, np.int32),
            "origin_line": np.arange(5, dtype=np.int32),
        },
    )
    writer.close({"label": np.arange(10, 15, dtype=np.int32)}, {}, {})
    return TokenStore(tmp_path / "split")


def layout_of(store, indices, **keywords):
    indices = np.array(indices)
    return lay_out(indices, store.lengths[indices], seq_len=8, **keywords)


@pytest.mark.parametrize("batching", ["packed", "bucketed", "fixed"])
@pytest.mark.parametrize("shards", [1, 2])
def test_each_example_stands_whole_where_its_slot_says(store, batching, shards):
    layout = layout_of(store, [4, 1, 3, 0], batching=batching, capacity=6, shards=shards)
    seen = []
    element = fill(store, layout, list(range(shards)))
    for shard in range(shards):
        batch = {name: values[shard] for name, values in element.items()}
        ids = batch["sequence_ids"]
        for slot in np.flatnonzero(batch["sample_weight"]):
            row = batch["example_row"][slot]
            start = batch["example_start"][slot]
            mine = ids[row] == ids[row, start]
            assert ids[row, start] > 0 and np.flatnonzero(mine)[0] == start
            example = ROWS[batch["label"][slot] - 10]
            assert batch["token_ids"][row, mine].tolist() == example
            assert batch["segment_ids"][row, mine].tolist() == [token % 2 for token in example]
            assert batch["position_ids"][row, mine].tolist() == list(range(len(example)))
            seen.append(batch["label"][slot] - 10)
        assert (batch["token_ids"][ids == 0] == 0).all()
        assert batch["sample_weight"].sum() == (layout.index[shard] >= 0).sum()
        assert len(batch["label"]) == len(batch["sample_weight"]) == 6 // shards
    assert sorted(seen) == [0, 1, 3, 4]


def test_what_serves_people_is_not_fed(store):
    assert not {"content_hash", "origin_file", "origin_line"} & set(
        fill(store, layout_of(store, [0], batching="fixed", capacity=1), [0])
    )


@pytest.mark.parametrize("mine", [[0], [1, 2], [0, 1, 2, 3]])
def test_the_dataset_gives_one_element_a_layout_with_the_shards_asked_for(store, mine, monkeypatch):
    monkeypatch.setattr(pipeline, "RELEASED_AFTER", 1)  # what was read is read again
    layouts = [
        layout_of(store, [0, 1, 2], batching="bucketed", capacity=4, shards=4),
        layout_of(store, [3, 4], batching="packed", capacity=4, shards=4),
    ]
    elements = list(batches(store, lambda: iter(layouts), mine).as_numpy_iterator())
    assert len(elements) == 2
    for element, layout in zip(elements, layouts, strict=True):
        wanted = fill(store, layout, [0, 1, 2, 3])
        assert set(element) == set(wanted)
        for name in wanted:
            np.testing.assert_array_equal(element[name], wanted[name][mine])
            assert element[name].dtype == wanted[name].dtype


def test_what_a_dataset_has_read_is_let_go(store):
    """An evaluation's layouts, for one, of which a long run makes thousands."""

    class Layouts(list):
        pass

    layouts = Layouts([layout_of(store, [0, 1, 2], batching="fixed", capacity=4)])
    alive = weakref.ref(layouts)
    assert len(list(batches(store, functools.partial(iter, layouts), [0]))) == 1
    del layouts
    gc.collect()
    assert alive() is None
