"""The end of a training run: the kept model's scores, its export, and results.json."""

from __future__ import annotations

from typing import NamedTuple

from trainer.data.prepare import Prepared
from trainer.report.gate import kept_from_export
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
        not_exported: why it was not, where `export.only_if_met` asks.
    """

    results: Results
    kept: KeptModel
    not_exported: list[str]


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
    with timeline.inside("export_s"):
        not_exported = kept_from_export(kept, values)
        model = None if not_exported else export_kept(kept, prepared, scores.results)
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
    return Conclusion(results, kept, not_exported)
