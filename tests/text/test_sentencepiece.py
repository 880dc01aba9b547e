from __future__ import annotations

import functools
import json
import pathlib
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from tensorflow.core.protobuf import saved_model_pb2
from tokenizers import AddedToken, Tokenizer
from transformers import AutoTokenizer

from tests.text.byte_bpe_reference import HARD
from tests.text.sentencepiece_reference import NAMES, assert_same_tokens, learnt_folder
from tests.text.wordpiece_reference import ADVERSARIAL
from trainer.errors import WeightsError
from trainer.serve.prove import ops_of
from trainer.text import load_tokenizer
from trainer.text.sentencepiece import SentencePieceTokenizer

MORE = (
    "e\u0301 u\u0308 \u1ea5 a\u0323\u0302 …\u0301 ª\u0301 ﬁ\u0301x",
    "①½ ㎏ ％ ．（",
    "``quoted'' ```a ''",
    "▁a▁b ▁▁ a▁",
    "e\u0301\U000e0020",
    "e\u0301\U0001f3fb",
    "e\u0301\U0001d165",
    "\u0600e\u0301",
    "\u00aa\u0301 \u0600\u00aa\u0301\U000e0020 \u0d4ee\u0301",
    "\u00a9\u200d\u00a9 \u00a9\u200d\u2122 e\u0301\u200d\U0001f468\u0301",
    "222 aaaaa ooooo",
    "x\u200by\u200dz\ufeff",
    "가각 \u1112\u1161\u11ab",
    "a\r\nb\r\n",
    "éé\u0301\u0301",
    "İİ",
    "<mask>a <mask>b [MASK] [CLS]",
    "中" * 300 + "国",
)


@functools.cache
def _pair(family: str) -> tuple[SentencePieceTokenizer, Tokenizer]:
    return (
        load_tokenizer(learnt_folder(family)),
        AutoTokenizer.from_pretrained(learnt_folder(family)).backend_tokenizer,
    )


@pytest.mark.parametrize("family", NAMES)
def test_hard_texts_equal_hugging_face(family: str) -> None:
    assert_same_tokens(*_pair(family), [*ADVERSARIAL, *HARD, *MORE])
    for text in (*ADVERSARIAL, *HARD, *MORE):
        assert_same_tokens(*_pair(family), [text])


_characters = st.one_of(
    st.characters(exclude_categories=["Cs"]),
    st.sampled_from(sorted({*"".join(MORE), *"".join(ADVERSARIAL)})),
    st.sampled_from(["the ", " film", "aaa", "oo", "``", "''", "e\u0301", "中文", "\u0301"]),
)


@pytest.mark.parametrize("family", NAMES)
@settings(max_examples=150, deadline=None)
@given(batch=st.lists(st.lists(_characters, max_size=25).map("".join), max_size=8))
def test_any_text_equals_hugging_face(family: str, batch: list[str]) -> None:
    assert_same_tokens(*_pair(family), batch)


@pytest.mark.parametrize("family", NAMES)
def test_added_tokens_that_are_looked_for_in_the_normalized_text(
    family: str, tmp_path: pathlib.Path
) -> None:
    """As `add_tokens` makes them, beside those that are looked for in the text as it is."""
    tokenizer = AutoTokenizer.from_pretrained(learnt_folder(family))
    tokenizer.add_tokens(
        [
            "Foo",
            "<X>",
            "the other",
            "ﬁ",
            "电影",
            AddedToken("<L>", lstrip=True, rstrip=True),
            AddedToken("<Raw>", normalized=False),
        ]
    )
    tokenizer.save_pretrained(tmp_path)
    tokenizer = load_tokenizer(tmp_path)
    backend = AutoTokenizer.from_pretrained(tmp_path).backend_tokenizer
    texts = [
        "FOO bar",
        "foo",
        "Foo",
        " Foo bar",
        "xFoo y",
        "a <X> b",
        "<x>",
        "＜X＞",
        "the other film",
        "the  other film",
        "The Other",
        "ﬁlm ﬁ",
        "fi film",
        "看电影吗",
        "a  <L>  b",
        "a<l>b",
        " <L> ",
        "Foo<Raw> foo",
        "<raw> <Raw>Foo",
        "fo\u0301o Fóo",
        "Foo ",
        "Foo\n",
        "FooFoo",
        "foo <X>",
        "``Foo''",
        "",
        "ＦＯＯ the\u3000other",
    ]
    assert_same_tokens(tokenizer, backend, texts)
    assert_same_tokens(tokenizer, backend, [*ADVERSARIAL, *HARD, *MORE])


def test_equally_likely_tokens_are_hugging_faces(tmp_path: pathlib.Path) -> None:
    """Rounding does not choose between "o oo oo" and "oo oo o":
    float64 adds these scores exactly.
    """
    scores = {"▁": -2.0123, "o": -4.1234567, "oo": -5.7654321, "ooo": -11.1, "▁b": -3.3}
    pieces = [
        *([name, 0.0] for name in ("<s>", "<pad>", "</s>", "<unk>")),
        *([piece, float(np.float32(score))] for piece, score in scores.items()),
    ]
    backend = AutoTokenizer.from_pretrained(learnt_folder("xlm-roberta")).backend_tokenizer
    content = json.loads(backend.to_str())
    content["model"]["vocab"], content["added_tokens"] = pieces, []
    content["post_processor"] = None
    (tmp_path / "tokenizer.json").write_text(json.dumps(content))
    (tmp_path / "tokenizer_config.json").write_text(
        json.dumps({"tokenizer_class": "PreTrainedTokenizerFast", "unk_token": "<unk>"})
    )
    tokenizer = load_tokenizer(tmp_path)
    texts = ["o" * count for count in range(1, 60)] + ["b" + "o" * 5 + "xx" + "o" * 7 + "yx o"]
    expected = [
        encoding.ids
        for encoding in Tokenizer.from_str(json.dumps(content)).encode_batch(
            texts, add_special_tokens=False
        )
    ]
    assert tokenizer.tokenize(tf.constant(texts)).to_list() == expected


@pytest.mark.parametrize("family", NAMES)
def test_what_tokens_write_is_hugging_faces(family: str) -> None:
    tokenizer, backend = _pair(family)
    texts = ["the  film 电影", *ADVERSARIAL, *HARD, *MORE]
    ids = tokenizer.tokenize(tf.constant(texts))
    written = [text.decode() for text in tokenizer.decode(ids).numpy()]
    assert written == [backend.decode(row, skip_special_tokens=True) for row in ids.to_list()]
    joined = [
        b"".join(tokenizer.token_bytes[id] for id in row).decode().removeprefix(" ")
        for row in ids.to_list()
    ]
    assert joined == written and written[0].startswith("the film")
    shown = [
        (word, piece)
        for word, piece in zip(tokenizer.words, tokenizer.vocabulary, strict=True)
        if piece.startswith("▁") and len(piece) > 1
    ]
    assert (
        all(tokenizer.words) and len(shown) > 50 and all(word == piece[1:] for word, piece in shown)
    )


def test_special_tokens_segments_and_words() -> None:
    xlm = _pair("xlm-roberta")[0]
    albert = _pair("albert")[0]
    assert [
        xlm.vocabulary[id]
        for id in (*xlm.template.before, *xlm.template.between, *xlm.template.after)
    ] == ["<s>", "</s>", "</s>", "</s>"]
    assert [
        albert.vocabulary[id]
        for id in (*albert.template.before, *albert.template.between, *albert.template.after)
    ] == ["[CLS]", "[SEP]", "[SEP]"]
    assert (xlm.template.segments, albert.template.segments) == (False, True)
    text = "the  film 电影"
    tokens = xlm.tokenize_with_offsets(tf.constant([text]))
    whole: list[str] = []
    for start, end, word in zip(*(values.to_list()[0] for values in tokens[1:]), strict=True):
        if word == 1:
            whole.append("")
        if word >= 0:
            whole[-1] += text[start:end]
    assert whole == ["the", "film", "电", "影"]


def test_core_ops_only(tmp_path: pathlib.Path) -> None:
    module = tf.Module()
    module.tokenizer, backend = _pair("xlm-roberta")
    serve = tf.function(
        lambda text: {"ids": module.tokenizer.tokenize(text).to_tensor(-1)},
        input_signature=[tf.TensorSpec([None], tf.string, name="text")],
    )
    tf.saved_model.save(module, str(tmp_path / "model"), signatures=serve)
    meta_graph = saved_model_pb2.SavedModel.FromString(
        (tmp_path / "model" / "saved_model.pb").read_bytes()
    ).meta_graphs[0]
    assert not [
        operation
        for operation in ops_of(meta_graph.graph_def)
        if ">" in operation or "Sentencepiece" in operation or "Table" in operation
    ]
    batch = ["the film", "", "电影 ½x"]
    answer = (
        tf.saved_model.load(str(tmp_path / "model"))
        .signatures["serving_default"](text=tf.constant(batch))["ids"]
        .numpy()
    )
    assert [[id for id in row if id >= 0] for row in answer.tolist()] == [
        encoding.ids for encoding in backend.encode_batch(batch, add_special_tokens=False)
    ]


@pytest.mark.parametrize(
    ("part", "value", "said"),
    [
        (
            "normalizer",
            {"type": "Sequence", "normalizers": [{"type": "Prepend", "prepend": "x"}]},
            r"normalizer must be made of Replace, NFKD, NFD, .*Precompiled\. Received: Prepend\.",
        ),
        (
            "normalizer",
            {"type": "Replace", "pattern": {"String": "ab"}, "content": "c"},
            r"normalizer's Replace must be of a pair of equal characters by one\.",
        ),
        (
            "pre_tokenizer",
            {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "never", "split": True},
            r"pre_tokenizer must be Metaspace, with a space before each text\. Received: .*never",
        ),
    ],
)
def test_other_steps_are_refused(
    tmp_path: pathlib.Path, part: str, value: dict[str, Any], said: str
) -> None:
    content = json.loads(_pair("xlm-roberta")[1].to_str())
    content[part] = value
    (tmp_path / "tokenizer.json").write_text(json.dumps(content))
    (tmp_path / "tokenizer_config.json").write_text(
        json.dumps({"tokenizer_class": "PreTrainedTokenizerFast"})
    )
    with pytest.raises(WeightsError, match=f"the tokenizer's {said}"):
        load_tokenizer(tmp_path)
