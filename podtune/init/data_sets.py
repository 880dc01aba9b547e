"""TensorFlow Datasets: the features that a data set declares."""

from __future__ import annotations

import itertools

from podtune.init import tasks
from podtune.init.questions import Asker
from podtune.init.reading import settings_of
from podtune.init.tasks import Task, Wishes
from trainer.errors import ConfigError, shown_name
from trainer.sources import open_source

PREFIX = "tfds:"
ROWS = 2000


def of_data_set(
    name: str, wishes: Wishes, asker: Asker
) -> tuple[Task, dict[str, object], list[dict[str, object]]]:
    """The task of a data set, settings of data, and the first examples.

    Args:
        name: name[/config][:version].
        wishes: what is said already.
        asker: for open questions.
    Raises:
        ConfigError, DataError: there is no such data set, or it cannot be prepared here.
    """
    if not name:
        raise ConfigError(f"{PREFIX}: expected a name behind it, such as {PREFIX}glue/sst2.")
    splits = _splits(name)
    data: dict[str, object] = {"source": "tfds", "tfds_name": name}
    source = open_source(settings_of(data, splits["train"]), "train", splits["train"])
    names = source.label_names()
    rows = [example.features for example in itertools.islice(source.examples(), ROWS)]
    task = tasks.of_rows(rows, wishes, asker)
    if names:
        task = task._replace(says=[("label", f"{len(names)} classes: {', '.join(names[:12])}")])
    return task, {**data, **splits}, rows


def _splits(name: str) -> dict[str, str]:
    """Which of its splits are trained on, validated and tested with."""
    import tensorflow_datasets as tfds

    try:
        known = set(tfds.builder(name).info.splits)
    except (tfds.core.registered.DatasetNotFoundError, ValueError, OSError) as error:
        first = str(error).splitlines()[0]
        raise ConfigError(f"{PREFIX}{shown_name(name)}: is no data set of TFDS: {first}") from None
    if "train" not in known:
        shown = ", ".join(sorted(known)) or "none here"
        raise ConfigError(f"{PREFIX}{shown_name(name)}: has no split train. There are: {shown}.")
    splits = {"train": "train"}
    for split in ("validation", "test"):
        if split in known:
            splits[split] = split
    return splits
