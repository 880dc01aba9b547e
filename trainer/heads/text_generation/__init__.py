"""From a prompt to its target: only the target is learnt."""

from trainer.heads.text_generation.head import make_head
from trainer.heads.text_generation.settings import Settings

__all__ = ["Settings", "make_head"]
