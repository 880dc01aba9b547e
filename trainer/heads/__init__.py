"""The heads: one file each, found by its name in the config (`head.name`).

A head's file, or package, has `Settings` and `make_head(settings, data, tokenizer)`, whose parts
are those of `contract.py`. Files whose names begin with an underscore are shared by several heads.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from trainer.errors import ConfigError
from trainer.heads.contract import Head
from trainer.settings.schema import DataSettings, HeadSettings
from trainer.settings.sections import plugin_module

if TYPE_CHECKING:
    from trainer.text.tokenizer import Tokenizer


def make_head(settings: HeadSettings, data: DataSettings, tokenizer: Tokenizer) -> Head:
    """The head that the config names.

    Args:
        settings: of the head.
        data: of the examples.
        tokenizer: of the texts.
    Raises:
        ConfigError: settings contradict each other, or are for heads of another kind.
    """
    if not settings.has_classes:
        _refuse_label_settings(settings.name, data)
    if data.span_keys and settings.name != "token_classification":
        raise ConfigError(
            f"data.span_keys: is of head token_classification. Received head {settings.name}. Leave"
            " it out."
        )
    head: Head = plugin_module("trainer.heads", settings.name).make_head(settings, data, tokenizer)
    return head


def _refuse_label_settings(name: str, data: DataSettings) -> None:
    if not isinstance(data.label, str):
        raise ConfigError(f"data.label: head {name} takes one field. Received {data.label}.")
    for key in ("unlabelled", "exclude_labels", "unseen_labels"):
        if getattr(data, key) != type(data).model_fields[key].default:
            raise ConfigError(
                f"data.{key}: is of classification, and head {name} has no classes. Leave it out."
            )
