"""The pattern of a prompt, and the pattern with texts in it."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping, Sequence

from trainer.errors import ConfigError
from trainer.lazy import tf

TEXT = "{text}"
TEXT_PAIR = "{text_pair}"
TEXTS = (TEXT, TEXT_PAIR)
MASK = "{mask}"
PLACES = (*TEXTS, MASK)
BETWEEN_PLACES = re.compile(r"(\{text\}|\{text_pair\}|\{mask\})")


@dataclasses.dataclass(frozen=True)
class Pattern:
    """Where texts and the mask stand among what is always the same.

    Attributes:
        parts: what is always the same, and the places, in turn.
    """

    parts: tuple[str, ...]

    @property
    def masked(self) -> int:
        """Which part is the mask's place."""
        return self.parts.index(MASK)

    @property
    def before_mask(self) -> str:
        """What always stands before the mask: parts and places alternate."""
        return self.parts[self.masked - 1]

    @property
    def has_space_before_mask(self) -> bool:
        """Whether the word at the mask follows a space."""
        return self.before_mask[-1:].isspace()

    @property
    def opens_with_mask(self) -> bool:
        """Whether nothing stands before the mask."""
        return self.masked == 1 and not self.before_mask

    def fixed(self, mask: str) -> str:
        """What is always the same: the pattern without texts, and with the mask's token."""
        return self.asked(("", ""), mask)

    def asked(self, texts: Sequence[str], mask: str) -> str:
        """The pattern with texts in it, and with the mask's token."""
        return self._filled({**dict(zip(TEXTS, texts, strict=False)), MASK: mask})

    def shown(self, texts: Sequence[str]) -> str:
        """The pattern with texts in it, for people."""
        return self._filled(dict(zip(TEXTS, texts, strict=False)))

    def _filled(self, content: Mapping[str, str]) -> str:
        return "".join(content.get(part, part) for part in self.parts)


def read_pattern(pattern: str, names: Sequence[str]) -> Pattern:
    """Takes a pattern apart.

    Args:
        pattern: as the config has it.
        names: of the texts that it must have a place for.
    Raises:
        ConfigError: a place is missing, is there twice, or is of no text.
    """
    parts = tuple(BETWEEN_PLACES.split(pattern))
    expected = sorted([*(f"{{{name}}}" for name in names), MASK])
    if sorted(part for part in parts if part in PLACES) != expected:
        raise ConfigError(
            f"head.pattern: expected {', '.join(expected)}, each once. Received {pattern!r}."
        )
    return Pattern(parts)


@dataclasses.dataclass(frozen=True)
class Filled:
    """A pattern with texts in it.

    Attributes:
        text: (B,) string.
        ends: (B, parts) int32, where each part ends in it, in characters.
    """

    text: tf.Tensor
    ends: tf.Tensor

    def borders(self, part: int, row: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Where a part begins and ends in each token's text, (T,) int32 each.

        Args:
            part: its number.
            row: (T,) of the tokens.
        """
        end = tf.gather(self.ends[:, part], row)
        if part == 0:
            return tf.zeros_like(end), end
        begin = tf.gather(self.ends[:, part - 1], row)
        return begin, end


def fill(pattern: Pattern, texts: Mapping[str, tf.Tensor], mask: str) -> Filled:
    """Sets texts into a pattern.

    The spaces before the mask are left out: they go with the word there, as vocabularies write
    words.

    Args:
        pattern: to be filled.
        texts: (B,) string for each of its places.
        mask: the token's name.
    """
    from trainer.text.added_tokens import RAW_SPACES

    masked = pattern.masked
    parts = _filled_parts(pattern, texts, mask)
    joined = tf.strings.join(parts[:masked])
    before = tf.strings.regex_replace(joined, f"{RAW_SPACES}$", "")
    text = tf.strings.join([before, *parts[masked:]])
    return Filled(text, _ends(parts, masked, before))


def _filled_parts(pattern: Pattern, texts: Mapping[str, tf.Tensor], mask: str) -> list[tf.Tensor]:
    """Of each part (B,) string; see `fill`."""
    some_texts = next(iter(texts.values()))
    count = tf.size(some_texts)
    fixed = {part: tf.fill([count], part) for part in pattern.parts}
    fixed[MASK] = tf.fill([count], mask)
    filled = {**fixed, **texts}
    return [filled[part] for part in pattern.parts]


def _ends(parts: Sequence[tf.Tensor], masked: int, before: tf.Tensor) -> tf.Tensor:
    """(B, parts) int32, where each part ends in the filled pattern, in characters.

    Args:
        parts: (B,) string each, with the spaces before the mask.
        masked: which of them is the mask.
        before: (B,) string, what is left of all parts before it.
    """
    lengths = tf.stack([_characters(part) for part in parts], axis=1)
    ends = tf.cumsum(lengths, axis=1)  # with the spaces
    kept = _characters(before)[:, None]
    ends_before = tf.minimum(ends[:, :masked], kept)
    left_out = ends[:, masked - 1 : masked] - kept
    ends_behind = ends[:, masked:] - left_out
    return tf.concat([ends_before, ends_behind], axis=1)


def _characters(text: tf.Tensor) -> tf.Tensor:
    return tf.strings.length(text, unit="UTF8_CHAR")
