"""`podtune choose CONFIG --backbones=a,b,c`: which pretrained model to take.

Each is planned, then all are trained on a part of train; half of them go on to twice as much, until
one is left, or the time is up. Each training is a run of its own in a folder of one job_dir, and
goes on where it was stopped.

Source: Jamieson and Talwalkar 2016, successive halving.
"""

from __future__ import annotations

import dataclasses
import pathlib
import re
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence

from podtune.modes import CONFIGS, has_flag
from trainer import task
from trainer.console import standard_streams
from trainer.errors import ConfigError, shown_name, shown_value
from trainer.files import mirror
from trainer.files.writing import writable_path
from trainer.report.choice import Trial, choice, rank
from trainer.report.evidence import read_evidence
from trainer.report.files import require_ours, write_page
from trainer.report.say import speaker
from trainer.run.job import Job
from trainer.settings import flags
from trainer.settings.flags import Flag
from trainer.settings.resolve import Resolved

OWN = (
    Flag("backbones", None, "", "weights, with commas"),
    Flag("budget", None, "", "a time such as 30m"),
    Flag("job_dir", None, "", "a folder"),
)
TIME = re.compile(r"(\d+(?:\.\d+)?)([smh])")
SECONDS = {"s": 1, "m": 60, "h": 3600}
MOST = 32  # backbones
MORE_DATA = 2.0  # times as long, of twice the data
PAGE = "choice.html"
OF_TOKENS = ("causal_lm", "masked_lm")  # heads
SAY_NOTHING = ("model", "models", "weights", "checkpoint", "pkg", "hf", "gs", "main")
SAID_BY_IT = ("backbone.weights", "data.part", "mode", "train.seed", "input", "output")
# of each training: what is asked is validation alone
QUIET = (
    "--data.test=null",
    "--report.write=false",
    "--report.predictions=true",
    "--report.fail=false",
    "--report.behaviour=null",
    "--report.against=null",
    "--export.format=none",
)


@dataclasses.dataclass(frozen=True)
class Choice:
    """What the command line asks for.

    Attributes:
        config: the file.
        backbones: their weights, by a name each.
        budget_s: in which all is to be done, about; None: no limit.
        folder: gets the runs and the page.
        settings: further flags.
        resolved: the config with the first of them.
    """

    config: str
    backbones: dict[str, str]
    budget_s: float | None
    folder: str
    settings: list[str]
    resolved: Resolved


def run(arguments: Sequence[str]) -> int:
    """Chooses. Returns the exit code: that of the first training that fails, else 0.

    Raises:
        ConfigError: the command line or the config is wrong.
    """
    asked = _parse(arguments)
    page = writable_path(f"{asked.folder}/{PAGE}")
    for file in (page, page.with_suffix(".json")):
        require_ours(file, "--job_dir")
    begun = time.monotonic()
    for name, weights in asked.backbones.items():
        code = _trainer(asked, weights, f"{asked.folder}/{name}/plan", "--mode=plan")
        if code:
            return code
    trials: list[Trial] = []
    left = list(asked.backbones)
    for part in parts_of(len(left)):
        if not _fits(asked, left, trials, time.monotonic() - begun):
            standard_streams.print_text(
                f"--budget: no time is left to train {', '.join(left)} on {part:.0%} of train"
            )
            break
        for name in left:
            code = _train(asked, name, part)
            if code:
                return code
            trials.append(_trial(asked, name, part))
        left = rank([trial for trial in trials if trial.part == part])[: -(-len(left) // 2)]
    _write(asked, trials, page)
    return 0


def _parse(arguments: Sequence[str]) -> Choice:
    words, others = flags.split_words(arguments, OWN)
    if len(words) != 1 or not words[0].endswith(CONFIGS):
        received = ", ".join(map(shown_name, words)) or "nothing"
        raise ConfigError(f"podtune choose: expected one CONFIG, a YAML file. Received {received}.")
    for name in SAID_BY_IT:
        if has_flag(others, name):
            raise ConfigError(f"--{name}: podtune choose says it itself. Leave it out.")
    own, _ = flags.parse_flags(["podtune choose", *others], OWN)
    backbones = names_of(str(own["backbones"] or ""))
    budget = None if own["budget"] is None else seconds_of(str(own["budget"]))
    settings = [each for each in others if not _is_own(each)]
    folder = str(own["job_dir"] or f"runs/{pathlib.PurePath(words[0]).stem}_choice").rstrip("/")
    command = ["podtune choose", "--mode=train", f"--config={words[0]}", *settings]
    weights = next(iter(backbones.values()))
    parsed = flags.parse([*command, f"--backbone.weights={weights}", *QUIET])
    resolved = task.resolve_run(parsed).resolved
    if resolved.config.data.validation is None:
        raise ConfigError(
            "podtune choose: models are compared on data.validation, and the config has none. Give"
            " one, such as --data.validation=0.1."
        )
    if resolved.config.head.name in OF_TOKENS:
        raise ConfigError(
            f"podtune choose: head {resolved.config.head.name} is scored by token, and models with"
            " other tokens cannot be compared by that. Compare them on a task."
        )
    return Choice(words[0], backbones, budget, folder, settings, resolved)


def _is_own(argument: str) -> bool:
    return argument.lstrip("-").partition("=")[0] in {flag.name for flag in OWN}


def names_of(text: str) -> dict[str, str]:
    """The weights that a list names, by the last part of each that tells them apart.

    Raises ConfigError where they are fewer than two, too many, or named twice.
    """
    weights = [part.strip() for part in text.split(",") if part.strip()]
    if len(set(weights)) < len(weights) or not 2 <= len(weights) <= MOST:
        raise ConfigError(
            f"--backbones: expected 2 to {MOST} weights with commas between them, each once."
            f" Received {shown_value(text)}."
        )
    telling = [_parts(each) for each in weights]
    for depth in range(1, 10):
        names = ["_".join(parts[-depth:]) for parts in telling]
        if len(set(names)) == len(names):
            return dict(zip(names, weights, strict=True))
    return {f"model_{number}": each for number, each in enumerate(weights, 1)}


def _parts(weights: str) -> list[str]:
    """Of a path or a name those that tell, such as bert-base-cased."""
    parts = re.findall(r"[^/:@]+", weights)
    return [part for part in parts if part not in SAY_NOTHING] or parts


def seconds_of(text: str) -> float:
    """30m, 1.5h or 90s in seconds. Raises ConfigError where it is none."""
    match = TIME.fullmatch(text)
    if match is None or not float(match[1]):
        raise ConfigError(f"--budget: expected a time such as 30m. Received {shown_value(text)}.")
    return float(match[1]) * SECONDS[match[2]]


def parts_of(count: int) -> Iterator[float]:
    """The shares of train that are trained on, one after the other; the last is all."""
    rounds = max(2, 1 + (count - 1).bit_length())
    return (2.0 ** (number - rounds + 1) for number in range(rounds))


def _fits(asked: Choice, left: Sequence[str], trials: Sequence[Trial], spent_s: float) -> bool:
    """Whether there is time for another round, as far as the one before tells."""
    if asked.budget_s is None or not trials:
        return True
    before = {trial.name: trial.seconds for trial in trials}  # the last of each
    return spent_s + MORE_DATA * sum(before[name] for name in left) <= asked.budget_s


def _run_dir(asked: Choice, name: str, part: float) -> str:
    return f"{asked.folder}/{name}/part_{part:g}"


def _train(asked: Choice, name: str, part: float) -> int:
    share = f"--data.part={'null' if part == 1 else f'{part:g}'}"
    return _trainer(
        asked, asked.backbones[name], _run_dir(asked, name, part), "--mode=train", *QUIET, share
    )


def _trainer(asked: Choice, weights: str, job_dir: str, *further: str) -> int:
    """Runs the trainer in a process of its own, so that it has the machine's memory for itself."""
    command = [sys.executable, "-m", "trainer.task", f"--config={asked.config}", *asked.settings]
    command += [f"--backbone.weights={weights}", f"--job_dir={job_dir}", *further]
    code = subprocess.run(command, check=False).returncode
    return code if code >= 0 else 128 - code


def _trial(asked: Choice, name: str, part: float) -> Trial:
    evidence = read_evidence(Job(_run_dir(asked, name, part)))
    evidence = dataclasses.replace(
        evidence, name=name, splits={"validation": evidence.splits["validation"]}
    )
    return Trial(name, part, evidence)


def _write(asked: Choice, trials: Sequence[Trial], page: pathlib.Path) -> None:
    """The page, and what it says in a line."""
    language = asked.resolved.config.report.language
    sections = choice(trials, speaker(language))
    facts = sections[0].facts
    title = f"{pathlib.PurePath(asked.config).stem}: {', '.join(asked.backbones)}"
    write_page(page, title, sections, language)
    standard_streams.print_text(
        f"take {facts['best']}: {facts['metric']} {facts['value']:.4f} on validation, trained on"
        f" {facts['examples']:,} examples"
    )
    standard_streams.print_text(f"choice: {mirror.shown(page)}")
