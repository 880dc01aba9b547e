"""How a plan is shown to people: rows of names and values."""

from __future__ import annotations

from trainer.planning.compiled_plan import CompiledPlan, TimeEstimate
from trainer.planning.compiled_steps import CompiledStep
from trainer.planning.facts import Plan, PlannedMemory, SplitFacts
from trainer.run.label_report import count_line

Row = tuple[str, str]


def plan_rows(plan: Plan) -> list[Row]:
    """The facts of a plan."""
    rows = [(split, _split_row(facts)) for split, facts in plan.splits.items()]
    rows += [
        (f"labels of {split}", count_line(counts)) for split, counts in plan.label_counts.items()
    ]
    rows += [
        ("steps", _steps_row(plan)),
        ("padding", f"{plan.train.padding_share:.1%} of the tokens computed"),
        ("shapes", _shapes_row(plan)),
        ("memory (estimate)", _memory_row(plan.memory)),
    ]
    if plan.memory.machine_mb is not None:
        rows.append(("memory (this machine)", f"{plan.memory.machine_mb:,} MB"))
    return rows


def _split_row(facts: SplitFacts) -> str:
    percentiles = " / ".join(map(str, facts.length_percentiles.values()))
    return (
        f"{facts.examples:,} examples, {facts.tokens:,} tokens, mean {facts.mean_length},"
        f" 50/90/99/100 %: {percentiles}"
    )


def _steps_row(plan: Plan) -> str:
    passes = "train is streamed: of it, its first block is shown"
    if plan.epochs:
        passes = f"{plan.steps_per_epoch:,} an epoch, {plan.epochs:g} epochs"
    return f"{plan.steps:,} ({passes}), {plan.train.tokens_per_step:,.0f} real tokens a step"


def _shapes_row(plan: Plan) -> str:
    train = plan.train
    compiled = "each compiled once" if plan.xla else "not compiled: any shape will do"
    common = ", ".join(
        f"{shape.rows}x{shape.row_length} ({shape.steps})" for shape in train.common_shapes
    )
    return f"{train.shapes} in {train.sampled_steps:,} steps ({compiled}): {common}"


def _memory_row(memory: PlannedMemory) -> str:
    replica = (
        f"weights {memory.weights_mb:,} MB, gradients {memory.gradients_mb:,} MB,"
        f" optimizer {memory.optimizer_mb:,} MB, activations {memory.activations_mb:,} MB,"
        f" total {memory.total_mb:,} MB a replica"
    )
    if memory.evaluation_mb is None:
        return replica
    return f"{replica}; evaluation at least {memory.evaluation_mb:,} MB"


def compiled_rows(compiled: CompiledPlan, plan: Plan) -> list[Row]:
    """What compiling the plan gave.

    Args:
        compiled: each step, and the largest batch.
        plan: that was compiled.
    """
    rows = [
        (
            f"{step.step} {step.micro_batches} x {step.rows} x {step.row_length}",
            _compiled_row(step),
        )
        for step in compiled.shapes
    ]
    if compiled.largest:
        largest = compiled.largest
        said = (
            f"{largest.rows:,} rows of {largest.row_length} tokens, about"
            f" {largest.examples:,} examples ({largest.hbm_share:.0%} of the memory)"
        )
        rows.append(("largest micro-batch", said))
    if compiled.estimate:
        rows.append(("at best", _estimate_row(compiled.estimate, plan)))
    if compiled.note:
        rows.append(("note", compiled.note))
    return rows


def _compiled_row(step: CompiledStep) -> str:
    if step.error is not None:
        return f"does not compile: {step.error}"
    compiles = f"compiles ({step.compile_s:.0f} s)"
    if step.cost is None:
        return compiles
    return (
        f"{compiles}, {step.cost.hbm_needed_bytes / 1e9:.2f} GB"
        f" ({step.cost.hbm_share:.0%} of the memory), {step.cost.flops / 1e9:,.0f} GFLOP,"
        f" {step.cost.bytes / 1e9:.2f} GB moved, {1000 * step.cost.seconds_at_best:.2f} ms at best"
    )


def _estimate_row(estimate: TimeEstimate, plan: Plan) -> str:
    cost = f" for {estimate.cost_per_epoch:.2f}" if estimate.cost_per_epoch is not None else ""
    span = "an epoch" if plan.epochs else "all"
    return (
        f"{1000 * estimate.step_s:.2f} ms a step, {estimate.real_tokens_per_s:,.0f} tokens/s on"
        f" {plan.replicas} replicas, {span} in {estimate.epoch_s:,.1f} s{cost} (from published"
        " peaks, not measured)"
    )
