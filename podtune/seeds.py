"""`podtune train CONFIG --seeds=0..4`: one config with several seeds, and how much is luck.

Each seed is a run of its own, in a folder of one job_dir, and goes on where it was stopped. One
process after the other trains them, so that each has the memory of the machine for itself.
"""

from __future__ import annotations

import dataclasses
import re
import subprocess
import sys
from collections.abc import Sequence

from trainer.console import standard_streams
from trainer.errors import ConfigError, shown_value
from trainer.files import mirror
from trainer.files.writing import writable_path
from trainer.report.evidence import read_evidence
from trainer.report.files import require_ours, write_page
from trainer.report.say import speaker
from trainer.report.stability import stability
from trainer.run.job import Job
from trainer.settings.resolve import Resolved

RANGE = re.compile(r"(\d+)\.\.(\d+)")
MOST = 100  # seeds
PAGE = "stability.html"


def seeds_of(text: str) -> list[int]:
    """0..4 or 1,7,42 as numbers.

    Raises ConfigError where they are none, one, or named twice.
    """
    parts: list[int] = []
    for part in text.split(","):
        match = RANGE.fullmatch(part.strip())
        if match:
            first, last = map(int, match.groups())
            parts += range(first, min(last, first + MOST) + 1)
        elif part.strip().isdecimal():
            parts.append(int(part))
        else:
            raise ConfigError(
                f"--seeds: expected numbers such as 0..4 or 1,7,42. Received {shown_value(text)}."
            )
    if len(set(parts)) < len(parts) or not 2 <= len(parts) <= MOST:
        raise ConfigError(
            f"--seeds: expected 2 to {MOST} seeds, each once. Received {shown_value(text)}."
        )
    return parts


def train(job_dir: str, seeds: Sequence[int], arguments: Sequence[str], resolved: Resolved) -> int:
    """Trains each seed. Returns the exit code: that of the first that fails, else 0.

    Args:
        job_dir: gets a folder a seed, and the page.
        seeds: to train with.
        arguments: of the command, without --seeds and --job_dir.
        resolved: the config.
    Raises:
        ConfigError: the config has neither validation nor test, or keeps no answers.
    """
    config = resolved.config
    if config.data.validation is None and config.data.test is None:
        raise ConfigError(
            "--seeds: seeds are compared on data.test or data.validation, and the config has"
            " neither. Give one, such as --data.validation=0.1."
        )
    if not config.report.predictions:
        raise ConfigError("--seeds: seeds are compared by report.predictions, which is false.")
    folder = job_dir.rstrip("/")
    page = writable_path(f"{folder}/{PAGE}")
    for file in (page, page.with_suffix(".json")):
        require_ours(file, "--job_dir")
    for seed in seeds:
        command = [sys.executable, "-m", "trainer.task", *arguments, f"--train.seed={seed}"]
        code = subprocess.run([*command, f"--job_dir={folder}/seed_{seed}"], check=False).returncode
        if code:
            return code if code > 0 else 128 - code
    runs = [
        dataclasses.replace(read_evidence(Job(f"{folder}/seed_{seed}")), name=f"seed {seed}")
        for seed in seeds
    ]
    say = speaker(config.report.language)
    title = say("Seeds of ", "各种子：") + folder.rpartition("/")[2]
    write_page(page, title, stability(runs, say), config.report.language)
    standard_streams.print_text(f"stability: {mirror.shown(page)}")
    return 0
