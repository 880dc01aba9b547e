"""Line-aligned files."""

import gzip

import pytest

from trainer.errors import ConfigError, DataError
from trainer.sources import parallel


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "seq.in").write_text("a flight\nto boston", encoding="utf-8")
    (tmp_path / "seq.out").write_text("O O\r\nO B-city\n", encoding="utf-8")
    return tmp_path


def test_files_go_line_by_line_together(folder):
    source = parallel.open(
        parallel.Settings(train=str(folder), text="seq.in", label="seq.out"), "train", str(folder)
    )
    assert [example.features for example in source.examples()] == [
        {"seq.in": "a flight", "seq.out": "O O"},
        {"seq.in": "to boston", "seq.out": "O B-city"},
    ]
    assert [example.origin.line for example in source.examples()] == [1, 2]
    assert source.progress() == source.size()
    before = source.fingerprint()
    (folder / "seq.out").write_text("O O\nO O\n")
    assert source.fingerprint() != before


def test_what_is_to_be_predicted_needs_no_labels(folder):
    (folder / "seq.out").unlink()
    source = parallel.open(
        parallel.Settings(train=str(folder), text="seq.in", label="seq.out"), "input", str(folder)
    )
    assert [example.features for example in source.examples()] == [
        {"seq.in": "a flight"},
        {"seq.in": "to boston"},
    ]


def test_a_file_that_ends_early_or_is_not_there_is_named(folder):
    settings = parallel.Settings(train=str(folder), text="seq.in", label="seq.out")
    (folder / "seq.out").write_text("O O\n")
    with pytest.raises(
        DataError,
        match=(
            r"seq.in:2: .*seq.out ends before this line. Line-aligned files have as many lines"
            r" each."
        ),
    ):
        list(parallel.open(settings, "train", str(folder)).examples())
    with pytest.raises(
        ConfigError,
        match=(
            r"data.train: .* has no file named 'label' or ending in '.label': seq.in, seq.out."
            r" Correct data.text or data.label."
        ),
    ):
        parallel.open(parallel.Settings(train=str(folder), text="seq.in"), "train", str(folder))


@pytest.fixture
def captions(tmp_path):
    """As Multi30k and WMT have them: the files of all splits in a folder, here one of them
    compressed.
    """
    for split, content in {
        "train": ("rot\nblau\n", "red\nblue\n"),
        "val": ("alt\n", "old\n"),
    }.items():
        (tmp_path / f"{split}.de").write_bytes(content[0].encode())
        (tmp_path / f"{split}.en.gz").write_bytes(gzip.compress(content[1].encode()))
    return tmp_path


def test_a_field_is_how_the_file_of_a_glob_ends(captions):
    spec = f"{captions}/train.*"
    source = parallel.open(parallel.Settings(train=spec, text="de", label="en"), "train", spec)
    assert [example.features for example in source.examples()] == [
        {"de": "rot", "en": "red"},
        {"de": "blau", "en": "blue"},
    ]
    assert source.progress() == source.size() > 0


def test_hidden_and_packed_files_beside_their_own_do_not_matter(captions):
    (captions / "._train.de").write_bytes(b"\0")
    (captions / "train.de.gz").write_bytes(gzip.compress(b"rot\nblau\n"))
    (captions / "deep").mkdir()
    (captions / "deep" / "en").write_text("RED\nBLUE\n")
    for spec, text, label, words in (
        (f"{captions}/train.*", "de", "en", ["red", "blue"]),
        (str(captions), "train.de", "deep/en", ["RED", "BLUE"]),
    ):
        source = parallel.open(parallel.Settings(train=spec, text=text, label=label), "train", spec)
        assert [example.features[label] for example in source.examples()] == words


def test_files_of_several_splits_are_not_mixed(captions):
    with pytest.raises(
        ConfigError,
        match=(
            r"has several files named 'de' or ending in '.de': train.de, val.de. Name those of one"
            r" split, as with a glob"
        ),
    ):
        parallel.open(
            parallel.Settings(train=str(captions), text="de", label="en"), "train", str(captions)
        )
