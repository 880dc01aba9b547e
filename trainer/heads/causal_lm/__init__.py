"""Causal language modelling: each token of documents is predicted from those before it."""

from trainer.heads.causal_lm.head import make_head
from trainer.heads.causal_lm.settings import Settings

__all__ = ["Settings", "make_head"]
