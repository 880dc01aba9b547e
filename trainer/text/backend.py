"""A checkpoint's tokenizer as transformers builds it, for the kinds whose files are not read here
one by one.
"""

from __future__ import annotations

import dataclasses
import importlib.util
import json
import os
import pathlib
from typing import Any

from trainer.errors import WeightsError, shown_name
from trainer.text.folder import AddedToken, read_json
from trainer.text.tokenizer import Template

# Where no file names a class: a vocabulary with this token is of that class.
_CLASS_OF = {"<|endoftext|>": "GPT2Tokenizer", "<s>": "RobertaTokenizer"}


@dataclasses.dataclass(frozen=True)
class Backend:
    """What determines a tokenizer's ids, as the `tokenizers` library writes it.

    Attributes:
        content: its JSON: model, normalizer, pre_tokenizer, post_processor, decoder.
        added_tokens: those found in raw texts.
        special: ids of them that are no text, such as the end of a text.
        template: what it puts around a text or a pair.
        pad_id, unk_id, mask_id, eos_id: None where there is none.
    """

    folder: pathlib.Path
    content: dict[str, Any]
    added_tokens: tuple[AddedToken, ...]
    special: frozenset[int]
    template: Template
    pad_id: int | None
    unk_id: int | None
    mask_id: int | None
    eos_id: int | None

    def require(self, condition: bool, where: str, expected: str, received: Any) -> None:
        """Raises WeightsError where the tokenizer does something else than what is built here."""
        if not condition:
            raise WeightsError(
                f"{self.folder}: the tokenizer's {where} must be {expected}. Received:"
                f" {str(received)[:120]}. Choose a checkpoint with the tokenizer of BERT, GPT-2,"
                " RoBERTa, XLM-R or ALBERT."
            )

    def vocabulary(self, ids: dict[str, int]) -> list[str]:
        """The token of each id, added ones included; "" where an id has none."""
        names = {id: token for token, id in ids.items()} | {
            token.id: token.content for token in self.added_tokens
        }
        return [names.get(id, "") for id in range(max(names) + 1)]


def is_failure(error: BaseException) -> bool:
    """Whether a library failed, rather than that the process is to end; a panic of Rust is no
    Exception.
    """
    return isinstance(error, Exception) or type(error).__name__ == "PanicException"


def read_backend(folder: pathlib.Path) -> Backend:
    """Lets AutoTokenizer read the folder; no code of it is run, and nothing is fetched.

    Raises:
        WeightsError: it cannot, or single words only are matched by an added token, or the special
            tokens of a pair are not around its texts.
    """
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    import transformers

    try:
        tokenizer = getattr(transformers, _class_name(folder)).from_pretrained(
            str(folder), local_files_only=True
        )
        backend = tokenizer.backend_tokenizer
        backend.no_padding()  # the file has what it was last asked for
        backend.no_truncation()
        content = json.loads(backend.to_str())
    except BaseException as error:  # of many kinds, by what is wrong with the files
        if not is_failure(error):
            raise
        raise WeightsError(
            f"{folder}: transformers cannot read the tokenizer: {_reason(folder, error)}"
        ) from error
    added = tuple(
        AddedToken(
            token["content"],
            token["id"],
            **{key: token[key] for key in ("lstrip", "rstrip", "single_word", "normalized")},
        )
        for token in content["added_tokens"]
    )
    if words := [token.content for token in added if token.single_word]:
        raise WeightsError(
            f"{folder}: added tokens with single_word=true are not supported. Received:"
            f" {', '.join(map(repr, words))}. Save the tokenizer with single_word=false for them."
        )
    return Backend(
        folder,
        content,
        added,
        frozenset(token["id"] for token in content["added_tokens"] if token["special"]),
        _template(folder, tokenizer),
        tokenizer.pad_token_id,
        tokenizer.unk_token_id,
        tokenizer.mask_token_id,
        tokenizer.eos_token_id,
    )


def _reason(folder: pathlib.Path, error: BaseException) -> str:
    """What transformers says, and what to do."""
    remedy = "Copy the folder again from its source, tokenizer_config.json included."
    said = shown_name(str(error).strip(), 300)
    model = next(
        (name for name in ("spiece.model", "sentencepiece.bpe.model") if (folder / name).exists()),
        None,
    )
    if model is None or (folder / "tokenizer.json").exists():
        return f"{said}. {remedy}"
    if importlib.util.find_spec("sentencepiece") is None:
        return (
            f"{said}. {remedy} Without its tokenizer.json the SentencePiece model needs a library:"
            " pip install sentencepiece."
        )
    if "tiktoken" in said:  # what it tries where SentencePiece could not read the file
        return f"{model} is no model of SentencePiece, or a damaged one. {remedy}"
    return f"{said}. {remedy}"


def _class_name(folder: pathlib.Path) -> str:
    """The class that reads the folder:
    AutoTokenizer, unless no file says which one it should take.
    """
    named = read_json(folder / "tokenizer_config.json").get("tokenizer_class")
    described = read_json(folder / "config.json")
    if named or isinstance(described.get("model_type"), str):
        return "AutoTokenizer"
    if (folder / "tokenizer.json").exists():
        return "PreTrainedTokenizerFast" if described else "AutoTokenizer"
    if "vocab.json" not in {path.name for path in folder.iterdir()}:
        return "AutoTokenizer"
    pieces = read_json(folder / "vocab.json")
    return next((name for token, name in _CLASS_OF.items() if token in pieces), "AutoTokenizer")


def _template(folder: pathlib.Path, tokenizer: Any) -> Template:
    """Found by encoding a text and a pair."""

    def parts(encoding: Any) -> dict[Any, list[tuple[int, int]]]:
        found: dict[Any, list[tuple[int, int]]] = {
            "before": [],
            0: [],
            "between": [],
            1: [],
            "after": [],
        }
        place = "before"
        for id, kind, of in zip(
            encoding.ids, encoding.type_ids, encoding.sequence_ids, strict=True
        ):
            if of is not None:
                place = {0: "between", 1: "after"}[of]
            found[place if of is None else of].append((id, kind))
        return found

    backend = tokenizer.backend_tokenizer
    one = parts(backend.encode("a"))
    two = parts(backend.encode("a", "a"))
    before, between, after = (
        tuple(id for id, _ in two[place]) for place in ("before", "between", "after")
    )
    alone = tuple(tuple(id for id, _ in one[place]) for place in ("before", "between"))
    if alone != (before, after):
        raise WeightsError(
            f"{folder}: the tokenizer puts other special tokens around a text ({alone}) than around"
            f" a pair ({(before, after)}), which is not implemented. Choose another checkpoint."
        )
    segments = bool(before) and any(kind for _, kind in (*two[1], *two["after"]))
    return Template(
        before, between, after, tokenizer.eos_token_id or tokenizer.pad_token_id or 0, segments
    )
