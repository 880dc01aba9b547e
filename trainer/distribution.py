"""Where the steps run: the table of strategies, and the automatic choice."""

from __future__ import annotations

from collections.abc import Callable

import tensorflow as tf


def _one_device() -> tf.distribute.Strategy:
    accelerators = tf.config.list_logical_devices("GPU")
    return tf.distribute.OneDeviceStrategy(accelerators[0].name if accelerators else "CPU:0")


def _mirrored() -> tf.distribute.Strategy:
    devices = tf.config.list_logical_devices("GPU") or tf.config.list_logical_devices("CPU")
    return tf.distribute.MirroredStrategy([device.name for device in devices])


STRATEGIES: dict[str, Callable[[], tf.distribute.Strategy]] = {"one_device": _one_device, "mirrored": _mirrored}


def make_strategy(name: str) -> tuple[tf.distribute.Strategy, str]:
    """The strategy, and one line on what was chosen and why.

    Args:
        name: a row of STRATEGIES, or auto: every GPU there is, else one device.
    """
    gpus = len(tf.config.list_logical_devices("GPU"))
    chosen = name if name != "auto" else "mirrored" if gpus > 1 else "one_device"
    strategy = STRATEGIES[chosen]()
    found = f"{gpus} GPU{'s' if gpus > 1 else ''}" if gpus else "no GPU"
    reason = f"found {found}" if name == "auto" else "as the config says"
    return strategy, f"distribution: {chosen}, {strategy.num_replicas_in_sync} replica{'s' if strategy.num_replicas_in_sync > 1 else ''} ({reason})"
