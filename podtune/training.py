"""`podtune.train`: a run in this process, and what came of it."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import html
import json
import os
import pathlib
import signal
import threading
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from podtune import examples_of
from podtune.init import new_config, tasks
from podtune.init.new_config import Seen
from podtune.init.questions import Asker
from podtune.init.tasks import Wishes
from podtune.keywords import settings_of
from podtune.modes import CONFIGS
from trainer import task
from trainer.console import on_vertex
from trainer.console.stopping import EXIT_CODES
from trainer.errors import ConfigError
from trainer.files.storage import config_file
from trainer.run.limits import exhausted_memory_is_told
from trainer.settings import flags
from trainer.settings.resolve import Resolved, resolve
from trainer.settings.setting import Setting, Settings

if TYPE_CHECKING:
    import keras
    import numpy as np

    from podtune.model import Model


@dataclasses.dataclass(frozen=True)
class Run:
    """A run that is trained.

    Attributes:
        job_dir: where everything of it is.
    """

    job_dir: str

    @functools.cached_property
    def results(self) -> dict[str, Any]:
        """What results.json holds: metrics, timeline, throughput, machine."""
        file = config_file(f"{self.job_dir.rstrip('/')}/results.json")
        return dict(json.loads(pathlib.Path(file).read_text(encoding="utf-8")))

    @property
    def metrics(self) -> dict[str, dict[str, float]]:
        """The metrics of each split: run.metrics["test"]["accuracy"]."""
        splits = ("validation", "test")
        return {split: self.results[split] for split in splits if split in self.results}

    @functools.cached_property
    def loaded(self) -> Model:
        """The trained model, with all that can be asked of it."""
        from podtune.model import load

        return load(self.job_dir)

    @property
    def model(self) -> keras.Model:
        """The trained model as a keras.Model."""
        return self.loaded.keras_model

    def predict(self, texts: Sequence[str | Mapping[str, object]]) -> list[dict[str, object]]:
        """See `Model.predict`."""
        return self.loaded.predict(texts)

    def embed(self, texts: Sequence[str], **options: Any) -> np.ndarray:
        """See `Model.embed`."""
        return self.loaded.embed(texts, **options)

    def _repr_html_(self) -> str:
        """In a notebook: the metrics, a row a split."""
        names = list(dict.fromkeys(name for split in self.metrics.values() for name in split))
        heading = "".join(f"<th>{html.escape(name)}</th>" for name in names)
        rows = [
            f"<tr><th>{split}</th>{''.join(_cell(metrics.get(name)) for name in names)}</tr>"
            for split, metrics in self.metrics.items()
        ]
        caption = f"<caption>{html.escape(self.job_dir)}</caption>"
        return f"<table>{caption}<tr><th></th>{heading}</tr>{''.join(rows)}</table>"


def _cell(value: float | None) -> str:
    return "<td></td>" if value is None else f"<td>{value:.4f}</td>"


class Stopped(KeyboardInterrupt):
    """A run was stopped by a signal, such as of Ctrl-C; its finished work is kept."""

    def _render_traceback_(self) -> list[str]:
        """What IPython and notebooks show."""
        return [str(self)]


def train(
    data: object = None,
    *,
    text: str | Sequence[str] | None = None,
    label: str | None = None,
    validation: object = None,
    test: object = None,
    job_dir: str | os.PathLike[str] | None = None,
    **settings: object,
) -> Run:
    """Fine-tunes a model, evaluates and exports it; called again, it goes on where it was.

    Ctrl-C, or a notebook's stop button, saves a checkpoint first.

    Args:
        data: a path (as `podtune init` takes it, or a config), a pandas DataFrame, a list of dicts,
            a datasets.Dataset or a tf.data.Dataset.
        text: the field with the text; two for pairs. None: as the data show.
        label: the field with the label. None: as the data show.
        validation, test: further data of any of these kinds, or a fraction to hold out.
        job_dir: gets everything that the run writes; None: in runs/, by the data's name.
        settings: any setting by its key, such as epochs=2, or as **{"train.epochs": 2}; `model` is
            the pretrained model, `head` the task.
    Returns:
        the run, with its metrics and its model.
    Raises:
        ConfigError, DataError, WeightsError, JobDirError, TrainingError: as the command says.
        KeyboardInterrupt: it was stopped; called again, it goes on.
    """
    given = settings_of(settings)
    names = (text,) if isinstance(text, str) else tuple(text or ())
    wishes = Wishes(_head(given), names, label)
    if data is None or (examples_of.is_path(data) and str(data).endswith(CONFIGS)):
        resolved, folder = _of_config(data, given, validation, test, job_dir)
    else:
        seen, folder = _look(data, wishes, job_dir)
        others = _splits(validation, test, folder)
        resolved = resolve(None, {**_settings(seen, given), **others, **given})
    _perform(resolved, folder)
    return Run(folder)


def _head(given: Settings) -> str | None:
    setting = given.get(("head", "name"))
    return None if setting is None else str(setting.value)


def _of_config(
    data: object, given: Settings, validation: object, test: object, job_dir: object
) -> tuple[Resolved, str]:
    """The config of a file, or of keywords alone, and the run's folder.

    Args:
        data: the config's path; None: the keywords say everything.
        given: keywords, which win.
        validation, test, job_dir: as for `train`.
    """
    if data is None and not given:
        raise ConfigError(f"data: expected {examples_of.KINDS}, or a config. Received nothing.")
    stem = pathlib.PurePath(str(data)).stem if data is not None else "run"
    folder = str(job_dir or f"runs/{stem}")
    others = _splits(validation, test, folder)
    file = None if data is None else config_file(os.path.expanduser(str(data)))
    return resolve(file, {**others, **given}), folder


def _look(data: object, wishes: Wishes, job_dir: object) -> tuple[Seen, str]:
    """What data are, and the run's folder; objects are written there."""
    asker = Asker(may_ask=False)
    if examples_of.is_path(data):
        seen = new_config.look(str(data), wishes, asker)
        return seen, str(job_dir or f"runs/{seen.name}")
    rows = examples_of.rows_of(data)
    found = tasks.of_rows(rows, wishes, asker)
    name = f"examples-{examples_of.digest_of(map(repr, rows))}"
    folder = str(job_dir or f"runs/{name}")
    file = examples_of.write_rows(rows, pathlib.Path(folder), "train")
    splits = {"source": "jsonl", "train": file, "validation": 0.1, "test": 0.1}
    return new_config.seen_of(found, splits, rows, [], name), folder


def _splits(validation: object, test: object, folder: str) -> Settings:
    """Validation and test as settings: paths, fractions, or objects that are written."""
    settings: Settings = {}
    for split, data in (("validation", validation), ("test", test)):
        if data is None:
            continue
        value: object = data
        if examples_of.is_path(data):
            value = str(data)
        elif not isinstance(data, int | float):
            rows = examples_of.rows_of(data)
            value = examples_of.write_rows(rows, pathlib.Path(folder), split)
        settings["data", split] = Setting(value, f"{split}=")
    return settings


def _settings(seen: Seen, given: Settings) -> Settings:
    """What the data show, as settings; those that are given need not be found out."""
    settings: Settings = {}
    weights = given.get(("backbone", "weights"))
    for key, value in seen.task.head.items():
        settings["head", key] = Setting(value, "as the data show")
    for line in new_config.lines_of(seen, None if weights is None else str(weights.value)):
        section, _, key = line.name.partition(".")
        settings[section, key] = Setting(line.value, "as the data show")
    return settings


def _perform(resolved: Resolved, folder: str) -> None:
    """Trains as the command does, and leaves this process's signals as they were."""
    command = flags.CommandLine(None, folder, "train", None, None, {}, help=False)
    work = task.Run(command, resolved, folder, on_vertex.folders())
    with _signals_kept(), exhausted_memory_is_told():
        try:
            task.perform(work, log=None)
        except SystemExit as stopped:
            if stopped.code in EXIT_CODES.values():
                raise Stopped("stopped; call train again to go on") from None
            raise


@contextlib.contextmanager
def _signals_kept() -> Iterator[None]:
    if threading.current_thread() is not threading.main_thread():
        yield  # where no signal arrives
        return
    kept = {number: signal.getsignal(number) for number in EXIT_CODES}
    try:
        yield
    finally:
        for number, handler in kept.items():
            # None: of a library that is not Python's, and cannot be put back
            signal.signal(number, handler or signal.SIG_DFL)
