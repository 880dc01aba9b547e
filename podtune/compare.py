"""`podtune compare RUN RUN …`: the report of several runs on the same examples."""

from __future__ import annotations

import dataclasses
import pathlib
from collections.abc import Sequence
from typing import NamedTuple

from trainer.console import standard_streams
from trainer.errors import ConfigError, shown_name, shown_value
from trainer.files import mirror
from trainer.files.writing import writable_path
from trainer.report.compare import compare
from trainer.report.evidence import Evidence, read_evidence
from trainer.report.files import require_ours, write_page
from trainer.report.page import Language
from trainer.report.say import speaker
from trainer.run.job import Job
from trainer.settings import flags
from trainer.settings.flags import Flag

OWN = (
    Flag("output", "compare.html", "", "a file"),
    Flag("language", "en", "", "en or zh"),
)


class Comparison(NamedTuple):
    """What the command line asks for.

    Attributes:
        places: of the runs.
        output: the page; the same facts go beside it, as .json.
        language: of the page.
    """

    places: tuple[str, ...]
    output: pathlib.Path
    language: Language


def run(arguments: Sequence[str]) -> int:
    """Compares the runs. Returns the exit code.

    Raises:
        ConfigError: the command line is wrong, or the runs cannot be compared.
        JobDirError: a run keeps no answers.
    """
    asked = _parse(arguments)
    for file in (asked.output, asked.output.with_suffix(".json")):
        require_ours(file, "--output")
    runs = _named([read_evidence(Job(place)) for place in asked.places], asked.places)
    say = speaker(asked.language)
    sections = compare(runs, say)
    title = say("Comparison of ", "比较：") + ", ".join(each.name for each in runs)
    write_page(asked.output, title, sections, asked.language)
    standard_streams.print_text(f"comparison: {mirror.shown(asked.output)}")
    return 0


def _parse(arguments: Sequence[str]) -> Comparison:
    words, others = flags.split_words(arguments, OWN)
    own, settings = flags.parse_flags(["podtune compare", *others], OWN)
    if settings:
        raise ConfigError(
            f"--{'.'.join(next(iter(settings)))}: podtune compare takes no settings: the runs are"
            " as they were trained."
        )
    if len(words) < 2:
        received = ", ".join(map(shown_name, words)) or "nothing"
        raise ConfigError(f"podtune compare: expected two runs or more. Received {received}.")
    twice = {word for word in words if words.count(word) > 1}
    if twice:
        raise ConfigError(f"podtune compare: {shown_name(min(twice))} is named twice.")
    language = own["language"]
    if language not in ("en", "zh"):
        raise ConfigError(f"--language: expected en or zh. Received {shown_value(language)}.")
    output = str(own["output"])
    if not output.endswith(".html"):
        raise ConfigError(f"--output: expected a name that ends in .html. Received {output!r}.")
    return Comparison(tuple(words), writable_path(output), "zh" if language == "zh" else "en")


def _named(runs: Sequence[Evidence], places: Sequence[str]) -> list[Evidence]:
    """The runs by names that differ: those of their folders, or where these are."""
    names = [each.name for each in runs]
    if len(set(names)) < len(names):
        names = [place.rstrip("/") for place in places]
    return [dataclasses.replace(each, name=name) for each, name in zip(runs, names, strict=True)]
