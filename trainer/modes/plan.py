"""--mode=plan: what a run would cost, before it is paid for."""

from __future__ import annotations

from trainer.console.display import Display, print_result
from trainer.planning.compiled_plan import compile_plan, require_compiled
from trainer.planning.facts import make_plan
from trainer.planning.plan import choose_replicas, require_memory, write_plan
from trainer.planning.plan_table import compiled_rows, plan_rows
from trainer.planning.planned_run import PlannedRun
from trainer.run.assembly import foresee_origin, make_parts
from trainer.run.job import Job
from trainer.run.precision import foresee_precision
from trainer.run.prepared_data import SHOWN_KINDS, prepare_data, require_best_metric, show_examples
from trainer.settings.resolve import Resolved


def plan(resolved: Resolved, job: Job | None, display: Display) -> None:
    """Prepares the data, lays out the steps, and compiles them where the config asks for it.

    Args:
        job: gets plan.json and ledger.json; None where no job_dir is given.
    Raises:
        ConfigError: a step does not compile or fit; the table and plan.json say more.
    """
    config = foresee_precision(resolved).config
    if job is not None:
        job.hold("plan")
    replicas, strategy = choose_replicas(config, display)
    parts = make_parts(config, display)
    foresee_origin(parts)
    kinds = SHOWN_KINDS if job else None  # without a job_dir no ledger.json has the rest
    prepared = prepare_data(parts, ledger_kinds=kinds)
    show_examples(parts, prepared)
    require_best_metric(parts, prepared)
    run = PlannedRun(parts, prepared, replicas, of_a_sample=strategy is None)
    facts = make_plan(run)
    compiled = compile_plan(run, facts) if config.plan.tpu or config.plan.xla else None
    if job is not None:
        write_plan(job.folder, facts, compiled, prepared.ledger)
    display.table("Plan", plan_rows(facts))
    if strategy is not None:
        require_memory(facts, strategy, display)
    if compiled:
        target = compiled.tpu or "this machine"
        display.table(f"Compiled for {target}", compiled_rows(compiled, facts))
        require_compiled(compiled)
    print_result(
        f"{facts.steps:,} steps, {facts.train.padding_share:.1%} padding,"
        f" {facts.memory.total_mb:,} MB"
    )
