"""Reads the tokenizer files of a checkpoint folder, as transformers' AutoTokenizer does."""

from __future__ import annotations

import dataclasses
import pathlib
from typing import Any

from trainer.errors import WeightsError, shown_value
from trainer.files.json_file import read_object
from trainer.text.characters import WHITE_SPACE
from trainer.text.checked_files import LARGEST_ID, check_token, is_there
from trainer.text.normalization import Normalization

_SPECIAL_NAMES = {
    "unk_token": "[UNK]",
    "sep_token": "[SEP]",
    "pad_token": "[PAD]",
    "cls_token": "[CLS]",
    "mask_token": "[MASK]",
}
# Classes that take tokenizer.json as it is; every other one rebuilds the normaliser from
# tokenizer_config.json.
_VERBATIM_CLASSES = ("PreTrainedTokenizerFast", "TokenizersBackend")
# Model types whose tokenizer is BertTokenizer when no file names a class (transformers'
# TOKENIZER_MAPPING).
_BERT_MODEL_TYPES = frozenset(
    "align bark bert blip bros chinese_clip convbert distilbert electra ernie flava git"
    " grounding-dino layoutlm megatron-bert mm-grounding-dino mobilebert nezha nomic_bert qdqbert"
    " realm retribert squeezebert tvp vilt visual_bert".split()
)


@dataclasses.dataclass(frozen=True)
class AddedToken:
    """A token matched literally: in the raw text, or in the normalised one when `normalized`."""

    content: str
    id: int
    lstrip: bool = False
    rstrip: bool = False
    single_word: bool = False
    normalized: bool = False


@dataclasses.dataclass(frozen=True)
class WordPieceFiles:
    """All that determines a WordPiece tokenizer's ids.

    `pieces` maps a piece of the WordPiece model to its id; `vocabulary` also has the added tokens.
    `special` maps unk_token, sep_token, pad_token, cls_token and mask_token to their content.
    """

    pieces: dict[str, int]
    vocabulary: tuple[str, ...]
    normalization: Normalization
    added_tokens: tuple[AddedToken, ...]
    special: dict[str, str]
    continuing_prefix: str = "##"
    word_limit: int = 100  # characters; a longer word is [UNK]


def read_json(path: pathlib.Path) -> dict[str, Any]:
    """The object in a JSON file; {} when there is no such file.

    Raises:
        WeightsError: the file is not a JSON object.
    """
    return read_object(path) if is_there(path) else {}


def read_wordpiece(folder: pathlib.Path) -> WordPieceFiles:
    """Reads vocab.txt or tokenizer.json and what goes with them.

    Where both exist, tokenizer.json gives the vocabulary and the added tokens, and
    tokenizer_config.json the normalisation (defaults: lower-casing), as AutoTokenizer does for
    BERT; classes of transformers that take tokenizer.json as it is are followed in that too.

    Raises:
        WeightsError: a file is damaged, a special token is missing, or an added token is of an
            unsupported kind.
    """
    config = read_json(folder / "tokenizer_config.json")
    whole = read_json(folder / "tokenizer.json")
    model = whole.get("model", {})
    pieces = dict(_model_pieces(folder, model)) if whole else _read_vocabulary(folder / "vocab.txt")
    verbatim = bool(whole) and _is_verbatim(folder, config)
    named = dict(_SPECIAL_NAMES)
    if verbatim and model.get("unk_token"):
        named["unk_token"] = model["unk_token"]
    map_file = (
        {} if "added_tokens_decoder" in config else read_json(folder / "special_tokens_map.json")
    )
    for key in named:
        named[key] = _content(map_file.get(key) or config.get(key) or named[key])
    added = _added_tokens(folder, config, whole, map_file, named, pieces, verbatim=verbatim)
    _check(folder, pieces, added, named)
    return WordPieceFiles(
        pieces=pieces,
        vocabulary=_vocabulary(pieces, added),
        normalization=(
            _json_normalization(folder, whole) if verbatim else _config_normalization(config)
        ),
        added_tokens=added,
        special=named,
        continuing_prefix=model.get("continuing_subword_prefix", "##") if verbatim else "##",
        word_limit=model.get("max_input_chars_per_word", 100) if verbatim else 100,
    )


def _is_verbatim(folder: pathlib.Path, config: dict[str, Any]) -> bool:
    name = config.get("tokenizer_class")
    if name:
        return name in _VERBATIM_CLASSES
    model_type = read_json(folder / "config.json").get("model_type")
    return not isinstance(model_type, str) or model_type not in _BERT_MODEL_TYPES


def _model_pieces(folder: pathlib.Path, model: dict[str, Any]) -> dict[str, int]:
    vocabulary = model.get("vocab")
    if not isinstance(vocabulary, dict) or not vocabulary:
        raise WeightsError(
            f"{folder / 'tokenizer.json'}: expected model.vocab to map pieces to ids. Received:"
            f" {str(vocabulary)[:60]}. Copy the file again from its source."
        )
    return vocabulary


def _read_vocabulary(path: pathlib.Path) -> dict[str, int]:
    try:
        lines = path.read_bytes().decode("utf-8").split("\n")
    except UnicodeDecodeError as error:
        raise WeightsError(
            f"{path}: expected one piece a line in UTF-8. Received: {error}. Copy the file again."
        ) from error
    if lines[-1] == "":
        lines.pop()
    if len(lines) > LARGEST_ID:
        raise WeightsError(
            f"{path}: {len(lines):,} lines: expected one piece a line, at most {LARGEST_ID:,}. Copy"
            " the file again."
        )
    check_token(path, "the vocabulary", max(lines, key=len, default=""))
    # Rust reads vocab.txt for transformers; Python's rstrip() takes four control characters more.
    # of equal lines the last counts, as in Rust
    return {line.rstrip(WHITE_SPACE): id for id, line in enumerate(lines)}


def _content(token: Any) -> str:
    return token["content"] if isinstance(token, dict) else token


def _flags(token: dict[str, Any], *, normalized: bool) -> dict[str, bool]:
    flags = {key: bool(token.get(key, False)) for key in ("lstrip", "rstrip", "single_word")}
    return {**flags, "normalized": bool(token.get("normalized", normalized))}


def _added_tokens(
    folder: pathlib.Path,
    config: dict[str, Any],
    whole: dict[str, Any],
    map_file: dict[str, Any],
    named: dict[str, str],
    pieces: dict[str, int],
    *,
    verbatim: bool,
) -> tuple[AddedToken, ...]:
    found: dict[str, dict[str, bool]] = {}
    if "added_tokens_decoder" in config:
        for _, token in sorted(
            config["added_tokens_decoder"].items(), key=lambda item: int(item[0])
        ):
            found[token["content"]] = _flags(token, normalized=not token.get("special", False))
    plain = read_json(folder / "added_tokens.json") if "added_tokens_decoder" not in config else {}
    for content in sorted(plain, key=plain.__getitem__):
        found[content] = _flags({}, normalized=True)
    listed = {token["content"]: token for token in whole.get("added_tokens", [])}
    if "added_tokens_decoder" not in config:
        found.update(
            {content: _flags(token, normalized=False) for content, token in listed.items()}
        )
    declared = {**config, **map_file}
    for key, content in named.items():
        token = declared.get(key)
        if content in pieces and not (verbatim and token is None):
            found.setdefault(
                content, _flags(token if isinstance(token, dict) else {}, normalized=False)
            )
    for key in ("additional_special_tokens", "extra_special_tokens"):
        tokens = declared.get(key) or []
        for token in tokens.values() if isinstance(tokens, dict) else tokens:
            found.setdefault(
                _content(token), _flags(token if isinstance(token, dict) else {}, normalized=False)
            )
    ids, result = dict(pieces), []
    for content, flags in found.items():
        id = listed[content]["id"] if content in listed else ids.setdefault(content, len(ids))
        ids[content] = id
        result.append(AddedToken(content, id, **flags))
    return tuple(result)


def _vocabulary(pieces: dict[str, int], added: tuple[AddedToken, ...]) -> tuple[str, ...]:
    ids = {**pieces, **{token.content: token.id for token in added}}
    names = {id: content for content, id in ids.items()}
    # "" where a repeated line left a hole
    return tuple(names.get(id, "") for id in range(max(names) + 1))


def _config_normalization(config: dict[str, Any]) -> Normalization:
    return Normalization(
        clean_text=True,
        handle_chinese_chars=bool(config.get("tokenize_chinese_chars", True)),
        strip_accents=config.get("strip_accents"),
        lowercase=bool(config.get("do_lower_case", True)),
    )


def _json_normalization(folder: pathlib.Path, whole: dict[str, Any]) -> Normalization:
    allowed = {"normalizer": "BertNormalizer", "pre_tokenizer": "BertPreTokenizer"}
    for key, expected in allowed.items():
        kind = (whole.get(key) or {}).get("type")
        if kind != expected:
            raise WeightsError(
                f"{folder / 'tokenizer.json'}: {key} must be {expected}. Received: {kind}. Choose a"
                " checkpoint with a BERT tokenizer, or save this one with transformers'"
                " BertTokenizer."
            )
    settings = {key: value for key, value in whole["normalizer"].items() if key != "type"}
    known = {field.name for field in dataclasses.fields(Normalization)}
    if set(settings) - known or not all(
        isinstance(value, bool | None) for value in settings.values()
    ):
        raise WeightsError(
            f"{folder / 'tokenizer.json'}: normalizer has {shown_value(settings)}: expected"
            f" {', '.join(sorted(known))}, each true or false. Copy the file again from its source."
        )
    return Normalization(**settings)


def _check(
    folder: pathlib.Path,
    pieces: dict[str, int],
    added: tuple[AddedToken, ...],
    named: dict[str, str],
) -> None:
    known = {*pieces, *(token.content for token in added)}
    missing = [
        f"{key} {named[key]!r}"
        for key in ("pad_token", "unk_token", "cls_token", "sep_token")
        if named[key] not in known
    ]
    if missing:
        raise WeightsError(
            f"{folder}: the vocabulary of {len(pieces)} pieces lacks {', '.join(missing)}. Expected"
            " every special token to be in it. Name the right ones in tokenizer_config.json, or"
            " copy the vocabulary again from its source."
        )
    words = [token.content for token in added if token.single_word]
    if words:
        raise WeightsError(
            f"{folder}: added tokens with single_word=true are not supported. Received:"
            f" {', '.join(map(repr, words))}. Save the tokenizer with single_word=false for them."
        )
