import os
from typing import NamedTuple

import numpy as np
import pytest

from trainer.data import duplicates as duplicates_module
from trainer.data.duplicates import by_hash, duplicates, duplicates_of
from trainer.files import spool as spool_module
from trainer.files.spool import (
    BLOCK_ROWS,
    WAITING_ROWS,
    Ascending,
    Labels,
    Numbers,
    Records,
    in_order,
)


def test_numbers_are_read_as_they_were_written(tmp_path):
    spool = Numbers(tmp_path, np.int32, (2,))
    expected = [(row, -row) for row in range(2 * WAITING_ROWS + 3)]
    for row in expected[:-2]:
        spool.append(row)
    spool.extend(np.array(expected[-2:]))
    assert len(spool) == len(expected)
    assert spool[5].tolist() == [5, -5] and spool[-1].tolist() == list(expected[-1])
    np.testing.assert_array_equal(spool[10:20], expected[10:20])
    np.testing.assert_array_equal(np.concatenate(list(spool.blocks(1000))), expected)
    np.testing.assert_array_equal(np.array(spool), expected)
    with pytest.raises(IndexError):
        spool[len(expected)]
    assert os.listdir(tmp_path) == []  # a process that is killed leaves nothing


def test_numbers_without_rows(tmp_path):
    spool = Numbers(tmp_path, np.uint64)
    assert len(spool) == 0 and list(spool.blocks()) == [] and spool[:].shape == (0,)
    assert spool.mapped().shape == (0,) and spool.mapped().dtype == np.uint64


def test_numbers_are_mapped_and_go_on(tmp_path):
    spool = Numbers(tmp_path, np.float32, (3,))
    expected = np.arange(30, dtype=np.float32).reshape(10, 3)
    spool.extend(expected[:4])
    mapped = spool.mapped()
    assert isinstance(mapped, np.memmap)
    for row in expected[4:]:
        spool.append(row)
    np.testing.assert_array_equal(mapped, expected[:4])
    np.testing.assert_array_equal(spool.mapped(), expected)


def test_records_are_read_as_they_were_written(tmp_path, monkeypatch):
    monkeypatch.setattr(spool_module, "RECORDS_BYTES", 50)
    records = Records(tmp_path)
    # some alone are more than is read at a time
    expected = [b"x" * (number * 7 % 60) for number in range(100)]
    for number, record in enumerate(expected):
        records.append(record)
        assert records[number] == record and len(records) == number + 1
    assert list(records) == expected and list(records.part(3, 9)) == expected[3:9]
    assert records[-1] == expected[-1] and bytes(records.content) == b"".join(expected)
    with pytest.raises(IndexError):
        records[100]


def test_records_that_are_empty(tmp_path):
    records = Records(tmp_path)
    assert list(records) == [] and records.content.mapped().shape == (0,)
    records.append(b"")
    assert list(records) == [b""] and records.splits[:].tolist() == [0, 0]


@pytest.mark.parametrize("count", [0, 3, 9, 10, 11, 95])
def test_names_are_sorted_on_disk_too(tmp_path, monkeypatch, count):
    monkeypatch.setattr(spool_module, "BLOCK_ROWS", 10)
    names = [f"{number * 37 % 101}\udcff文" for number in range(count)]
    assert list(in_order(iter(names), tmp_path / "cache")) == sorted(names)


class Point(NamedTuple):
    place: tuple[int, ...]
    name: str | None


def test_a_full_disk_is_an_error(tmp_path):
    spool = Numbers(tmp_path, np.int64)
    spool._file.close()
    spool._file = open("/dev/full", "wb", buffering=0)  # noqa: SIM115
    with pytest.raises(OSError, match="No space left"):
        spool.extend(np.arange(10))


@pytest.mark.parametrize(
    "labels",
    [
        ["ham", "spam", "ham"] * BLOCK_ROWS,
        [("a", "b"), (), ("b",)] * 10,
        [0.5, -1e300, 3.0] * 10,
        [(True, 3, 10), (False, 0, 0)] * 10,
        ["1", 1, True, None, "1"] * 10,
        [Point((1, 2), "x"), Point((), None)] * 10,
        [("\ud800", 1.5, False)] * 10,
        [],
    ],
)
def test_labels_are_a_list(tmp_path, labels):
    spool = Labels(tmp_path)
    for label in labels:
        spool.append(label)
    assert len(spool) == len(labels)
    assert list(spool) == labels
    assert [type(label) for label in spool] == [type(label) for label in labels]
    assert spool[1:3] == labels[1:3] and spool[::2] == labels[::2]
    if labels:
        assert spool[0] == labels[0] and spool[-1] == labels[-1]
    with pytest.raises(IndexError):
        spool[len(labels)]


@pytest.mark.parametrize("size", [1, 3, 100])
def test_ascending_numbers_are_taken_up_to_a_limit(size):
    numbers = np.array([0, 2, 2, 5, 9, 9, 12])
    ahead = Ascending(numbers[start : start + size] for start in range(0, len(numbers), size))
    assert [ahead.below(limit).tolist() for limit in (0, 2, 3, 9, 10, 11, 99)] == [
        [],
        [0],
        [2, 2],
        [5],
        [9, 9],
        [],
        [12],
    ]
    assert Ascending([]).below(5).tolist() == []


@pytest.mark.parametrize("part_rows", [10_000, 100])
def test_duplicates_are_what_a_search_of_all_finds(tmp_path, monkeypatch, part_rows):
    monkeypatch.setattr(duplicates_module, "PART_ROWS", part_rows)
    rng = np.random.default_rng(0)
    train, held_out = (
        rng.integers(0, 1500, count).astype(np.uint64) << np.uint64(40) for count in (1000, 700)
    )
    spools = [Numbers(tmp_path, np.uint64) for _ in range(2)]
    for spool, hashes in zip(spools, (train, held_out), strict=True):
        spool.extend(hashes)
    seen, again = set(), []
    for row, value in enumerate(train.tolist()):
        if value in seen:
            again.append(row)
        seen.add(value)
    found = duplicates(spools[0], tmp_path)
    assert (found.count, found.first) == (len(again), again[0])
    also = [row for row, value in enumerate(held_out.tolist()) if value in seen]
    found = duplicates_of(spools[1], spools[0], tmp_path)
    assert (found.count, found.first) == (len(also), also[0])
    parts = list(by_hash(spools, tmp_path))
    assert len(parts) == (1 if part_rows > 1000 else 10)
    rows = np.concatenate([part[0] for part in parts])
    np.testing.assert_array_equal(train[rows["row"]], rows["hash"])
    assert duplicates(Numbers(tmp_path, np.uint64), tmp_path).count == 0
