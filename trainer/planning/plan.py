"""--mode=plan: what a run would cost, before it is paid for."""

from __future__ import annotations

import math
import pathlib
import tempfile
from collections import Counter
from typing import Any

import numpy as np
import tensorflow as tf

from trainer.console.display import Display, print_result
from trainer.data.batching import Layout, TrainingPlan, evaluation_batches
from trainer.data.prepare import Prepared
from trainer.data.store import TokenStore
from trainer.errors import ConfigError
from trainer.files.mapped import count_numbers
from trainer.files.noted_files import NotedFiles
from trainer.files.writing import json_text
from trainer.planning import memory, tpu_plan
from trainer.run import limits
from trainer.run.assembly import (
    Parts,
    build_model,
    foresee_origin,
    make_parts,
    prepare_data,
    require_best_metric,
    show_examples,
)
from trainer.run.distribution import local_replicas, make_strategy, on_tpu
from trainer.run.label_report import count_line, label_counts
from trainer.run.loop import planned_layouts, total_steps
from trainer.run.optimization import Optimizer, make_schedule
from trainer.run.steps import evaluation_layouts, use_xla
from trainer.settings.resolve import Resolved
from trainer.settings.schema import Config

SHOWN_SHAPES = 8
TPU_REPLICAS = 8  # a v3-8 or v5e-8


def plan(resolved: Resolved, job_dir: pathlib.Path | None, display: Display) -> dict[str, Any]:
    """Prepares the data, lays out the steps, prints a table and writes plan.json into the job_dir
    if there is one.

    Raises:
        ConfigError: a step does not compile or fit where plan.tpu or plan.xla asked; the table and
            plan.json say more.
    """
    config = resolved.config
    replicas = config.plan.replicas or (TPU_REPLICAS if config.plan.tpu else None)
    strategy = None
    # then those of this machine; a plan for another needs none of its devices here
    if replicas is None:
        strategy, line = make_strategy(config.distribution)
        display.line(line)
        replicas = strategy.num_replicas_in_sync
    parts = make_parts(config, display)
    foresee_origin(parts)
    prepared = prepare_data(parts)
    show_examples(parts, prepared)
    require_best_metric(parts, prepared)
    facts = describe(parts, prepared, replicas=replicas, of_a_sample=strategy is None)
    checked: dict[str, Any] | None = None
    if config.plan.tpu or config.plan.xla:
        checked = facts["compiled"] = _compile(parts, prepared, replicas, strategy is None, display)
    if checked and checked["tpu"]:
        checked["estimate"] = tpu_plan.estimate(
            checked,
            real_tokens_per_step=facts["train"]["tokens_per_step"],
            steps_per_epoch=facts["steps_per_epoch"] or facts["steps"],
            replicas=replicas,
            price=config.plan.price_per_chip_hour,
        )
    if job_dir is not None:
        files = NotedFiles(job_dir)
        files.write_beside("plan.json", json_text(facts))
        files.write_beside("ledger.json", json_text(prepared.ledger.entries))
    display.table("Plan", _rows(facts))
    if strategy is not None:
        require_memory(facts, strategy, display)
    if checked:
        display.table(
            f"Compiled for {checked['tpu'] or 'this machine'}", _compiled_rows(checked, facts)
        )
        _refuse_failures(checked, config)
    print_result(
        f"{facts['steps']:,} steps, {facts['train']['padding_share']:.1%} padding,"
        f" {facts['memory']['total_mb']:,} MB"
    )
    return facts


def describe(
    parts: Parts, prepared: Prepared, *, replicas: int, of_a_sample: bool = False
) -> dict[str, Any]:
    """The plan's facts, as plan.json has them.

    Shapes and memory are those of one micro-batch of one replica.

    Args:
        of_a_sample: for another machine, where there may be more examples.

    Raises:
        ConfigError: a step's size does not go with the data.
    """
    settings = parts.config.train
    store = prepared.splits["train"]
    for warning in limits.require_sizes(settings, len(store), replicas, of_a_sample=of_a_sample):
        parts.display.warn(warning)
    steps_plan = TrainingPlan(len(store), settings.global_batch_size, settings.seed)
    steps = total_steps(settings, steps_plan)
    layouts = _layouts(parts, prepared, replicas, of_a_sample)
    # then these splits have the first block of train
    streamed = bool(parts.config.data.stream_characters)
    steps_per_epoch = None if streamed else steps_plan.steps_per_epoch
    return {
        "splits": {split: _lengths(store) for split, store in prepared.splits.items()},
        "labels": prepared.vocabulary.get("train_counts", {}),
        "label_counts": label_counts(parts.head, prepared.vocabulary, prepared.splits),
        "steps": steps,
        "steps_per_epoch": steps_per_epoch,
        "epochs": None if streamed else round(steps / steps_per_epoch, 3),
        "train": _padding(layouts, store),
        "replicas": replicas,
        "micro_batches": settings.micro_batches,
        "xla": _static_shapes(parts.config),
        "memory": {
            **memory.estimate(parts.backbone, layouts, settings),
            "evaluation_mb": _evaluation_mb(parts, prepared, replicas),
            "machine_mb": limits.machine_memory_mb(),
        },
        "ledger": prepared.ledger.entries,
    }


def require_memory(
    facts: dict[str, Any], strategy: tf.distribute.Strategy, display: Display
) -> None:
    """Raises ConfigError where the steps run on this machine's CPU and have no room in its memory;
    warns where it may be short.
    """
    if on_tpu(strategy) or tf.config.list_logical_devices("GPU"):
        return
    for warning in limits.require_memory(facts["memory"], len(local_replicas(strategy))):
        display.warn(warning)


def _evaluation_mb(parts: Parts, prepared: Prepared, replicas: int) -> int | None:
    """Of the largest batch, which is the first one; None where nothing is evaluated."""
    settings, data = parts.config.train, parts.config.data
    found = []
    for store in (
        prepared.splits[split] for split in ("validation", "test") if split in prepared.splits
    ):
        largest = evaluation_batches(store.lengths, settings.evaluation_batch_size)[:1]
        found += evaluation_layouts(
            store,
            largest,
            batching=data.batching,
            seq_len=data.seq_len,
            batch_size=settings.evaluation_batch_size,
            shards=replicas,
            static_shapes=_static_shapes(parts.config),
        )
    return max((memory.evaluation_mb(parts.backbone, layout) for layout in found), default=None)


def _static_shapes(config: Config) -> bool:
    return bool(config.plan.tpu or config.plan.xla) or use_xla(config.train)


def _layouts(parts: Parts, prepared: Prepared, replicas: int, of_a_sample: bool) -> list[Layout]:
    return planned_layouts(
        parts.config,
        prepared.splits["train"],
        shards=replicas * parts.config.train.micro_batches,
        static_shapes=_static_shapes(parts.config),
        of_a_sample=of_a_sample,
    )


def _compile(
    parts: Parts, prepared: Prepared, replicas: int, of_a_sample: bool, display: Display
) -> dict[str, Any]:
    """Compiles the steps in every shape of the plan: for a TPU generation, or with this machine's
    XLA.
    """
    config, store = parts.config, prepared.splits["train"]
    display.line("building the model")
    strategy = tf.distribute.OneDeviceStrategy("CPU:0")
    model = build_model(parts, strategy, prepared.vocabulary)
    optimizer = Optimizer(
        config.train,
        make_schedule(config.train, total_steps(config.train, TrainingPlan(len(store), 1, 0))),
        model.trainable(),
    )
    training = tpu_plan.shapes_of(
        _layouts(parts, prepared, replicas, of_a_sample), config.train.micro_batches
    )
    evaluated = [
        prepared.splits[split] for split in ("validation", "test") if split in prepared.splits
    ]
    layouts = [
        layout
        for split in evaluated
        for layout in evaluation_layouts(
            split,
            evaluation_batches(split.lengths, config.train.evaluation_batch_size),
            batching=config.data.batching,
            seq_len=config.data.seq_len,
            batch_size=config.train.evaluation_batch_size,
            shards=replicas,
            static_shapes=True,
        )
    ]
    with tempfile.TemporaryDirectory() as folder:
        lowering = tpu_plan.StepLowering(model, parts.head, optimizer, store, pathlib.Path(folder))
        return tpu_plan.check(
            lowering, config.plan.tpu, training, tpu_plan.shapes_of(layouts, 1), say=display.line
        )


def _refuse_failures(checked: dict[str, Any], config: Config) -> None:
    failed = [shape for shape in checked["shapes"] if "error" in shape]
    if not failed:
        return
    first = failed[0]
    where = checked["tpu"] or "XLA on this machine"
    fitting = checked["largest"]
    remedy = (
        f"{fitting['rows']:,} rows of {fitting['row_length']} tokens fit: lower"
        " --train.global_batch_size or raise --train.micro_batches or the number of replicas."
        if fitting
        else "The operation that is named cannot run there."
    )
    raise ConfigError(
        f"plan: {len(failed)} of {len(checked['shapes'])} steps do not compile for {where}; the"
        f" first is {first['step']}, {first['micro_batches']} x {first['rows']} rows of"
        f" {first['row_length']} tokens: {first['error']}\n{remedy}"
    )


def _lengths(store: TokenStore) -> dict[str, Any]:
    lengths = store.lengths
    return {
        "examples": store.meta["examples"],
        "rows": len(store),
        "tokens": int(lengths.sum()),
        "mean_length": round(float(lengths.mean()), 1),
        "length_percentiles": {str(p): length_percentile(lengths, p) for p in (50, 90, 99, 100)},
    }


def length_percentile(lengths: np.ndarray, percent: int) -> int:
    """As np.percentile, rounded down, but without a copy of them all: lengths are few different
    numbers.
    """
    counts = count_numbers(lengths, int(lengths.max()) + 1)
    place = percent / 100 * (len(lengths) - 1)
    below, above = np.searchsorted(
        np.cumsum(counts), [math.floor(place), math.ceil(place)], side="right"
    )
    return int(below + (place - math.floor(place)) * (above - below))


def _padding(layouts: list[Layout], store: TokenStore) -> dict[str, Any]:
    shapes = Counter((layout.rows, layout.row_length) for layout in layouts)
    cells = sum(len(layout.index) * layout.rows * layout.row_length for layout in layouts)
    real = sum(int(store.lengths[layout.index[layout.index >= 0]].sum()) for layout in layouts)
    return {
        "sampled_steps": len(layouts),
        "padding_share": round(1 - real / cells, 4),
        "tokens_per_step": round(real / len(layouts), 1),
        "shapes": len(shapes),
        "common_shapes": [
            {"rows": rows, "row_length": length, "steps": count}
            for (rows, length), count in shapes.most_common(SHOWN_SHAPES)
        ],
    }


def _rows(facts: dict[str, Any]) -> list[tuple[str, Any]]:
    rows: list[tuple[str, Any]] = []
    for split, values in facts["splits"].items():
        percentiles = " / ".join(map(str, values["length_percentiles"].values()))
        rows.append(
            (
                split,
                (
                    f"{values['examples']:,} examples, {values['tokens']:,} tokens, mean"
                    f" {values['mean_length']}, 50/90/99/100 %: {percentiles}"
                ),
            )
        )
    rows += [
        (f"labels of {split}", count_line(counts))
        for split, counts in facts["label_counts"].items()
    ]
    train = facts["train"]
    shapes = ", ".join(
        f"{shape['rows']}x{shape['row_length']} ({shape['steps']})"
        for shape in train["common_shapes"]
    )
    passes = (
        f"{facts['steps_per_epoch']:,} an epoch, {facts['epochs']:g} epochs"
        if facts["epochs"]
        else "train is streamed: of it, its first block is shown"
    )
    steps = f"{facts['steps']:,} ({passes})"
    rows += [
        ("steps", f"{steps}, {train['tokens_per_step']:,.0f} real tokens a step"),
        ("padding", f"{train['padding_share']:.1%} of the tokens computed"),
        (
            "shapes",
            (
                f"{train['shapes']} in {train['sampled_steps']:,} steps"
                f" ({'each compiled once' if facts['xla'] else 'not compiled: any shape will do'}):"
                f" {shapes}"
            ),
        ),
        ("memory (estimate)", _memory_row(facts["memory"])),
    ]
    if (machine := facts["memory"]["machine_mb"]) is not None:
        rows.append(("memory (this machine)", f"{machine:,} MB"))
    return rows


def _memory_row(estimate: dict[str, int | None]) -> str:
    replica = ", ".join(
        f"{name} {estimate[f'{name}_mb']:,} MB"
        for name in ("weights", "gradients", "optimizer", "activations", "total")
    )
    evaluation = estimate["evaluation_mb"]
    return f"{replica} a replica" + (
        f"; evaluation at least {evaluation:,} MB" if evaluation is not None else ""
    )


def _compiled_rows(checked: dict[str, Any], facts: dict[str, Any]) -> list[tuple[str, Any]]:
    rows: list[tuple[str, Any]] = []
    for shape in checked["shapes"]:
        name = f"{shape['step']} {shape['micro_batches']} x {shape['rows']} x {shape['row_length']}"
        rows.append(
            (
                name,
                f"does not compile: {shape['error']}" if "error" in shape else _compiled_row(shape),
            )
        )
    if largest := checked.get("largest"):
        rows.append(
            (
                "largest micro-batch",
                (
                    f"{largest['rows']:,} rows of {largest['row_length']} tokens, about"
                    f" {largest['examples']:,} examples ({largest['hbm_share']:.0%} of the memory)"
                ),
            )
        )
    if estimate := checked.get("estimate"):
        cost = (
            f" for {estimate['cost_per_epoch']:.2f}"
            if estimate["cost_per_epoch"] is not None
            else ""
        )
        rows.append(
            (
                "at best",
                (
                    f"{1000 * estimate['step_s']:.2f} ms a step,"
                    f" {estimate['real_tokens_per_s']:,.0f} tokens/s on {facts['replicas']}"
                    f" replicas, {'an epoch' if facts['epochs'] else 'all'} in"
                    f" {estimate['epoch_s']:,.1f} s{cost} (from published peaks, not measured)"
                ),
            )
        )
    if checked["note"]:
        rows.append(("note", checked["note"]))
    return rows


def _compiled_row(shape: dict[str, Any]) -> str:
    facts = [f"compiles ({shape['compile_s']:.0f} s)"]
    if "hbm_needed_bytes" in shape:
        facts += [
            f"{shape['hbm_needed_bytes'] / 1e9:.2f} GB ({shape['hbm_share']:.0%} of the memory)",
            f"{shape['flops'] / 1e9:,.0f} GFLOP",
            f"{shape['bytes'] / 1e9:.2f} GB moved",
            f"{1000 * shape['seconds_at_best']:.2f} ms at best",
        ]
    return ", ".join(facts)
