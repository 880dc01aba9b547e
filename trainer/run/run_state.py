"""What a run must remember besides its weights, to go on after a restart as if nothing was."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from typing import Any

from trainer.files.checksums import Fingerprint
from trainer.run.outcome import StepRow, mean


@dataclasses.dataclass
class RunState:
    """The loop's state; a checkpoint keeps it beside the weights.

    The position in stored data is a function of `step`, so it is not here.

    Attributes:
        step: optimizer steps done.
        settled: whether what was due after that step is done: its log lines, its evaluation.
        metrics_bytes: length of metrics.jsonl now; what a killed run wrote after it is cut off.
        metrics_crc32c: the checksum of these bytes.
        loss_sums, weights: of the steps since the last log line, by objective.
        gradient_norm: of the last step.
        best_value, best_step: of the best evaluation so far.
        evaluations_without_improvement, stopped_early: for early stopping.
        examples, real_tokens, model_flops: trained so far, without the calls that compiled.
        stream: where the run is in a streamed train.
        timeline: seconds by phase, over all processes so far.
    """

    step: int = 0
    settled: bool = True
    metrics_bytes: int = 0
    metrics_crc32c: int = 0
    loss_sums: list[float] = dataclasses.field(default_factory=list)
    weights: list[float] = dataclasses.field(default_factory=list)
    gradient_norm: float = 0.0
    best_value: float | None = None
    best_step: int | None = None
    evaluations_without_improvement: int = 0
    stopped_early: bool = False
    examples: int = 0
    real_tokens: int = 0
    model_flops: float = 0.0
    stream: dict[str, Any] | None = None
    timeline: dict[str, float] = dataclasses.field(default_factory=dict)

    @classmethod
    def from_json(cls, content: dict[str, Any]) -> RunState:
        """The state that a checkpoint's file holds; keys of other versions are left out."""
        names = {field.name for field in dataclasses.fields(cls)}
        known = {name: value for name, value in content.items() if name in names}
        if known["gradient_norm"] is None:  # JSON has no NaN
            known["gradient_norm"] = math.nan
        return cls(**known)

    @property
    def metrics(self) -> Fingerprint:
        """What metrics.jsonl is at this moment."""
        return Fingerprint(self.metrics_bytes, self.metrics_crc32c)

    def note_metrics(self, written: Fingerprint) -> None:
        """Keeps what metrics.jsonl is at this moment."""
        self.metrics_bytes, self.metrics_crc32c = written

    def add(self, row: StepRow) -> None:
        """Takes in a step just made."""
        self.step += 1
        self.settled = False
        self.loss_sums = _added(self.loss_sums, row.loss_sums)
        self.weights = _added(self.weights, row.weights)
        self.gradient_norm = row.gradient_norm

    def mean_losses(self) -> list[float]:
        """Of the steps since the last log line, each objective's over its weight."""
        return [mean(*pair) for pair in zip(self.loss_sums, self.weights, strict=True)]

    def start_log_interval(self) -> None:
        """The steps up to now are in a log line."""
        self.loss_sums = []
        self.weights = []


def _added(sums: Sequence[float], more: Sequence[float]) -> list[float]:
    """Sums with what a step adds; none yet are zeros."""
    return [
        before + further for before, further in zip(sums or [0.0] * len(more), more, strict=True)
    ]
