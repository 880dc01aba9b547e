"""Written tokens as texts."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

from trainer.lazy import tf

if TYPE_CHECKING:
    from trainer.text.tokenizer import Tokenizer


def ended_texts(
    token_ids: tf.Tensor, tokenizer: Tokenizer, *, opening: str, stop: Sequence[str]
) -> tf.Tensor:
    """The texts up to their end or a stop text.

    Args:
        token_ids: (B, M) int32.
        tokenizer: of the texts.
        opening: what a text may begin with, and is no part of it.
        stop: texts that end one, themselves left out.
    Returns:
        (B,) string.
    """
    text = tokenizer.decode(_before_the_end(token_ids, tokenizer.eos_id))
    if opening:
        text = tf.strings.regex_replace(text, "^" + opening, "")
    for ending in stop:
        text = tf.strings.regex_replace(text, "(?s)" + re.escape(ending) + ".*", "")
    return text


def _before_the_end(token_ids: tf.Tensor, eos_id: int | None) -> tf.RaggedTensor:
    """Without the end-of-text token and what is behind it.

    Where there is none, a text ends with its last token, or with a stop text.
    """
    if eos_id is None:
        return tf.RaggedTensor.from_tensor(token_ids)
    ends_so_far = tf.cumsum(tf.cast(token_ids == eos_id, tf.int32), axis=1)
    return tf.ragged.boolean_mask(token_ids, ends_so_far == 0)
