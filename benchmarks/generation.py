"""Generation speed beside Hugging Face's generate (PyTorch): the same random GPT-2, prompts and
number of new tokens, greedy, in one run.

usage: generation.py [--hidden=384 --layers=6 --heads=6 --words=4096] [--batches=1,16] [--prompt=32]
[--new=100] [--rounds=5] [--peer_python=PYTHON]

`--peer_python` is a Python that has torch and transformers, where this one has not. The systems
take turns; medians are printed, and each one's first call, which compiles, apart. Both write the
same tokens: that is checked.
"""

from __future__ import annotations

import json
import pathlib
import random
import statistics
import sys
import tempfile
import time

from absl import app, flags

HERE = pathlib.Path(__file__).parent
sys.path.insert(0, str(HERE.parent))

from benchmarks import turns  # noqa: E402

FLAGS = flags.FLAGS
flags.DEFINE_integer("hidden", 384, "H")
flags.DEFINE_integer("layers", 6, "of the decoder")
flags.DEFINE_integer("heads", 6, "N")
flags.DEFINE_integer("words", 4096, "V")
flags.DEFINE_list("batches", ["1", "16"], "prompts at once")
flags.DEFINE_integer("prompt", 32, "tokens of a prompt")
flags.DEFINE_integer("new", 100, "tokens to write")
flags.DEFINE_integer("rounds", 5, "turns of each system")
flags.DEFINE_bool("keep", False, "write docs/benchmarks/generation.json")
flags.DEFINE_string(
    "ours", None, "for the benchmark itself: answer prompts with the model in this folder"
)
flags.DEFINE_string("peer_python", sys.executable, "a Python with torch and transformers")


SYSTEMS = {  # the process, and how it is to write
    "podtune, compiled": ("ours", "compiled"),
    "podtune, as served": ("ours", "as served"),
    "podtune, as served, set": ("ours, set", "as served"),
    "Hugging Face generate": ("peer", ""),
}
# as docs/serving.md advises for one prompt at a time
SET = {
    "TF_ENABLE_ONEDNN_OPTS": "0",
    "TF_NUM_INTRAOP_THREADS": "1",
    "TF_NUM_INTEROP_THREADS": "1",
}


def main(argv: list[str]) -> None:
    if FLAGS.ours:
        answer_prompts(pathlib.Path(FLAGS.ours))
        return
    with tempfile.TemporaryDirectory() as scratch:
        settings = {
            "folder": scratch,
            "words": FLAGS.words,
            "hidden": FLAGS.hidden,
            "layers": FLAGS.layers,
            "heads": FLAGS.heads,
            "positions": FLAGS.prompt + FLAGS.new,
            "new": FLAGS.new,
        }
        # which writes the model
        children = {
            "peer": turns.Child(
                [FLAGS.peer_python, str(HERE / "peers" / "hf_generate.py"), json.dumps(settings)]
            )
        }
        command = [sys.executable, __file__, f"--ours={scratch}", f"--new={FLAGS.new}"]
        children["ours"] = turns.Child(command)
        children["ours, set"] = turns.Child(command, variables=SET)
        found = {}
        for batch in map(int, FLAGS.batches):
            random.seed(batch)
            prompts = [
                [random.randrange(1, FLAGS.words) for _ in range(FLAGS.prompt)]
                for _ in range(batch)
            ]
            answers: dict[str, list[dict]] = {name: [] for name in SYSTEMS}
            for _ in range(FLAGS.rounds + 1):
                for name, (child, how) in SYSTEMS.items():
                    answers[name].append(children[child].ask({"prompts": prompts, "how": how}))
            show(batch, answers)
            found[str(batch)] = {
                name: [answer["seconds"] for answer in own[1:]] for name, own in answers.items()
            }
        for child in children.values():
            child.close()
    if FLAGS.keep:
        turns.keep("generation", {"prompt": FLAGS.prompt, "new": FLAGS.new, "seconds": found})


def show(batch: int, answers: dict[str, list[dict]]) -> None:
    """A line a system; the first call is told apart."""
    seconds = {name: [answer["seconds"] for answer in found[1:]] for name, found in answers.items()}
    theirs = seconds["Hugging Face generate"]
    for name, times in seconds.items():
        same = answers[name][-1]["tokens"] == answers["Hugging Face generate"][-1]["tokens"]
        print(
            f"batch {batch:3d}  {name:24s} {batch * FLAGS.new / statistics.median(times):9.1f}"
            f" tokens/s  first call {answers[name][0]['seconds']:6.2f} s "
            f" {turns.shown(turns.ratio(theirs, times))} times the peer"
            f"{'' if same else '  OTHER TOKENS'}",
            flush=True,
        )


def answer_prompts(folder: pathlib.Path) -> None:
    """Our side: a JSON object a line in, one out."""
    from trainer.machine.allocator import keep_memory

    keep_memory()
    import tensorflow as tf

    from trainer.backbones import huggingface
    from trainer.heads._generation.decoding import Decoding
    from trainer.heads._generation.loop import Generator

    backbone, _ = huggingface.load_backbone(folder)
    decoding = Decoding(FLAGS.new, eos_id=None, pad_id=0)
    functions = {
        how: tf.function(
            Generator(backbone, decoding, compiled=how == "compiled").generate,
            jit_compile=how == "compiled",
            autograph=False,
        )
        for how in ("compiled", "as served")
    }
    print("ready", flush=True)
    for line in sys.stdin:
        request = json.loads(line)
        prompts = tf.constant(request["prompts"], tf.int32)
        start = time.perf_counter()
        tokens = functions[request["how"]](
            prompts, tf.fill([len(prompts)], prompts.shape[1]), tf.constant([0, 0])
        )["token_ids"].numpy()
        print(
            json.dumps({"seconds": time.perf_counter() - start, "tokens": tokens.tolist()}),
            flush=True,
        )


if __name__ == "__main__":
    app.run(main)
