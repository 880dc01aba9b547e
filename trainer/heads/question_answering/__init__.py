"""Extractive question answering: the answer is a span of the context, or none."""

from trainer.heads.question_answering.head import make_head
from trainer.heads.question_answering.settings import Settings

__all__ = ["Settings", "make_head"]
