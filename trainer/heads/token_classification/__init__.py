"""Token classification: named entities, slots, parts of speech.

From words with tags, or from raw text with spans.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from trainer.data.reader import Input
from trainer.errors import ConfigError
from trainer.heads.token_classification.head import NO_CRF, TagHead
from trainer.heads.token_classification.reader import TagReader
from trainer.heads.token_classification.settings import Settings
from trainer.heads.token_classification.span_shapes import span_keys
from trainer.settings.schema import DataSettings

if TYPE_CHECKING:
    from trainer.text.tokenizer import Tokenizer

__all__ = ["Settings", "make_head"]


def make_head(settings: Settings, data: DataSettings, tokenizer: Tokenizer) -> TagHead:
    """The head of a config.

    Args:
        settings: of the head.
        data: of the sources.
        tokenizer: of the texts.
    Raises:
        ConfigError: settings of the data are none for a tagger.
    """
    from trainer.text.windows import window_overlap

    if not isinstance(data.text, str):
        raise ConfigError(
            f"data.text: head token_classification takes one field. Received {data.text}."
        )
    overflows = TagReader.overflows
    if data.overflow and data.overflow not in overflows:
        raise ConfigError(
            f"data.overflow: head token_classification takes {' or '.join(overflows)}, so that no"
            f" word goes unseen. Received {data.overflow!r}."
        )
    special = tokenizer.template.size(pair=False)
    reader = TagReader(
        settings=settings,
        data=data,
        tokenizer=tokenizer,
        inputs=(Input("text", data.text),),
        overlap=window_overlap(data.seq_len, special, data.window_overlap),
        span_keys=span_keys(data.span_keys),
    )
    return TagHead(settings, reader, no_huggingface=NO_CRF if settings.crf else "")
