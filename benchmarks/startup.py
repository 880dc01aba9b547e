"""From the command to the first step, warm: the data is encoded, the weights are here.

usage: startup.py [--rounds=5] [--keep]

Ours is asked by its own timeline, beside Hugging Face's Trainer on the same texts, whose time is
taken from the start of the process to the end of its first step.
"""

from __future__ import annotations

import json
import pathlib
import statistics
import sys
import tempfile
import time

from absl import app, flags

HERE = pathlib.Path(__file__).parent
sys.path.insert(0, str(HERE.parent))

from benchmarks import turns  # noqa: E402
from benchmarks.training import config_of, local, write_bbc  # noqa: E402

FLAGS = flags.FLAGS


def main(argv: list[str]) -> None:
    del argv
    seconds: dict[str, list[float]] = {"ours": [], "hf": []}
    with tempfile.TemporaryDirectory() as scratch:
        folder = pathlib.Path(scratch)
        split = write_bbc(folder)
        config = config_of(split, folder)
        config["data"] |= {"limit": 256, "cache_dir": str(folder / "cache")}
        config["train"] |= {"epochs": None, "steps": 1}
        file = folder / "run.yaml"
        file.write_text(json.dumps(config))
        for turn in range(FLAGS.rounds + 1):
            found = {"ours": ours(file, folder / f"job_{turn}"), "hf": theirs(split, folder)}
            for system, taken in found.items():
                if turn:  # the first encodes the data
                    seconds[system].append(taken)
            print(found, flush=True)
    for system, taken in seconds.items():
        print(f"{system}: {statistics.median(taken):.1f} s ({min(taken):.1f} to {max(taken):.1f})")
    if FLAGS.keep:
        turns.keep("startup", {"seconds": seconds})


def ours(config: pathlib.Path, job_dir: pathlib.Path) -> float:
    """Seconds of all phases before training, the first step included."""
    turns.run([sys.executable, "-m", "trainer.task", f"--config={config}", f"--job_dir={job_dir}"])
    timeline = json.loads((job_dir / "results.json").read_text())["timeline"]
    phases = ("startup_s", "prepare_s", "compile_s", "train_s", "input_wait_s")
    return round(sum(timeline.get(phase, 0.0) for phase in phases), 2)


def theirs(split: tuple[pathlib.Path, pathlib.Path], scratch: pathlib.Path) -> float:
    """Seconds from the start of the process to the end of its only step."""
    train, dev = map(str, split)
    arguments = {
        "weights": local(FLAGS.weights),
        "train": train,
        "dev": dev,
        "text": "text",
        "label": "label",
        "examples": 32,
        "seq_len": FLAGS.seq_len,
        "precision": "float32",
        "grouped": False,
        "only_first_step": True,
    }
    begun = time.time()
    script = HERE / "peers" / "hf_trainer.py"
    output, _ = turns.run([sys.executable, str(script), json.dumps(arguments)], scratch)
    return round(json.loads(output.strip().splitlines()[-1])["ended"] - begun, 2)


if __name__ == "__main__":
    app.run(main)
