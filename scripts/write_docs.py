"""Writes the pages that are made of the code: docs/settings.md and docs/api.md.

Run it after a change of a setting, or of the docstring of something public.
"""

from __future__ import annotations

import itertools
import pathlib
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence

import griffe

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from podtune.settings_list import TITLES  # noqa: E402
from trainer.settings import flags  # noqa: E402

SETTINGS = """# Settings

Every setting stands in the config under its section, and is a flag by its dotted name:

```console
$ podtune train sms.yaml --train.learning_rate=2e-5
```

`podtune settings WORD` finds settings in the terminal, also by the names of other libraries.
"""
# A part of a config for each section.
EXAMPLES: Mapping[str, str] = {
    "head": "head: {name: token_classification, crf: true}",
    "backbone": "backbone:\n  weights: hf://google-bert/bert-base-chinese\n  hidden_dropout: 0.1",
    "data": (
        "data:\n  source: csv\n  train: reviews.csv\n  validation: 0.1\n  test: 0.1\n"
        "  text: review\n  label: stars\n  seq_len: 256"
    ),
    "train": (
        "train:\n  epochs: 3\n  learning_rate: 5.0e-5\n  global_batch_size: 32\n"
        "  best_metric: f1_macro\n  early_stopping_patience: 2"
    ),
    "distribution": "distribution: {strategy: mirrored}",
    "export": "export:\n  format: savedmodel\n  directory: served/reviews\n  version: next",
    "log": "log: {trackers: [mlflow], experiment: reviews}",
    "report": "report: {require: {accuracy: 0.9}, fail: true}",
    "plan": "plan: {tpu: v5e, price_per_chip_hour: 1.2}",
}
PACKAGES = (
    "All of it stands in the package `podtune`. The package `trainer` is the engine behind it."
)
# Public things in the order in which one meets them.
NAMES = ("training.train", "training.Run", "model.load", "model.Model", "model.Reading")
TITLES_OF_SECTIONS = {
    "parameters": "Arguments",
    "attributes": "Attributes",
    "returns": "Returns",
    "raises": "Raises",
}
ERRORS = ("UserError", "ConfigError", "DataError", "WeightsError", "JobDirError", "TrainingError")


def settings_page() -> str:
    """All settings, a section a table."""
    lines = [SETTINGS]
    settings = flags.setting_flags().values()
    for section, own in itertools.groupby(settings, key=lambda flag: flag.name.split(".")[0]):
        lines += [f"## {section}: {TITLES[section]}", ""]
        lines += [*_fenced("yaml", EXAMPLES[section]), ""]
        lines += ["| setting | takes | default | meaning |", "| --- | --- | --- | --- |"]
        lines += [*map(_setting_row, own), ""]
    return "\n".join(lines).rstrip() + "\n"


def _setting_row(flag: flags.Flag) -> str:
    default = "" if flag.default is None else f"`{flag.default}`"
    cells = [f"`{flag.name}`", _cell(flag.accepts), default, _cell(flag.meaning)]
    return f"| {' | '.join(cells)} |"


def api_page() -> str:
    """What `import podtune` gives, from its docstrings."""
    package = griffe.load("podtune", search_paths=[str(ROOT)])
    _, example = package.docstring.value.split("\n\n", maxsplit=1)
    lines = ["# Python API", "", *_fenced("python", example), "", PACKAGES, ""]
    for name in NAMES:
        thing = package[name]
        lines += _described(f"podtune.{thing.name}", thing, level=2)
        for member in _public_members(thing):
            lines += _described(member.name, member, level=3)
    lines += ["## Errors", "", "Each is a `podtune.UserError`, whose text is the message.", ""]
    errors = griffe.load("trainer.errors", search_paths=[str(ROOT)])
    lines += ["| error | raised for |", "| --- | --- |"]
    for name in ERRORS:
        lines.append(f"| `podtune.{name}` | {_cell(errors[name].docstring.value)} |")
    return "\n".join(lines) + "\n"


def _public_members(thing: griffe.Object) -> Iterator[griffe.Object]:
    if not isinstance(thing, griffe.Class):
        return
    for member in thing.members.values():
        is_told = isinstance(member, griffe.Function | griffe.Attribute) and member.docstring
        if is_told and not member.name.startswith("_"):
            yield member


def _described(title: str, thing: griffe.Object, *, level: int) -> list[str]:
    lines = [f"{'#' * level} {title}", ""]
    if isinstance(thing, griffe.Function):
        lines += [*_fenced("python", _signature(thing)), ""]
    text = re.sub(r"\n(?=(?:Args|Returns|Raises):\n)", "\n\n", thing.docstring.value)
    docstring = griffe.Docstring(text, parent=thing)
    for section in docstring.parse("google", warnings=False):
        lines += _section(section)
    return lines


def _signature(function: griffe.Function) -> str:
    """What stands behind "def", over several lines where it is long."""
    ruff = [sys.executable, "-m", "ruff", "format", "--line-length=88", "-"]
    source = f"def {function.signature(name=function.name)}: ..."
    written = subprocess.run(ruff, input=source, capture_output=True, text=True, check=True).stdout
    return written.strip().removeprefix("def ").removesuffix(": ...")


def _section(section: griffe.DocstringSection) -> list[str]:
    """A part of a docstring: its text, or a table of names and what they are."""
    if isinstance(section, griffe.DocstringSectionText):
        return [section.value.strip(), ""]
    title = TITLES_OF_SECTIONS[section.kind.value]
    if isinstance(section, griffe.DocstringSectionRaises):
        rows = [
            (f"`{str(item.annotation).strip('()')}`", item.description) for item in section.value
        ]
    else:
        rows = [(f"`{item.name}`" if item.name else "", item.description) for item in section.value]
    if all(not name for name, _ in rows):
        return [f"**{title}**: {' '.join(_cell(text) for _, text in rows)}", ""]
    body = [f"| {name} | {_cell(text)} |" for name, text in rows]
    return [f"| {title} | |", "| --- | --- |", *body, ""]


def _cell(text: str) -> str:
    """Text for one cell of a table."""
    return " ".join(text.split()).replace("|", "\\|").replace("<", "&lt;").replace("*", "\\*")


def _fenced(language: str, text: str) -> Sequence[str]:
    return [f"```{language}", *text.splitlines(), "```"]


PAGES = {"settings.md": settings_page, "api.md": api_page}


if __name__ == "__main__":
    for page, write in PAGES.items():
        (ROOT / "docs" / page).write_text(write(), encoding="utf-8")
