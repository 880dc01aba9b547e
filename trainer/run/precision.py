"""What `train.precision: auto` is: what the job was begun with, or what is fast here."""

from __future__ import annotations

import tensorflow as tf

from trainer.console.display import Display
from trainer.run.distribution import BFLOAT16_CAPABILITY, on_tpu, set_precision
from trainer.run.job import Job
from trainer.run.throughput import peak_flops
from trainer.run.workers import hosts
from trainer.settings.resolve import Resolved

# How much faster bfloat16 must be than float32 for a CPU to compute in it: products are about two
# thirds of a step, and what is cast to and fro takes time.
WORTH_IT = 1.4


def settle_precision(
    resolved: Resolved, job: Job, strategy: tf.distribute.Strategy, display: Display
) -> Resolved:
    """The config with a precision that is not `auto`.

    Args:
        resolved: the config.
        job: that it trains; a job goes on with the precision that it was begun with.
        strategy: whose devices are looked at, or measured, which takes a second.
        display: gets a line on what was chosen.
    """
    if resolved.config.train.precision != "auto":
        return resolved
    settled = job.settled(resolved)
    if settled.config.train.precision == "auto":
        precision, reason = _fastest(strategy)
        settled = resolved.with_value("train", "precision", precision, f"auto: {reason}")
    else:
        reason = "as the job was begun"
    precision = settled.config.train.precision
    set_precision(precision)
    display.line(f"precision: {precision} ({reason})")
    return settled


def foresee_precision(resolved: Resolved) -> Resolved:
    """The config of a plan, which measures nothing: bfloat16 on a TPU, else float32."""
    if resolved.config.train.precision != "auto":
        return resolved
    precision = "mixed_bfloat16" if resolved.config.plan.tpu else "float32"
    return resolved.with_value("train", "precision", precision, "auto, for the plan")


def _fastest(strategy: tf.distribute.Strategy) -> tuple[str, str]:
    if on_tpu(strategy):
        return "mixed_bfloat16", "a TPU computes in it"
    if gpus := tf.config.list_physical_devices("GPU"):
        facts = [tf.config.experimental.get_device_details(gpu) for gpu in gpus]
        if all(fact.get("compute_capability", (0, 0)) >= BFLOAT16_CAPABILITY for fact in facts):
            return "mixed_bfloat16", "the GPUs have bfloat16"
        return "float32", "not all GPUs have bfloat16"
    if hosts(strategy) > 1:
        return "float32", "several workers on CPUs, which may differ"
    ours, theirs = (
        peak_flops(strategy, precision) / 1e9 for precision in ("mixed_bfloat16", "float32")
    )
    reason = f"a matrix product reaches {ours:,.0f} GFLOP/s in bfloat16, {theirs:,.0f} in float32"
    return ("mixed_bfloat16" if ours > WORTH_IT * theirs else "float32"), reason
