"""Classification by a masked language model: the text is set into a pattern with a mask.

The label is the likeliest of some words there. Nothing is learnt from nothing: the model's own
layers answer, so that it takes few examples.

Source: Schick and Schütze 2021, "Exploiting Cloze Questions for Few Shot Text Classification".
"""

from trainer.heads.prompt.head import make_head
from trainer.heads.prompt.settings import Settings

__all__ = ["Settings", "make_head"]
