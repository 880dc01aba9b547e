"""Draws docs/benchmarks.md and its plots from what the benchmarks kept.

usage: page.py
"""

from __future__ import annotations

import json
import pathlib
import statistics
import sys
from collections.abc import Mapping, Sequence

import matplotlib as mpl

HERE = pathlib.Path(__file__).parent
sys.path.insert(0, str(HERE.parent))

from benchmarks import turns  # noqa: E402

mpl.use("svg")
mpl.rcParams["svg.hashsalt"] = "podtune"  # the same file each time
mpl.rcParams["svg.fonttype"] = "none"

from matplotlib import pyplot as plt  # noqa: E402

NAMES = {
    "ours": "podtune",
    "hf": "Hugging Face Trainer, as it comes",
    "hf_grouped": "Hugging Face Trainer, group_by_length",
    "keras_hub": "KerasHub fit",
    "torch_loop": "a PyTorch loop: sdpa, fused AdamW, by length",
    "pipeline": "Hugging Face pipeline",
    "onnxruntime": "ONNX Runtime, float32",
    "openvino": "OpenVINO, float32",
}
TRAINING = {
    "training_sst2": "SST-2, sentences",
    "training_sst2_avx2": "SST-2, sentences, AVX2",
    "training_sst2_tcmalloc_avx2": "SST-2, sentences, AVX2, tcmalloc under both",
    "training_sst2_bfloat16": "SST-2, sentences",
    "training_sst2_tcmalloc": "SST-2, sentences, tcmalloc under both",
    "training_full_avx2": "BBC News, articles: rows of 128 tokens without padding, AVX2",
    "training_imdb_avx2": "IMDB, reviews, AVX2",
    "training_conll2003": "CoNLL-2003, sentences to tag",
    "training_conll2003_avx2": "CoNLL-2003, sentences to tag, AVX2",
    "training_squad": "SQuAD, questions",
}
# What START says of faster and slower holds for the figures that are kept: look again at new ones.
START = """# Benchmarks

podtune beside Hugging Face's Trainer, ONNX Runtime and OpenVINO, on CPUs. It trains faster than the
Trainer in every table below. It falls behind in three things:

- One sentence at a time is answered faster by ONNX Runtime and OpenVINO: see [Serving](#serving).
  On a processor with AMX so it is by Hugging Face's pipeline: 7.3 ms beside 10.0.
- The first step comes later than the Trainer's: see [Start](#start).
- Training on short texts takes more memory than the Trainer: see [Training](#training).

How the figures were made:

- The systems took turns in one run. Each ran in a process of its own, as its users start it.
- All had the same texts, weights, batch size and precision.
- A ratio is taken turn by turn. Its median stands first, then the least and the most of the turns.
- Only real tokens are counted, no padding.
- The same examples form a step as with Hugging Face's default sampling. podtune's rows then hold
  several examples each, with attention kept inside each.

`make bench` measures all of it anew, and KerasHub's `fit` besides. `benchmarks/page.py` writes this
page. Whole runs are in [scores](scores.md). [Performance](performance.md) says where a step's time
goes, and [status](status.md) what could not be measured.
"""
WAYS = """Hugging Face's `generate` writes the same tokens.

- *Compiled* is how files are continued.
- *As served* needs no compiling.
- *Set* is with one thread, as [Threads](serving.md#threads) says.
"""


def main() -> None:
    """Writes the page."""
    parts = [START]
    kept = {file.stem: json.loads(file.read_text()) for file in turns.RESULTS.glob("*.json")}
    trained = {name: title for name, title in TRAINING.items() if name in kept}
    if trained:
        parts.append("## Training\n")
        parts += [training_table(title, kept[name]) for name, title in trained.items()]
        ratios = {
            title: kept[name]["ratios"]["hf_grouped"]
            for name, title in trained.items()
            if "hf_grouped" in kept[name]["ratios"]
        }
        label = "times as fast as Hugging Face's Trainer, group_by_length"
        draw("training", ratios, label)
        parts.append("![Training](benchmarks/training.svg)\n")
    if "serving" in kept:
        parts.append(serving(kept["serving"]))
    if "generation" in kept:
        parts.append(generation(kept["generation"]))
    if "startup" in kept:
        parts.append(startup(kept["startup"]))
    parts += [tokenizing(kept[name]) for name in ("tokenizing",) if name in kept]
    page = HERE.parent / "docs" / "benchmarks.md"
    page.write_text("\n".join(parts), encoding="utf-8")


def training_table(title: str, found: Mapping) -> str:
    """A line a system."""
    rows = []
    for system, runs in found["runs"].items():
        tokens, memory = (
            statistics.median(run[name] for run in runs)
            for name in ("real_tokens_per_s", "peak_mb")
        )
        times = turns.shown(found["ratios"][system]) if system in found["ratios"] else ""
        rows.append([NAMES[system], f"{tokens:,.0f}", times, f"{memory:,.0f} MB"])
    head = ["", "real tokens/s", "podtune is … times as fast", "peak memory"]
    made = len(next(iter(found["runs"].values())))
    facts = (
        f"{found['examples']:,} of them, at most {found['seq_len']} tokens; batch 32, MiniLM-L6,"
        f" {found['precision']}, {made} turns."
    )
    return f"### {title}\n{facts}\n\n{table(head, rows)}\n\n{machine(found)}\n"


def serving(found: Mapping) -> str:
    """Milliseconds by system and batch."""
    parts = ["## Serving\n\nStrings in, probabilities out, MiniLM-L6, short sentences of SST-2.\n"]
    for batch, seen in found["milliseconds"].items():
        rows = [
            [
                NAMES[name],
                f"{statistics.median(times):.1f} ms",
                "" if name == "ours" else turns.shown(turns.ratio(times, seen["ours"])),
            ]
            for name, times in seen.items()
        ]
        texts = "One text" if batch == "1" else f"{batch} texts"
        parts.append(f"### {texts}\n\n{table(['', 'time', 'times podtune'], rows)}\n")
        draw(
            f"serving_{batch}",
            {
                NAMES[name]: turns.ratio(times, seen["ours"])
                for name, times in seen.items()
                if name != "ours"
            },
            f"{texts.lower()}: time, in times of podtune's",
        )
        parts.append(f"![{texts}](benchmarks/serving_{batch}.svg)\n")
    return "\n".join([*parts, machine(found), ""])


def generation(found: Mapping) -> str:
    """Tokens a second by system and batch."""
    parts = [
        "## Generation\n\nA random GPT-2 of 10 million parameters continues prompts of"
        f" {found['prompt']} tokens by {found['new']} new ones, greedily.\n{WAYS}"
    ]
    for batch, seen in found["seconds"].items():
        theirs = seen["Hugging Face generate"]
        rows = [
            [
                name,
                f"{int(batch) * found['new'] / statistics.median(times):,.0f}",
                turns.shown(turns.ratio(theirs, times)),
            ]
            for name, times in seen.items()
        ]
        head = ["", "tokens/s", "times Hugging Face's"]
        parts.append(f"### Prompts at once: {batch}\n\n{table(head, rows)}\n")
    return "\n".join([*parts, machine(found), ""])


def startup(found: Mapping) -> str:
    """Seconds from the command to the first step."""
    names = {"ours": "podtune", "hf": "Hugging Face Trainer"}
    rows = [
        [
            names[name],
            f"{statistics.median(seconds):.1f} s",
            f"{min(seconds):.1f} to {max(seconds):.1f}",
        ]
        for name, seconds in found["seconds"].items()
    ]
    head = ["", "command to the end of the first step, warm", "turns"]
    return f"## Start\n\n{table(head, rows)}\n\n{machine(found)}\n"


def tokenizing(found: Mapping) -> str:
    """Tokens a second."""
    names = {"trainer": "podtune, in the graph", "hugging_face": "Hugging Face, fast tokenizer"}
    rows = [
        [names[name], f"{found['tokens'] / statistics.median(seconds) / 1e6:.2f} M"]
        for name, seconds in found["seconds"].items()
    ]
    ratio = turns.ratio(found["seconds"]["hugging_face"], found["seconds"]["trainer"])
    return (
        f"## Tokenizing\n\nWordPiece, {found['texts']:,} texts, no token different.\n\n"
        f"{table(['', 'tokens/s'], rows)}\n\npodtune is {turns.shown(ratio)} times as fast."
        f"\n\n{machine(found)}\n"
    )


def machine(found: Mapping) -> str:
    """Where a figure was measured."""
    return f"Measured on {found['machine']}."


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """In Markdown."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def draw(name: str, ratios: Mapping[str, Mapping[str, float]], label: str) -> None:
    """Bars of ratios with their least and most; 1 is as fast."""
    figure, axes = plt.subplots(figsize=(8, 0.6 + 0.5 * len(ratios)))
    medians = [found["median"] for found in ratios.values()]
    below = [found["median"] - found["least"] for found in ratios.values()]
    above = [found["most"] - found["median"] for found in ratios.values()]
    axes.barh(list(ratios), medians, xerr=[below, above], color="#4c78a8", capsize=3)
    axes.axvline(1, color="#333333", linewidth=1)
    axes.set_xlabel(label)
    axes.invert_yaxis()
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    figure.tight_layout()
    figure.savefig(turns.RESULTS / f"{name}.svg", metadata={"Date": None})
    plt.close(figure)


if __name__ == "__main__":
    main()
