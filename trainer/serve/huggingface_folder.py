"""Exports a folder that the classes of Hugging Face's transformers load."""

from __future__ import annotations

import pathlib

from trainer.backbones import huggingface
from trainer.errors import JobDirError
from trainer.heads.contract import Exchanges, Generates
from trainer.run.model import Model
from trainer.serve.model_card import Facts, huggingface_card
from trainer.text.tokenizer import Tokenizer


def export_huggingface(
    model: Model,
    tokenizer: Tokenizer,
    weights: pathlib.Path,
    tokenizer_folder: pathlib.Path,
    folder: pathlib.Path,
    *,
    facts: Facts | None = None,
) -> None:
    """Writes a folder that the head's AutoModelFor… and AutoTokenizer load.

    Args:
        model: that was trained.
        tokenizer: of the texts.
        weights: the folder that the backbone's weights started from, whose config.json is kept.
        tokenizer_folder: whose tokenizer is copied.
        folder: gets the export.
        facts: of the run, for a model card.
    Raises:
        JobDirError: the disk refuses.
    """
    graph = model.graph
    if not isinstance(graph, Exchanges):
        raise TypeError(f"expected a head that exchanges its layers. Received {type(graph)}.")
    tensors, config_updates = graph.save_tensors()
    tokenizer_updates: dict[str, str] = {}
    if model.backbone.config.causal and not isinstance(graph, Generates):
        padding_of_config, tokenizer_updates = _padding(tokenizer)
        config_updates = {**config_updates, **padding_of_config}
    try:
        huggingface.save_huggingface(
            folder,
            model.backbone,
            weights,
            head_tensors=tensors,
            config_updates=config_updates,
            tokenizer_folder=tokenizer_folder,
            tokenizer_updates=tokenizer_updates,
            card=None if facts is None else huggingface_card(facts),
        )
    except OSError as error:
        raise JobDirError(
            f"{folder}: the export could not be written: {error}. Free some space or give"
            " --export.directory."
        ) from None


def _padding(tokenizer: Tokenizer) -> tuple[dict[str, int], dict[str, str]]:
    """The padding token of a decoder with a task head, for config.json and for the tokenizer.

    By it the class of transformers finds the last token of a text, and a batch is filled up. Where
    the tokenizer has none, the token that ends a text is one.
    """
    if tokenizer.has_pad:
        return {"pad_token_id": tokenizer.pad_id}, {}
    if tokenizer.eos_id is None:
        return {}, {}
    eos_token = tokenizer.vocabulary[tokenizer.eos_id]
    return {"pad_token_id": tokenizer.eos_id}, {"pad_token": eos_token}
