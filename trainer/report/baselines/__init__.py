"""What simple methods reach on the same splits, so that one sees what the model is worth.

A baseline is fitted on the token store of train, and gives results as a model does: the head's own
scorer judges both. A new one is a function (train, vocabulary) -> `Predicts`, and a row of KINDS.
"""

from trainer.report.baselines.score import score_baselines

__all__ = ["score_baselines"]
