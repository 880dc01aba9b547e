"""Sealed files: every changed byte is noticed."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trainer.files.checksums import (
    DamagedError,
    Fingerprint,
    checksum,
    fingerprint,
    read_sealed,
    sealed,
    verify,
    write_sealed,
)

VALUE = {"step": 7, "label": "数", "values": [1.5, None], "nested": {"checksum": "x"}}


def test_a_sealed_file_is_json_that_is_read_back(tmp_path):
    write_sealed(tmp_path / "a.json", VALUE)
    assert read_sealed(tmp_path / "a.json") == VALUE
    assert {
        **VALUE,
        "checksum": json.loads((tmp_path / "a.json").read_text())["checksum"],
    } == json.loads((tmp_path / "a.json").read_text())


@pytest.mark.heavy
def test_every_changed_byte_of_a_sealed_file_is_noticed(tmp_path):
    content = sealed(VALUE).encode()
    file = tmp_path / "a.json"
    for place in range(len(content)):
        for bits in (1, 2, 4, 8, 16, 32, 64, 128, 255):
            file.write_bytes(
                content[:place] + bytes([content[place] ^ bits]) + content[place + 1 :]
            )
            with pytest.raises(DamagedError):
                read_sealed(file)
    for length in range(len(content)):
        file.write_bytes(content[:length])
        with pytest.raises(DamagedError):
            read_sealed(file)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{}",
        b"null",
        b"\xff",
        b'{"files": {}}',
        b'{"files": {}, "checksum": "00000000"}',
        b"[" * 100_000,
    ],
)
def test_what_was_never_sealed_is_damaged(tmp_path, content):
    (tmp_path / "a.json").write_bytes(content)
    with pytest.raises(
        DamagedError,
        match=r"a\.json is damaged \(it has no checksum at its end: it was cut, or an older",
    ):
        read_sealed(tmp_path / "a.json")
    with pytest.raises(DamagedError, match=r"none is missing"):
        read_sealed(tmp_path / "none")


@settings(max_examples=50, deadline=None)
@given(before=st.binary(max_size=50), after=st.binary(max_size=50))
def test_a_checksum_goes_on_from_what_stands_before(before, after):
    assert checksum(after, checksum(before)) == checksum(before + after)
    assert (
        checksum(b"123456789") == 0xE3069283
    )  # the check value of CRC-32C, as the standard gives it


def test_a_file_is_compared_with_what_it_was(tmp_path):
    file = tmp_path / "a"
    file.write_bytes(b"x" * 3_000_000)
    before = fingerprint(file)
    verify(file, before)
    assert before.bytes == 3_000_000 and fingerprint(file, first=10) == Fingerprint(
        10, checksum(b"x" * 10)
    )
    file.write_bytes(b"x" * 2_999_999 + b"y")
    with pytest.raises(
        DamagedError, match=r"its content is not what was written: the checksum differs"
    ):
        verify(file, before)
    file.write_bytes(b"x" * 3_000_001)
    with pytest.raises(DamagedError, match=r"3,000,001 bytes instead of 3,000,000"):
        verify(file, before)
    file.unlink()
    with pytest.raises(DamagedError, match=r"a is missing"):
        verify(file, before)
