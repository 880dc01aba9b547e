from __future__ import annotations

import functools
import json
import pathlib
import subprocess
import sys
import tempfile
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from tensorflow.core.protobuf import saved_model_pb2
from tokenizers import Tokenizer, pre_tokenizers
from transformers import AutoTokenizer

from tests.text.byte_bpe_reference import (
    SPECIAL,
    assert_same_tokens,
    reference,
    texts,
    write_byte_bpe,
)
from trainer.errors import WeightsError
from trainer.serve.prove import ops_of
from trainer.text import gpt2_pattern, load_tokenizer
from trainer.text.byte_bpe import ByteBPETokenizer
from trainer.text.integer_table import IntegerTable

CASES = {
    "gpt2": {},
    "gpt2 whole": {"whole": True},
    "gpt2 spaced": {"prefix_space": True},
    "roberta": {},
    "roberta whole": {"whole": True},
    "roberta spaced": {"prefix_space": True},
}


@functools.cache
def _pair(name: str) -> tuple[ByteBPETokenizer, Tokenizer]:
    family = name.split()[0]
    folder = write_byte_bpe(pathlib.Path(tempfile.mkdtemp()), family, **CASES[name])
    return load_tokenizer(folder), reference(folder, family)


@pytest.mark.parametrize("name", CASES)
def test_hard_texts_equal_hugging_face(name: str) -> None:
    assert_same_tokens(*_pair(name), list(texts()))
    for text in texts():  # alone, so that no neighbour in the batch sends it down another branch
        assert_same_tokens(*_pair(name), [text])


_pieces = st.one_of(
    st.characters(exclude_categories=["Cs"]),
    st.sampled_from("  \n\t\u00a0\u0085\u3000aAbs'tdm12中文天éß=.!"),
    st.sampled_from(
        ["'s", "'ll", " '", "==", "<mask>", " <|endoftext|>", "the ", " other", "aaaa", "    "]
    ),
)


@pytest.mark.parametrize("name", ["gpt2", "roberta spaced"])
@settings(max_examples=150, deadline=None)
@given(batch=st.lists(st.lists(_pieces, max_size=30).map("".join), max_size=8))
def test_any_text_equals_hugging_face(name: str, batch: list[str]) -> None:
    assert_same_tokens(*_pair(name), batch)


@settings(max_examples=150, deadline=None)
@given(batch=st.lists(st.lists(_pieces, max_size=30).map("".join), max_size=8))
def test_decoding_gives_the_text_back(batch: list[str]) -> None:
    tokenizer, _ = _pair("gpt2")
    ids = tokenizer.tokenize(tf.constant(batch, tf.string))
    assert [text.decode() for text in tokenizer.decode(ids, special=True).numpy()] == batch
    assert [text.decode() for text in tokenizer.decode(ids).numpy()] == [
        text.replace("<|endoftext|>", "") for text in batch
    ]


@settings(max_examples=60, deadline=None)
@given(batch=st.lists(st.binary(max_size=20), min_size=1, max_size=20))
def test_invalid_utf8_counts_as_replacement_characters(batch: list[bytes]) -> None:
    tokenizer, _ = _pair("gpt2")
    repaired = [text.decode("utf-8", errors="replace") for text in batch]
    for ours, theirs in zip(
        tokenizer.tokenize_with_offsets(tf.constant(batch)),
        tokenizer.tokenize_with_offsets(tf.constant(repaired)),
        strict=True,
    ):
        assert ours.to_list() == theirs.to_list()


# Of the planes behind, Unicode has assigned next to nothing.
FIRST_PLANES = 0x33000


@pytest.mark.parametrize("sparse", [37, pytest.param(1, marks=pytest.mark.slow)])
def test_every_code_point_is_cut_off_where_hugging_face_does(sparse: int) -> None:
    """Between a letter, a number, a mark and a space; as many words, at the same places.

    Each of the first planes, and of the others each `sparse`-th.
    """
    split = pre_tokenizers.ByteLevel(add_prefix_space=False).pre_tokenize_str
    classes = gpt2_pattern.character_classes()
    scattered = range(FIRST_PLANES, 0x110000, sparse)
    assigned = range(0xE0000, 0xE0200)  # tags and variation selectors
    code_points = sorted({*range(FIRST_PLANES), *scattered, *assigned} - {*range(0xD800, 0xE000)})
    for start in range(0, len(code_points), 1 << 14):
        text = "".join(
            f"a{chr(c)}1{chr(c)}!{chr(c)}\n" for c in code_points[start : start + (1 << 14)]
        )
        codes = np.array([ord(character) for character in text], np.int32)
        kinds = classes[np.minimum(codes, gpt2_pattern.ASSIGNED)]
        kinds[kinds == gpt2_pattern.IDEOGRAPH] = gpt2_pattern.LETTER
        splits = tf.constant([0, len(codes)], tf.int64)
        found = np.flatnonzero(
            gpt2_pattern.word_starts(tf.constant(codes), tf.constant(kinds), splits).numpy()
        )
        assert found.tolist() == [begin for _, (begin, _) in split(text)]


def test_words_of_a_text() -> None:
    tokenizer, _ = _pair("gpt2")
    text = "The  others' film, 天他x 12!\n \U0001f600"
    tokens = tokenizer.tokenize_with_offsets(tf.constant([text]))
    spans = [
        (text[start:end], word)
        for start, end, word in zip(*(values.to_list()[0] for values in tokens[1:]), strict=True)
    ]
    whole = []
    for part, word in spans:
        if word == 1:
            whole.append(part)
        elif word == 0 and part != "\U0001f600":  # of which each byte is a token
            whole[-1] += part
    assert whole == ["The", "others", "'", "film", ",", "天", "他", "x", "12", "!", "\U0001f600"]
    assert all(not part.strip() for part, word in spans if word == -1)


def test_special_tokens_are_known(tmp_path: pathlib.Path) -> None:
    gpt2, roberta = _pair("gpt2")[0], _pair("roberta")[0]
    end = gpt2.vocabulary.index("<|endoftext|>")
    assert gpt2.template == ((), (), (), end, False)
    assert (gpt2.eos_id, gpt2.mask_id, gpt2.unk_id) == (end, None, -1)
    ids = {token: roberta.vocabulary.index(token) for token in SPECIAL["roberta"]}
    assert roberta.template[:3] == ((ids["<s>"],), (ids["</s>"], ids["</s>"]), (ids["</s>"],))
    assert (roberta.pad_id, roberta.mask_id, roberta.template.segments) == (
        ids["<pad>"],
        ids["<mask>"],
        False,
    )


_READ_BACK = """
import json, sys, tensorflow as tf
serve = tf.saved_model.load(sys.argv[1]).signatures["serving_default"]
answer = serve(text=tf.constant(json.loads(sys.argv[2])))
print(json.dumps({name: value.numpy().tolist() for name, value in answer.items()}))
"""


@pytest.mark.parametrize("name", ["gpt2", "roberta"])
def test_padding_and_cutting_that_were_saved_with_a_tokenizer_are_no_part_of_it(
    tmp_path: pathlib.Path, name: str
) -> None:
    folder = write_byte_bpe(tmp_path / "plain", name, whole=True)
    kind = AutoTokenizer.from_pretrained(folder)
    kind.pad_token = kind.pad_token or kind.eos_token
    kind(["we saw"], padding="max_length", max_length=6, truncation=True)
    kind.save_pretrained(tmp_path / "asked")
    assert json.loads((tmp_path / "asked" / "tokenizer.json").read_text())["padding"]
    plain = load_tokenizer(folder)
    asked = load_tokenizer(tmp_path / "asked")
    assert asked.template == plain.template
    text = tf.constant(["we saw the film and the book of it"])
    assert asked.tokenize(text).to_list() == plain.tokenize(text).to_list()


def test_saved_model_answers_alike_with_core_ops_only(tmp_path: pathlib.Path) -> None:
    module = tf.Module()
    module.tokenizer, backend = _pair("gpt2")

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="text")])
    def serve(text):
        return {"ids": module.tokenizer.tokenize_with_offsets(text).ids.to_tensor(default_value=-1)}

    tf.saved_model.save(module, str(tmp_path / "model"), signatures=serve)
    batch = ["hello others's <|endoftext|>", "", "今天 ==========="]
    command = [sys.executable, "-c", _READ_BACK, str(tmp_path / "model"), json.dumps(batch)]
    answer = json.loads(
        subprocess.run(command, cwd=tmp_path, check=True, capture_output=True, text=True).stdout
    )
    assert [[id for id in row if id >= 0] for row in answer["ids"]] == [
        e.ids for e in backend.encode_batch(batch, add_special_tokens=False)
    ]
    meta_graph = saved_model_pb2.SavedModel.FromString(
        (tmp_path / "model" / "saved_model.pb").read_bytes()
    ).meta_graphs[0]
    assert not [
        operation
        for operation in ops_of(meta_graph.graph_def)
        if ">" in operation or "Table" in operation
    ]


def test_fingerprint_changes_with_what_determines_ids() -> None:
    prints = {name: _pair(name)[0].fingerprint for name in CASES}
    assert prints["gpt2"] == prints["gpt2 whole"] and prints["roberta"] == prints["roberta whole"]
    assert len(set(prints.values())) == 4


@pytest.mark.parametrize("count", [0, 1, 5, 1000, 60_000])
def test_integer_table_finds_its_keys_and_no_others(count: int) -> None:
    draw = np.random.default_rng(count)
    keys = np.unique(draw.integers(0, 2**62, 2 * count + 10))
    draw.shuffle(keys)
    table = IntegerTable(keys[:count])
    assert table.find(tf.constant(keys)).numpy().tolist() == [
        *range(count),
        *[-1] * (len(keys) - count),
    ]


def _error(folder: pathlib.Path) -> str:
    with pytest.raises(WeightsError) as raised:
        load_tokenizer(folder)
    return str(raised.value).replace(str(folder), "FOLDER")


def _altered(folder: pathlib.Path, change: Callable[[dict[str, Any]], None]) -> pathlib.Path:
    """A folder whose tokenizer.json is another, of no class that would put it right."""
    content = json.loads((write_byte_bpe(folder, whole=True) / "tokenizer.json").read_text())
    change(content)
    (folder / "tokenizer.json").write_text(json.dumps(content))
    (folder / "tokenizer_config.json").write_text(
        json.dumps({"tokenizer_class": "PreTrainedTokenizerFast"})
    )
    return folder


def test_damaged_and_foreign_tokenizers_are_refused(tmp_path: pathlib.Path) -> None:
    folder = write_byte_bpe(tmp_path / "a")
    (folder / "vocab.json").write_text("{")
    assert _error(folder).startswith("FOLDER/vocab.json is not JSON (")
    assert (
        _error(
            _altered(
                tmp_path / "b", lambda content: content.update(pre_tokenizer={"type": "Whitespace"})
            )
        )
        == "FOLDER: the tokenizer's pre_tokenizer must be ByteLevel with GPT-2's pattern. Received:"
        " {'type': 'Whitespace'}. Choose a checkpoint with the tokenizer of BERT, GPT-2,"
        " RoBERTa, XLM-R or ALBERT."
    )
    assert _error(
        _altered(tmp_path / "d", lambda content: content["model"].update(dropout=0.1))
    ).startswith("FOLDER: the tokenizer's model.dropout must be unset. Received: 0.1.")
    assert _error(
        _altered(tmp_path / "e", lambda content: content.update(normalizer={"type": "Lowercase"}))
    ).startswith(
        "FOLDER: the tokenizer's normalizer must be none, for a byte-level BPE. Received: {'type':"
        " 'Lowercase'}."
    )
    assert (
        _error(
            _altered(
                tmp_path / "f", lambda content: content["added_tokens"][0].update(single_word=True)
            )
        )
        == "FOLDER: added tokens with single_word=true are not supported. Received:"
        " '<|endoftext|>'. Save the tokenizer with single_word=false for them."
    )
    pair = {
        "type": "TemplateProcessing",
        "single": [{"Sequence": {"id": "A", "type_id": 0}}],
        "pair": [
            {"SpecialToken": {"id": "<|endoftext|>", "type_id": 0}},
            {"Sequence": {"id": "A", "type_id": 0}},
            {"Sequence": {"id": "B", "type_id": 0}},
        ],
    }
    folder = _altered(
        tmp_path / "g",
        lambda content: content.update(
            post_processor={
                **pair,
                "special_tokens": {
                    "<|endoftext|>": {
                        "id": "<|endoftext|>",
                        "ids": [content["added_tokens"][0]["id"]],
                        "tokens": ["<|endoftext|>"],
                    }
                },
            }
        ),
    )
    assert (
        "the tokenizer puts other special tokens around a text (((), ())) than around a pair"
        in _error(folder)
    )
    folder = write_byte_bpe(tmp_path / "c")
    left = {
        token: id
        for token, id in json.loads((folder / "vocab.json").read_text()).items()
        if token not in "Āā"
    }
    (folder / "vocab.json").write_text(json.dumps(left))
    assert (
        "must be one with a token for each of the 256 bytes. Received: none for 2, such as ['Ā',"
        " 'ā']." in _error(folder)
    )
