"""The loop on the host: from the newest checkpoint to the last step, and what is due on the way."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import math
import time
from collections.abc import Callable, Iterator
from typing import Any, NoReturn

import numpy as np
import tensorflow as tf

from trainer.console.display import Display
from trainer.console.on_vertex import TrialMetrics
from trainer.console.stopping import StoppedError, StopSignal
from trainer.console.timeline import Timeline
from trainer.data.batching import Layout, TrainingPlan, lay_out
from trainer.data.ledger import Ledger
from trainer.data.prepare import Prepared
from trainer.data.store import TokenStore
from trainer.data.stream import Place, Stream
from trainer.errors import ConfigError, JobDirError, TrainingError
from trainer.files.checksums import reason
from trainer.files.mirror import shown
from trainer.run.assembly import best_metric
from trainer.run.checkpoints import Checkpoints, RunState
from trainer.run.distribution import SHARED, hosts, require_agreement
from trainer.run.evaluation import Evaluated, Evaluator, is_better
from trainer.run.job import Job, Loss
from trainer.run.limits import require_steps
from trainer.run.metrics_file import MetricsFile
from trainer.run.optimization import Optimizer, make_schedule
from trainer.run.steps import LOGGED, drawer, feed, make_train_call, use_xla
from trainer.run.throughput import training_flops
from trainer.settings.schema import DEFAULT_EPOCHS

SHAPING_STEPS = 50  # the first steps of a run, which decide the shape of all
# laid out beforehand, by whether each new shape is compiled
PLANNED_STEPS = {True: 5000, False: 200}


@dataclasses.dataclass(frozen=True)
class _LaidOut:
    """A step's shape (rows, row length), the lengths of its examples, and where its block began if
    train is streamed.
    """

    shape: tuple[int, int]
    lengths: np.ndarray
    place: Place | None


class Training:
    """One run of the loop: the compiled step, the position, and what is due at which step."""

    def __init__(
        self,
        config: Any,
        job: Job,
        display: Display,
        stop: StopSignal,
        timeline: Timeline,
        prepared: Prepared,
        strategy: tf.distribute.Strategy,
        model: Any,
        head: Any,
        stream: Stream | None = None,
    ) -> None:
        self.config = config
        self.settings = config.train
        self.job = job
        self.display = display
        self.stop = stop
        self.timeline = timeline
        self.model = model
        self.stream = stream
        self.ledger = prepared.ledger
        self.store = prepared.splits["train"]
        self.splits = prepared.splits
        self.strategy = strategy
        self.head = head
        self.plan = TrainingPlan(
            len(self.store), self.settings.global_batch_size, self.settings.seed
        )
        self.steps = total_steps(self.settings, self.plan)
        self._shards = strategy.num_replicas_in_sync * self.settings.micro_batches
        self.schedule = make_schedule(self.settings, self.steps)
        with strategy.scope():
            self.optimizer = Optimizer(self.settings, self.schedule, model.trainable())
        self.evaluator = Evaluator(config, strategy, model, head)
        self.train_call = make_train_call(strategy, model, head, self.optimizer, self.settings)
        self.swap_averages = tf.function(lambda: strategy.run(self.optimizer.swap_averages))
        self.checkpoints = Checkpoints(
            job.checkpoints,
            keep=self.settings.keep_checkpoints,
            warn=display.warn,
            writes=job.writes,
            variables={
                **{f"model/{name}": weight for name, weight in model.weights.items()},
                **self.optimizer.variables(),
            },
            before_visible=self._publish_progress,
        )
        self.best_metric = best_metric(config, head)
        self.evaluated: Evaluated | None = None  # the last one
        self.state = RunState()
        self.trial_metrics = TrialMetrics()
        self.metrics_file: MetricsFile | None = None
        self.writers: dict[str, Any] = {}  # of TensorBoard's logs, by split
        self._streamed: Iterator[tuple[Place, TokenStore, np.ndarray]] | None = None
        self._laid_out: dict[int, _LaidOut] = {}  # by step
        self._compiled: set[tuple[int, int]] = set()
        self._planned = (
            {
                (layout.rows, layout.row_length)
                for layout in planned_layouts(
                    config, self.store, shards=self._shards, static_shapes=True
                )
            }
            if use_xla(self.settings)
            else None
        )

    def resume(self) -> None:
        """Goes on from the newest intact checkpoint, if there is one."""
        state = self.checkpoints.restore_latest()
        require_agreement(
            self.strategy, "the step to go on from", str(state.step if state else 0), SHARED
        )
        if state is not None:
            self.state = state
            if self.stream and state.stream:
                self.stream.go_on(state.stream)
            self.timeline.add(state.timeline)
            self.display.line(f"resuming after step {state.step:,} of {self.steps:,}")
        if self.job.writes:
            self.metrics_file = MetricsFile(
                self.job.metrics_file, self.state.metrics, self.checkpoints.known_metrics()
            )
        self.job.copy_files()
        self.writers = (
            {
                split: tf.summary.create_file_writer(str(self.job.logs / split))
                for split in ("train", "validation")
            }
            if self.job.writes
            else {}
        )

    def train(self) -> None:
        """Steps until the last one, an early stop, or a signal."""
        self._streamed = (
            self.stream.steps(range(self.state.step, self.steps)) if self.stream else None
        )
        with (
            self.stop,
            contextlib.closing(self.stream) if self.stream else contextlib.nullcontext(),
        ):
            self._loop(
                iter(
                    feed(
                        self.strategy,
                        self.store,
                        self._layouts,
                        self.settings.micro_batches,
                        drawer(self.head, self.settings.seed),
                    )
                )
            )
            self.timeline.enter("checkpoint_s")
            self._await_last_checkpoint()
        if self.state.stream and self.job.writes:
            self.job.write_ledger(Ledger({**self.ledger.entries, **self.state.stream["lost"]}))
        # the others wait until the chief has written it
        require_agreement(self.strategy, "the last step", str(self.state.step), "")
        self.timeline.enter("evaluate_s")
        self.display.done("training")
        if self.metrics_file:
            self.job.look_after(self.metrics_file)
            self.job.publish_progress(self.metrics_file.written().bytes)
            self.metrics_file.close()
            self.job.copy_files(metrics=self.job.metrics_file)

    def _loop(self, iterator: Any) -> None:
        if not self.state.settled:
            self._settle()
        while self.state.step < self.steps and not self.state.stopped_early:
            count = self._steps_until_due()
            self.timeline.enter("input_wait_s")
            self._await_block(self.state.step + count)
            self.timeline.enter("train_s")
            if not self._compiled:
                note = f"step {self.state.step:,}/{self.steps:,}  compiling"
                self.display.progress(
                    "training", self.state.step, self.steps, note, seconds_left=math.inf
                )
            start = time.monotonic()
            try:
                rows = self.train_call(
                    iterator, tf.constant(count, tf.int32), tf.constant(float(self.stop.requested))
                ).numpy()
            except tf.errors.OpError:
                if failure := (self.stream and self.stream.failure) or self.store.damage:
                    raise failure from None
                raise
            self._count(rows, time.monotonic() - start)
            self._record(rows)
            self._settle()
            if rows[-1][LOGGED.index("stop")] or (
                self.stop.requested and hosts(self.strategy) == 1
            ):
                self._leave()

    def _await_block(self, step: int) -> None:
        """Waits here, where a signal is seen, and not inside TensorFlow; several hosts leave
        together, after a step.
        """
        while self.stream and hosts(self.strategy) == 1 and not self.stream.ready(step):
            if self.stop.requested:
                self._leave()
            time.sleep(0.02)

    def _leave(self) -> NoReturn:
        """After a signal, to this host or to another:
        everything is saved, then the process ends.
        """
        saved = self.checkpoints.saved
        if saved is None or (saved.step, saved.settled) != (self.state.step, self.state.settled):
            self.checkpoint()
        self.checkpoints.wait(last=True)
        # the others stay until the chief has written it
        require_agreement(self.strategy, "the last step", str(self.state.step), "")
        self.stop.leave(
            f"stopped by a signal after step {self.state.step:,}; the checkpoint is written, start"
            " again to go on"
        )

    def checkpoint(self) -> None:
        """Saves everything that the run needs to go on."""
        loss = self.job.look_after(self.metrics_file)
        with self.timeline.inside("checkpoint_s"):
            self.state.metrics_bytes, self.state.metrics_crc32c = (
                self.metrics_file.written() if self.metrics_file else (0, 0)
            )
            self.state.timeline = self.timeline.as_dict()
            try:
                self.checkpoints.save(self.state)
            except JobDirError:  # of the one before, which may have met the removal
                loss = loss if loss.whole else self.job.look_after(self.metrics_file)
                if not loss.whole:
                    raise
        if loss.whole:
            self._save_what_is_left(loss)
        if loss.files:
            self.display.warn(
                f"{shown(self.job.folder)}: {', '.join(loss.files)} had been removed, and are"
                " written anew"
            )

    def _await_last_checkpoint(self) -> None:
        try:
            self.checkpoints.wait(last=True)
            loss = self.job.look_after(self.metrics_file, last=True)
        except JobDirError:
            loss = self.job.look_after(self.metrics_file)
            if not loss.whole:
                raise
        if loss.whole:
            self._save_what_is_left(loss)

    def _save_what_is_left(self, loss: Loss) -> NoReturn:
        """After the job_dir was removed: saves what the run needs to be started again,
        and ends it.
        """
        with contextlib.suppress(JobDirError):  # of a write that met the removal
            self.checkpoints.wait()
        self.checkpoints.forget()
        self.checkpoints.save(self.state)
        self.checkpoints.wait(last=True)
        raise JobDirError(
            f"--job_dir={shown(self.job.folder)} was removed while the run was going on. Written"
            f" anew: {', '.join(loss.files)} and the checkpoint of step {self.state.step:,}. Lost:"
            " what else was there, such as earlier checkpoints and logs. Start again to go on."
        )

    def _publish_progress(self, state: RunState) -> None:
        """What a checkpoint says of the other files is true before it is there to say it."""
        if self.metrics_file:
            self.metrics_file.sync()
        self.job.publish_progress(state.metrics_bytes)

    def _layouts(self) -> Iterator[Layout]:
        """From the current step on; the same examples whatever came before."""
        steps = range(self.state.step, self.steps)
        lay_out_step = step_layout(
            self.config,
            self.store,
            self.plan,
            shards=self._shards,
            static_shapes=use_xla(self.settings),
        )
        taken = self._streamed or ((None, self.store, self.plan.indices(step)) for step in steps)
        for step, (place, store, indices) in zip(steps, taken, strict=True):
            layout = lay_out_step(store, indices)
            self._laid_out[step] = _LaidOut(
                (layout.rows, layout.row_length), store.lengths[indices], place
            )
            yield dataclasses.replace(layout, step=step, store=store)

    def _due_every(self) -> dict[str, int]:
        return {
            "log": self.settings.log_every_steps,
            "checkpoint": self.settings.checkpoint_every_steps,
            "evaluate": (
                self.settings.evaluate_every_steps
                or (self.steps if self.stream else self.plan.steps_per_epoch)
            ),
        }

    def _steps_until_due(self) -> int:
        left = [every - self.state.step % every for every in self._due_every().values()]
        return min(self.settings.steps_per_call, self.steps - self.state.step, *left)

    def _count(self, logged: np.ndarray, seconds: float) -> None:
        """Adds a call to the throughput, unless it compiled: then its time is no training time."""
        laid_out = [self._laid_out.pop(self.state.step + index) for index in range(len(logged))]
        if self.stream:
            self.state.stream = self.stream.state(laid_out[-1].place)
        shapes = {laid.shape for laid in laid_out}
        compiled = not self._compiled or (
            self._planned is not None and not shapes <= self._compiled
        )
        self._compiled |= shapes
        for rows, row_length in shapes - self._planned if self._planned is not None else ():
            self._planned.add((rows, row_length))
            self.display.warn(
                f"compiled a shape that the first {PLANNED_STEPS[True]:,} steps, which the plan"
                f" lays out, do not have: {rows} rows of {row_length} tokens; {len(self._planned)}"
                " shapes by now"
            )
        if compiled:
            self.timeline.move(seconds, "compile_s")
            return
        self.timeline.move(float(logged[:, LOGGED.index("input_wait_s")].sum()), "input_wait_s")
        backbone = self.model.backbone.config
        frozen = self.config.backbone.freeze_embeddings
        self.state.model_flops += float(
            logged[:, LOGGED.index("weight")].sum()
        ) * self.head.prediction_flops(backbone, frozen_embeddings=frozen)
        for laid in laid_out:
            self.state.real_tokens += int(laid.lengths.sum())
            self.state.examples += len(laid.lengths)
            self.state.model_flops += training_flops(
                backbone,
                laid.lengths,
                frozen_embeddings=frozen,
                frozen_layers=self.config.backbone.freeze_layers,
            )

    def _record(self, rows: np.ndarray) -> None:
        """Takes in the steps just made."""
        for loss_sum, weight, norm, *_ in rows.tolist():
            self.state.step += 1
            # float16: the update was left out and the loss scale halved; at a scale of 1 it is no
            # overflow of the scale's making.
            overflow = (
                bool(self.optimizer.scaling)
                and math.isfinite(loss_sum)
                and float(self.optimizer.scaling["loss_scale"].numpy()) > 1
            )
            if not math.isfinite(loss_sum) or not (math.isfinite(norm) or overflow):
                self._refuse_nan(loss_sum, norm)
            self.state.loss_sum += loss_sum
            self.state.weight += weight
            self.state.gradient_norm = norm
        self.state.settled = False
        self._show(rows)

    def _settle(self) -> None:
        """What is due after the step just made.

        Changes nothing until the evaluation, which a signal may end, is through.
        """
        last = self.state.step == self.steps
        due = {
            name
            for name, every in self._due_every().items()
            if self.state.step % every == 0 or last
        }
        try:
            metrics = (
                self._evaluate() if "evaluate" in due and "validation" in self.splits else None
            )
        except StoppedError:
            self._leave()
        if "log" in due:
            self._log()
        if metrics is not None:
            self._take_in(metrics)
        self.state.settled = True
        if due & {"evaluate", "checkpoint"}:
            self.checkpoint()

    def _refuse_nan(self, loss_sum: float, norm: float) -> None:
        self.checkpoints.wait()
        if self.metrics_file:
            self.job.publish_progress(self.metrics_file.written().bytes)
        raise TrainingError(
            f"step {self.state.step}: the loss is {loss_sum}, the gradient's norm {norm}. The last"
            f" checkpoint is {self.checkpoints.last_name()}. Lower --train.learning_rate (now"
            f" {self.settings.learning_rate:g}), raise --train.warmup_fraction or set"
            " --train.clip_norm, in another --job_dir."
        )

    def _log(self) -> None:
        state = self.state
        progress = (
            {"passes": state.stream["passes"]}
            if self.stream
            else {"epoch": state.step / self.plan.steps_per_epoch}
        )
        values = {
            "loss": state.loss_sum / max(state.weight, 1e-12),
            "learning_rate": float(self.schedule(state.step - 1)),
            "gradient_norm": state.gradient_norm,
            **progress,
        }
        state.loss_sum = state.weight = 0.0
        self._report("train", values, {"real_tokens_per_s": self.rate()})

    def _report(
        self, split: str, values: dict[str, float], unrepeatable: dict[str, float] | None = None
    ) -> None:
        """To metrics.jsonl, and with what another run would not give again to TensorBoard."""
        if not self.metrics_file:
            return
        self.metrics_file.write(self.state.step, split, values)
        try:
            with self.writers[split].as_default(step=self.state.step):
                for name, value in {**values, **(unrepeatable or {})}.items():
                    # float32 has no room for every perplexity: infinite there
                    tf.summary.scalar(name, np.float64(value))
            self.writers[split].flush()
        except tf.errors.OpError as error:
            raise JobDirError(
                f"cannot write TensorBoard's logs: {reason(error)}. Free some space, or give a"
                " folder that you may write to, and start again: the run goes on from its last"
                " checkpoint."
            ) from None

    def rate(self) -> float:
        """Real tokens per second of training, the wait for them included."""
        return self.state.real_tokens / max(self._training_s(), 1e-9)

    def _training_s(self) -> float:
        """Seconds of training, the wait for its examples included."""
        return self.timeline.seconds("train_s") + self.timeline.seconds("input_wait_s")

    def _show(self, rows: np.ndarray) -> None:
        loss, weight = rows[-1][:2]
        parts = [
            f"step {self.state.step:,}/{self.steps:,}",
            f"loss {loss / max(weight, 1e-12):.4f}",
        ]
        if not self.display.live:  # where a line has room
            parts.append(f"rate {float(self.schedule(self.state.step - 1)):.2e}")
        parts.append(f"{self.rate():,.0f} tokens/s" if self.state.real_tokens else "compiled")
        self.display.progress(
            "training",
            self.state.step,
            self.steps,
            "  ".join(parts),
            seconds_left=self._seconds_left(),
        )

    def _seconds_left(self) -> float:
        """Of training, by the time of a full step so far; infinite before one was timed."""
        if not self.state.examples:
            return math.inf
        step_s = self._training_s() / self.state.examples * self.settings.global_batch_size
        return step_s * (self.steps - self.state.step)

    def _evaluate(self) -> dict[str, float]:
        with self.timeline.inside("evaluate_s"):
            with self._averages():
                results = self.evaluator.results(
                    self.splits["validation"], self._on_evaluation_batch
                )
                self.head.calibrate(results, self.splits["validation"])
                metrics = self.head.metrics(results, self.splits["validation"])
                judged = None
                if self.best_metric in self.head.judged:
                    judged = self.evaluator.judged(
                        self.splits["validation"],
                        functools.partial(self._on_evaluation_batch, doing="generating"),
                    )
                    require_agreement(
                        self.strategy,
                        f"what is generated after step {self.state.step}",
                        str(judged),
                        "Pick the checkpoint by another metric.",
                    )
                    metrics |= judged
                self.evaluated = Evaluated(self.state.step, results, judged)
            self.display.done("evaluating")
            self.display.done("generating")
        return metrics

    @contextlib.contextmanager
    def _averages(self) -> Iterator[None]:
        """Inside, the weights are their moving averages, where those are kept."""
        if not self.optimizer.averages:
            yield
            return
        self.swap_averages()
        try:
            yield
        finally:
            self.swap_averages()

    def _on_evaluation_batch(self, done: int, total: int, doing: str = "evaluating") -> None:
        self.display.progress(doing, done, total)
        # several hosts leave together, after a step
        if self.stop.requested and hosts(self.strategy) == 1:
            raise StoppedError

    def _take_in(self, metrics: dict[str, float]) -> None:
        self._report("validation", metrics)
        self.display.line(
            f"step {self.state.step:,}: validation "
            + "  ".join(f"{name} {value:.4f}" for name, value in metrics.items()),
            step=self.state.step,
        )
        if self.job.writes:
            self.trial_metrics.report("validation", metrics, self.state.step)
        if self.best_metric:
            self._compare(metrics)

    def _compare(self, metrics: dict[str, float]) -> None:
        state = self.state
        patience = self.settings.early_stopping_patience
        if self.best_metric not in metrics:
            raise ConfigError(
                f"train.best_metric: validation gives no {self.best_metric}. Expected one of"
                f" {', '.join(metrics)}."
            )
        value = metrics[self.best_metric]
        if is_better(
            value,
            state.best_value,
            self.settings.early_stopping_min_delta,
            lower=self.best_metric in self.head.lower_is_better,
        ):
            state.best_value = value
            state.best_step = state.step
            state.evaluations_without_improvement = 0
            return
        state.evaluations_without_improvement += 1
        if patience and state.evaluations_without_improvement >= patience:
            state.stopped_early = True
            best = (
                "none"
                if state.best_value is None
                else f"{state.best_value:.4f} after step {state.best_step:,}"
            )
            self.display.line(
                f"stopping early: {patience} evaluations without a better {self.best_metric} (best:"
                f" {best})"
            )


def step_layout(
    config: Any,
    store: TokenStore,
    plan: TrainingPlan,
    *,
    shards: int,
    static_shapes: bool,
    of_a_sample: bool = False,
) -> Callable[[TokenStore, np.ndarray], Layout]:
    """Where the examples of a step stand: what is trained, and what --mode=plan foretells.

    With static shapes every step has the rows that the first ones need at most, or more: most runs
    then have one shape.

    Args:
        store, plan: train, or the first block of its stream.
        of_a_sample: there are more examples elsewhere.
    Returns:
        (store, examples of a step) -> their layout.
    """
    longest = (
        None
        if not static_shapes
        else config.data.seq_len
        if config.data.stream_characters
        else int(store.lengths.max())
    )

    # No step has more examples than there are; a streamed block may be followed by a larger one.
    most = (
        config.train.global_batch_size
        if config.data.stream_characters or of_a_sample
        else len(store)
    )
    capacity = min(config.train.global_batch_size, most)

    def layout(store: TokenStore, indices: np.ndarray, rows_at_least: int = 1) -> Layout:
        return lay_out(
            indices,
            store.lengths[indices],
            batching=config.data.batching,
            seq_len=config.data.seq_len,
            shards=shards,
            capacity=capacity,
            longest=longest,
            rows_at_least=rows_at_least,
        )

    first = range(min(plan.steps_per_epoch, SHAPING_STEPS)) if static_shapes else ()
    return functools.partial(
        layout,
        rows_at_least=max((layout(store, plan.indices(step)).rows for step in first), default=1),
    )


def planned_layouts(
    config: Any, store: TokenStore, *, shards: int, static_shapes: bool, of_a_sample: bool = False
) -> list[Layout]:
    """Of the first steps of a run, by which its shapes, padding and memory are foretold."""
    plan = TrainingPlan(len(store), config.train.global_batch_size, config.train.seed)
    lay_out_step = step_layout(
        config, store, plan, shards=shards, static_shapes=static_shapes, of_a_sample=of_a_sample
    )
    return [
        lay_out_step(store, plan.indices(step))
        for step in range(min(total_steps(config.train, plan), PLANNED_STEPS[static_shapes]))
    ]


def total_steps(settings: Any, plan: TrainingPlan) -> int:
    """Optimizer steps of the whole run.

    Raises ConfigError where they are too many to be counted.
    """
    if settings.steps is not None:
        return settings.steps
    return require_steps(
        settings, max(1, math.ceil((settings.epochs or DEFAULT_EPOCHS) * plan.steps_per_epoch))
    )
