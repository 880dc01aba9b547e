"""Reads the tokenizer files of a checkpoint folder, as transformers' AutoTokenizer does."""

from __future__ import annotations

import dataclasses
import pathlib
from collections.abc import Mapping
from typing import TypedDict

from trainer.errors import WeightsError, shown_value
from trainer.files.json_file import JsonObject, read_object
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
_PREFIX = "##"
_WORD_LIMIT = 100


@dataclasses.dataclass(frozen=True)
class AddedToken:
    """A token matched literally: in the raw text, or in the normalised one when `normalized`."""

    content: str
    id: int
    lstrip: bool = False
    rstrip: bool = False
    single_word: bool = False
    normalized: bool = False


class _Flags(TypedDict):
    """How an added token is matched."""

    lstrip: bool
    rstrip: bool
    single_word: bool
    normalized: bool


@dataclasses.dataclass(frozen=True)
class WordPieceFiles:
    """All that determines a WordPiece tokenizer's ids.

    Attributes:
        pieces: the id of each piece of the WordPiece model.
        vocabulary: the token of each id, added ones included.
        normalization: what becomes of a text first.
        added_tokens: those matched literally.
        special: what unk_token, sep_token, pad_token, cls_token and mask_token are.
        continuing_prefix: of a piece that goes on with a word.
        word_limit: in characters; a longer word is [UNK].
    """

    pieces: dict[str, int]
    vocabulary: tuple[str, ...]
    normalization: Normalization
    added_tokens: tuple[AddedToken, ...]
    special: dict[str, str]
    continuing_prefix: str = _PREFIX
    word_limit: int = _WORD_LIMIT


@dataclasses.dataclass(frozen=True)
class _Folder:
    """A folder's JSON files, each {} where there is none.

    Attributes:
        path: of the folder.
        config: tokenizer_config.json.
        whole: tokenizer.json.
        special_map: special_tokens_map.json.
        added_ids: added_tokens.json.
        verbatim: whether tokenizer.json is taken as it is.
    """

    path: pathlib.Path
    config: JsonObject
    whole: JsonObject
    special_map: JsonObject
    added_ids: dict[str, int]
    verbatim: bool

    @property
    def model(self) -> JsonObject:
        """That of tokenizer.json."""
        return self.whole.get("model", {})


def read_json(path: pathlib.Path) -> JsonObject:
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
    files = _read_folder(folder)
    pieces = _model_pieces(files) if files.whole else _read_vocabulary(folder / "vocab.txt")
    special = _special_tokens(files)
    added = _added_tokens(files, special, pieces)
    _check_special(folder, pieces, added, special)
    check_no_single_words(folder, added)
    read = WordPieceFiles(
        pieces=pieces,
        vocabulary=_vocabulary(pieces, added),
        normalization=_config_normalization(files.config),
        added_tokens=added,
        special=special,
    )
    if not files.verbatim:
        return read
    return dataclasses.replace(
        read,
        normalization=_json_normalization(files),
        continuing_prefix=files.model.get("continuing_subword_prefix", _PREFIX),
        word_limit=files.model.get("max_input_chars_per_word", _WORD_LIMIT),
    )


def _read_folder(folder: pathlib.Path) -> _Folder:
    config = read_json(folder / "tokenizer_config.json")
    whole = read_json(folder / "tokenizer.json")
    older_files_count = "added_tokens_decoder" not in config  # which says the same
    return _Folder(
        path=folder,
        config=config,
        whole=whole,
        special_map=read_json(folder / "special_tokens_map.json") if older_files_count else {},
        added_ids=read_json(folder / "added_tokens.json") if older_files_count else {},
        verbatim=bool(whole) and _is_verbatim(folder, config),
    )


def _is_verbatim(folder: pathlib.Path, config: JsonObject) -> bool:
    class_name = config.get("tokenizer_class")
    if class_name:
        return class_name in _VERBATIM_CLASSES
    model_type = read_json(folder / "config.json").get("model_type")
    return not isinstance(model_type, str) or model_type not in _BERT_MODEL_TYPES


def _model_pieces(files: _Folder) -> dict[str, int]:
    vocabulary = files.model.get("vocab")
    if not isinstance(vocabulary, dict) or not vocabulary:
        raise WeightsError(
            f"{files.path / 'tokenizer.json'}: expected model.vocab to map pieces to ids. Received:"
            f" {str(vocabulary)[:60]}. Copy the file again from its source."
        )
    return vocabulary


def _read_vocabulary(path: pathlib.Path) -> dict[str, int]:
    """The pieces of vocab.txt."""
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
    # Of equal lines the last counts, as in Rust.
    return {line.rstrip(WHITE_SPACE): id for id, line in enumerate(lines)}


def _special_tokens(files: _Folder) -> dict[str, str]:
    """The token of each special name."""
    defaults = dict(_SPECIAL_NAMES)
    if files.verbatim and files.model.get("unk_token"):
        defaults["unk_token"] = files.model["unk_token"]
    return {
        key: _content(files.special_map.get(key) or files.config.get(key) or default)
        for key, default in defaults.items()
    }


def _content(token: str | JsonObject) -> str:
    return token if isinstance(token, str) else token["content"]


def _flags(token: Mapping[str, object], *, normalized: bool) -> _Flags:
    """Those of a token that is written as an object; `normalized` where it does not say that."""
    return _Flags(
        lstrip=bool(token.get("lstrip", False)),
        rstrip=bool(token.get("rstrip", False)),
        single_word=bool(token.get("single_word", False)),
        normalized=bool(token.get("normalized", normalized)),
    )


def _flags_of_special(token: object) -> _Flags:
    """Those of a token that is written as an object, as a text, or nowhere."""
    return _flags(token if isinstance(token, Mapping) else {}, normalized=False)


def _added_tokens(
    files: _Folder, special: dict[str, str], pieces: dict[str, int]
) -> tuple[AddedToken, ...]:
    """The added tokens that AutoTokenizer finds in the files.

    Args:
        files: of the folder.
        special: the token of each special name.
        pieces: the id of each piece of the model.
    """
    flags = _flags_of_added(files)
    declared = {**files.config, **files.special_map}
    for key, content in special.items():
        token = declared.get(key)
        said_by_whole = files.verbatim and token is None
        if content in pieces and not said_by_whole:
            flags.setdefault(content, _flags_of_special(token))
    for token in _more_special(declared):
        flags.setdefault(_content(token), _flags_of_special(token))

    listed = files.whole.get("added_tokens", [])
    listed_ids = {token["content"]: token["id"] for token in listed}
    ids = dict(pieces)
    added = []
    for content, token_flags in flags.items():
        if content in listed_ids:
            ids[content] = listed_ids[content]
        id = ids.setdefault(content, len(ids))
        added.append(AddedToken(content, id, **token_flags))
    return tuple(added)


def _flags_of_added(files: _Folder) -> dict[str, _Flags]:
    """How each token that the files call an added one is matched, in their order."""
    if "added_tokens_decoder" in files.config:
        decoder = files.config["added_tokens_decoder"]
        in_order = [decoder[id] for id in sorted(decoder, key=int)]
        return {
            token["content"]: _flags(token, normalized=not token.get("special", False))
            for token in in_order
        }
    by_id = sorted(files.added_ids, key=files.added_ids.__getitem__)
    flags = {content: _flags({}, normalized=True) for content in by_id}
    for token in files.whole.get("added_tokens", []):
        flags[token["content"]] = _flags(token, normalized=False)
    return flags


def _more_special(declared: JsonObject) -> list[str | JsonObject]:
    """The special tokens that have no name of their own."""
    more: list[str | JsonObject] = []
    for key in ("additional_special_tokens", "extra_special_tokens"):
        tokens = declared.get(key) or []
        more += tokens.values() if isinstance(tokens, dict) else tokens
    return more


def _vocabulary(pieces: dict[str, int], added: tuple[AddedToken, ...]) -> tuple[str, ...]:
    ids = dict(pieces)
    for token in added:
        ids[token.content] = token.id
    tokens = {id: content for content, id in ids.items()}
    count = max(tokens) + 1
    # "" where a repeated line left a hole
    return tuple(tokens.get(id, "") for id in range(count))


def _config_normalization(config: JsonObject) -> Normalization:
    return Normalization(
        clean_text=True,
        handle_chinese_chars=bool(config.get("tokenize_chinese_chars", True)),
        strip_accents=config.get("strip_accents"),
        lowercase=bool(config.get("do_lower_case", True)),
    )


def _json_normalization(files: _Folder) -> Normalization:
    path = files.path / "tokenizer.json"
    allowed = {"normalizer": "BertNormalizer", "pre_tokenizer": "BertPreTokenizer"}
    for key, expected in allowed.items():
        kind = (files.whole.get(key) or {}).get("type")
        if kind != expected:
            raise WeightsError(
                f"{path}: {key} must be {expected}. Received: {kind}. Choose a"
                " checkpoint with a BERT tokenizer, or save this one with transformers'"
                " BertTokenizer."
            )
    settings = dict(files.whole["normalizer"])
    del settings["type"]
    known = {field.name for field in dataclasses.fields(Normalization)}
    all_known = known >= settings.keys()
    all_switches = all(isinstance(setting, bool | None) for setting in settings.values())
    if not all_known or not all_switches:
        raise WeightsError(
            f"{path}: normalizer has {shown_value(settings)}: expected"
            f" {', '.join(sorted(known))}, each true or false. Copy the file again from its source."
        )
    return Normalization(**settings)


def _check_special(
    folder: pathlib.Path,
    pieces: dict[str, int],
    added: tuple[AddedToken, ...],
    special: dict[str, str],
) -> None:
    """Raises WeightsError where the vocabulary lacks a special token.

    Args:
        folder: for the message.
        pieces: the id of each piece of the model.
        added: the added tokens.
        special: the token of each special name.
    """
    known = {*pieces, *(token.content for token in added)}
    required = ("pad_token", "unk_token", "cls_token", "sep_token")
    missing = []
    for key in required:
        token = special[key]
        if token not in known:
            missing.append(f"{key} {token!r}")
    if missing:
        raise WeightsError(
            f"{folder}: the vocabulary of {len(pieces)} pieces lacks {', '.join(missing)}. Expected"
            " every special token to be in it. Name the right ones in tokenizer_config.json, or"
            " copy the vocabulary again from its source."
        )


def check_no_single_words(folder: pathlib.Path, added: tuple[AddedToken, ...]) -> None:
    """Raises WeightsError where an added token is matched as a single word only."""
    words = [token.content for token in added if token.single_word]
    if words:
        raise WeightsError(
            f"{folder}: added tokens with single_word=true are not supported. Received:"
            f" {', '.join(map(repr, words))}. Save the tokenizer with single_word=false for them."
        )
