"""A config or flagfile that is none is refused at once: a folder, a pipe, a device, data, another
encoding.
"""

import os
import pathlib

import pytest

from trainer.errors import ConfigError
from trainer.settings.settings_file import LARGEST_BYTES, read_settings, shown_path


def said(file):
    with pytest.raises(ConfigError) as caught:
        read_settings(pathlib.Path(file), key="--config")
    return str(caught.value)


def written(folder, content):
    file = folder / "run.yaml"
    file.write_bytes(content)
    return file


def test_what_is_no_regular_file(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    assert (
        said(tmp_path)
        == f"--config={tmp_path}: cannot be read: it is a folder. Expected a file of text."
    )
    assert "it is a pipe." in said(tmp_path / "pipe")
    assert "it is a device." in said("/dev/zero")
    assert "cannot be read: File name too long." in said("a" * 300)
    refused = said("a\0b")  # in Python's own words, which are others from 3.13 on
    assert r"--config=a\x00b: cannot be read: " in refused and "embedded null" in refused


def test_data_in_place_of_a_config(tmp_path):
    file = written(tmp_path, b"[" + b'{"text": "a"},' * 400_000 + b"]")
    assert (
        said(file)
        == f"--config={file}: has 5,600,002 bytes, and at most {LARGEST_BYTES:,} are read: a file"
        " of settings is small. Is it data? Its path belongs in data.train."
    )


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (
            "train:\n  epochs: 1  # 训练\n".encode("gb18030"),
            (
                "run.yaml:2: not UTF-8 (byte 0xc1). Read as GB18030 the line is 'epochs: 1  #"
                " 训练'. If that is right: iconv -f GB18030 -t UTF-8"
            ),
        ),
        (
            "# Müller: größer\n".encode("latin-1"),
            (
                "run.yaml:1: not UTF-8 (byte 0xfc). Read as WINDOWS-1252 the line is '# Müller:"
                " größer'. If that is right"
            ),
        ),
        (
            "a: 1\n".encode("utf-16"),
            "run.yaml: its encoding is UTF-16, and UTF-8 is read. iconv -f UTF-16 -t UTF-8",
        ),
        (
            "train: {epochs: 1}\n".encode("utf-16-le"),
            "run.yaml:1: has NUL characters, which no text has. iconv -f UTF-16LE -t UTF-8",
        ),
        ("train: {epochs: 1}\n".encode("utf-16-be"), "iconv -f UTF-16BE -t UTF-8"),
        (b"a: 1\nb: \0\n", "run.yaml:2: has NUL characters, which no text has. Is it a text file?"),
        (
            "# 训练 — größer\na: caf".encode() + b"\xe9\n",
            (
                "run.yaml:2: not UTF-8 (byte 0xe9), though the rest of the file is: 'a: caf�'."
                " Correct that character."
            ),
        ),
        (b"\x89PNG\r\n\x1a\n\xff", "not UTF-8 (byte 0x89)"),
    ],
    ids=["gb18030", "latin-1", "utf-16", "utf-16-le", "utf-16-be", "nul", "damaged", "binary"],
)
def test_another_encoding_is_named_with_the_command(tmp_path, content, expected):
    assert expected in said(written(tmp_path, content))


def test_a_byte_order_mark_and_windows_line_ends_are_read(tmp_path):
    assert read_settings(written(tmp_path, "\ufeffa: ü\r\n".encode()), key="--config") == "a: ü\r\n"


def test_a_path_is_shown_on_one_line():
    assert shown_path("runs/a\nb\x1b.yaml") == r"runs/a\nb\x1b.yaml"
