"""The TPU generations that a plan can be compiled for."""

from __future__ import annotations

import dataclasses


@dataclasses.dataclass(frozen=True)
class Generation:
    """One TPU generation; a replica is a core on v2 and v3, a chip on the others.

    Attributes:
        topology: a small slice of it, as libtpu names it.
        hbm_bytes: memory of a replica.
        peak_flops: bfloat16 products of a replica, operations a second.
        bytes_per_s: bandwidth of a replica's memory.
        replicas_per_chip: what a price per chip is divided by.
        note: what to know before choosing it.

    Source: Google Cloud's TPU system architecture pages, per chip.
    """

    topology: str
    hbm_bytes: float
    peak_flops: float
    bytes_per_s: float
    replicas_per_chip: int = 1
    note: str = ""


GENERATIONS: dict[str, Generation] = {
    "v2": Generation("v2:2x2", 8 * 2**30, 46e12 / 2, 700e9 / 2, 2),
    "v3": Generation("v3:2x2", 16 * 2**30, 123e12 / 2, 900e9 / 2, 2),
    "v4": Generation("v4:2x2x1", 32 * 2**30, 275e12, 1228e9),
    "v5e": Generation("v5e:2x2", 16 * 2**30, 197e12, 819e9),
    "v5p": Generation("v5p:2x2x1", 95 * 2**30, 459e12, 2765e9),
    "v6e": Generation(
        "v6e:2x2", 32 * 2**30, 918e12, 1640e9, note="Vertex AI does not offer TensorFlow on v6e"
    ),
}
