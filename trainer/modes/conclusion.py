"""The end of a training run: the kept model's scores, its export, and results.json."""

from __future__ import annotations

from typing import NamedTuple

from trainer.data.prepare import Prepared
from trainer.report.gate import is_kept_from_export, missed_by
from trainer.run.assembly import Parts
from trainer.run.hparams import write_hparam_results
from trainer.run.job import RESULTS_FILE
from trainer.run.kept_model import KeptModel, restore_kept
from trainer.run.kept_scores import score
from trainer.run.predictions_file import write_predictions
from trainer.run.results import Results, measure_expense, require_whole, write_results
from trainer.run.training import Training
from trainer.serve.export import export_kept


class Conclusion(NamedTuple):
    """What a run ends with.

    Attributes:
        results: as results.json has them.
        kept: the model.
        missed: what the config asks and the run does not reach.
        is_exported: whether that has not kept the model from being exported.
    """

    results: Results
    kept: KeptModel
    missed: list[str]
    is_exported: bool


def conclude(run: Training, parts: Parts, prepared: Prepared) -> Conclusion:
    """Evaluates and exports what training made.

    results.json is written twice, first without the model: an export that fails loses no metric.

    Args:
        run: that has ended.
        parts: of the run.
        prepared: has the splits.
    Raises:
        JobDirError: the job_dir was removed meanwhile, or cannot be written.
        ExportRefusedError: a fresh process answers otherwise than the trained model.
    """
    job, timeline = run.job, run.timeline
    earlier = job.told(RESULTS_FILE)  # where it is damaged it is written anew
    step = restore_kept(parts, job, run.strategy, run.model)
    kept = KeptModel(
        parts=parts,
        job=job,
        strategy=run.strategy,
        model=run.model,
        evaluator=run.evaluator,
        step=step,
    )
    with timeline.inside("evaluate_s"):
        scores = score(kept, prepared, evaluated=run.evaluated, calibrate=True)
    values = {**scores.as_json(), "step": step}
    write_results(job, values)
    with timeline.inside("evaluate_s"):
        write_predictions(kept, prepared.splits, scores)
        missed = missed_by(kept, values)
    with timeline.inside("export_s"):
        is_exported = not is_kept_from_export(kept, missed)
        model = export_kept(kept, prepared, scores.results) if is_exported else None
    kept.leave_together()
    removal = job.look_after(last=True)
    expense = measure_expense(
        run.state,
        timeline,
        run.strategy,
        parts.config.train.precision,
        lanes=run.inputs.lanes,
        earlier=earlier,
    )
    expense.show(parts.display)
    results = write_results(job, {**values, **expense.as_json()}, model)
    write_hparam_results(job, results)
    if job.writes:
        job.files.settle()
    require_whole(job, removal, model)
    return Conclusion(results, kept, missed, is_exported)
