"""The token store: what is written is read, and half a store is none."""

import os
import pathlib
import resource
import tempfile

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trainer.data.store import StoreWriter, TokenStore, building
from trainer.errors import JobDirError

rows_of = st.lists(st.lists(st.lists(st.integers(-2**31, 2**31 - 1), max_size=6), max_size=4), min_size=1, max_size=3)


def ragged(rows):
    return np.array([token for row in rows for token in row], np.int32), np.array([len(row) for row in rows], np.int64)


def write(folder, batches):
    writer = StoreWriter(folder)
    number = 0
    for rows in batches:
        writer.append({"token_ids": ragged(rows), "segment_ids": ragged([[0] * len(row) for row in rows])},
                      {"origin_file": np.zeros(len(rows), np.int32), "origin_line": np.arange(number, number + len(rows), dtype=np.int32)})
        number += len(rows)
    writer.close({"label": np.arange(number, dtype=np.int32)}, {}, {"files": ["数.csv"], "samples": []})
    return TokenStore(folder)


@settings(deadline=None, max_examples=40)
@given(batches=rows_of)
def test_every_example_is_read_back_by_its_index(batches):
    with tempfile.TemporaryDirectory() as folder:
        store = write(pathlib.Path(folder) / "split", batches)
        rows = [row for batch in batches for row in batch]
        assert len(store) == len(rows) and store.lengths.tolist() == [len(row) for row in rows] and store.lengths.dtype == np.int32
        for index in np.random.default_rng(0).permutation(len(rows)):
            assert store.example(index)["token_ids"].tolist() == rows[index]
            assert store.example(index)["segment_ids"].tolist() == [0] * len(rows[index])
            assert store.columns["label"][index] == index


def test_an_example_knows_its_place(tmp_path):
    store = write(tmp_path / "split", [[[1]], [[2, 3]]])
    assert store.origin(1) == "数.csv:1" and store.origin(0) == "数.csv"  # line 0: the whole file is one example


def test_the_tokens_are_mapped_not_read(tmp_path):
    assert isinstance(write(tmp_path / "split", [[[1, 2]]]).tokens["token_ids"], np.memmap)


def test_a_failed_build_leaves_nothing(tmp_path):
    with pytest.raises(ZeroDivisionError), building(tmp_path / "cache" / "store") as temporary:
        (temporary / "half").write_text("x")
        raise ZeroDivisionError
    assert os.listdir(tmp_path / "cache") == []


def test_a_complete_build_appears_at_once(tmp_path):
    with building(tmp_path / "store") as temporary:
        (temporary / "whole").write_text("x")
        assert not (tmp_path / "store").exists()
    assert os.listdir(tmp_path) == ["store"] and (tmp_path / "store" / "whole").read_text() == "x"


def test_of_two_runs_that_build_the_same_store_the_first_stays(tmp_path):
    with building(tmp_path / "store") as slow:
        (slow / "file").write_text("second")
        with building(tmp_path / "store") as fast:
            (fast / "file").write_text("first")
    assert os.listdir(tmp_path) == ["store"] and (tmp_path / "store" / "file").read_text() == "first"


def test_a_cache_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    said = r"data\.cache_dir: .*/file cannot be written: .*Give another --data\.cache_dir"
    with pytest.raises(JobDirError, match=said), building(tmp_path / "file" / "store"):
        pass


@pytest.mark.parametrize("limit", [40, 100, 400])  # within the tokens, within the columns, within meta.json
def test_a_full_disk_is_named_and_leaves_nothing(tmp_path, limit):
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    with pytest.raises(JobDirError, match=r"File too large. Free some space or give another --data\.cache_dir"), building(tmp_path / "store") as temporary:
        writer = StoreWriter(temporary / "split")
        try:
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))
            writer.append({"token_ids": (np.zeros(20 if limit < 80 else 1, np.int32), np.array([20]))}, {"label": np.zeros(20 if limit < 200 else 2, np.int64)})
            writer.close({}, {}, {"files": ["x" * 400]})
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert os.listdir(tmp_path) == []
