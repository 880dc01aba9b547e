"""The heads: one file each, found by its name in the config (`head.name`).

A head's file has a `Settings` and a `Head(settings, data_settings, tokenizer)` with

    texts, label          raw text and label of an example; DataError names file:line
    learn, label_columns  what train teaches (the label names), and labels as numbers
    encode                texts -> token columns, in the graph; the same function serves
    build, logits, loss   the layers above the encoder, and their loss as (sum, weight)
    metrics, main_metric  over a whole split, on the host
    serve, decode         the SavedModel's answers, and one of them as JSON
    load_tensors, save_tensors   the layers in Hugging Face's format
"""

from typing import Any

from trainer.config import DataSettings, HeadSettings, plugin_module


def make_head(settings: HeadSettings, data: DataSettings, tokenizer: Any) -> Any:
    """The head that the config names."""
    return plugin_module("trainer.heads", settings.name).Head(settings, data, tokenizer)
