from __future__ import annotations

import functools
import json
import pathlib
import subprocess
import sys
import tempfile
import unicodedata

import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import AddedToken, Tokenizer, pre_tokenizers
from wordpiece_reference import (
    ADVERSARIAL,
    assert_same_tokens,
    folders,
    reference_tokenizer,
    texts,
    toy_pieces,
    with_marks,
    write,
)

from tests import toy
from trainer.errors import WeightsError
from trainer.text import load_tokenizer, normalization
from trainer.text.characters import CODE_POINTS
from trainer.text.normalization import Normalization
from trainer.text.wordpiece import WordPieceTokenizer

GOLDEN = json.loads(
    (pathlib.Path(__file__).parents[1] / "golden" / "wordpiece.json").read_text(encoding="utf-8")
)
SETTINGS = {
    "uncased": {},
    "cased": {"do_lower_case": False},
    "cased, accents stripped": {"do_lower_case": False, "strip_accents": True},
    "uncased, accents kept": {"strip_accents": False},
    "ideographs in words": {"tokenize_chinese_chars": False},
}


def _folder(folder: pathlib.Path, **config: object) -> pathlib.Path:
    folder.mkdir(exist_ok=True)
    write(
        folder,
        {
            "vocab.txt": "".join(piece + "\n" for piece in toy_pieces()),
            "tokenizer_config.json": config,
        },
    )
    return folder


@functools.cache
def _pair(name: str) -> tuple[WordPieceTokenizer, Tokenizer]:
    """Ours and the reference, for one of SETTINGS."""
    config = SETTINGS[name]
    with tempfile.TemporaryDirectory() as folder:
        tokenizer = load_tokenizer(_folder(pathlib.Path(folder), **config))
    pieces = {piece.rstrip("\u3000"): id for piece, id in toy_pieces().items()}
    reference = reference_tokenizer(
        pieces,
        lowercase=config.get("do_lower_case", True),
        strip_accents=config.get("strip_accents"),
        handle_chinese_chars=config.get("tokenize_chinese_chars", True),
    )
    return tokenizer, reference


@pytest.mark.parametrize("case", GOLDEN)
def test_folders_are_read_as_auto_tokenizer_reads_them(case: str, tmp_path: pathlib.Path) -> None:
    write(tmp_path, folders()[case])
    tokenizer = load_tokenizer(tmp_path)
    expected = GOLDEN[case]
    assert [
        tokenizer.pad_id,
        tokenizer.unk_id,
        *tokenizer.template.before,
        *tokenizer.template.after,
        tokenizer.mask_id,
    ] == expected["special"]
    ids, starts, ends, _ = tokenizer.tokenize_with_offsets(tf.constant(texts()))
    offsets = [
        list(zip(*row, strict=True)) for row in zip(starts.to_list(), ends.to_list(), strict=True)
    ]
    for text, found, wanted, ours, theirs in zip(
        texts(), ids.to_list(), expected["ids"], offsets, expected["offsets"], strict=True
    ):
        assert found == wanted and ours == with_marks(
            text, wanted, theirs, set(expected["special"]) - {tokenizer.unk_id}
        ), ascii(text)


@pytest.mark.parametrize("name", SETTINGS)
def test_adversarial_texts_equal_hugging_face(name: str) -> None:
    assert_same_tokens(*_pair(name), ADVERSARIAL)
    # alone, so that no neighbour in the batch sends it down another branch
    for text in ADVERSARIAL:
        assert_same_tokens(*_pair(name), [text])


# Marks that stripping accents keeps but NFD moves before others: there Hugging Face's offsets count
# the neighbour's place.
_MOVED = [
    chr(c)
    for c in range(0x110000)
    if unicodedata.combining(chr(c)) and unicodedata.category(chr(c)) != "Mn"
]
_characters = st.one_of(
    st.characters(exclude_categories=["Cs"], exclude_characters=_MOVED),
    st.sampled_from(sorted(set("".join(ADVERSARIAL)).difference(_MOVED))),
    st.sampled_from(" abcéx1.中가\u0301\u200b"),
    st.sampled_from(["[SEP]", "[MASK]", "hello", "a" * 99, "é" * 50]),
)


@pytest.mark.parametrize("name", SETTINGS)
@settings(max_examples=60, deadline=None)
@given(batch=st.lists(st.lists(_characters, max_size=25).map("".join), max_size=12))
def test_any_text_equals_hugging_face(name: str, batch: list[str]) -> None:
    assert_same_tokens(*_pair(name), batch)


@settings(max_examples=60, deadline=None)
@given(batch=st.lists(st.binary(max_size=20), min_size=1, max_size=20))
def test_invalid_utf8_counts_as_replacement_characters(batch: list[bytes]) -> None:
    tokenizer, _ = _pair("uncased")
    repaired = [
        text.decode("utf-8", errors="replace") for text in [*batch, b"\xff[SEP]\xff\xed\xa0\x80a"]
    ]
    raw = tokenizer.tokenize_with_offsets(tf.constant([*batch, b"\xff[SEP]\xff\xed\xa0\x80a"]))
    for ours, theirs in zip(
        raw, tokenizer.tokenize_with_offsets(tf.constant(repaired)), strict=True
    ):
        assert ours.to_list() == theirs.to_list()


def test_every_code_point_is_classed_as_hugging_face_does() -> None:
    kinds = normalization._kinds()
    split = pre_tokenizers.BertPreTokenizer().pre_tokenize_str
    characters = [chr(c) for c in range(CODE_POINTS) if not 0xD800 <= c <= 0xDFFF and c != ord("a")]
    for start in range(0, len(characters), 1 << 16):
        part = characters[start : start + (1 << 16)]
        pieces = [piece for piece, _ in split("a" + "a".join(part) + "a")]
        alone = {piece for piece in pieces if len(piece) == 1}
        present = set("".join(pieces))
        expected = [
            1 if character in alone else 0 if character in present else 2 for character in part
        ]
        assert kinds[list(map(ord, part))].tolist() == expected


@pytest.mark.parametrize("name", ["uncased", "cased"])
def test_every_code_point_is_normalised_as_hugging_face_does(name: str) -> None:
    setting = Normalization(lowercase=name == "uncased")
    effects = normalization._effects(setting)
    code_points = [c for c in range(CODE_POINTS) if not 0xD800 <= c <= 0xDFFF and c != ord("|")]
    answers = setting.normalize("|".join(map(chr, code_points))).split("|")
    spelled = [
        (chr(c), "", f" {chr(c)} ", effects.others.get(c))[effects.kinds[c]] for c in code_points
    ]
    assert spelled == answers


def test_one_of_each_added_token_kind(tmp_path: pathlib.Path) -> None:
    added = [
        AddedToken("ab", normalized=True),
        AddedToken("a-b", lstrip=True, rstrip=True),
        AddedToken("É", normalized=True, lstrip=True),
    ]
    flags = ("lstrip", "rstrip", "normalized", "single_word", "special")
    decoder = {
        str(900 + i): {"content": token.content, **{flag: getattr(token, flag) for flag in flags}}
        for i, token in enumerate(added)
    }
    tokenizer = load_tokenizer(_folder(tmp_path, added_tokens_decoder=decoder))
    pieces = {piece.rstrip("\u3000"): id for piece, id in toy_pieces().items()}
    reference = reference_tokenizer(pieces, lowercase=True, added=added)
    assert_same_tokens(
        tokenizer,
        reference,
        [
            "xabx a-b AB  é  É x\u200bab",
            "a-b a-b ab-b",
            "",
            "a - b",
            "ab",
            "[SEP]ab[SEP] a-b \u3000 x中ÀB",
        ],
    )


def test_works_inside_a_graph_and_a_dataset() -> None:
    tokenizer, reference = _pair("uncased")
    batch = ["hello world", "", "über 中文"]
    expected = [
        encoding.ids for encoding in reference.encode_batch(batch, add_special_tokens=False)
    ]
    dataset = tf.data.Dataset.from_tensor_slices(batch).batch(3).map(tokenizer.tokenize)
    assert next(iter(dataset)).to_list() == expected
    dense = tf.function(
        lambda texts: tokenizer.tokenize(texts).to_tensor(default_value=tokenizer.pad_id)
    )
    assert dense(tf.constant(batch)).numpy()[2].tolist() == expected[2]
    ids, starts, ends, _ = tokenizer.tokenize_with_offsets(tf.constant(batch))
    assert ids.dtype == starts.dtype == ends.dtype == tf.int32
    assert tokenizer.tokenize(tf.constant([], tf.string)).to_list() == []


def test_a_bound_method_keeps_its_tokenizer(tmp_path: pathlib.Path) -> None:
    tokenize = load_tokenizer(_folder(tmp_path)).tokenize
    assert tokenize(tf.constant(["hello"])).to_list() == [[toy_pieces()["hello"]]]


_READ_BACK = """
import json, sys, tensorflow as tf, tensorflow_text
serve = tf.saved_model.load(sys.argv[1]).signatures["serving_default"]
answer = serve(text=tf.constant(json.loads(sys.argv[2])))
print(json.dumps({name: value.numpy().tolist() for name, value in answer.items()}))
"""


def test_saved_model_answers_alike_in_a_process_without_the_trainer(tmp_path: pathlib.Path) -> None:
    module = tf.Module()
    module.tokenizer, reference = _pair("uncased")

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="text")])
    def serve(text):
        ids, starts, *_ = module.tokenizer.tokenize_with_offsets(text)
        return {
            "ids": ids.to_tensor(default_value=-1),
            "starts": starts.to_tensor(default_value=-1),
        }

    tf.saved_model.save(module, str(tmp_path / "model"), signatures=serve)
    batch = ["Hello [SEP] über", "中a\u200bb", "x" * 101]
    command = [sys.executable, "-c", _READ_BACK, str(tmp_path / "model"), json.dumps(batch)]
    answer = json.loads(
        subprocess.run(command, cwd=tmp_path, check=True, capture_output=True, text=True).stdout
    )
    encodings = reference.encode_batch(batch, add_special_tokens=False)
    assert [[id for id in row if id >= 0] for row in answer["ids"]] == [
        encoding.ids for encoding in encodings
    ]
    assert [[s for s in row if s >= 0] for row in answer["starts"]] == [
        [start for start, _ in encoding.offsets] for encoding in encodings
    ]
    assert (tmp_path / "model" / "saved_model.pb").stat().st_size < 1_000_000


def test_decoding_parts_words_but_not_chinese_nor_before_punctuation(
    tmp_path: pathlib.Path,
) -> None:
    tokenizer = load_tokenizer(toy.write_checkpoint(tmp_path, weights=False))
    texts = ["the films was great, sadly!", "今天气很好 the film 不了.", "", "the"]
    ids = tokenizer.tokenize(tf.constant(texts))
    # special tokens, and embeddings to spare
    marked = tf.concat([tf.fill([4, 1], 2), ids, tf.fill([4, 1], 3), tf.fill([4, 1], 10_000)], 1)
    assert [text.decode() for text in tokenizer.decode(marked).numpy()] == [
        "the films was great, [UNK]!",
        "今天气很好the film不了.",
        "",
        "the",
    ]


def test_fingerprint_changes_with_what_determines_ids(tmp_path: pathlib.Path) -> None:
    prints = {
        name: load_tokenizer(_folder(tmp_path / str(i), **config)).fingerprint
        for i, (name, config) in enumerate(SETTINGS.items())
    }
    assert len({*prints.values()}) == len(SETTINGS)
    assert prints["uncased"] == load_tokenizer(_folder(tmp_path / "again")).fingerprint
    more = _folder(tmp_path / "more", additional_special_tokens=["<ent>"])
    assert load_tokenizer(more).fingerprint != prints["uncased"]


def _error(folder: pathlib.Path) -> str:
    with pytest.raises(WeightsError) as raised:
        load_tokenizer(folder)
    return str(raised.value).replace(str(folder), "FOLDER")


def test_a_folder_without_a_tokenizer_lists_what_it_has(tmp_path: pathlib.Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    assert (
        _error(tmp_path)
        == "FOLDER: no tokenizer found. Expected tokenizer.json, vocab.txt, vocab.json and"
        " merges.txt, spiece.model or sentencepiece.bpe.model. Received: config.json. Point"
        " backbone.weights at a folder that transformers' save_pretrained wrote, tokenizer"
        " included."
    )
    assert "Received: no such folder." in _error(tmp_path / "absent")


def test_other_kinds_of_tokenizer_are_refused(tmp_path: pathlib.Path) -> None:
    (tmp_path / "tokenizer.json").write_text(json.dumps({"model": {"type": "WordLevel"}}))
    assert (
        _error(tmp_path)
        == "FOLDER/tokenizer.json: the tokenizer is of kind WordLevel. Allowed: WordPiece, BPE,"
        " Unigram. Choose a checkpoint with one of these."
    )


def test_a_damaged_file_is_named(tmp_path: pathlib.Path) -> None:
    (tmp_path / "tokenizer.json").write_text("{")
    assert _error(tmp_path).startswith("FOLDER/tokenizer.json is not JSON (Expecting property name")
    (tmp_path / "tokenizer.json").write_text("[]")
    assert _error(tmp_path).startswith(
        "FOLDER/tokenizer.json holds a JSON list: expected an object."
    )
    (tmp_path / "tokenizer.json").write_text(json.dumps({"model": {"type": "WordPiece"}}))
    assert _error(tmp_path).startswith(
        "FOLDER/tokenizer.json: expected model.vocab to map pieces to ids. Received: None."
    )
    (tmp_path / "tokenizer.json").unlink()
    (tmp_path / "vocab.txt").write_bytes(b"\xff")
    assert _error(tmp_path).startswith(
        "FOLDER/vocab.txt: expected one piece a line in UTF-8. Received: 'utf-8' codec can't decode"
    )


def test_missing_special_tokens_are_listed(tmp_path: pathlib.Path) -> None:
    (tmp_path / "vocab.txt").write_text("[PAD]\n[UNK]\na\n")
    assert (
        _error(tmp_path)
        == "FOLDER: the vocabulary of 3 pieces lacks cls_token '[CLS]', sep_token '[SEP]'. Expected"
        " every special token to be in it. Name the right ones in tokenizer_config.json, or copy"
        " the vocabulary again from its source."
    )


def test_single_word_added_tokens_are_refused(tmp_path: pathlib.Path) -> None:
    decoder = {"900": {"content": "yes", "single_word": True}}
    assert (
        _error(_folder(tmp_path, added_tokens_decoder=decoder))
        == "FOLDER: added tokens with single_word=true are not supported. Received: 'yes'. Save the"
        " tokenizer with single_word=false for them."
    )


def test_another_normaliser_is_refused(tmp_path: pathlib.Path) -> None:
    files = folders()["tokenizer.json as it is"]
    whole = {**files["tokenizer.json"], "normalizer": {"type": "Lowercase"}}
    write(tmp_path, {**files, "tokenizer.json": whole})
    assert (
        _error(tmp_path)
        == "FOLDER/tokenizer.json: normalizer must be BertNormalizer. Received: Lowercase. Choose a"
        " checkpoint with a BERT tokenizer, or save this one with transformers' BertTokenizer."
    )
