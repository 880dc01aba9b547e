"""The keys of a family's config.json: their names there, their defaults, and what is valid."""

from __future__ import annotations

import abc
import dataclasses
from collections.abc import Mapping

LARGEST = 2**31 - 1  # of a size; whether there is memory for it is another question


@dataclasses.dataclass(frozen=True)
class ConfigKey(abc.ABC):
    """One key of config.json.

    Attributes:
        name: of the key.
        default: where config.json does not have the key.
        aliases: other names that Hugging Face reads the key by.
        nullable: whether null is valid.
    """

    name: str
    default: object
    _: dataclasses.KW_ONLY
    aliases: tuple[str, ...] = ()
    nullable: bool = False

    def value(self, content: Mapping[str, object]) -> object:
        """What config.json says, valid or not."""
        for name in (self.name, *self.aliases):
            if name in content:
                return content[name]
        return self.default

    def is_valid(self, value: object) -> bool:
        """Whether the value is one that a backbone can be made of."""
        return self.nullable if value is None else self._accepts(value)

    @property
    def example(self) -> object:
        """A valid value, for messages."""
        return self.default

    @abc.abstractmethod
    def _accepts(self, value: object) -> bool:
        """Whether a value other than null is valid."""


class Count(ConfigKey):
    """A size: an integer from 1."""

    @property
    def example(self) -> object:
        """A valid value, for messages."""
        return self.default or 1024

    def _accepts(self, value: object) -> bool:
        return type(value) is int and 1 <= value <= LARGEST


class TokenId(ConfigKey):
    """A row of the word embeddings."""

    @property
    def example(self) -> object:
        """A valid value, for messages."""
        return self.default or 0

    def _accepts(self, value: object) -> bool:
        return type(value) is int and 0 <= value <= LARGEST


class Share(ConfigKey):
    """A dropout rate or another small number: in [0, 1)."""

    @property
    def example(self) -> object:
        """A valid value, for messages."""
        return self.default or 0.1

    def _accepts(self, value: object) -> bool:
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        return is_number and 0 <= value < 1


class Word(ConfigKey):
    """A name, such as that of an activation."""

    def _accepts(self, value: object) -> bool:
        return isinstance(value, str)


class Switch(ConfigKey):
    """True or false."""

    def _accepts(self, value: object) -> bool:
        return isinstance(value, bool)
