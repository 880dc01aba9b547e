"""A checkpoint's tokenizer files, checked before anything is built of them: tokens are texts, and
ids numbers that a vocabulary has.
"""

from __future__ import annotations

import base64
import pathlib
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from trainer.errors import WeightsError, shown_name, shown_value
from trainer.files.json_file import AGAIN, LARGEST_BYTES, is_number, read_object, require_file

LARGEST_ID = 2**21  # the largest known vocabulary has a million tokens
LONGEST_TOKEN = 2000  # characters
LONGEST_WORD = 100_000  # characters, of WordPiece's limit
SPECIAL_NAMES = (
    "unk_token",
    "sep_token",
    "pad_token",
    "cls_token",
    "mask_token",
    "bos_token",
    "eos_token",
)
_MORE_SPECIAL = ("additional_special_tokens", "extra_special_tokens")
_SWITCHES = ("do_lower_case", "tokenize_chinese_chars", "strip_accents", "add_prefix_space")
_FLAGS = ("lstrip", "rstrip", "single_word", "normalized", "special")
_OTHER_FILES = ("vocab.txt", "merges.txt", "spiece.model", "sentencepiece.bpe.model")


def is_there(path: pathlib.Path) -> bool:
    """Whether something has that name, if only a link to nothing."""
    return path.exists() or path.is_symlink()


def check_files(folder: pathlib.Path) -> None:
    """Checks every tokenizer file of a folder.

    Raises:
        WeightsError: one is damaged: what, where, and what it should be.
    """
    for name, check in _CHECKS.items():
        if is_there(folder / name):
            check(folder / name, read_object(folder / name))
    for name in filter(lambda name: is_there(folder / name), _OTHER_FILES):
        require_file(folder / name)
        if (size := (folder / name).stat().st_size) > LARGEST_BYTES:
            raise WeightsError(
                f"{folder / name} has {size:,} bytes: expected at most {LARGEST_BYTES:,}. {AGAIN}"
            )
        if not size:  # of merges the library would make a vocabulary of bytes, without a word
            raise WeightsError(f"{folder / name} is empty. {AGAIN}")


def check_token(path: pathlib.Path, key: str, token: object) -> None:
    """Raises WeightsError where something is no text that a token may be."""
    if not isinstance(token, str):
        raise _wrong(path, key, "a text", token)
    if len(token) > LONGEST_TOKEN:
        raise WeightsError(
            f"{path}: {key} has a token of {len(token):,} characters, {shown_value(token, 40)}:"
            f" expected at most {LONGEST_TOKEN:,}. {AGAIN}"
        )
    try:
        token.encode("utf-8")
    except UnicodeEncodeError:
        raise _wrong(path, key, "Unicode text, without halves of surrogate pairs", token) from None


def check_ids(path: pathlib.Path, key: str, ids: object) -> None:
    """Raises WeightsError where something does not map tokens to ids, each to its own."""
    if not isinstance(ids, Mapping):
        raise _wrong(path, key, "tokens and their ids", ids)
    _check_tokens(path, key, ids)
    for token, number in ids.items():
        if not _is_id(number):
            raise _wrong(
                path, f"{key}[{shown_value(token, 40)}]", f"an id from 0 to {LARGEST_ID:,}", number
            )
    if len(set(ids.values())) < len(ids):
        ((number, _),) = Counter(ids.values()).most_common(1)
        twice = [token for token, other in ids.items() if other == number]
        raise WeightsError(
            f"{path}: {key} gives the id {number} to several tokens:"
            f" {', '.join(shown_value(token, 40) for token in twice[:3])}. {AGAIN}"
        )


def _check_tokens(path: pathlib.Path, key: str, tokens: Iterable[object]) -> None:
    try:
        sound = (
            len(max(tokens, key=len, default="")) <= LONGEST_TOKEN
            and "".join(tokens).encode("utf-8") is not None
        )  # type: ignore[call-overload]
    except (TypeError, UnicodeEncodeError):
        sound = False
    for token in () if sound else tokens:  # only where one is wrong, as there are many
        check_token(path, key, token)


def _check_whole(path: pathlib.Path, content: dict[str, Any]) -> None:
    """tokenizer.json, which the `tokenizers` library writes."""
    model = content.get("model")
    if not isinstance(model, Mapping):
        raise _wrong(path, "model", "an object with type and vocab", model)
    if model.get("type") is not None and not isinstance(model["type"], str):
        raise _wrong(path, "model.type", "a name such as WordPiece", model["type"])
    _check_vocabulary(path, model.get("vocab"))
    for key in ("unk_token", "continuing_subword_prefix", "end_of_word_suffix"):
        if model.get(key) is not None:
            check_token(path, f"model.{key}", model[key])
    limit = model.get("max_input_chars_per_word", 100)
    if type(limit) is not int or not 0 < limit <= LONGEST_WORD:
        raise _wrong(
            path, "model.max_input_chars_per_word", f"a number from 1 to {LONGEST_WORD:,}", limit
        )
    for key in ("normalizer", "pre_tokenizer", "post_processor", "decoder"):
        if content.get(key) is not None and not isinstance(content[key], Mapping):
            raise _wrong(path, key, "an object or null", content[key])
    _check_character_map(path, content.get("normalizer"))
    added = content.get("added_tokens", [])
    if not isinstance(added, list):
        raise _wrong(path, "added_tokens", "a list", added)
    for token in added:
        _check_added(path, "added_tokens", token)
        if not _is_id(token.get("id")):
            raise _wrong(
                path,
                f"added_tokens: id of {shown_value(token['content'], 40)}",
                f"a number from 0 to {LARGEST_ID:,}",
                token.get("id"),
            )


def _check_character_map(path: pathlib.Path, normalizer: object) -> None:
    """SentencePiece's map of characters: where it cannot be read the library ends in a panic, which
    is seen on stderr.
    """
    if not isinstance(normalizer, Mapping):
        return
    steps = normalizer.get("normalizers")
    for step in (normalizer, *(steps if isinstance(steps, list) else [])):
        if isinstance(step, Mapping) and step.get("type") == "Precompiled":
            _check_packed(path, step.get("precompiled_charsmap"))


def _check_packed(path: pathlib.Path, packed: object) -> None:
    """A length of 4 bytes, a trie of that length, of 4 bytes a node, and the texts."""
    try:
        content = base64.b64decode(packed, validate=True) if isinstance(packed, str) else b""
    except ValueError:
        content = b""
    length = int.from_bytes(content[:4], "little")
    if len(content) < 4 or length % 4 or length > len(content) - 4:
        raise _wrong(path, "precompiled_charsmap", "a map of characters in base64", packed)


def _check_vocabulary(path: pathlib.Path, vocabulary: object) -> None:
    """Of WordPiece and BPE tokens and their ids, of Unigram pairs of a piece and its score."""
    if not vocabulary or not isinstance(vocabulary, list | dict):
        raise WeightsError(
            f"{path}: expected model.vocab to map pieces to ids. Received:"
            f" {shown_value(vocabulary, 60)}. {AGAIN}"
        )
    if isinstance(vocabulary, dict):
        check_ids(path, "model.vocab", vocabulary)
        return
    if len(vocabulary) > LARGEST_ID:
        raise WeightsError(
            f"{path}: model.vocab has {len(vocabulary):,} pieces: expected at most {LARGEST_ID:,}."
            f" {AGAIN}"
        )
    for pair in vocabulary:
        if (
            not isinstance(pair, list)
            or len(pair) != 2
            or not isinstance(pair[0], str)
            or not is_number(pair[1])
        ):
            raise _wrong(path, "model.vocab", "pairs of a piece and its score", pair)
    _check_tokens(path, "model.vocab", [piece for piece, _ in vocabulary])


def _check_added(path: pathlib.Path, key: str, token: object) -> None:
    if not isinstance(token, Mapping):
        raise _wrong(path, key, "objects with a content", token)
    check_token(path, f"{key}: content", token.get("content"))
    for flag in _FLAGS:
        if not isinstance(token.get(flag, False), bool):
            raise _wrong(
                path,
                f"{key}: {flag} of {shown_value(token['content'], 40)}",
                "true or false",
                token[flag],
            )


def _check_config(path: pathlib.Path, content: dict[str, Any]) -> None:
    """tokenizer_config.json and special_tokens_map.json."""
    if "added_tokens_decoder" in content:
        decoder = content["added_tokens_decoder"]
        if not isinstance(decoder, Mapping):
            raise _wrong(path, "added_tokens_decoder", "an object of ids and tokens", decoder)
        for number, token in decoder.items():
            if not (
                number.isascii()
                and number.isdecimal()
                and len(number) < 10
                and int(number) <= LARGEST_ID
            ):
                raise _wrong(path, "added_tokens_decoder", f"ids from 0 to {LARGEST_ID:,}", number)
            _check_added(path, f"added_tokens_decoder[{number}]", token)
    for key in SPECIAL_NAMES:
        _check_special(path, key, content.get(key))
    for key in _MORE_SPECIAL:
        tokens = content.get(key) or []
        if not isinstance(tokens, list | Mapping):
            raise _wrong(path, key, "a list of tokens", tokens)
        for token in tokens.values() if isinstance(tokens, Mapping) else tokens:
            _check_special(path, key, token, may_be_null=False)
    for key in _SWITCHES:
        if not isinstance(content.get(key), bool | None):
            raise _wrong(path, key, "true or false", content[key])
    if not isinstance(content.get("tokenizer_class"), str | None):
        raise _wrong(path, "tokenizer_class", "a name", content["tokenizer_class"])


def _check_special(
    path: pathlib.Path, key: str, token: object, *, may_be_null: bool = True
) -> None:
    if isinstance(token, Mapping):
        _check_added(path, key, token)
    elif token is not None or not may_be_null:
        check_token(path, key, token)


def _is_id(value: object) -> bool:
    return type(value) is int and 0 <= value <= LARGEST_ID


def _wrong(path: pathlib.Path, key: str, expected: str, value: object) -> WeightsError:
    return WeightsError(
        f"{path}: {shown_name(key)} should be {expected}. Received: {shown_value(value, 60)}."
        f" {AGAIN}"
    )


_CHECKS: dict[str, Callable[[pathlib.Path, dict[str, Any]], None]] = {
    "tokenizer.json": _check_whole,
    "tokenizer_config.json": _check_config,
    "special_tokens_map.json": _check_config,
    "added_tokens.json": lambda path, content: check_ids(path, "the file", content),
    "vocab.json": lambda path, content: check_ids(path, "the file", content),
}
