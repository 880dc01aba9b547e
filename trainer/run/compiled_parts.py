"""Whether XLA compiles parts of a run's steps where it does not compile them whole.

On a CPU TensorFlow's matrix products are faster than XLA's, and what is between them is slower: so
XLA compiles that alone. It takes time for each number of tokens that a step may have, which a short
run would not get back. The choice follows from the config and the data alone: a run that goes on
computes as it began.
"""

from __future__ import annotations

from collections.abc import Sequence

from trainer.data.batching import Layout
from trainer.run.replica_calls import use_xla
from trainer.settings.schema import TrainSettings

# Two cores compute this in about twenty seconds, of which one is saved; to compile the parts
# for one number of tokens takes half a second.
FLOPS_A_SHAPE = 2e12


def compiles_parts(settings: TrainSettings, flops: float, layouts: Sequence[Layout]) -> bool:
    """Whether the compilation of parts is worth its time.

    Args:
        settings: of the training.
        flops: of the run.
        layouts: of its first steps.
    """
    if settings.xla == "parts":
        return True
    if settings.xla == "off" or use_xla(settings):
        return False
    tokens = {layout.rows * layout.row_length for layout in layouts}
    return flops >= FLOPS_A_SHAPE * len(tokens)
