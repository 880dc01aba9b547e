"""A checkpoint's tokenizer files, checked before anything is built of them.

Tokens are texts, and ids are numbers that a vocabulary has.
"""

from __future__ import annotations

import base64
import pathlib
from collections import Counter
from collections.abc import Callable, Collection, Mapping

from trainer.errors import WeightsError, shown_name, shown_value
from trainer.files.json_file import (
    AGAIN,
    LARGEST_BYTES,
    JsonObject,
    is_number,
    read_object,
    require_file,
)

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
    for file_name, check in _CHECKS.items():
        path = folder / file_name
        if is_there(path):
            check(path, read_object(path))
    for file_name in _OTHER_FILES:
        path = folder / file_name
        if is_there(path):
            _check_size(path)


def _check_size(path: pathlib.Path) -> None:
    require_file(path)
    size = path.stat().st_size
    if size > LARGEST_BYTES:
        raise WeightsError(
            f"{path} has {size:,} bytes: expected at most {LARGEST_BYTES:,}. {AGAIN}"
        )
    if size == 0:  # of merges the library would make a vocabulary of bytes, without a word
        raise WeightsError(f"{path} is empty. {AGAIN}")


def check_token(path: pathlib.Path, key: str, token: object) -> None:
    """Refuses what cannot be a token.

    Args:
        path: of the file.
        key: where in the file the token is.
        token: what is there.
    Raises:
        WeightsError: it is no text, too long, or not Unicode.
    """
    if not isinstance(token, str):
        raise _wrong(path, key, "a text", token)
    if len(token) > LONGEST_TOKEN:
        raise WeightsError(
            f"{path}: {key} has a token of {len(token):,} characters, {shown_value(token, 40)}:"
            f" expected at most {LONGEST_TOKEN:,}. {AGAIN}"
        )
    if not _is_unicode(token):
        raise _wrong(path, key, "Unicode text, without halves of surrogate pairs", token)


def check_ids(path: pathlib.Path, key: str, ids: object) -> None:
    """Refuses what does not map tokens to ids, each to its own.

    Args:
        path: of the file.
        key: where in the file the mapping is.
        ids: what is there.
    Raises:
        WeightsError: it is no mapping, a token or an id is wrong, or two tokens have the same id.
    """
    if not isinstance(ids, Mapping):
        raise _wrong(path, key, "tokens and their ids", ids)
    _check_tokens(path, key, ids)
    for token, id in ids.items():
        if not _is_id(id):
            place = f"{key}[{shown_value(token, 40)}]"
            raise _wrong(path, place, f"an id from 0 to {LARGEST_ID:,}", id)
    if len(set(ids.values())) == len(ids):
        return
    uses = Counter(ids.values())
    shared_id, _ = uses.most_common(1)[0]
    sharing = [shown_value(token, 40) for token, id in ids.items() if id == shared_id]
    raise WeightsError(
        f"{path}: {key} gives the id {shared_id} to several tokens:"
        f" {', '.join(sharing[:3])}. {AGAIN}"
    )


def _check_tokens(path: pathlib.Path, key: str, tokens: Collection[object]) -> None:
    if _are_sound(tokens):
        return
    for token in tokens:  # only where one is wrong, as there are many
        check_token(path, key, token)


def _are_sound(tokens: Collection[object]) -> bool:
    texts = [token for token in tokens if isinstance(token, str)]
    if len(texts) < len(tokens):
        return False
    longest = max(map(len, texts), default=0)
    return longest <= LONGEST_TOKEN and _is_unicode("".join(texts))


def _is_unicode(text: str) -> bool:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def _check_whole(path: pathlib.Path, content: JsonObject) -> None:
    """tokenizer.json, which the `tokenizers` library writes."""
    _check_model(path, content.get("model"))
    for key in ("normalizer", "pre_tokenizer", "post_processor", "decoder"):
        part = content.get(key)
        if not isinstance(part, Mapping | None):
            raise _wrong(path, key, "an object or null", part)
    _check_character_map(path, content.get("normalizer"))
    added = content.get("added_tokens", [])
    if not isinstance(added, list):
        raise _wrong(path, "added_tokens", "a list", added)
    for token in added:
        _check_added(path, "added_tokens", token)
        id = token.get("id")
        if not _is_id(id):
            place = f"added_tokens: id of {shown_value(token['content'], 40)}"
            raise _wrong(path, place, f"a number from 0 to {LARGEST_ID:,}", id)


def _check_model(path: pathlib.Path, model: object) -> None:
    if not isinstance(model, Mapping):
        raise _wrong(path, "model", "an object with type and vocab", model)
    kind = model.get("type")
    if not isinstance(kind, str | None):
        raise _wrong(path, "model.type", "a name such as WordPiece", kind)
    _check_vocabulary(path, model.get("vocab"))
    for key in ("unk_token", "continuing_subword_prefix", "end_of_word_suffix"):
        token = model.get(key)
        if token is not None:
            check_token(path, f"model.{key}", token)
    limit = model.get("max_input_chars_per_word", 100)
    is_integer = type(limit) is int
    if not is_integer or not 0 < limit <= LONGEST_WORD:
        expected = f"a number from 1 to {LONGEST_WORD:,}"
        raise _wrong(path, "model.max_input_chars_per_word", expected, limit)


def _check_character_map(path: pathlib.Path, normalizer: object) -> None:
    """SentencePiece's map of characters.

    Where it cannot be read the library ends in a panic, which is seen on stderr.
    """
    if not isinstance(normalizer, Mapping):
        return
    steps: list[object] = [normalizer]
    more = normalizer.get("normalizers")
    if isinstance(more, list):
        steps += more
    for step in steps:
        if isinstance(step, Mapping) and step.get("type") == "Precompiled":
            _check_packed_map(path, step.get("precompiled_charsmap"))


def _check_packed_map(path: pathlib.Path, packed: object) -> None:
    """A length of 4 bytes, a trie of that length, of 4 bytes a node, and the texts."""
    content = _decoded(packed)
    length = int.from_bytes(content[:4], "little")
    room = len(content) - 4
    if room < 0 or length % 4 or length > room:
        raise _wrong(path, "precompiled_charsmap", "a map of characters in base64", packed)


def _decoded(packed: object) -> bytes:
    """The bytes that a text says in base64; none where it is no such text."""
    if not isinstance(packed, str):
        return b""
    try:
        return base64.b64decode(packed, validate=True)
    except ValueError:
        return b""


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
        if not _is_scored_piece(pair):
            raise _wrong(path, "model.vocab", "pairs of a piece and its score", pair)
    pieces = [piece for piece, _ in vocabulary]
    _check_tokens(path, "model.vocab", pieces)


def _is_scored_piece(pair: object) -> bool:
    if not isinstance(pair, list) or len(pair) != 2:
        return False
    piece, score = pair
    return isinstance(piece, str) and is_number(score)


def _check_added(path: pathlib.Path, key: str, token: object) -> None:
    if not isinstance(token, Mapping):
        raise _wrong(path, key, "objects with a content", token)
    check_token(path, f"{key}: content", token.get("content"))
    for flag in _FLAGS:
        switch = token.get(flag, False)
        if not isinstance(switch, bool):
            shown = shown_value(token["content"], 40)
            raise _wrong(path, f"{key}: {flag} of {shown}", "true or false", switch)


def _check_config(path: pathlib.Path, content: JsonObject) -> None:
    """tokenizer_config.json and special_tokens_map.json."""
    if "added_tokens_decoder" in content:
        _check_decoder(path, content["added_tokens_decoder"])
    for key in SPECIAL_NAMES:
        token = content.get(key)
        if token is not None:
            _check_special(path, key, token)
    for key in _MORE_SPECIAL:
        tokens = content.get(key) or []
        if isinstance(tokens, Mapping):
            tokens = list(tokens.values())
        if not isinstance(tokens, list):
            raise _wrong(path, key, "a list of tokens", tokens)
        for token in tokens:
            _check_special(path, key, token)
    for key in _SWITCHES:
        switch = content.get(key)
        if not isinstance(switch, bool | None):
            raise _wrong(path, key, "true or false", switch)
    class_name = content.get("tokenizer_class")
    if not isinstance(class_name, str | None):
        raise _wrong(path, "tokenizer_class", "a name", class_name)


def _check_decoder(path: pathlib.Path, decoder: object) -> None:
    """added_tokens_decoder: ids, written as texts, and their tokens."""
    if not isinstance(decoder, Mapping):
        raise _wrong(path, "added_tokens_decoder", "an object of ids and tokens", decoder)
    for id, token in decoder.items():
        if not _is_written_id(id):
            raise _wrong(path, "added_tokens_decoder", f"ids from 0 to {LARGEST_ID:,}", id)
        _check_added(path, f"added_tokens_decoder[{id}]", token)


def _check_special(path: pathlib.Path, key: str, token: object) -> None:
    """A special token is written as an object or as a text."""
    if isinstance(token, Mapping):
        _check_added(path, key, token)
    else:
        check_token(path, key, token)


def _is_written_id(text: str) -> bool:
    is_decimal = text.isascii() and text.isdecimal()
    if not is_decimal or len(text) >= 10:
        return False
    return int(text) <= LARGEST_ID


def _is_id(value: object) -> bool:
    return type(value) is int and 0 <= value <= LARGEST_ID


def _wrong(path: pathlib.Path, key: str, expected: str, value: object) -> WeightsError:
    return WeightsError(
        f"{path}: {shown_name(key)} should be {expected}. Received: {shown_value(value, 60)}."
        f" {AGAIN}"
    )


def _check_id_file(path: pathlib.Path, content: JsonObject) -> None:
    check_ids(path, "the file", content)


_CHECKS: dict[str, Callable[[pathlib.Path, JsonObject], None]] = {
    "tokenizer.json": _check_whole,
    "tokenizer_config.json": _check_config,
    "special_tokens_map.json": _check_config,
    "added_tokens.json": _check_id_file,
    "vocab.json": _check_id_file,
}
