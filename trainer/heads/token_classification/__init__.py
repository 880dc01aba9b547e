"""Token classification: named entities, slots, parts of speech.

From words with tags, or from raw text with spans.
"""

from trainer.heads.token_classification.head import make_head
from trainer.heads.token_classification.settings import Settings

__all__ = ["Settings", "make_head"]
