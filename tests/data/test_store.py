"""The token store: what is written is read, and half a store is none."""

import os
import pathlib
import resource
import shutil
import tempfile

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trainer.data.checked import CHUNK_VALUES
from trainer.data.store import TokenStore
from trainer.data.store_folder import building
from trainer.data.store_writer import StoreWriter
from trainer.errors import JobDirError
from trainer.files.checksums import DamagedError

rows_of = st.lists(
    st.lists(st.lists(st.integers(-(2**31), 2**31 - 1), max_size=6), max_size=4),
    min_size=1,
    max_size=3,
)


def ragged(rows):
    return np.array([token for row in rows for token in row], np.int32), np.array(
        [len(row) for row in rows], np.int64
    )


def write(folder, batches):
    writer = StoreWriter(folder)
    number = 0
    for rows in batches:
        writer.append(
            {"token_ids": ragged(rows), "segment_ids": ragged([[0] * len(row) for row in rows])},
            {
                "origin_file": np.full(len(rows), writer.file_number("数.csv"), np.int32),
                "origin_line": np.arange(number, number + len(rows), dtype=np.int32),
            },
        )
        number += len(rows)
    writer.close({"label": np.arange(number, dtype=np.int32)}, {}, {"samples": []})
    return TokenStore(folder)


@settings(deadline=None, max_examples=40)
@given(batches=rows_of)
def test_every_example_is_read_back_by_its_index(batches):
    with tempfile.TemporaryDirectory() as folder:
        store = write(pathlib.Path(folder) / "split", batches)
        rows = [row for batch in batches for row in batch]
        assert (
            len(store) == len(rows)
            and store.lengths.tolist() == [len(row) for row in rows]
            and store.lengths.dtype == np.int32
        )
        for index in np.random.default_rng(0).permutation(len(rows)):
            assert store.example(index)["token_ids"].tolist() == rows[index]
            assert store.example(index)["segment_ids"].tolist() == [0] * len(rows[index])
            assert store.columns["label"][index] == index


def test_an_example_knows_its_place(tmp_path):
    store = write(tmp_path / "split", [[[1]], [[2, 3]]])
    # line 0: the whole file is one example
    assert store.origin(1) == "数.csv:1" and store.origin(0) == "数.csv"


def test_the_tokens_are_mapped_not_read(tmp_path):
    store = write(tmp_path / "split", [[[1, 2]]])
    assert isinstance(store.tokens["token_ids"][:], np.memmap) and isinstance(
        store.columns["label"], np.memmap
    )


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
    assert (
        os.listdir(tmp_path) == ["store"] and (tmp_path / "store" / "file").read_text() == "first"
    )


def test_a_cache_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    said = r"data\.cache_dir: .*/file cannot be written: .*Give another --data\.cache_dir"
    with pytest.raises(JobDirError, match=said), building(tmp_path / "file" / "store"):
        pass


# within the tokens, within the columns, within meta.json
@pytest.mark.parametrize("limit", [40, 100, 400])
def test_a_full_disk_is_named_and_leaves_nothing(tmp_path, limit):
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    with (
        pytest.raises(
            JobDirError, match=r"File too large. Free some space or give another --data\.cache_dir"
        ),
        building(tmp_path / "store") as temporary,
    ):
        writer = StoreWriter(temporary / "split")
        try:
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))
            writer.append(
                {"token_ids": (np.zeros(20 if limit < 80 else 1, np.int32), np.array([20]))},
                {"label": np.zeros(20 if limit < 200 else 2, np.int64)},
            )
            writer.close({}, {}, {"samples": ["x" * 400]})
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert os.listdir(tmp_path) == []


def spoil(file, rng, kind):
    """Changes one file as disks and people do: a byte, its length, or all of it."""
    content = bytearray(file.read_bytes())
    place = int(rng.integers(len(content))) if content else 0
    if kind == "deleted":
        file.unlink()
    elif kind == "byte" and content:
        content[place] ^= int(rng.integers(1, 256))
        file.write_bytes(content)
    elif kind == "cut" and content:
        file.write_bytes(content[:place])
    elif kind == "zeros" and any(content):
        file.write_bytes(bytes(len(content)))
    else:
        file.write_bytes(content + b"\0")


def opened(folder):
    """Whether a store opens and every value of it can be read."""
    try:
        store = TokenStore(folder)
        assert all(store.example(index) for index in range(len(store)))
    except DamagedError as error:
        assert str(folder) in str(error) and (
            " is damaged (" in str(error) or " is missing." in str(error)
        )
        return False
    return True


@pytest.mark.parametrize("kind", ["byte", "cut", "grown", "deleted", "zeros"])
def test_every_damaged_file_of_a_store_is_noticed_when_it_is_opened(tmp_path, kind):
    write(tmp_path / "split", [[[1, 2], [3]], [[4]]])
    rng = np.random.default_rng(0)
    names = sorted(file.name for file in (tmp_path / "split").iterdir())
    assert {
        "checksums.json",
        "meta.json",
        "tokens.token_ids.int32",
        "tokens.token_ids.crc32c",
    } < set(names)
    for name in names:
        copy = shutil.copytree(tmp_path / "split", tmp_path / f"{kind} {name}")
        assert opened(copy)
        spoil(copy / name, rng, kind)
        assert not opened(copy), name


@pytest.mark.heavy
def test_every_byte_of_a_store_counts(tmp_path):
    write(tmp_path / "split", [[[1, 2]]])
    files = {file: file.read_bytes() for file in (tmp_path / "split").iterdir()}
    for file, content in files.items():
        for place in range(0, len(content), 1 if file.suffix != ".npy" else 5):
            file.write_bytes(
                content[:place] + bytes([content[place] ^ 0x10]) + content[place + 1 :]
            )
            assert not opened(tmp_path / "split"), (file.name, place)
            for each, whole in files.items():  # damaged tokens lose their store its checksums
                each.write_bytes(whole)
    assert opened(tmp_path / "split")


def test_of_a_large_store_a_damaged_chunk_is_noticed_before_it_is_given_out(tmp_path, monkeypatch):
    monkeypatch.setattr("trainer.data.store.VERIFIED_AT_ONCE_BYTES", 0)
    count = 3 * CHUNK_VALUES
    write(tmp_path / "split", [[[number % 99] * (CHUNK_VALUES // 2) for number in range(6)]])
    file = tmp_path / "split" / "tokens.token_ids.int32"
    content = bytearray(file.read_bytes())
    content[4 * (count - 5)] ^= 1  # in the last of three chunks
    file.write_bytes(content)
    store = TokenStore(tmp_path / "split")
    for index in range(4):
        assert set(store.example(index)["token_ids"].tolist()) == {index}
    assert store.damage is None
    with pytest.raises(
        DamagedError,
        match=rf"{file} is damaged \(a value between 32,768 and 49,152 is not what was written",
    ):
        store.example(5)
    assert str(store.damage).endswith("Start again: the data is then encoded anew.")
    with pytest.raises(DamagedError):
        np.asarray(TokenStore(tmp_path / "split").tokens["token_ids"])
    # so that it is built anew
    with pytest.raises(DamagedError, match=r"checksums\.json is missing"):
        TokenStore(tmp_path / "split")


def test_a_store_is_on_the_disk_before_it_has_its_name(tmp_path, monkeypatch):
    order = []
    real_rename = os.rename
    monkeypatch.setattr(
        "os.fsync", lambda descriptor: order.append(os.readlink(f"/proc/self/fd/{descriptor}"))
    )
    monkeypatch.setattr(
        "os.rename", lambda old, new: order.append("rename") or real_rename(old, new)
    )
    with building(tmp_path / "store") as temporary:
        write(temporary / "split", [[[1]]])
    before = order[: order.index("rename")]
    written = {path.name for path in (tmp_path / "store" / "split").iterdir()}
    assert written <= {pathlib.Path(name).name for name in before} and str(temporary) in before
    assert order[-1] == str(tmp_path)
