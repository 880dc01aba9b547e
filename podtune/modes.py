"""The verbs that are modes of the trainer: a config or a run's folder, and flags."""

from __future__ import annotations

import os
from collections.abc import Sequence

from trainer import task
from trainer.errors import ConfigError, shown_name
from trainer.files.mirror import SCHEME
from trainer.settings import flags

CONFIGS = (".yaml", ".yml")
DATA = (".csv", ".tsv", ".jsonl", ".json", ".conll", ".txt", ".tfrecord", ".gz")
WORD = {"train": "CONFIG", "plan": "CONFIG"}  # of the others, JOB_DIR


def train(arguments: Sequence[str]) -> int:
    """Trains, perhaps with several seeds. Returns the exit code, as all verbs do."""
    given, others = without_flag(arguments, "seeds")
    if given is None:
        return _run("train", others)
    from podtune import seeds

    wanted = seeds.seeds_of(given)
    if any(has_flag(others, name) for name in ("train.seed", "mode")):
        raise ConfigError("--seeds: --train.seed and --mode are said by it. Leave them out.")
    argv = _arguments("train", others)
    run = task.resolve_run(flags.parse(argv))
    _, shared = without_flag(argv[1:], "job_dir")
    return seeds.train(run.job_dir, wanted, shared, run.resolved)


def plan(arguments: Sequence[str]) -> int:
    """Says what a run would take."""
    return _run("plan", arguments)


def evaluate(arguments: Sequence[str]) -> int:
    """Scores a trained model."""
    return _run("evaluate", arguments)


def predict(arguments: Sequence[str]) -> int:
    """Answers texts; by itself, those of standard input."""
    if not has_flag(arguments, "input"):
        arguments = [*arguments, "--input=-"]
    return _run("predict", arguments)


def export(arguments: Sequence[str]) -> int:
    """Writes a trained model for those who serve it."""
    return _run("export", arguments)


def report(arguments: Sequence[str]) -> int:
    """Shows how good a trained model is, and where it fails."""
    return _run("report", arguments)


def _run(mode: str, arguments: Sequence[str]) -> int:
    return task.main(_arguments(mode, arguments))


def _arguments(mode: str, arguments: Sequence[str]) -> list[str]:
    """What the trainer is called with."""
    words, others = flags.split_words(arguments, flags.OWN)
    if has_flag(others, "mode"):
        raise ConfigError(f"--mode: podtune {mode} says it already. Leave --mode out.")
    word = only_word(mode, WORD.get(mode, "JOB_DIR"), words)
    places = [] if word is None else _places(mode, word)
    for flag in places:
        refuse_twice(word, flag, others)
    return [f"podtune {mode}", f"--mode={mode}", *places, *others]


def _places(mode: str, word: str) -> list[str]:
    """The flags that a config or a run's folder stands for."""
    if word.endswith(CONFIGS):
        return [f"--config={word}"]
    if mode not in WORD:
        return [f"--job_dir={word}"]
    folder = word.rstrip("/")
    is_run = word.startswith(SCHEME) or os.path.exists(
        os.path.join(os.path.expanduser(folder), "config.yaml")
    )
    if is_run:
        config = f"--config={folder}/config.yaml"
        return [config, f"--job_dir={folder}"] if mode == "train" else [config]
    if word.endswith(DATA):
        raise ConfigError(
            f"{shown_name(word)}: podtune {mode} takes a config, and this looks like data. podtune"
            f" init {shown_name(word)} writes a config for it."
        )
    return [f"--config={word}"]


def only_word(verb: str, meaning: str, words: Sequence[str]) -> str | None:
    """The one argument that is no flag, if any.

    Args:
        verb: for messages.
        meaning: of the argument, for messages.
        words: the arguments that are no flags.
    Raises:
        ConfigError: there are several.
    """
    if len(words) > 1:
        raise ConfigError(
            f"podtune {verb}: expected one {meaning}. Received {len(words)}:"
            f" {', '.join(map(shown_name, words))}. Settings are --SECTION.KEY=VALUE."
        )
    return words[0] if words else None


def has_flag(arguments: Sequence[str], name: str) -> bool:
    """Whether a flag is among arguments."""
    return any(
        argument.lstrip("-").split("=")[0] == name
        for argument in arguments
        if argument.startswith("-")
    )


def without_flag(arguments: Sequence[str], name: str) -> tuple[str | None, list[str]]:
    """The value of a flag, None where it is not given, and all other arguments.

    Args:
        arguments: of the command.
        name: of the flag, --NAME=VALUE or --NAME VALUE.
    """
    value = None
    others = []
    left = iter(arguments)
    for argument in left:
        key, is_joined, joined = argument.lstrip("-").partition("=")
        if argument.startswith("-") and key == name:
            value = joined if is_joined else next(left, "")
        else:
            others.append(argument)
    return value, others


def refuse_twice(word: str | None, flag: str, others: Sequence[str]) -> None:
    """Raises ConfigError where a flag says again what an argument has said.

    Args:
        word: the argument.
        flag: that it stands for, --NAME=VALUE.
        others: the flags that were given.
    """
    name = flag.removeprefix("--").split("=")[0]
    if has_flag(others, name):
        raise ConfigError(f"--{name}: {shown_name(word)} says it already. Give one of the two.")
