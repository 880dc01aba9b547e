"""`podtune doctor`: what a machine has, what each extra would add, and whether podtune works on it.

What it prints is what a bug report should contain. Nothing of it is secret: no paths of data, no
environment but the variables named here.
"""

from __future__ import annotations

import importlib.metadata
import json
import os
import platform
import shutil
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from packaging.requirements import InvalidRequirement, Requirement

from podtune.self_test import self_test
from trainer import __version__
from trainer.console import standard_streams
from trainer.errors import ConfigError, shown_name
from trainer.files.mirror import cache_folder
from trainer.machine.hardware import this_machine
from trainer.machine.kernels import VARIABLE
from trainer.machine.start import start_tensorflow

EXTRAS = {
    "gpu": "training on NVIDIA GPUs",
    "vertex": "podtune submit, podtune deploy, and the tracker vertex",
    "mlflow": "the tracker mlflow",
    "wandb": "the tracker wandb",
    "sentencepiece": "tokenizers that are a SentencePiece model alone",
    "tpu-plan": "podtune plan --plan.tpu, without a TPU",
    "dev": "the tests of podtune itself",
}
# Where data and models come from; a site of one's own may stand in their place.
PLACES = {
    "package registry": ("PIP_INDEX_URL", "https://pypi.org/simple/"),
    "Hugging Face hub": ("HF_ENDPOINT", "https://huggingface.co"),
    "Cloud Storage": ("STORAGE_EMULATOR_HOST", "https://storage.googleapis.com"),
}
REACH_SECONDS = 4
VARIABLES = (
    VARIABLE,
    "TF_NUM_INTRAOP_THREADS",
    "TF_NUM_INTEROP_THREADS",
    "TF_XLA_FLAGS",
    "XLA_FLAGS",
    "LD_PRELOAD",
    "CUDA_VISIBLE_DEVICES",
    "TPU_NAME",
    "TF_CONFIG",
    "CLUSTER_SPEC",
    "HF_HUB_OFFLINE",
)
COLUMN = 29  # where what was found begins
FREE_GB = 5  # of the disk, below which a run may not fit


class Finding(NamedTuple):
    """A line of the report.

    Attributes:
        about: what it is about.
        says: what was found.
        problem: what to do, where something is wrong.
    """

    about: str
    says: str
    problem: str = ""


def run(arguments: Sequence[str]) -> int:
    """Prints the report. Returns the exit code: 2 where something is wrong.

    Raises:
        ConfigError: an argument that is none.
    """
    for argument in arguments:
        if argument not in ("--quick", "--json"):
            raise ConfigError(
                f"podtune doctor: expected --quick, --json or nothing. Received"
                f" {shown_name(argument)}."
            )
    as_json = "--json" in arguments
    found: list[Finding] = []
    for finding in _findings(quick="--quick" in arguments):
        found.append(finding)
        if not as_json:
            standard_streams.print_text(_line(finding))
    if as_json:
        report = [finding._asdict() for finding in found]
        standard_streams.print_text(json.dumps(report, ensure_ascii=False, indent=1))
    return 2 if any(finding.problem for finding in found) else 0


def _line(finding: Finding) -> str:
    text = f"{finding.about:<{COLUMN}}{finding.says}"
    return f"{text}\n{'':<{COLUMN}}! {finding.problem}" if finding.problem else text


def _findings(*, quick: bool) -> Iterator[Finding]:
    yield Finding("podtune", __version__)
    yield Finding("Python", f"{platform.python_version()} on {platform.platform()}")
    yield Finding("machine", str(this_machine()))
    yield from _packages()
    yield from _extras()
    yield _disk()
    for name in VARIABLES:
        if value := os.environ.get(name):
            yield Finding(name, shown_name(value))
    yield from _reach()
    yield _devices()
    if not quick:
        for part in self_test():
            says = f"{'works' if not part.problem else 'failed'}, {part.seconds:.0f} s"
            yield Finding(f"self-test: {part.name}", says, part.problem)


def _requirements() -> list[Requirement]:
    """What podtune says that it needs; empty where it is not installed but only imported."""
    try:
        texts = importlib.metadata.requires("podtune") or []
    except importlib.metadata.PackageNotFoundError:
        return []
    requirements = []
    for text in texts:
        try:
            requirements.append(Requirement(text))
        except InvalidRequirement:
            continue
    return requirements


def _installed(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def _is_there(requirement: Requirement) -> bool:
    """Whether a package is installed, with its extras, such as tensorflow[and-cuda]."""
    if _installed(requirement.name) is None:
        return False
    theirs = map(Requirement, importlib.metadata.requires(requirement.name) or [])
    return all(
        _installed(inner.name) is not None
        for inner in theirs
        for extra in requirement.extras
        if inner.marker and inner.marker.evaluate({"extra": extra})
    )


def _packages() -> Iterator[Finding]:
    """The versions of what podtune needs."""
    for requirement in _requirements():
        if requirement.marker and not requirement.marker.evaluate({"extra": ""}):
            continue
        version = _installed(requirement.name)
        problem = ""
        if version is None:
            problem = f"missing: pip install '{requirement.name}{requirement.specifier}'"
        elif not requirement.specifier.contains(version, prereleases=True):
            problem = f"tried with {requirement.specifier}: pip install" + (
                f" '{requirement.name}{requirement.specifier}'"
            )
        yield Finding(requirement.name, version or "not installed", problem)


def _extras() -> Iterator[Finding]:
    """What each extra would add."""
    requirements = _requirements()
    for extra, adds in EXTRAS.items():
        own = [
            requirement
            for requirement in requirements
            if requirement.marker
            and requirement.marker.evaluate({"extra": extra})
            and not requirement.marker.evaluate({"extra": ""})
        ]
        says = f"there: {adds}"
        if not own or not all(map(_is_there, own)):
            says = f"not there; pip install 'podtune[{extra}]' adds {adds}"
        yield Finding(f"extra {extra}", says)


def _disk() -> Finding:
    folder = cache_folder()
    while not folder.exists():
        folder = folder.parent
    free = shutil.disk_usage(folder).free / 1e9
    problem = f"less than {FREE_GB} GB: remove what is not needed" if free < FREE_GB else ""
    return Finding("disk", f"{free:,.0f} GB free for the cache", problem)


def _reach() -> Iterator[Finding]:
    """Whether the places that data and models come from answer; none of them has to."""
    for name, (variable, usual) in PLACES.items():
        address = os.environ.get(variable) or usual
        if "//" not in address:
            address = f"https://{address}"
        began = time.monotonic()
        try:
            request = urllib.request.Request(address, method="HEAD")
            with urllib.request.urlopen(request, timeout=REACH_SECONDS):
                pass
        except urllib.error.HTTPError:
            pass  # it answers
        except (OSError, ValueError) as error:
            reason = getattr(error, "reason", error)
            yield Finding(name, f"not reached: {shown_name(reason)}")
            continue
        yield Finding(name, f"answers, {1000 * (time.monotonic() - began):.0f} ms")


def _devices() -> Finding:
    """What TensorFlow sees."""
    try:
        start_tensorflow()
        import tensorflow as tf
    except Exception as error:  # of any kind: it is what the report is for
        return Finding("devices", "TensorFlow cannot be imported", shown_name(repr(error), 300))
    counts: Mapping[str, int] = {
        kind: len(tf.config.list_physical_devices(kind)) for kind in ("CPU", "GPU", "TPU")
    }
    said = ", ".join(f"{count} {kind}" for kind, count in counts.items() if count)
    return Finding("devices", f"TensorFlow sees {said}")
