"""Generation speed beside Hugging Face's generate (PyTorch): the same random GPT-2, prompts and number of new tokens, greedy, in one run.

usage: generation.py [--hidden=384 --layers=6 --heads=6 --words=4096] [--batches=1,16] [--prompt=32] [--new=100] [--rounds=5] [--peer_python=PYTHON]

`--peer_python` is a Python that has torch and transformers, where this one has not. The systems take turns; medians are printed, and each
one's first call, which compiles, apart. Both write the same tokens: that is checked.
"""

from __future__ import annotations

import json
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time

from absl import app, flags

HERE = pathlib.Path(__file__).parent
FLAGS = flags.FLAGS
flags.DEFINE_integer("hidden", 384, "H")
flags.DEFINE_integer("layers", 6, "of the decoder")
flags.DEFINE_integer("heads", 6, "N")
flags.DEFINE_integer("words", 4096, "V")
flags.DEFINE_list("batches", ["1", "16"], "prompts at once")
flags.DEFINE_integer("prompt", 32, "tokens of a prompt")
flags.DEFINE_integer("new", 100, "tokens to write")
flags.DEFINE_integer("rounds", 5, "turns of each system")
flags.DEFINE_string("peer_python", sys.executable, "a Python with torch and transformers")


def main(argv: list[str]) -> None:
    del argv
    import numpy as np
    import tensorflow as tf

    from trainer.backbones import huggingface
    from trainer.heads._generation import Decoding, Generator

    with tempfile.TemporaryDirectory() as scratch:
        folder = pathlib.Path(scratch)
        settings = {"folder": scratch, "words": FLAGS.words, "hidden": FLAGS.hidden, "layers": FLAGS.layers, "heads": FLAGS.heads,
                    "positions": FLAGS.prompt + FLAGS.new, "new": FLAGS.new}
        command = [FLAGS.peer_python, str(HERE / "peers" / "hf_generate.py"), json.dumps(settings)]
        peer = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        peer.stdout.readline()  # the model is written
        backbone, _ = huggingface.load_backbone(folder)
        generator = Generator(backbone, Decoding(FLAGS.new, eos_id=None, pad_id=0))
        systems = {"podtune, compiled": tf.function(generator.generate, jit_compile=True, autograph=False),
                   "podtune, as served": tf.function(generator.generate, autograph=False)}
        for batch in map(int, FLAGS.batches):
            prompts = np.random.default_rng(batch).integers(1, FLAGS.words, (batch, FLAGS.prompt)).astype(np.int32)
            seconds: dict[str, list[float]] = {name: [] for name in (*systems, "Hugging Face generate")}
            for _ in range(FLAGS.rounds + 1):
                written = {}
                for name, function in systems.items():
                    start = time.perf_counter()
                    written[name] = function(tf.constant(prompts), tf.fill([batch], FLAGS.prompt), tf.constant([0, 0]))["token_ids"].numpy().tolist()
                    seconds[name].append(time.perf_counter() - start)
                peer.stdin.write(json.dumps(prompts.tolist()) + "\n")
                peer.stdin.flush()
                answer = json.loads(peer.stdout.readline())
                seconds["Hugging Face generate"].append(answer["seconds"])
                same = {name: tokens == answer["tokens"] for name, tokens in written.items()}
            theirs = statistics.median(seconds["Hugging Face generate"][1:])
            for name, times in seconds.items():
                ratios = sorted(other / mine for mine, other in zip(times[1:], seconds["Hugging Face generate"][1:], strict=True))
                print(f"batch {batch:3d}  {name:22s} {batch * FLAGS.new / statistics.median(times[1:]):9.1f} tokens/s  first call {times[0]:6.2f} s  "
                      f"{theirs / statistics.median(times[1:]):5.2f} times the peer (turn by turn {ratios[0]:.2f} to {ratios[-1]:.2f})"
                      f"{'' if same.get(name, True) else '  OTHER TOKENS'}", flush=True)
        peer.stdin.close()
        peer.wait()


if __name__ == "__main__":
    sys.path.insert(0, str(HERE.parent))
    app.run(main)
