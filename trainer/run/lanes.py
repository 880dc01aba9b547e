"""How many lanes a run reads its batches in on a CPU, and TensorFlow's threads to match."""

from __future__ import annotations

import os

import tensorflow as tf

from trainer.machine.hardware import usable_cores
from trainer.run.distribution import choose
from trainer.settings.schema import Config

MEASURED_CORES = 2  # where lanes are known to be faster
THREAD_VARIABLES = ("TF_NUM_INTEROP_THREADS", "TF_NUM_INTRAOP_THREADS")


def share_cores(config: Config) -> int:
    """Deals the cores to the lanes; call it before TensorFlow's first operation.

    Operations of two lanes then run at once, each on its lane's share of the cores.

    Args:
        config: of the run.
    Returns:
        how many lanes there are; 1: every operation has all cores.
    """
    lanes = choose_lanes(config)
    if lanes == 1:
        return 1
    try:
        tf.config.threading.set_inter_op_parallelism_threads(lanes)
        tf.config.threading.set_intra_op_parallelism_threads(max(1, usable_cores() // lanes))
    except RuntimeError:  # TensorFlow has started, with threads of its own choice
        return 1
    return lanes


def choose_lanes(config: Config) -> int:
    """How many lanes the config asks for, or this machine is known to be faster with."""
    if config.train.xla == "on":
        return 1  # XLA deals the cores itself
    if config.train.lanes is not None:
        return config.train.lanes
    strategy, _ = choose(config.distribution)
    examples = config.train.global_batch_size // config.train.micro_batches
    may_be_several = (
        strategy == "one_device"
        and not tf.config.list_physical_devices("GPU")
        and examples > 1
        and not any(map(os.environ.get, THREAD_VARIABLES))
    )
    return 2 if may_be_several and usable_cores() == MEASURED_CORES else 1
