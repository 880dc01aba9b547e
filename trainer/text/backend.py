"""A checkpoint's tokenizer as transformers builds it.

For byte-level BPE and SentencePiece, whose files are not read here one by one.
"""

from __future__ import annotations

import dataclasses
import importlib.util
import json
import os
import pathlib
from typing import TYPE_CHECKING, NamedTuple

from trainer.errors import WeightsError, shown_name
from trainer.files.json_file import JsonObject
from trainer.text.folder import AddedToken, check_no_single_words, read_json
from trainer.text.tokenizer import Template

if TYPE_CHECKING:
    from tokenizers import Encoding
    from tokenizers import Tokenizer as BackendTokenizer
    from transformers import PreTrainedTokenizerFast

# Where no file names a class: a vocabulary with this token is of that class.
_CLASS_OF = {"<|endoftext|>": "GPT2Tokenizer", "<s>": "RobertaTokenizer"}
_SENTENCEPIECE_FILES = ("spiece.model", "sentencepiece.bpe.model")


@dataclasses.dataclass(frozen=True)
class Backend:
    """What determines a tokenizer's ids, as the `tokenizers` library writes it.

    Attributes:
        folder: it is from, for messages.
        content: its JSON: model, normalizer, pre_tokenizer, post_processor, decoder.
        added_tokens: those found in raw texts.
        special: ids of them that are no text, such as the end of a text.
        template: what it puts around a text or a pair.
        pad_id, unk_id, mask_id, eos_id: None where there is none.
    """

    folder: pathlib.Path
    content: JsonObject
    added_tokens: tuple[AddedToken, ...]
    special: frozenset[int]
    template: Template
    pad_id: int | None
    unk_id: int | None
    mask_id: int | None
    eos_id: int | None

    def require(self, condition: bool, where: str, expected: str, received: object) -> None:
        """Refuses a tokenizer that does something else than what is built here.

        Args:
            condition: what must be true.
            where: which part of the tokenizer it is about.
            expected: what that part must be.
            received: what it is.
        Raises:
            WeightsError: it is not true.
        """
        if not condition:
            raise WeightsError(
                f"{self.folder}: the tokenizer's {where} must be {expected}. Received:"
                f" {str(received)[:120]}. Choose a checkpoint with the tokenizer of BERT, GPT-2,"
                " RoBERTa, XLM-R or ALBERT."
            )

    def vocabulary(self, ids: dict[str, int]) -> list[str]:
        """The token of each id, added ones included; "" where an id has none."""
        tokens = {id: token for token, id in ids.items()}
        for added in self.added_tokens:
            tokens[added.id] = added.content
        count = max(tokens) + 1
        return [tokens.get(id, "") for id in range(count)]


def is_failure(error: BaseException) -> bool:
    """Whether a library failed, rather than that the process is to end.

    A panic of Rust is no Exception.
    """
    return isinstance(error, Exception) or type(error).__name__ == "PanicException"


def read_backend(folder: pathlib.Path) -> Backend:
    """Lets AutoTokenizer read the folder; no code of it is run, and nothing is fetched.

    Raises:
        WeightsError: it cannot, or single words only are matched by an added token, or the special
            tokens of a pair are not around its texts.
    """
    tokenizer, content = _load(folder)
    listed = content["added_tokens"]
    added = tuple(_added_token(token) for token in listed)
    check_no_single_words(folder, added)
    special = frozenset(token["id"] for token in listed if token["special"])
    empty = tokenizer.eos_token_id or tokenizer.pad_token_id or 0
    return Backend(
        folder=folder,
        content=content,
        added_tokens=added,
        special=special,
        template=_template(folder, tokenizer.backend_tokenizer, empty),
        pad_id=tokenizer.pad_token_id,
        unk_id=tokenizer.unk_token_id,
        mask_id=tokenizer.mask_token_id,
        eos_id=tokenizer.eos_token_id,
    )


def _load(folder: pathlib.Path) -> tuple[PreTrainedTokenizerFast, JsonObject]:
    """The tokenizer of transformers, and the JSON of what it runs."""
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    import transformers

    try:
        tokenizer_class = getattr(transformers, _class_name(folder))
        tokenizer = tokenizer_class.from_pretrained(str(folder), local_files_only=True)
        backend: BackendTokenizer = tokenizer.backend_tokenizer
        backend.no_padding()  # the file has what it was last asked for
        backend.no_truncation()
        return tokenizer, json.loads(backend.to_str())
    except BaseException as error:  # of many kinds, by what is wrong with the files
        if not is_failure(error):
            raise
        raise WeightsError(
            f"{folder}: transformers cannot read the tokenizer: {_reason(folder, error)}"
        ) from error


def _added_token(token: JsonObject) -> AddedToken:
    return AddedToken(
        content=token["content"],
        id=token["id"],
        lstrip=token["lstrip"],
        rstrip=token["rstrip"],
        single_word=token["single_word"],
        normalized=token["normalized"],
    )


def _reason(folder: pathlib.Path, error: BaseException) -> str:
    """What transformers says, and what to do."""
    remedy = "Copy the folder again from its source, tokenizer_config.json included."
    said = shown_name(str(error).strip(), 300)
    models = [model for model in _SENTENCEPIECE_FILES if (folder / model).exists()]
    if not models or (folder / "tokenizer.json").exists():
        return f"{said}. {remedy}"
    if importlib.util.find_spec("sentencepiece") is None:
        return (
            f"{said}. {remedy} Without its tokenizer.json the SentencePiece model needs a library:"
            " pip install sentencepiece."
        )
    if "tiktoken" in said:  # what it tries where SentencePiece could not read the file
        return f"{models[0]} is no model of SentencePiece, or a damaged one. {remedy}"
    return f"{said}. {remedy}"


def _class_name(folder: pathlib.Path) -> str:
    """The class that reads the folder: AutoTokenizer, unless no file says which it should take."""
    named = read_json(folder / "tokenizer_config.json").get("tokenizer_class")
    described = read_json(folder / "config.json")
    if named or isinstance(described.get("model_type"), str):
        return "AutoTokenizer"
    if (folder / "tokenizer.json").exists():
        return "PreTrainedTokenizerFast" if described else "AutoTokenizer"
    if "vocab.json" not in {path.name for path in folder.iterdir()}:
        return "AutoTokenizer"
    pieces = read_json(folder / "vocab.json")
    for token, class_name in _CLASS_OF.items():
        if token in pieces:
            return class_name
    return "AutoTokenizer"


class _Layout(NamedTuple):
    """The special tokens of a row, by where they stand: their ids and segments."""

    before: list[tuple[int, int]]
    between: list[tuple[int, int]]
    after: list[tuple[int, int]]

    def ids(self) -> tuple[tuple[int, ...], ...]:
        """Those of each place."""
        return _ids(self.before), _ids(self.between), _ids(self.after)


def _ids(special: list[tuple[int, int]]) -> tuple[int, ...]:
    return tuple(id for id, _ in special)


def _template(folder: pathlib.Path, backend: BackendTokenizer, empty: int) -> Template:
    """Found by encoding a text and a pair.

    Args:
        folder: for the message.
        backend: the tokenizer.
        empty: what a row has that would have nothing else.
    Raises:
        WeightsError: a text has other special tokens around it than a pair.
    """
    one = backend.encode("a")
    two = backend.encode("a", "a")
    layout = _layout(two)
    before, between, after = layout.ids()
    alone_before, alone_behind, _ = _layout(one).ids()
    alone = (alone_before, alone_behind)
    if alone != (before, after):
        raise WeightsError(
            f"{folder}: the tokenizer puts other special tokens around a text ({alone}) than around"
            f" a pair ({(before, after)}), which is not implemented. Choose another checkpoint."
        )
    second_segments = [segment for _, segment in layout.after]
    for segment, text in zip(two.type_ids, two.sequence_ids, strict=True):
        if text == 1:
            second_segments.append(segment)
    segments = bool(before) and any(second_segments)
    return Template(before, between, after, empty, segments)


def _layout(encoding: Encoding) -> _Layout:
    """Those of an encoding; of a single text `between` has what stands behind it."""
    layout = _Layout([], [], [])
    special = layout.before
    for id, segment, text in zip(
        encoding.ids, encoding.type_ids, encoding.sequence_ids, strict=True
    ):
        if text is None:
            special.append((id, segment))
        else:
            special = layout.after if text == 1 else layout.between
    return layout
