"""XLM-RoBERTa (Conneau et al. 2020): RoBERTa's network and tensors, learnt on a hundred languages.

A checkpoint that does not say its model_type is taken for RoBERTa, which it is but for the name.
"""

import dataclasses

from trainer.backbones.families import roberta

FAMILY = dataclasses.replace(
    roberta.FAMILY, model_type="xlm-roberta", class_name="XLMRoberta", marks=None
)
