"""Makes the parts of a training run, at its beginning or at its newest checkpoint."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from trainer.console.stopping import StoppedError
from trainer.data.batching import Layout, TrainingPlan
from trainer.run.assembly import best_metric
from trainer.run.checkpoints import Checkpoints
from trainer.run.compiled_shapes import CompiledShapes
from trainer.run.divergence import DivergenceCheck
from trainer.run.evaluation import Evaluator
from trainer.run.hooks.checkpoint import SaveCheckpoint
from trainer.run.hooks.choose import Cadence, cadence, hooks_after_steps
from trainer.run.hooks.evaluate import Evaluate, averages_of
from trainer.run.hooks.log import LogTraining
from trainer.run.hparams import write_hparams
from trainer.run.loop import Loop
from trainer.run.meter import Meter, StepCost
from trainer.run.metric_logs import MetricLogs, open_metric_logs
from trainer.run.optimization import Optimizer
from trainer.run.progress import Progress
from trainer.run.replica_calls import Columns, feed, use_xla
from trainer.run.run_state import RunState
from trainer.run.schedule import make_schedule
from trainer.run.step_calls import StepCalls
from trainer.run.step_feed import StepFeed
from trainer.run.step_layouts import (
    planned_layouts,
    step_layout,
    total_steps,
)
from trainer.run.steps import make_train_call
from trainer.run.training import Training, TrainingInputs
from trainer.run.workers import SHARED, agree, hosts


def start_training(inputs: TrainingInputs) -> Training:
    """Goes on from the newest checkpoint, or begins with the weights that the model has.

    Raises:
        JobDirError: no checkpoint is intact, or metrics.jsonl has changed since.
    """
    parts = inputs.parts
    settings = parts.config.train
    plan = TrainingPlan(len(inputs.train), settings.global_batch_size, settings.seed)
    steps = total_steps(settings, plan)
    optimizer = _optimizer(inputs, steps)
    checkpoints = _checkpoints(inputs, optimizer)
    state = _resume(inputs, checkpoints, optimizer, steps)
    logs = _logs(inputs, state, checkpoints)
    evaluator = _evaluator(inputs)
    due = cadence(settings, steps, steps if parts.stream else plan.steps_per_epoch)
    meter = _meter(inputs)
    log_training = LogTraining(
        every=due.log,
        logs=logs,
        schedule=optimizer.schedule,
        steps_per_epoch=plan.steps_per_epoch,
        meter=meter,
        objectives=inputs.model.graph.objectives,
    )
    raise_if_stopped = _stop_check(inputs)
    evaluate = _evaluate(inputs, due, evaluator, optimizer, raise_if_stopped)
    step_feed = _step_feed(inputs, plan, steps)
    loop = Loop(
        state=state,
        steps=steps,
        steps_per_call=settings.steps_per_call,
        calls=_step_calls(inputs, optimizer, step_feed),
        step_feed=step_feed,
        check=_divergence_check(inputs, optimizer, checkpoints, logs),
        meter=meter,
        progress=Progress(parts.display, steps, optimizer.schedule, meter),
        hooks=hooks_after_steps(inputs, log_training, evaluate),
        save_checkpoint=_save_checkpoint(inputs, due, checkpoints, logs),
        stop=inputs.stop,
        raise_if_stopped=raise_if_stopped,
        timeline=inputs.timeline,
        strategy=inputs.strategy,
    )
    return Training(inputs, evaluator, logs, loop)


def _logs(inputs: TrainingInputs, state: RunState, checkpoints: Checkpoints) -> MetricLogs:
    """Opened, with what TensorBoard shows of the settings; in a bucket they are there, too."""
    job = inputs.job
    logs = open_metric_logs(job, state, checkpoints, inputs.trackers)
    write_hparams(job, inputs.parts.config)
    job.copy_files()
    return logs


def _evaluator(inputs: TrainingInputs) -> Evaluator:
    parts = inputs.parts
    return Evaluator(parts.config, inputs.strategy, inputs.model, parts.head, lanes=inputs.lanes)


def _optimizer(inputs: TrainingInputs, steps: int) -> Optimizer:
    settings = inputs.parts.config.train
    schedule = make_schedule(settings, steps)
    with inputs.strategy.scope():
        return Optimizer(settings, schedule, inputs.model.trainable())


def _checkpoints(inputs: TrainingInputs, optimizer: Optimizer) -> Checkpoints:
    weights = {f"model/{name}": weight for name, weight in inputs.model.weights.items()}
    return Checkpoints(
        inputs.job.checkpoints,
        keep=inputs.parts.config.train.keep_checkpoints,
        warn=inputs.parts.display.warn,
        variables={**weights, **optimizer.variables()},
        writes=inputs.job.writes,
    )


def _resume(
    inputs: TrainingInputs, checkpoints: Checkpoints, optimizer: Optimizer, steps: int
) -> RunState:
    """The state of the newest intact checkpoint, whose weights are restored, or a new one."""
    state = checkpoints.restore_latest()
    step = state.step if state else 0
    agree(inputs.strategy, "the step to go on from", str(step), SHARED)
    if state is None:
        return RunState()
    optimizer.note_touched_rows()
    stream = inputs.parts.stream
    if stream is not None and state.stream is not None:
        stream.go_on(state.stream)
    inputs.timeline.add(state.timeline)
    inputs.parts.display.line(f"resuming after step {step:,} of {steps:,}")
    return state


def _meter(inputs: TrainingInputs) -> Meter:
    config = inputs.parts.config
    cost = StepCost(
        backbone=inputs.model.backbone.config,
        frozen_embeddings=config.backbone.freeze_embeddings,
        frozen_layers=config.backbone.freeze_layers,
        graph=inputs.model.graph,
    )
    planned = None
    if use_xla(config.train):
        layouts = planned_layouts(
            config, inputs.train, inputs.parts.examples, shards=_shards(inputs), static_shapes=True
        )
        planned = [(layout.rows, layout.row_length) for layout in layouts]
    shapes = CompiledShapes(planned, inputs.parts.display.warn)
    return Meter(cost, shapes, inputs.timeline, config.train.global_batch_size)


def _step_feed(inputs: TrainingInputs, plan: TrainingPlan, steps: int) -> StepFeed:
    config = inputs.parts.config
    layout = step_layout(
        config,
        inputs.train,
        plan,
        inputs.parts.examples,
        shards=_shards(inputs),
        static_shapes=use_xla(config.train),
    )
    return StepFeed(
        store=inputs.train,
        plan=plan,
        layout=layout,
        steps=steps,
        stream=inputs.parts.stream,
    )


def _shards(inputs: TrainingInputs) -> int:
    """The micro-batches of a step, over all replicas."""
    return inputs.strategy.num_replicas_in_sync * inputs.parts.config.train.micro_batches


def _step_calls(inputs: TrainingInputs, optimizer: Optimizer, step_feed: StepFeed) -> StepCalls:
    settings = inputs.parts.config.train
    train_call = make_train_call(
        inputs.strategy, inputs.model, optimizer, settings, lanes=inputs.lanes
    )

    def batches(layouts: Iterator[Layout]) -> Iterator[Columns]:
        dataset = feed(
            inputs.strategy,
            inputs.train,
            lambda: layouts,
            inputs.parts.examples,
            settings.micro_batches,
        )
        return iter(dataset)

    return StepCalls(train_call, step_feed, batches)


def _divergence_check(
    inputs: TrainingInputs, optimizer: Optimizer, checkpoints: Checkpoints, logs: MetricLogs
) -> DivergenceCheck:
    return DivergenceCheck(
        optimizer=optimizer,
        peak_rate=inputs.parts.config.train.learning_rate,
        checkpoints=checkpoints,
        logs=logs,
        job=inputs.job,
    )


def _save_checkpoint(
    inputs: TrainingInputs, due: Cadence, checkpoints: Checkpoints, logs: MetricLogs
) -> SaveCheckpoint:
    return SaveCheckpoint(
        every=due.checkpoint,
        checkpoints=checkpoints,
        job=inputs.job,
        logs=logs,
        timeline=inputs.timeline,
        display=inputs.parts.display,
    )


def _evaluate(
    inputs: TrainingInputs,
    due: Cadence,
    evaluator: Evaluator,
    optimizer: Optimizer,
    raise_if_stopped: Callable[[], None],
) -> Evaluate | None:
    """The evaluation; None where there is no validation."""
    validation = inputs.prepared.splits.get("validation")
    if validation is None:
        return None
    parts = inputs.parts
    metric = best_metric(parts.config, inputs.available_metrics)
    return Evaluate(
        every=due.evaluate,
        validation=validation,
        evaluator=evaluator,
        judges=metric is not None and metric.judged,
        averages=averages_of(optimizer, inputs.strategy),
        raise_if_stopped=raise_if_stopped,
        strategy=inputs.strategy,
        timeline=inputs.timeline,
        display=parts.display,
    )


def _stop_check(inputs: TrainingInputs) -> Callable[[], None]:
    """What raises StoppedError in a process that was told to stop and has none to wait for.

    Several workers leave together, after a step that tells all of them.
    """
    alone = hosts(inputs.strategy) == 1

    def raise_if_stopped() -> None:
        if alone and inputs.stop.requested:
            raise StoppedError

    return raise_if_stopped
