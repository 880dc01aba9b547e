"""Masked language modelling: some tokens are hidden, and predicted from both sides.

It continues the pretraining of an encoder on another domain.
"""

from trainer.heads.masked_lm.head import make_head
from trainer.heads.masked_lm.settings import Settings

__all__ = ["Settings", "make_head"]
