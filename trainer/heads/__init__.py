"""The heads: one file each, found by its name in the config (`head.name`).

A head's file has a `Settings`, and a `Head(settings, data_settings, tokenizer)` with the methods of
`contract.py`. Files whose names begin with an underscore are shared by several heads.
"""

from typing import Any

from trainer.errors import ConfigError
from trainer.heads._classifier import Classifier
from trainer.heads.contract import Head
from trainer.settings.schema import DataSettings, HeadSettings, plugin_module


def make_head(settings: HeadSettings, data: DataSettings, tokenizer: Any) -> Head:
    """The head that the config names.

    Raises ConfigError where settings of the data are for heads of another kind.
    """
    head = plugin_module("trainer.heads", settings.name).Head
    if not issubclass(head, Classifier):
        _refuse_label_settings(settings.name, data)
    if data.span_keys and settings.name != "token_classification":
        raise ConfigError(
            f"data.span_keys: is of head token_classification. Received head {settings.name}. Leave"
            " it out."
        )
    return head(settings, data, tokenizer)


def _refuse_label_settings(name: str, data: DataSettings) -> None:
    if not isinstance(data.label, str):
        raise ConfigError(f"data.label: head {name} takes one field. Received {data.label}.")
    for key in ("unlabelled", "exclude_labels", "unseen_labels"):
        if getattr(data, key) != type(data).model_fields[key].default:
            raise ConfigError(
                f"data.{key}: is of classification, and head {name} has no classes. Leave it out."
            )
