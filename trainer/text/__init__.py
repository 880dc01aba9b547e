"""Tokenizers as TensorFlow graphs, with the ids of the checkpoint's own tokenizer."""

from __future__ import annotations

import pathlib

from trainer.errors import WeightsError
from trainer.text.folder import read_json, read_wordpiece
from trainer.text.wordpiece import WordPieceTokenizer

# Kind of tokenizer, as model.type of tokenizer.json says it → how to read one.
TOKENIZERS = {"WordPiece": lambda folder: WordPieceTokenizer(read_wordpiece(folder))}


def load_tokenizer(folder: pathlib.Path) -> WordPieceTokenizer:
    """Reads the tokenizer of a checkpoint folder.

    Args:
        folder: has tokenizer.json or vocab.txt, and where the checkpoint has them tokenizer_config.json,
            special_tokens_map.json and added_tokens.json.
    Raises:
        WeightsError: the folder has no tokenizer, or one of a kind that is not supported, or it is damaged.
    """
    kind = _kind(pathlib.Path(folder))
    if kind not in TOKENIZERS:
        raise WeightsError(
            f"{folder}/tokenizer.json: the tokenizer is of kind {kind}. Allowed: {', '.join(TOKENIZERS)}. "
            "Choose a checkpoint with one of these."
        )
    return TOKENIZERS[kind](pathlib.Path(folder))


def _kind(folder: pathlib.Path) -> str:
    if (folder / "tokenizer.json").exists():
        model = read_json(folder / "tokenizer.json").get("model", {})
        # Files of before 2020 do not say the kind; only WordPiece has a limit on the characters of a word.
        return model.get("type") or ("WordPiece" if "max_input_chars_per_word" in model else "unknown")
    if (folder / "vocab.txt").exists():
        return "WordPiece"
    found = ", ".join(sorted(path.name for path in folder.iterdir())) if folder.is_dir() else "no such folder"
    raise WeightsError(
        f"{folder}: no tokenizer found. Expected tokenizer.json or vocab.txt. Received: {found or 'an empty folder'}. "
        "Point backbone.weights at a folder that transformers' save_pretrained wrote, tokenizer included."
    )
