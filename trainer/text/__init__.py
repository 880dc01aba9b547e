"""Tokenizers as TensorFlow graphs, with the ids of the checkpoint's own tokenizer.

Here is everything between raw strings and rows of token ids: reading a folder's tokenizer files,
splitting texts, cutting them, special tokens. What a task makes of the rows is in
`trainer.heads`; weights are in `trainer.backbones`.
"""

from __future__ import annotations

import pathlib
from collections.abc import Callable

from trainer.errors import UserError, WeightsError, shown_name
from trainer.text.backend import is_failure, read_backend
from trainer.text.byte_bpe import ByteBPETokenizer
from trainer.text.checked_files import check_files, is_there
from trainer.text.folder import read_json, read_wordpiece
from trainer.text.sentencepiece import SentencePieceTokenizer
from trainer.text.tokenizer import Tokenizer
from trainer.text.wordpiece import WordPieceTokenizer

# Kind of tokenizer, as model.type of tokenizer.json says it → how to read one.
TOKENIZERS: dict[str, Callable[[pathlib.Path], Tokenizer]] = {
    "WordPiece": lambda folder: WordPieceTokenizer(read_wordpiece(folder)),
    "BPE": lambda folder: ByteBPETokenizer(read_backend(folder)),
    "Unigram": lambda folder: SentencePieceTokenizer(read_backend(folder)),
}
# Where there is no tokenizer.json: the files of each kind.
_FILES = (
    ("WordPiece", {"vocab.txt"}),
    ("BPE", {"vocab.json", "merges.txt"}),
    ("Unigram", {"spiece.model"}),
    ("Unigram", {"sentencepiece.bpe.model"}),
)
_UNKNOWN = "unknown"


def load_tokenizer(folder: pathlib.Path) -> Tokenizer:
    """Reads the tokenizer of a checkpoint folder.

    Args:
        folder: has tokenizer.json, vocab.txt, vocab.json and merges.txt, or a SentencePiece model,
            and where the checkpoint has them tokenizer_config.json, special_tokens_map.json and
            added_tokens.json.
    Raises:
        WeightsError: the folder has no tokenizer, or one of a kind that is not supported, or it is
            damaged.
    """
    folder = pathlib.Path(folder)
    kind = _kind(folder)
    if kind not in TOKENIZERS:
        raise WeightsError(
            f"{folder}/tokenizer.json: the tokenizer is of kind {shown_name(kind)}. Allowed:"
            f" {', '.join(TOKENIZERS)}. Choose a checkpoint with one of these."
        )
    check_files(folder)
    try:
        return TOKENIZERS[kind](folder)
    # of many kinds and libraries, by how files contradict each other
    except BaseException as error:
        if isinstance(error, UserError | MemoryError) or not is_failure(error):
            raise
        raise WeightsError(
            f"{folder}: no {kind} tokenizer can be built of its files ({type(error).__name__}:"
            f" {shown_name(error, 200)}). Copy the folder again from its source, all of it from one"
            " checkpoint."
        ) from error


def _kind(folder: pathlib.Path) -> str:
    if is_there(folder / "tokenizer.json"):
        return _kind_of_model(read_json(folder / "tokenizer.json").get("model", {}))
    for kind, names in _FILES:
        if all(is_there(folder / name) for name in names):
            return kind
    raise WeightsError(
        f"{folder}: no tokenizer found. Expected tokenizer.json, vocab.txt, vocab.json and"
        " merges.txt, spiece.model or sentencepiece.bpe.model. Received:"
        f" {_shown_content(folder)}. Point backbone.weights at a folder that transformers'"
        " save_pretrained wrote, tokenizer included."
    )


def _kind_of_model(model: object) -> str:
    """The kind that the model of tokenizer.json says it has."""
    if not isinstance(model, dict):
        return _UNKNOWN
    kind = model.get("type")
    if not isinstance(kind, str | None):
        return _UNKNOWN
    if kind:
        return kind
    # Files of before 2020 do not say the kind; only WordPiece limits the characters of a word.
    return "WordPiece" if "max_input_chars_per_word" in model else _UNKNOWN


def _shown_content(folder: pathlib.Path) -> str:
    if not folder.is_dir():
        return "no such folder"
    names = sorted(path.name for path in folder.iterdir())
    return ", ".join(names) or "an empty folder"
