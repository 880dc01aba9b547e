"""--mode=plan: what a run would cost, before it is paid for."""

from __future__ import annotations

import math
import pathlib
from collections import Counter
from typing import Any

import numpy as np

from trainer.assembly import Parts, make_parts, prepare_data
from trainer.backbones.encoder import EncoderConfig
from trainer.config import TrainSettings
from trainer.data.batching import Layout, TrainingPlan
from trainer.data.prepare import Prepared
from trainer.data.store import TokenStore
from trainer.display import Display, print_result
from trainer.distribution import make_strategy
from trainer.loop import total_steps, training_layouts
from trainer.optimization import OPTIMIZERS
from trainer.resolve import Resolved
from trainer.steps import use_xla
from trainer.storage import write_json

SHOWN_SHAPES = 8
SAMPLED_STEPS = 200  # of a long run, laid out to learn its shapes


def plan(resolved: Resolved, job_dir: pathlib.Path | None, display: Display) -> dict[str, Any]:
    """Prepares the data, lays out the steps, prints a table and writes plan.json into the job_dir if there is one."""
    strategy, line = make_strategy(resolved.config.distribution)
    display.line(line)
    parts = make_parts(resolved.config, display)
    prepared = prepare_data(parts)
    facts = describe(parts, prepared, replicas=strategy.num_replicas_in_sync)
    if job_dir is not None:
        write_json(job_dir / "plan.json", facts)
    display.table("Plan", _rows(facts))
    print_result(f"{facts['steps']:,} steps, {facts['train']['padding_share']:.1%} padding, {facts['memory']['total_mb']:,} MB")
    return facts


def describe(parts: Parts, prepared: Prepared, *, replicas: int) -> dict[str, Any]:
    """The plan's facts, as plan.json has them. Shapes and memory are those of one micro-batch of one replica."""
    settings = parts.config.train
    store = prepared.splits["train"]
    steps_plan = TrainingPlan(len(store), settings.global_batch_size, settings.seed)
    steps = total_steps(settings, steps_plan)
    sampled = range(min(steps, steps_plan.steps_per_epoch, SAMPLED_STEPS))
    layouts = list(training_layouts(parts.config, store, steps_plan, sampled, shards=replicas * settings.micro_batches))
    return {
        "splits": {split: _lengths(store) for split, store in prepared.splits.items()},
        "labels": prepared.vocabulary.get("train_counts", {}),
        "steps": steps, "steps_per_epoch": steps_plan.steps_per_epoch, "epochs": round(steps / steps_plan.steps_per_epoch, 3),
        "train": _padding(layouts, store),
        "replicas": replicas, "micro_batches": settings.micro_batches, "xla": use_xla(settings),
        "memory": memory(parts.backbone, layouts, settings),
        "ledger": prepared.ledger.entries,
    }


def _lengths(store: TokenStore) -> dict[str, Any]:
    lengths = store.lengths
    return {"examples": len(store), "tokens": int(lengths.sum()), "mean_length": round(float(lengths.mean()), 1),
            "length_percentiles": {str(p): int(np.percentile(lengths, p)) for p in (50, 90, 99, 100)}}


def _padding(layouts: list[Layout], store: TokenStore) -> dict[str, Any]:
    shapes = Counter((layout.rows, layout.row_length) for layout in layouts)
    cells = sum(len(layout.index) * layout.rows * layout.row_length for layout in layouts)
    real = sum(int(store.lengths[layout.index[layout.index >= 0]].sum()) for layout in layouts)
    return {"sampled_steps": len(layouts), "padding_share": round(1 - real / cells, 4), "tokens_per_step": round(real / len(layouts), 1), "shapes": len(shapes),
            "common_shapes": [{"rows": rows, "row_length": length, "steps": count} for (rows, length), count in shapes.most_common(SHOWN_SHAPES)]}


def memory(config: EncoderConfig, layouts: list[Layout], settings: TrainSettings) -> dict[str, int]:
    """An estimate, in MB, of one replica: weights, gradients, optimizer slots, and what the largest step keeps for its backward pass.

    Per layer and token: the inputs of the matrix products and of the nonlinear functions (about 8 H + 2 I numbers, for
    the norms, projections and the activation), and the attention probabilities, 2 N numbers a pair of tokens.
    """
    width, inner, heads = config.hidden_size, config.intermediate_size, config.heads
    per_layer = 4 * width * width + 2 * width * inner + 9 * width + inner
    embeddings = (config.vocabulary_size + config.max_positions + config.segment_types) * config.embedding_size
    weights = 4 * (embeddings + config.layers * per_layer + width * width)
    slots = sum(math.prod(shape) for shape in OPTIMIZERS[settings.optimizer].slots((weights // (4 * width), width)).values())
    kept = 4 * slots + (weights if settings.ema_decay else 0)
    number = 4 if settings.precision == "float32" else 2
    activations = max(layout.rows * layout.row_length * config.layers * number * (8 * width + 2 * inner + 2 * heads * layout.row_length)
                      for layout in layouts)
    parts = {"weights": weights, "gradients": weights, "optimizer": kept, "activations": activations}
    return {**{f"{name}_mb": round(value / 1e6) for name, value in parts.items()}, "total_mb": round(sum(parts.values()) / 1e6)}


def _rows(facts: dict[str, Any]) -> list[tuple[str, Any]]:
    rows: list[tuple[str, Any]] = []
    for split, values in facts["splits"].items():
        percentiles = " / ".join(map(str, values["length_percentiles"].values()))
        rows.append((split, f"{values['examples']:,} examples, {values['tokens']:,} tokens, mean {values['mean_length']}, 50/90/99/100 %: {percentiles}"))
    if facts["labels"]:
        rows.append(("labels", ", ".join(f"{name} {count:,}" for name, count in list(facts["labels"].items())[:20])))
    train = facts["train"]
    shapes = ", ".join(f"{shape['rows']}x{shape['row_length']} ({shape['steps']})" for shape in train["common_shapes"])
    steps = f"{facts['steps']:,} ({facts['steps_per_epoch']:,} an epoch, {facts['epochs']:g} epochs)"
    rows += [("steps", f"{steps}, {train['tokens_per_step']:,.0f} real tokens a step"),
             ("padding", f"{train['padding_share']:.1%} of the tokens computed"),
             ("shapes", f"{train['shapes']} ({'each compiled once' if facts['xla'] else 'not compiled: any shape will do'}): {shapes}"),
             ("memory (estimate)", ", ".join(f"{name.removesuffix('_mb')} {value:,} MB" for name, value in facts["memory"].items()))]
    return rows
