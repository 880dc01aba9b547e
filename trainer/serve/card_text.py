"""The paragraphs of a model card, in Markdown."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from trainer.errors import shown_label
from trainer.files.paths import shareable
from trainer.run.job_config import FREE_SETTINGS
from trainer.serve.markdown import block, code, table
from trainer.settings.one_line_yaml import as_yaml
from trainer.settings.schema import Config, Section
from trainer.settings.sections import PLUGIN_KEYS

if TYPE_CHECKING:
    from trainer.serve.model_card import Facts

SPLITS = ("train", "validation", "test")
SECTIONS = ("head", "backbone", "data", "train")  # of the config, that decide what is learnt
SHOWN_LABELS = 50
LONGEST_VALUE = 1000  # characters of a setting
# settings whose values are places of the machine that trained
PLACES = (
    "backbone.weights",
    "backbone.tokenizer",
    *(f"data.{split}" for split in SPLITS),
    "data.tfds_data_dir",
)
OVERFLOWS = {
    "truncate": "of a longer text the end is cut off",
    "head_tail": "of a longer text the middle is cut out",
    "window": "a longer text is read in several rows",
    "error": "no text was longer",
}


def scores(facts: Facts) -> list[str]:
    """A table: a row a split, a column a metric."""
    names: dict[str, None] = {}  # a set, in their order
    for metrics in facts.scores.values():
        names.update(dict.fromkeys(metrics))
    rows = []
    for split, metrics in facts.scores.items():
        values = [f"{metrics[name]:.4f}" if name in metrics else "" for name in names]
        rows.append([split, _count(facts.sizes.get(split)), *values])
    heading = ["split", "examples", *map(code, names)]
    return [table(heading, rows)] if rows else []


def labels(facts: Facts) -> list[str]:
    """The first labels, and how many there are."""
    if not facts.labels:
        return []
    shown = [code(shown_label(label)) for label in facts.labels[:SHOWN_LABELS]]
    text = f"{len(facts.labels):,} labels: {', '.join(shown)}"
    left_out = len(facts.labels) - SHOWN_LABELS
    if left_out > 0:
        text += f" and {left_out:,} more"
    return [f"{text}."]


def training(facts: Facts) -> list[str]:
    """From what it started, on which data, how long, and how to do it again."""
    start = code(shareable(facts.config.backbone.weights))
    if facts.pretrained:
        started = f"It started from the weights of {start}."
    else:
        started = f"It started from random values, in the sizes of {start}."
    return [
        started,
        table(("split", "examples", "from"), list(_splits(facts))),
        _duration(facts),
        "This config has all settings that differ from podtune's defaults:",
        block("yaml", "\n".join(_config(facts.config))),
        "With it in a file, and the weights and the data in their places, this repeats it:",
        block("console", "$ podtune train config.yaml"),
    ]


def limits(facts: Facts) -> list[str]:
    """What the model has not seen, and what preparing the data lost."""
    seq_len = facts.config.data.seq_len
    lines = [f"It was trained on rows of at most {seq_len:,} tokens: {OVERFLOWS[facts.overflow]}."]
    if facts.labels:
        lines.append("It answers with the labels above, whatever it is asked.")
    if facts.scores:
        lines.append("The scores are of texts like those that it was trained on.")
    paragraphs = ["\n".join(f"- {line}" for line in lines)]
    if facts.losses:
        paragraphs.append("Preparing the data changed, left out or doubted:")
        paragraphs.append(_losses(facts))
    return paragraphs


def _count(number: int | None) -> str:
    return "" if number is None else f"{number:,}"


def _splits(facts: Facts) -> Iterator[tuple[str, str, str]]:
    """A row each: its name, its size, and where its examples are from."""
    config = facts.config
    for split in SPLITS:
        place = getattr(config.data, split)
        if place is None:
            continue
        if isinstance(place, str):
            source = code(str(_shared(f"data.{split}", place, config)))
        else:
            source = f"{place:g} of train, held out"
        yield split, _count(facts.sizes.get(split)), source


def _duration(facts: Facts) -> str:
    steps = f" of {facts.steps:,}" if facts.steps else ""
    epochs = ""
    if facts.epochs:
        plural = "" if facts.epochs == 1 else "s"
        epochs = f" ({facts.epochs:g} epoch{plural})"
    batch_size = facts.config.train.global_batch_size
    versions = [f"{name} {version}" for name, version in facts.versions.items()]
    return (
        f"The weights are those after step {facts.kept_step:,}{steps}{epochs}. A step took"
        f" {batch_size:,} examples. Written by {', '.join(versions)}."
    )


def _config(config: Config) -> Iterator[str]:
    """The lines of a YAML file with what differs from the defaults."""
    for name in SECTIONS:
        lines = list(_section(name, getattr(config, name), config))
        if lines:
            yield f"{name}:"
            yield from lines


def _section(name: str, section: Section, config: Config) -> Iterator[str]:
    """A line a setting.

    Args:
        name: of the section.
        section: its values.
        config: of which it is.
    """
    plugin_key, _ = PLUGIN_KEYS.get(name, ("", ""))
    values = section.model_dump()
    for key, field in type(section).model_fields.items():
        setting = f"{name}.{key}"
        is_default = values[key] == field.default and key != plugin_key
        if is_default or setting in FREE_SETTINGS:
            continue
        text = as_yaml(_shared(setting, values[key], config))
        if len(text) <= LONGEST_VALUE:
            yield f"  {key}: {text}"
        else:
            yield f"  # {key}: left out, as it has {len(text):,} characters"


def _shared(setting: str, value: object, config: Config) -> object:
    """A value as others may see it; the splits of a public data set are no places."""
    is_public = config.data.public_name is not None
    is_split = setting.removeprefix("data.") in SPLITS
    if setting in PLACES and isinstance(value, str) and not (is_public and is_split):
        return shareable(value)
    return value


def _losses(facts: Facts) -> str:
    rows = []
    for meaning, counts in facts.losses.items():
        rows.append([meaning, *(_count(counts.get(split)) for split in SPLITS)])
    return table(["what", *SPLITS], rows)
