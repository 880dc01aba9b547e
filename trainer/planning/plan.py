"""Makes the plan of a run, writes it, and holds it against this machine's memory."""

from __future__ import annotations

import pathlib

import tensorflow as tf

from trainer.console.display import Display
from trainer.data.ledger import Ledger
from trainer.data.prepare import Prepared
from trainer.files.noted_files import NotedFiles
from trainer.files.writing import json_text
from trainer.machine.xla import require_xla_here
from trainer.planning.compiled_plan import CompiledPlan
from trainer.planning.facts import Plan, make_plan
from trainer.planning.planned_run import PlannedRun
from trainer.run import limits
from trainer.run.assembly import Parts
from trainer.run.distribution import make_strategy, on_tpu
from trainer.run.job import LEDGER_FILE, PLAN_FILE, Job
from trainer.run.workers import local_replicas
from trainer.settings.schema import Config

TPU_REPLICAS = 8  # a v3-8 or v5e-8


def plan_training(
    parts: Parts, prepared: Prepared, strategy: tf.distribute.Strategy, job: Job
) -> None:
    """Plans a run that is about to train, and writes plan.json.

    Args:
        parts: of the run.
        prepared: its data.
        strategy: where it runs.
        job: gets the plan.
    Raises:
        ConfigError: a step's size does not go with the data, or has no room in the memory.
    """
    plan = make_plan(PlannedRun(parts, prepared, strategy.num_replicas_in_sync))
    if job.writes:
        job.write_json(PLAN_FILE, plan.as_json())
    require_memory(plan, strategy, parts.display)


def choose_replicas(config: Config, display: Display) -> tuple[int, tf.distribute.Strategy | None]:
    """How many replicas to plan for, and the strategy if they are this machine's.

    A plan for another machine needs none of its devices here.
    """
    if config.plan.replicas:
        return config.plan.replicas, None
    if config.plan.tpu:
        return TPU_REPLICAS, None
    strategy, line = make_strategy(config.distribution)
    require_xla_here(config.train.xla)
    display.line(line)
    return strategy.num_replicas_in_sync, strategy


def write_plan(
    job_dir: pathlib.Path, plan: Plan, compiled: CompiledPlan | None, ledger: Ledger
) -> None:
    """Writes plan.json and ledger.json into a job_dir that no run has begun in.

    Args:
        job_dir: on this machine.
        plan: the facts.
        compiled: what compiling them gave, if they were.
        ledger: of the prepared data.
    """
    facts = plan.as_json()
    if compiled:
        facts["compiled"] = compiled.as_json()
    files = NotedFiles(job_dir)
    files.write_beside(PLAN_FILE, json_text(facts))
    files.write_beside(LEDGER_FILE, json_text(ledger.entries))


def require_memory(plan: Plan, strategy: tf.distribute.Strategy, display: Display) -> None:
    """Warns where the memory of this machine may be short for steps on its CPU.

    Args:
        plan: has the estimate.
        strategy: where the steps run.
        display: shows the warnings.
    Raises:
        ConfigError: the steps have no room in it.
    """
    if on_tpu(strategy) or tf.config.list_logical_devices("GPU"):
        return
    for warning in limits.require_memory(plan.memory, len(local_replicas(strategy))):
        display.warn(warning)
