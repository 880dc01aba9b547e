"""A training run: what it is made of, and its course from the first step to the last file."""

from __future__ import annotations

import dataclasses

import tensorflow as tf

from trainer.console.stopping import StopSignal
from trainer.console.timeline import Timeline
from trainer.data.ledger import Ledger
from trainer.data.prepare import Prepared
from trainer.data.store import TokenStore
from trainer.heads.contract import Metric
from trainer.run.assembly import Parts
from trainer.run.evaluation import Evaluated, Evaluator
from trainer.run.hooks.profile import Profile
from trainer.run.job import Job
from trainer.run.loop import Loop
from trainer.run.metric_logs import MetricLogs
from trainer.run.model import Model
from trainer.run.run_state import RunState
from trainer.run.trackers.track import Trackers
from trainer.run.workers import agree


@dataclasses.dataclass(frozen=True)
class TrainingInputs:
    """What a training run is given.

    Attributes:
        parts: of the run: config, head, display.
        prepared: the encoded splits.
        strategy: where the steps run.
        model: with the weights that it starts from.
        job: what the run writes.
        stop: whether it was told to stop.
        timeline: where its time goes.
        lanes: in how many a CPU reads a batch, see `trainer.run.lanes`.
        trackers: that it logs to.
    """

    parts: Parts
    prepared: Prepared
    strategy: tf.distribute.Strategy
    model: Model
    job: Job
    stop: StopSignal
    timeline: Timeline
    lanes: int = 1
    trackers: Trackers = dataclasses.field(default_factory=Trackers)

    @property
    def available_metrics(self) -> tuple[Metric, ...]:
        """The metrics that there may be, the main one first."""
        return self.parts.head.available_metrics(self.prepared.vocabulary)

    @property
    def train(self) -> TokenStore:
        """The examples to train on, or the first block of their stream."""
        return self.prepared.splits["train"]


@dataclasses.dataclass(frozen=True)
class Training:
    """A training run that is ready to go on.

    Attributes:
        inputs: what it was given.
        evaluator: of its model.
        logs: of its figures.
        loop: makes its steps.
    """

    inputs: TrainingInputs
    evaluator: Evaluator
    logs: MetricLogs
    loop: Loop

    @property
    def job(self) -> Job:
        """What the run writes."""
        return self.inputs.job

    @property
    def strategy(self) -> tf.distribute.Strategy:
        """Where the steps run."""
        return self.inputs.strategy

    @property
    def model(self) -> Model:
        """The model that is trained."""
        return self.inputs.model

    @property
    def timeline(self) -> Timeline:
        """Where the time goes."""
        return self.inputs.timeline

    @property
    def state(self) -> RunState:
        """What is known besides the weights."""
        return self.loop.state

    @property
    def evaluated(self) -> Evaluated | None:
        """The last evaluation of validation, if this process made one."""
        return self.loop.evaluated

    def train(self) -> None:
        """Trains to the last step, an early stop or a signal, and closes the logs."""
        try:
            self.loop.run()
        finally:
            for hook in self.loop.hooks:
                if isinstance(hook, Profile):
                    hook.close(self.state.step)
        self._complete_ledger()
        # the others wait until the chief has written the last checkpoint
        agree(self.strategy, "the last step", str(self.state.step))
        self.timeline.enter("evaluate_s")
        self.inputs.parts.display.done("training")
        self.logs.close(self.job)

    def _complete_ledger(self) -> None:
        """Adds what the stream lost to what the preparation lost."""
        if self.state.stream is None or not self.job.writes:
            return
        prepared = self.inputs.prepared.ledger.entries
        meanings = self.inputs.prepared.ledger.meanings
        self.job.write_ledger(Ledger(meanings, {**prepared, **self.state.stream["lost"]}))
