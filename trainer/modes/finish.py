"""After training: evaluate the model that is kept, export it, write results.json.

Also the modes that do only that.
"""

from __future__ import annotations

import contextlib
import dataclasses
import pathlib
from collections.abc import Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from trainer.console.display import Display, print_result
from trainer.data.prepare import Prepared
from trainer.data.store import TokenStore
from trainer.errors import ConfigError, JobDirError
from trainer.files import mirror, ownership
from trainer.heads._labels import shown_label
from trainer.machine.allocator import release_memory
from trainer.machine.hardware import this_machine
from trainer.run.assembly import Parts, build_model, make_parts, prepare_data, start_strategy
from trainer.run.checkpoints import Checkpoints
from trainer.run.distribution import SHARED, require_agreement, stop_when_a_worker_is_lost
from trainer.run.evaluation import Evaluated, Evaluator
from trainer.run.job import CALIBRATION_FILE, RESULTS_FILE, Job, Loss
from trainer.run.model import Model
from trainer.run.throughput import peak_flops
from trainer.serve.export import (
    BFLOAT16_TOLERANCE,
    TOLERANCE,
    Proof,
    export_huggingface,
    export_saved_model,
    make_proof,
    serving_proof,
    version_folder,
)
from trainer.serve.targets import export_folder, require_export_target, writes_in_job_dir
from trainer.serve.warmup import BATCHING_FILE, write_batching_parameters
from trainer.settings.resolve import Resolved

REPORTED = ("validation", "test")
SHOWN_LABELS = 30  # on the terminal


@dataclasses.dataclass
class Results:
    """results.json."""

    values: dict[str, Any]

    def summary(self) -> str:
        """A line a split, the step, and where the model is."""
        lines = [
            f"{split}: "
            + "  ".join(f"{name} {value:.4f}" for name, value in self.values[split].items())
            for split in REPORTED
            if split in self.values
        ]
        if "model" in self.values:
            lines.append(f"model: {self.values['model']}")
        return "\n".join(lines)


class Kept:
    """The trained model that is kept (the best checkpoint where one is picked, else the last),
    ready to evaluate and export.
    """

    def __init__(
        self,
        parts: Parts,
        job: Job,
        strategy: tf.distribute.Strategy,
        model: Model,
        evaluator: Evaluator | None = None,
        evaluated: Evaluated | None = None,
    ) -> None:
        """`evaluated`: training's last evaluation, which is not made again where its step is the
        one kept.
        """
        self.parts = parts
        self.job = job
        self.strategy = strategy
        self.model = model
        self.display = parts.display
        self.evaluator = evaluator or Evaluator(parts.config, strategy, model, parts.head)
        self.step = self._restore()
        release_memory()  # which loading took
        if evaluator is None:  # else training goes on to decide it
            self._take_up()
        known = evaluated is not None and evaluated.step == self.step
        self._results: dict[str, dict[str, np.ndarray]] = (
            {"validation": evaluated.results} if known else {}
        )
        self._judged = (
            {"validation": evaluated.judged} if known and evaluated.judged is not None else {}
        )

    def _restore(self) -> int:
        # Only the model is read: the optimizer's slots are not needed, and need not fit in memory.
        averaged = self.model.trainable() if self.parts.config.train.ema_decay else {}
        variables = {
            f"{'average' if name in averaged else 'model'}/{name}": weight
            for name, weight in self.model.weights.items()
        }
        checkpoints = Checkpoints(
            self.job.checkpoints, keep=1, warn=self.display.warn, variables=variables, writes=False
        )
        state = checkpoints.restore_latest()
        if state is None:
            raise JobDirError(
                f"{self.job.checkpoints}: no intact checkpoint. Train first: --mode=train"
                f" --job_dir={self.job.folder}."
            )
        if state.best_step is not None and state.best_step != state.step:
            state = checkpoints.restore(state.best_step)
            self.display.line(f"keeping the best checkpoint, of step {state.step:,}")
        else:
            self.display.line(f"keeping the checkpoint of step {state.step:,}")
        require_agreement(self.strategy, "the checkpoint to keep", str(state.step), SHARED)
        return state.step

    def _take_up(self) -> None:
        """What an earlier process has left, for those that only use it."""
        if (found := self.job.read_calibration()) is not None:
            self.parts.head.load_calibration(found)
        for line in self.job.damaged():
            self.display.warn(line)
        results: dict[str, Any] = {}
        with contextlib.suppress(JobDirError):  # of which `damaged` has told
            results = self.job.read_results()
        if (step := results.get("step", self.step)) != self.step:
            raise JobDirError(
                f"{self.job.checkpoints}: the model whose results are in"
                f" {self.job.folder / RESULTS_FILE} is of step {step}, and the newest intact"
                f" checkpoint leads to step {self.step}. Put back a copy of it, or let the training"
                f" make it anew: --mode=train --config={self.job.config_file}"
                f" --job_dir={self.job.folder}"
            )

    def leave_together(self) -> None:
        """The other workers wait for the chief: one that leaves looks like one that died."""
        require_agreement(self.strategy, "the end", "done", "")

    def evaluate(self, prepared: Prepared, *, calibrate: bool = False) -> dict[str, Any]:
        """The metrics of validation and test, and `per_label` those of each label, where there are
        labels.

        Args:
            calibrate: let validation decide anew what it decides, such as a threshold, and keep
                that with the model.
        """
        metrics: dict[str, Any] = {}
        per_label: dict[str, dict[str, dict[str, float]]] = {}
        for split in REPORTED:
            if split in prepared.splits:
                store = prepared.splits[split]
                if split not in self._results:
                    self._results[split] = self.evaluator.results(
                        store, lambda done, total: self.display.progress("evaluating", done, total)
                    )
                    self.display.done("evaluating")
                if (
                    calibrate
                    and split == "validation"
                    and (chosen := self.parts.head.calibrate(self._results[split], store))
                    and self.job.writes
                ):
                    self.job.write_json(CALIBRATION_FILE, chosen)
                metrics[split] = self.parts.head.metrics(self._results[split], store)
                if self.job.writes and split not in self._judged:
                    self._judged[split] = self.evaluator.judged(
                        store, lambda done, total: self.display.progress("generating", done, total)
                    )
                    self.display.done("generating")
                metrics[split] |= self._judged.get(split, {})
                if scores := self.parts.head.per_label(self._results[split], store):
                    per_label[split] = scores
                    self.display.table(f"{split}, each label", label_rows(scores))
        return {**metrics, "per_label": per_label} if per_label else metrics

    def export(self, prepared: Prepared | None) -> pathlib.Path | None:
        """Writes what export.format says; None for none."""
        settings = self.parts.config.export
        parts = self.parts
        if settings.format == "none":
            return None
        folder = export_folder(parts.config, self.job)
        if settings.format == "huggingface" and self.job.writes:
            export_huggingface(
                self.model, parts.head, parts.weights, parts.tokenizer_folder, folder
            )
            ownership.publish(folder, last=("config.json",))  # which AutoModel reads first
        if settings.format == "huggingface":
            return folder
        folder = version_folder(folder, settings.version) if self.job.writes else folder
        tolerance = TOLERANCE if parts.config.train.precision == "float32" else BFLOAT16_TOLERANCE
        proof = self._proof(prepared, tolerance)
        if not self.job.writes:
            return None
        self.display.line(
            "export: "
            + export_saved_model(self.model, parts.head, folder, proof, tolerance=tolerance)
        )
        ownership.publish(folder, last=("saved_model.pb",))
        if settings.version is not None and not write_batching_parameters(
            folder.parent / BATCHING_FILE
        ):
            self.display.line(f"{folder.parent / BATCHING_FILE} is not ours: it stays as it is")
        return folder

    def _proof(self, prepared: Prepared, tolerance: float) -> Proof:
        """The first raw texts of validation (or test, or train), and the answers that evaluation's
        results make for them.
        """
        split = next(split for split in (*REPORTED, "train") if split in prepared.splits)
        store: TokenStore = prepared.splits[split]
        samples = store.meta["samples"][: self.parts.config.export.check_examples]
        if not self.parts.head.evaluated_as_served:
            return serving_proof(self.model, self.parts.head, samples, tolerance=tolerance)
        results = self._results.get(split) or self.evaluator.results(
            store, first=store.rows_of(len(samples))
        )
        return make_proof(self.parts.head, samples, results, store, tolerance=tolerance)


def finish(parts: Parts, job: Job, prepared: Prepared, run: Any) -> Results:
    """Evaluates and exports what training made; writes results.json, without the model first, so
    that an export that fails loses no metric.
    """
    kept = Kept(parts, job, run.strategy, run.model, run.evaluator, run.evaluated)
    with run.timeline.inside("evaluate_s"):
        metrics = {**kept.evaluate(prepared, calibrate=True), "step": kept.step}
    _write(job, metrics, None)
    with run.timeline.inside("export_s"):
        model = kept.export(prepared)
    kept.leave_together()
    loss = job.look_after(last=True)
    trained = max(run.timeline.seconds("train_s") + run.timeline.seconds("input_wait_s"), 1e-9)
    peak = peak_flops(run.strategy, parts.config.train.precision)
    throughput = {
        "examples_per_s": round(run.state.examples / trained, 2),
        "real_tokens_per_s": round(run.state.real_tokens / trained, 1),
        "model_flops_utilisation": round(run.state.model_flops / trained / peak, 4),
        "measured_peak_gflops": round(peak / 1e9, 1),
    }
    machine = this_machine()
    rows = [*timeline_rows(run.timeline.as_dict(), throughput), ("machine", str(machine))]
    parts.display.table("Timeline", rows)
    evidence = {
        "timeline": run.timeline.as_dict(),
        "throughput": throughput,
        "machine": dataclasses.asdict(machine),
    }
    results = _write(job, {**metrics, **evidence}, model)
    if job.writes:
        job.files.settle()
    _require_whole(job, loss, model)
    return results


def _require_whole(job: Job, loss: Loss, model: pathlib.Path | None) -> None:
    """Raises JobDirError where the job_dir was removed after the last step."""
    if not loss.whole:
        return
    exported = " and the export" if model is not None and model.exists() else ""
    raise JobDirError(
        f"--job_dir={mirror.shown(job.folder)} was removed while the run was going on. Written"
        f" anew: {', '.join(loss.files)}, results.json{exported}. Lost: what else was there, such"
        " as the checkpoints and logs."
    )


def label_rows(scores: dict[str, dict[str, float]]) -> list[tuple[str, str]]:
    """The scores of each label, for people: the most frequent ones, in the order of their names."""
    shown = sorted(
        sorted(scores, key=lambda name: -scores[name]["support"])[:SHOWN_LABELS],
        key=list(scores).index,
    )
    metrics = ("precision", "recall", "f1")
    rows = [
        (
            shown_label(name),
            "  ".join(f"{metric} {scores[name][metric]:.3f}" for metric in metrics)
            + f"  of {scores[name]['support']:,}",
        )
        for name in shown
    ]
    return (
        rows
        if len(shown) == len(scores)
        else [*rows, ("", f"{len(scores) - len(shown):,} less frequent ones are in results.json")]
    )


def timeline_rows(timeline: dict[str, float], throughput: dict[str, Any]) -> list[tuple[str, str]]:
    """Where the time went, for people."""
    total = max(sum(timeline.values()), 1e-9)
    rows = [
        (phase.removesuffix("_s").replace("_", " "), f"{spent:8.1f} s  {spent / total:4.0%}")
        for phase, spent in timeline.items()
    ]
    share = (
        f"{throughput['model_flops_utilisation']:.1%} of the"
        f" {throughput['measured_peak_gflops']:,.0f} GFLOP/s that a matrix product reaches here"
    )
    return [*rows, ("throughput", f"{throughput['real_tokens_per_s']:,.0f} real tokens/s, {share}")]


def evaluate(resolved: Resolved, job: Job, display: Display) -> None:
    """--mode=evaluate: the metrics of the kept model, anew; on other data than the job's they are
    not the job's results.
    """
    job.require_trained()
    job.read_results()  # before anything costly
    with stop_when_a_worker_is_lost():
        kept, prepared = _kept(resolved, job, display, with_data=True, work="evaluate")
        found = {**kept.evaluate(prepared), "step": kept.step}
        if job.is_of(prepared):
            results = _write(job, {**job.read_results(), **found}, None)
        else:
            results = Results(
                {**found, "data": resolved.config.data.model_dump(include=set(REPORTED))}
            )
            if job.writes:
                job.write_json("results_other_data.json", results.values)
        kept.leave_together()
    if job.writes:
        job.files.settle()
        print_result(results.summary())


def export(resolved: Resolved, job: Job, display: Display) -> None:
    """--mode=export: the kept model as export.format says.

    Raises ConfigError where that is none.
    """
    if resolved.config.export.format == "none":
        raise ConfigError(
            "export.format: the job was trained with none, which writes nothing. Set"
            " --export.format=savedmodel or --export.format=huggingface."
        )
    require_export_target(resolved.config, job)
    with_data = resolved.config.export.format == "savedmodel"
    with stop_when_a_worker_is_lost():
        kept, prepared = _kept(
            resolved,
            job,
            display,
            with_data=with_data,
            work="export" if writes_in_job_dir(resolved.config, job) else None,
        )
        folder = kept.export(prepared)
        kept.leave_together()
    if job.writes:
        print_result(f"model: {mirror.shown(folder)}")


def _kept(
    resolved: Resolved, job: Job, display: Display, *, with_data: bool, work: str | None
) -> tuple[Kept, Prepared | None]:
    """`work`: what the job_dir is held for; None where nothing is written there."""
    job.require_trained()
    strategy = start_strategy(resolved.config, job, display)
    if work:
        job.hold(work)
    parts = make_parts(resolved.config, display)
    prepared = prepare_data(parts) if with_data else None
    vocabulary = job.read_vocabulary()
    if prepared is not None:
        _require_same_labels(job, vocabulary, prepared.vocabulary)
    model = build_model(parts, strategy, vocabulary)
    return Kept(parts, job, strategy, model), prepared


def _require_same_labels(job: Job, trained: Mapping[str, Any], found: Mapping[str, Any]) -> None:
    """Raises JobDirError where data.train teaches other labels than the model has: numbers would
    mean other labels.
    """
    for key in trained:
        if key != "train_counts" and trained[key] != found.get(key):
            shown = [str(values.get(key))[:120] for values in (trained, found)]
            raise JobDirError(
                f"--job_dir={job.folder}: its model was trained with {key} {shown[0]}, and"
                f" data.train now has {shown[1]}. Give --data.train as in training, and the data to"
                " evaluate as --data.validation or --data.test."
            )


def _write(job: Job, values: dict[str, Any], model: pathlib.Path | None) -> Results:
    if model is not None:
        values = {**values, "model": mirror.shown(model)}
    if job.writes:
        job.write_json(RESULTS_FILE, values)
    return Results(values)
