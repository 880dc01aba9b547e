"""Where --mode=predict writes its answers.

That is standard output, a file that is replaced whole, or a pipe or device that is written to
directly.
"""

from __future__ import annotations

import contextlib
import glob
import io
import json
import os
import pathlib
import re
import stat
import sys
from collections.abc import Callable, Iterator, Mapping
from typing import IO

from trainer.console.standard_streams import Output, standard_output
from trainer.errors import ConfigError, shown_name, shown_value
from trainer.files import gcs, mirror
from trainer.files.storage import local_path
from trainer.files.writing import atomic_write, probe_writable, writable_path
from trainer.run import job_files
from trainer.run.job import Job
from trainer.serve.targets import HUGGINGFACE, is_within, place_of, read_specs
from trainer.settings.schema import Config

STANDARD = "-"
DESCRIPTOR = re.compile(r"/dev/fd/(\d+)|/proc/self/fd/(\d+)|/dev/(stdout)|/dev/(stderr)")
LOOKED_AT_BYTES = 1 << 16  # of a file that is there, to see whether it holds answers
SHOWN_CHARACTERS = 60  # of a file's beginning, in a message
SHOWN_PATH = 300  # characters
GIVE_ANOTHER = "Give another --output."
# What only answers have, of each kind of head.
NAMES_OF_ANSWERS = {
    "probabilities",
    "value",
    "generated_text",
    "log_probability",
    "masks",
    "error",
}


def require_output(target: str, source: str, config: Config, job: Job) -> None:
    """Refuses, before a model is built, an --output that would destroy something.

    Args:
        target: --output as given.
        source: --input as given.
        config: names what else the run reads.
        job: whose files must stay.
    Raises:
        ConfigError: it is a folder, what is read, a file of the job, or a file that holds something
            else than answers.
        JobDirError: it cannot be written.
    """
    if target == STANDARD or _descriptor(target) is not None:
        return
    path = writable_path(target)
    if _is_special(path):
        return
    if os.path.isdir(path):
        raise ConfigError(
            f"--output: {_shown(path)} is a folder. Give a file, such as"
            f" {_shown(path / 'answers.jsonl')}."
        )
    if source == STANDARD and _is_standard_input(path):
        raise ConfigError(f"--output: {_shown(path)} is what --input=- reads. {GIVE_ANOTHER}")
    for setting, spec in {"--input": source, **read_specs(config)}.items():
        if spec != STANDARD and _names(spec, path):
            raise ConfigError(f"--output: {_shown(path)} is what {setting} names. {GIVE_ANOTHER}")
    _require_no_file_of_the_job(path, job)
    _require_answers(path)
    probe_writable(path.parent)


@contextlib.contextmanager
def writing(target: str) -> Iterator[IO[str] | Output]:
    """Yields what answers are written to.

    A file has them all at the end, or stays as it was. What is no regular file, such as a pipe or a
    device, is written to as it is.

    Raises:
        ReaderGoneError: nobody reads standard output, or the pipe, any more.
        OutputError, JobDirError: the system refuses.
    """
    number = _descriptor(target)
    if target == STANDARD:
        if isinstance(sys.stdout, io.TextIOWrapper):  # not what stands in for it in tests
            sys.stdout.reconfigure(encoding="utf-8")
        yield standard_output()
    elif number is not None:
        with _open(target, lambda: os.fdopen(os.dup(number), "w", encoding="utf-8")) as output:
            yield output
    elif _is_special(path := writable_path(target)):
        with _open(target, lambda: path.open("w", encoding="utf-8")) as output:
            yield output
    else:
        with atomic_write(target) as file:
            yield file


@contextlib.contextmanager
def _open(target: str, opener: Callable[[], IO[str]]) -> Iterator[Output]:
    """What is written to directly; its reader may go away."""
    try:
        stream = opener()
    except OSError as error:
        raise ConfigError(
            f"--output: {shown_name(target)} cannot be opened: {error.strerror}. {GIVE_ANOTHER}"
        ) from None
    output = Output(lambda: stream, f"--output={shown_name(target)}")
    try:
        yield output
        output.flush()
    finally:
        with contextlib.suppress(OSError):  # it was reported already
            stream.close()


def _descriptor(target: str) -> int | None:
    """The number of the open file that a name such as /dev/stdout stands for.

    Opened by its name, that file would be emptied before it is written to.
    """
    match = DESCRIPTOR.fullmatch(target)
    if match is None:
        return None
    number, number_of_process, is_output, _ = match.groups()
    if number or number_of_process:
        return int(number or number_of_process)
    return 1 if is_output else 2


def _is_special(path: pathlib.Path) -> bool:
    """Whether it is a pipe or a device of this machine."""
    if mirror.url_of(path) is not None:
        return False
    try:
        mode = path.stat().st_mode
    except OSError:
        return False
    return not stat.S_ISREG(mode) and not stat.S_ISDIR(mode)


def _is_standard_input(path: pathlib.Path) -> bool:
    try:
        return os.path.samestat(path.stat(), os.fstat(0))
    except OSError:
        return False


def _names(spec: str, path: pathlib.Path) -> bool:
    """Whether a path or glob of the config names the file, or a folder that has it."""
    url = mirror.url_of(path)
    if url is not None:
        return spec.startswith(mirror.SCHEME) and gcs.names(spec, url)
    if spec.startswith((mirror.SCHEME, "hf://")) or not os.path.exists(path):
        return False
    try:
        pattern = str(local_path(spec, "--output"))
    except ConfigError:  # such as a package that is not here, which predicting does not need
        return False
    place = os.path.realpath(path)
    named = {pattern, *glob.glob(pattern, recursive=True)}
    return any(is_within(place, os.path.realpath(name)) for name in named)


def _require_no_file_of_the_job(path: pathlib.Path, job: Job) -> None:
    """Raises ConfigError where the job has, or would write, a file there."""
    place = place_of(path)
    names = (*job_files.FILES, job_files.MARKER, ".lock")
    if place in {place_of(job.folder / name) for name in names}:
        raise ConfigError(f"--output: {_shown(path)} is a file of the job. {GIVE_ANOTHER}")
    folders = {
        "checkpoints": job.checkpoints,
        "logs": job.logs,
        "model": job.model,
        "export": job.folder / HUGGINGFACE,
    }
    for part, folder in folders.items():
        if is_within(place, place_of(folder)):
            raise ConfigError(f"--output: {_shown(path)} lies in the job's {part}. {GIVE_ANOTHER}")


def _require_answers(path: pathlib.Path) -> None:
    """An earlier run's answers may be replaced, and nothing else."""
    beginning = _beginning(path)
    if not beginning or holds_answers(beginning):
        return
    text = beginning[: 4 * SHOWN_CHARACTERS].decode("utf-8", "replace")
    raise ConfigError(
        f"--output: {_shown(path)} is there and holds no answers of --mode=predict: it begins"
        f" {shown_value(text, SHOWN_CHARACTERS)}. Give another --output, or remove that file"
        " first."
    )


def _beginning(path: pathlib.Path) -> bytes:
    """The first bytes of a file; none where there is no such file."""
    url = mirror.url_of(path)
    if url is not None:
        objects = [item for item in gcs.listing(url, key="--output") if str(item) == url]
        if not objects:
            return b""
        return gcs.content(objects[0], key="--output", count=LOOKED_AT_BYTES)
    try:
        with path.open("rb") as file:
            return file.read(LOOKED_AT_BYTES)
    except (FileNotFoundError, NotADirectoryError):
        return b""
    except OSError as error:
        raise ConfigError(
            f"--output: {_shown(path)} cannot be read ({error.strerror}): whether it may be written"
            f" is not known. {GIVE_ANOTHER}"
        ) from None


def holds_answers(beginning: bytes) -> bool:
    """Whether a file that begins so was written by --mode=predict.

    It has JSON objects, and one of them has what only answers have.
    """
    is_cut = len(beginning) == LOOKED_AT_BYTES
    lines = [line for line in beginning.split(b"\n") if line.strip()]
    if is_cut and len(lines) > 1:
        lines.pop()
    try:
        values = [json.loads(line) for line in lines]
    except (ValueError, RecursionError):
        # one answer may be longer than what is looked at
        return is_cut and len(lines) == 1 and b'"probabilities"' in beginning
    return all(isinstance(value, dict) for value in values) and any(map(_is_answer, values))


def _is_answer(value: Mapping[str, object]) -> bool:
    if not NAMES_OF_ANSWERS.isdisjoint(value) or {"answer", "score"} <= set(value):
        return True
    if any(name.startswith("predicted_") for name in value):
        return True
    entities = value.get("entities")
    return isinstance(entities, list) and any(
        isinstance(entity, dict) and "score" in entity for entity in entities
    )


def _shown(path: pathlib.Path) -> str:
    return shown_name(mirror.shown(path), SHOWN_PATH)
