"""Tokenizer files that are damaged or made by someone else: one message that names the file, the
key and the value.
"""

from __future__ import annotations

import json
import pathlib
from typing import Any

import pytest

from tests import toy
from tests.text.byte_bpe_reference import write_byte_bpe
from trainer.errors import WeightsError
from trainer.text import load_tokenizer
from trainer.text.backend import read_backend
from trainer.text.checked_files import LARGEST_ID


def _error(folder: pathlib.Path) -> str:
    with pytest.raises(WeightsError) as raised:
        load_tokenizer(folder)
    assert len(str(raised.value)) < 2000
    return str(raised.value).replace(str(folder), "FOLDER")


def _edit(file: pathlib.Path, **changes: Any) -> None:
    content = json.loads(file.read_text()) if file.exists() else {}
    file.write_text(json.dumps(content | changes))


BAD_IDS = [10**8, 10**12, 10**30, -1, 2.5, "7", None, True, [1], float("nan")]


@pytest.mark.parametrize("number", BAD_IDS)
def test_ids_that_no_vocabulary_has(tmp_path: pathlib.Path, number: Any) -> None:
    files = {
        "vocab.json": write_byte_bpe(tmp_path / "bpe"),
        "added_tokens.json": toy.write_checkpoint(tmp_path / "bert", weights=False),
    }
    for name, folder in files.items():
        _edit(folder / name, **{"<new>": number})
        assert _error(folder).startswith(
            f"FOLDER/{name}: the file['<new>'] should be an id from 0 to {LARGEST_ID:,}. Received: "
        )


@pytest.mark.parametrize("number", BAD_IDS)
def test_ids_of_tokenizer_json(tmp_path: pathlib.Path, number: Any) -> None:
    folder = write_byte_bpe(tmp_path / "bpe", whole=True)
    content = json.loads((folder / "tokenizer.json").read_text())
    _edit(
        folder / "tokenizer.json",
        added_tokens=[*content["added_tokens"], {"id": number, "content": "<new>"}],
    )
    assert _error(folder).startswith(
        "FOLDER/tokenizer.json: added_tokens: id of '<new>' should be a number from 0 to"
        f" {LARGEST_ID:,}. Received: "
    )
    content["model"]["vocab"]["<new>"] = number
    (folder / "tokenizer.json").write_text(json.dumps(content))
    assert _error(folder).startswith(
        f"FOLDER/tokenizer.json: model.vocab['<new>'] should be an id from 0 to {LARGEST_ID:,}."
        " Received: "
    )


@pytest.mark.parametrize(
    ("decoder", "said"),
    [
        ([], "added_tokens_decoder should be an object of ids and tokens. Received: []."),
        (None, "added_tokens_decoder should be an object"),
        (
            {"x": {"content": "a"}},
            "added_tokens_decoder should be ids from 0 to 2,097,152. Received: 'x'.",
        ),
        ({"100000000": {"content": "a"}}, "Received: '100000000'."),
        ({"-1": {"content": "a"}}, "Received: '-1'."),
        ({"1": "a"}, "should be objects with a content."),
        ({"1": {"content": 5}}, "added_tokens_decoder[1]: content should be a text. Received: 5."),
        ({"1": {}}, "content should be a text. Received: None."),
        (
            {"1": {"content": "a", "lstrip": "yes"}},
            "lstrip of 'a' should be true or false. Received: 'yes'.",
        ),
    ],
)
def test_added_tokens_of_another_shape(tmp_path: pathlib.Path, decoder: Any, said: str) -> None:
    folder = toy.write_checkpoint(tmp_path, weights=False)
    _edit(folder / "tokenizer_config.json", added_tokens_decoder=decoder)
    assert said in _error(folder)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"unk_token": 5}, "unk_token should be a text. Received: 5."),
        ({"pad_token": "\ud800"}, "pad_token should be Unicode text"),
        ({"do_lower_case": "no"}, "do_lower_case should be true or false. Received: 'no'."),
        ({"additional_special_tokens": 7}, "should be a list of tokens."),
        (
            {"additional_special_tokens": [None]},
            "additional_special_tokens should be a text. Received: None.",
        ),
        ({"tokenizer_class": ["BertTokenizer"]}, "tokenizer_class should be a name."),
        ({"mask_token": "x" * 10**6}, "mask_token has a token of 1,000,000 characters, 'xxx"),
    ],
)
def test_settings_of_another_shape(
    tmp_path: pathlib.Path, changes: dict[str, Any], said: str
) -> None:
    folder = toy.write_checkpoint(tmp_path, weights=False)
    _edit(folder / "tokenizer_config.json", **changes)
    assert said in _error(folder)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"model": 5}, "of kind unknown"),
        ({"model": {"type": ["BPE"]}}, "of kind unknown"),
        ({"normalizer": "x"}, "normalizer should be an object or null."),
        ({"added_tokens": {}}, "added_tokens should be a list."),
        ({"added_tokens": [5]}, "added_tokens should be objects with a content."),
        ({"model": {"type": "BPE", "vocab": []}}, "expected model.vocab to map pieces to ids."),
        (
            {"model": {"type": "BPE", "vocab": {"a": 0, "b": 0}}},
            "model.vocab gives the id 0 to several tokens: 'a', 'b'.",
        ),
        (
            {"model": {"type": "WordPiece", "vocab": {"a": 0}, "max_input_chars_per_word": 10**12}},
            "max_input_chars_per_word should be a number from 1 to 100,000.",
        ),
        (
            {"model": {"type": "Unigram", "vocab": [["a", float("nan")]]}},
            "model.vocab should be pairs of a piece and its score.",
        ),
        (
            {"model": {"type": "Unigram", "vocab": [["a"]]}},
            "model.vocab should be pairs of a piece and its score.",
        ),
        (
            {"normalizer": {"type": "Precompiled", "precompiled_charsmap": "%%%"}},
            "precompiled_charsmap should be a map of characters in base64.",
        ),
    ],
)
def test_a_tokenizer_json_of_another_shape(
    tmp_path: pathlib.Path, change: dict[str, Any], said: str
) -> None:
    folder = write_byte_bpe(tmp_path / "bpe", whole=True)
    _edit(folder / "tokenizer.json", **change)
    assert said in _error(folder)


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("vocab.txt", "bert"),
        ("tokenizer_config.json", "bert"),
        ("vocab.json", "bpe"),
        ("merges.txt", "bpe"),
    ],
)
def test_files_that_are_none(tmp_path: pathlib.Path, name: str, kind: str) -> None:
    folder = (
        toy.write_checkpoint(tmp_path / kind, weights=False)
        if kind == "bert"
        else write_byte_bpe(tmp_path / kind)
    )
    (folder / name).unlink()
    (folder / name).mkdir()
    assert f"{name} is a folder where a file belongs" in _error(folder)
    (folder / name).rmdir()
    (folder / name).write_bytes(b"[" * 100_000 if name.endswith("json") else b"\xff\xfe\x00a")
    assert (
        "is nested too deeply" in _error(folder)
        if name.endswith("json")
        else "utf-8" in _error(folder).lower()
    )
    (folder / name).write_bytes(b"")
    assert ("is not JSON" if name.endswith("json") else f"FOLDER/{name} is empty.") in _error(
        folder
    )


def test_a_line_of_a_million_characters(tmp_path: pathlib.Path) -> None:
    folder = toy.write_checkpoint(tmp_path, weights=False)
    with (folder / "vocab.txt").open("a", encoding="utf-8") as file:
        file.write("x" * 10**6)
    assert "vocab.txt: the vocabulary has a token of 1,000,000 characters, 'xxx" in _error(folder)


def test_a_folder_that_names_no_class(tmp_path: pathlib.Path) -> None:
    for whole in (True, False):
        folder = write_byte_bpe(tmp_path / str(whole), whole=whole)
        expected = read_backend(folder).content["model"]["vocab"]
        (folder / "config.json").write_text(json.dumps({"vocab_size": 701}))
        (folder / "tokenizer_config.json").write_text("{}")
        assert read_backend(folder).content["model"]["vocab"] == expected


def test_tokens_that_have_no_embedding_are_named(
    tmp_path: pathlib.Path, capsys: pytest.CaptureFixture
) -> None:
    weights = toy.write_checkpoint(tmp_path / "weights")
    count = len(toy.VOCABULARY)
    (weights / "added_tokens.json").write_text(json.dumps({"<user>": count, "<url>": count + 1}))
    config = toy.write_config(tmp_path, weights, toy.write_sentences(tmp_path / "train.jsonl", 32))
    assert toy.run_main(config, tmp_path / "job") == 2
    said = capsys.readouterr().err
    assert (
        f"has {count + 2} tokens" in said
        and f"embeds {count}, so there is none for <user>, <url>." in said
    )
