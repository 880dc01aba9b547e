"""Hugging Face's tokenizer, assembled as transformers' BertTokenizer assembles it, and folders and
texts to compare on.
"""

from __future__ import annotations

import json
import pathlib
import unicodedata
from collections.abc import Collection, Sequence

import tensorflow as tf
from tokenizers import AddedToken, Tokenizer, models, normalizers, pre_tokenizers

from trainer.text.wordpiece import WordPieceTokenizer

BERT = {"model_type": "bert"}
FLAGS = {
    "single_word": False,
    "lstrip": False,
    "rstrip": False,
    "normalized": False,
    "special": True,
}
SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")


def reference_tokenizer(
    pieces: dict[str, int],
    *,
    lowercase: bool,
    strip_accents: bool | None = None,
    handle_chinese_chars: bool = True,
    clean_text: bool = True,
    added: Sequence[AddedToken] = (),
    **model_settings,
) -> Tokenizer:
    """A `tokenizers.Tokenizer` with BERT's steps and the special tokens that `pieces` has."""
    tokenizer = Tokenizer(models.WordPiece(pieces, unk_token="[UNK]", **model_settings))
    tokenizer.normalizer = normalizers.BertNormalizer(
        clean_text=clean_text,
        handle_chinese_chars=handle_chinese_chars,
        strip_accents=strip_accents,
        lowercase=lowercase,
    )
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.add_special_tokens([token for token in SPECIAL if token in pieces])
    tokenizer.add_tokens(list(added))
    return tokenizer


def assert_same_tokens(
    tokenizer: WordPieceTokenizer, reference: Tokenizer, texts: Sequence[str]
) -> None:
    """Compares ids and offsets, naming the first text that differs; ours have the marks behind a
    token's last letter, too.
    """
    added = {
        id for id, token in reference.get_added_tokens_decoder().items() if not token.normalized
    } - {tokenizer.unk_id}
    ids, starts, ends, _ = (
        values.to_list()
        for values in tokenizer.tokenize_with_offsets(tf.constant(list(texts), tf.string))
    )
    plain_ids = tokenizer.tokenize(tf.constant(list(texts), tf.string)).to_list()
    for index, (text, encoding) in enumerate(
        zip(texts, reference.encode_batch(list(texts), add_special_tokens=False), strict=True)
    ):
        offsets = list(zip(starts[index], ends[index], strict=True))
        assert ids[index] == encoding.ids, f"ids of {text!r}: expected {encoding.tokens}"
        assert plain_ids[index] == encoding.ids, f"ids without offsets of {text!r}"
        assert offsets == with_marks(text, encoding.ids, encoding.offsets, added), (
            f"offsets of {text!r}"
        )


def with_marks(
    text: str, ids: Sequence[int], offsets: Sequence[Sequence[int]], added: Collection[int]
) -> list[tuple[int, int]]:
    """Hugging Face's offsets, those of tokens that are not `added` up to the last mark behind their
    last letter.
    """
    limits = [*(start for start, _ in offsets[1:]), len(text)][: len(ids)]
    found = []
    for id, (start, end), limit in zip(ids, offsets, limits, strict=True):
        while id not in added and end < limit and unicodedata.category(text[end]) == "Mn":
            end += 1
        found.append((start, end))
    return found


def toy_pieces() -> dict[str, int]:
    """A vocabulary small enough to read, with pieces of every class that the tokenizer treats
    apart.
    """
    words = (
        "the hello world un aff able straße strasse über uber cafe café naïve don t [SEP 2024"
        " 東京 中文".split()
    )
    alone = [
        *"abcdefghijklmnopqrstuvwxyzABCXYZ0123456789éüßσςİıЖжé中国文東京豈가ᄒ한",
        *".,!?;:'\"-()[]{}#$+<=>@^_`|~/\\&%*，。！？「」—…€😀👍\u00ad\u200d\ufffd",
    ]
    suffixes = [
        "##" + piece
        for piece in [
            *"abcdefghijklmnopqrstuvwxyz0123456789éßжσ中文ᅡᆫ",
            "able",
            "ing",
            "llo",
            "#",
            ".",
        ]
    ]
    unreachable = ["", "##", "two words", "\u3000", "[unused1]", "o'clock"]
    tokens = dict.fromkeys([*SPECIAL, *unreachable, *words, *alone, *suffixes])
    return {token: id for id, token in enumerate(tokens)}


ADVERSARIAL = (
    "",
    " ",
    " \t\r\n  ",
    "\x00",
    "hello world",
    "Hello, WORLD! don't un##able [unused1] o'clock",
    "Die Straße über das Café — naïve, „Über“ ÄÖÜß ẞ",
    "东京 東京都の中文，国文。「中国」！？abc中文abc",
    "한국어 가나다 \u1112\u1161\u11ab 각",
    "e\u0301 a\u0300\u0323b u\u0308\u0304\u0328 \u0301x n\u0303o",
    "a\u00adb a\u200bb a\u200cb a\u200db \ufeffa\u2060b\u180ec",
    "a\x00b a\x01b a\x7fb a\x85b a\x9fb \x1c\x1d\x1e\x1f tab\tx\x0bx\x0cx",
    "a\u00a0b a\u1680b a\u2003b a\u2028b a\u2029b a\u202fb a\u205fb a\u3000b",
    "ＨＥＬＬＯ　ｗｏｒｌｄ，。！ ｱｲｳ ①②③ ½ ﬁ ﬀ ㎏ №",
    "😀👍🏽 👨‍👩‍👧 🇩🇪 ❤️ x😀y \U0001f9ff\U00020000\U0002a6df\U0002f800\U000e0041\U0010ffff",
    "İstanbul ıI ŞşĞğ ΣΑΣ ς Ϊ́ Жж Ǆǆǅ ŉ ǰ ΐ",
    "\uf900\ufa0e\u2329\u232a\u2126\u212b\u1e9b\u0344\u0958\ufb1d",
    "a" * 100 + " " + "b" * 101 + " " + "é" * 100 + " " + "é" * 101 + " " + "ж" * 60,
    "ab" * 50 + "\u200b\u0301" * 10 + " " + "e\u0301" * 101 + "." + "x" * 100 + "." + "中" * 150,
    "😀" * 101 + " İ" + "İ" * 99 + " 가" + "가" * 40,
    "[SEP]",
    "a[SEP]b [MASK][MASK] [CLS]hello[sep] [[SEP]] [SEP [UNK]x[PAD]",
    "[MASK]é[MASK]中[MASK] 😀[SEP]\u0301x",
    "$100 a+b=c <a> ^_` |~ ¤ ¢ £ © ® ° ± × ÷ § ¶ · ¿ ¡ ′ ″ ‐ ‑ ‒ – —",
    "\ua4fe\ua60d\ua673\ua92e\u166d\u16eb\u1735\u2cf9\u2e3a\U00010100\U00011047"
    "\U0001da87\U00016fe2\u0df4\u055a",
    "\ud7fb\ue000\uf8ff\ufdd0\ufffd\ufffe\uffff\U0001ffff\U000f0000",
    "\U0001d15e\U0001d160\u302e\u302f\u3099か\u3099 \u0e33\u0eb3 \u0f77",
)


def tokenizer_json(
    *, lowercase: bool = False, clean_text: bool = True, added: tuple = (), **model
) -> dict:
    """A tokenizer.json with the toy vocabulary."""
    pieces = toy_pieces()
    tokens = [{"id": pieces[token], "content": token, **FLAGS} for token in SPECIAL] + list(added)
    return {
        "version": "1.0",
        "added_tokens": tokens,
        "normalizer": {
            "type": "BertNormalizer",
            "clean_text": clean_text,
            "handle_chinese_chars": True,
            "strip_accents": None,
            "lowercase": lowercase,
        },
        "pre_tokenizer": {"type": "BertPreTokenizer"},
        "model": {
            "type": "WordPiece",
            "unk_token": "[UNK]",
            "continuing_subword_prefix": "##",
            "max_input_chars_per_word": 100,
            "vocab": pieces,
            **model,
        },
    }


def folders() -> dict[str, dict[str, object]]:
    """Folders that AutoTokenizer reads in different ways: name of the case → name of the file → its
    content.
    """
    vocabulary = {"config.json": BERT, "vocab.txt": "".join(piece + "\n" for piece in toy_pieces())}
    unknown = {**FLAGS, "normalized": True, "content": "[UNK]", "__type": "AddedToken"}
    left = {**FLAGS, "lstrip": True, "content": "<ent>"}
    right = {**FLAGS, "rstrip": True, "normalized": True, "special": False, "content": "Über"}
    ideograph = {**FLAGS, "normalized": True, "special": False, "content": "É中"}
    whole = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        **{f"{token[1:-1].lower()}_token": token for token in SPECIAL},
    }
    return {
        "vocab.txt alone": vocabulary,
        "cased": {**vocabulary, "tokenizer_config.json": {"do_lower_case": False}},
        "cased, accents stripped": {
            **vocabulary,
            "tokenizer_config.json": {"do_lower_case": False, "strip_accents": True},
        },
        "uncased, accents kept": {**vocabulary, "tokenizer_config.json": {"strip_accents": False}},
        "ideographs in words": {
            **vocabulary,
            "tokenizer_config.json": {"tokenize_chinese_chars": False},
        },
        "other names": {
            **vocabulary,
            "tokenizer_config.json": {"cls_token": "hello"},
            "special_tokens_map.json": {"cls_token": "world"},
        },
        "more special tokens": {
            **vocabulary,
            "special_tokens_map.json": {"additional_special_tokens": ["<ent>", "é"]},
        },
        "normalised unknown": {**vocabulary, "tokenizer_config.json": {"unk_token": unknown}},
        "added_tokens.json": {
            **vocabulary,
            "added_tokens.json": {"Über": len(toy_pieces()), "ＨＥＬＬＯ": len(toy_pieces()) + 1},
        },
        "added_tokens_decoder": {
            **vocabulary,
            "tokenizer_config.json": {
                "added_tokens_decoder": {
                    str(len(toy_pieces()) + i): token
                    for i, token in enumerate((left, right, ideograph))
                }
            },
        },
        "tokenizer.json rebuilt": {"config.json": BERT, "tokenizer.json": tokenizer_json()},
        "tokenizer.json and config": {
            "config.json": BERT,
            "tokenizer.json": tokenizer_json(lowercase=True),
            "tokenizer_config.json": {"do_lower_case": False, "tokenizer_class": "BertTokenizer"},
        },
        "tokenizer.json as it is": {
            "tokenizer.json": tokenizer_json(max_input_chars_per_word=5),
            "tokenizer_config.json": whole,
        },
        "tokenizer.json, nothing cleaned": {
            "tokenizer.json": tokenizer_json(lowercase=True, clean_text=False),
            "tokenizer_config.json": whole,
        },
        "tokenizer.json with added tokens": {
            "tokenizer.json": tokenizer_json(
                continuing_subword_prefix="a",
                added=tuple(
                    {"id": len(toy_pieces()) + i, **token}
                    for i, token in enumerate((left, right, ideograph))
                ),
            ),
            "tokenizer_config.json": whole,
        },
    }


def texts() -> list[str]:
    """What the golden file holds ids and offsets of."""
    return [
        *ADVERSARIAL,
        "x <ent> <ent>y  <ent>",
        "ÜBER  xÜber. über x Über ＨＥＬＬＯhello é 中 É中中 xé中",
        "[unk] [UNK] hello[CLS]world é",
    ]


def write(folder: pathlib.Path, files: dict[str, object]) -> None:
    """Lays the files of one case into `folder`."""
    for name, content in files.items():
        (folder / name).write_text(
            content if isinstance(content, str) else json.dumps(content), encoding="utf-8"
        )
