import numpy as np
import pytest

from trainer.files import spool
from trainer.files.mapped import blocks, count_numbers, release


def resident_kb(path):
    """Of a mapped file, what counts as this process's memory."""
    with open("/proc/self/smaps") as file:
        lines = file.read().splitlines()
    place = next(number for number, line in enumerate(lines) if str(path) in line)
    return int(next(line for line in lines[place:] if line.startswith("Rss:")).split()[1])


@pytest.mark.parametrize("shape", [(100_000,), (1000, 3), (0,)])
def test_blocks_are_the_array(tmp_path, shape):
    values = np.arange(np.prod(shape), dtype=np.int64).reshape(shape)
    np.save(tmp_path / "values.npy", values)
    mapped = np.load(tmp_path / "values.npy", mmap_mode="r")
    for array in (values, mapped):
        assert b"".join(block.tobytes() for block in blocks(array, 7)) == values.tobytes()


def test_what_was_read_does_not_stay_in_memory(tmp_path):
    path = tmp_path / "values.npy"
    np.save(path, np.zeros(1 << 20))
    mapped = np.load(path, mmap_mode="r")
    assert mapped.sum() == 0 and resident_kb(path) > 4000
    release(mapped)
    assert resident_kb(path) < 100
    for _ in blocks(mapped, 1 << 17):
        assert resident_kb(path) < 2000
    assert mapped[5] == 0


@pytest.mark.parametrize("numbers", [[], [0], [3, 1, 3, 0]])
def test_numbers_are_counted_a_block_at_a_time(monkeypatch, numbers):
    monkeypatch.setattr(spool, "BLOCK_ROWS", 2)
    assert (
        count_numbers(np.array(numbers, np.int32), 5).tolist()
        == np.bincount(np.array(numbers, np.int32), minlength=5).tolist()
    )
