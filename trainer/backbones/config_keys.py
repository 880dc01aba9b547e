"""The keys of a family's config.json: their names there, their defaults, and what is valid."""

from __future__ import annotations

import abc
import dataclasses
from collections.abc import Mapping
from typing import ClassVar

LARGEST = 2**31 - 1  # of a size; whether there is memory for it is another question


@dataclasses.dataclass(frozen=True)
class ConfigKey(abc.ABC):
    """One key of config.json.

    Attributes:
        name: of the key.
        default: where config.json does not have the key.
        aliases: other names that Hugging Face reads the key by.
        nullable: whether null is valid.
        usual: a valid value of a key whose default shows none.
    """

    name: str
    default: object
    _: dataclasses.KW_ONLY
    aliases: tuple[str, ...] = ()
    nullable: bool = False
    usual: ClassVar[object]

    def value(self, content: Mapping[str, object]) -> object:
        """What config.json says, valid or not."""
        for name in (self.name, *self.aliases):
            if name in content:
                return content[name]
        return self.default

    def is_valid(self, value: object) -> bool:
        """Whether a backbone can be made of the value."""
        if value is None:
            return self.nullable
        return self._accepts(value)

    @property
    def example(self) -> object:
        """A valid value, for messages."""
        return self.default or self.usual

    @abc.abstractmethod
    def _accepts(self, value: object) -> bool:
        """Whether a value other than null is valid."""


class Count(ConfigKey):
    """A size: an integer from 1."""

    usual = 1024

    def _accepts(self, value: object) -> bool:
        return type(value) is int and 1 <= value <= LARGEST


class TokenId(ConfigKey):
    """A row of the word embeddings."""

    usual = 0

    def _accepts(self, value: object) -> bool:
        return type(value) is int and 0 <= value <= LARGEST


class Share(ConfigKey):
    """A dropout rate or another small number: in [0, 1)."""

    usual = 0.1

    def _accepts(self, value: object) -> bool:
        if isinstance(value, bool) or not isinstance(value, int | float):
            return False
        return 0 <= value < 1


class Word(ConfigKey):
    """A name, such as that of an activation."""

    usual = "gelu"

    def _accepts(self, value: object) -> bool:
        return isinstance(value, str)


class Switch(ConfigKey):
    """True or false."""

    usual = False

    def _accepts(self, value: object) -> bool:
        return isinstance(value, bool)
