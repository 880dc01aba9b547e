"""From a place to a config: look, say what was seen, write."""

from __future__ import annotations

import pathlib
import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from podtune.init import places, tasks
from podtune.init.aligned import of_aligned
from podtune.init.config_text import Line, config_text
from podtune.init.data_sets import PREFIX, of_data_set
from podtune.init.formats import format_of
from podtune.init.options import Given
from podtune.init.output import write_new
from podtune.init.places import Place
from podtune.init.questions import Asker
from podtune.init.reading import ROWS, header_of, keys_of, named_columns, rows_of
from podtune.init.samples import read_sample
from podtune.init.tasks import Task, Wishes
from podtune.init.weights import seq_len_for, weights_for
from trainer.console import standard_streams
from trainer.data.scripts import CHINESE, script_of
from trainer.errors import ConfigError, shown_name
from trainer.settings.resolve import resolve

HELD_OUT = 0.1
TEXTS = 2000  # measured
ROWS_OF_ANSWERS = 384


class Seen(NamedTuple):
    """What the data were taken for.

    Attributes:
        task: what is to be learnt.
        data: settings of the data section: the format, then the splits.
        texts: some of the texts.
        says: lines for people: a word and what was seen.
        name: of the data, for the config's file.
    """

    task: Task
    data: dict[str, object]
    texts: list[str]
    says: list[tuple[str, str]]
    name: str


def write_config(data: str, given: Given) -> None:
    """Looks at data and writes the config, unless it exists.

    Args:
        data: a path, or tfds:NAME.
        given: the rest of the command line.
    """
    is_terminal = sys.stdin.isatty() and sys.stdout.isatty()
    asker = Asker(may_ask=is_terminal and not given.yes)
    wishes = Wishes(given.head, given.text, given.label)
    seen = look(data, wishes, asker)
    target = pathlib.Path(given.output or f"{seen.name}.yaml")
    if target.exists():
        write_new(target, "")  # which says so
    text = _config(seen, given, target)
    write_new(target, text)
    resolve(target)
    for word, about in seen.says:
        standard_streams.print_text(f"{word:<8}{about}")
    standard_streams.print_text(f"wrote   {target}")
    standard_streams.print_text(f"next    podtune train {target}")


def look(data: str, wishes: Wishes, asker: Asker) -> Seen:
    """What the data are.

    Args:
        data: a path, or tfds:NAME.
        wishes: what is said already.
        asker: for open questions.
    Raises:
        ConfigError: nothing reads them, or a question stays open.
    """
    if data.startswith(PREFIX):
        task, settings, rows = of_data_set(data.removeprefix(PREFIX), wishes, asker)
        name = data.removeprefix(PREFIX).replace("/", "_").split(":")[0]
        return seen_of(task, settings, rows, [("data", data)], name)
    path = pathlib.Path(data)
    place = places.find(path)
    name = (path if path.is_dir() else place.splits["train"]).resolve().name.split(".")[0]
    if place.kind == "folders":
        return _of_folders(place, name)
    if place.kind == "parallel":
        task, settings, rows = of_aligned(place, wishes, asker)
        return seen_of(task, settings, rows, [("data", ", ".join(place.files))], name)
    return _of_file(place, wishes, asker, name)


def _of_folders(place: Place, name: str) -> Seen:
    train = place.splits["train"]
    data: dict[str, object] = {"source": "folders"}
    counts = Counter(
        {
            folder.name: sum(1 for file in folder.rglob("*") if file.is_file())
            for folder in sorted(train.iterdir())
            if folder.is_dir() and not folder.name.startswith(".")
        }
    )
    shown = ", ".join(f"{label} {count:,}" for label, count in counts.most_common(6))
    task = Task(
        {"name": "classification"},
        {},
        ("text",),
        [("label", f"the folder's name: {len(counts)} classes: {shown}")],
    )
    rows = rows_of({**data, "fallback_encoding": "windows-1252"}, str(train))
    says = [("data", f"{train}: a folder a class, a file a text")]
    return seen_of(task, {**data, **_splits(place, None)}, rows, says, name)


def _of_file(place: Place, wishes: Wishes, asker: Asker, name: str) -> Seen:
    train = place.splits["train"]
    sample = read_sample(train)
    found = format_of(sample)
    data = dict(found.data)
    if data.get("document") == "file" and "validation" not in place.splits:
        data["document"] = "blank_line"  # a document is never torn, and a part is held out
    is_table = data["source"] in ("csv", "tsv")
    if is_table:
        data.update(header_of(sample, found, asker))
    rows = rows_of({**data, **keys_of(sample, found)}, str(train))
    if data.get("header") is False:
        names = named_columns(rows)
        data["columns"] = list(names.values())
        rows = rows_of(data, str(train))
    if not rows:
        raise ConfigError(f"{shown_name(train)}: has no example. Expected one a line at least.")
    task = _task(data, rows, wishes, asker)
    of_all = "the first " if len(rows) == ROWS else ""
    says = [("data", f"{train}: {found.words}, {of_all}{len(rows):,} examples")]
    if is_table or data["source"] == "jsonl":
        asked = [field for field in task.texts if field != task.head.get("target")]
        says.append(("text", ", ".join(asked)))
    label = task.data.get("label")
    splits = _splits(place, (data, label) if isinstance(label, str) else None)
    if data.get("document") == "file" and splits.get("test") == HELD_OUT:
        del splits["test"]  # train is one document
    return seen_of(task, {**data, **splits}, rows, says, name)


def _task(
    data: Mapping[str, object],
    rows: Sequence[Mapping[str, object]],
    wishes: Wishes,
    asker: Asker,
) -> Task:
    """The task that a format tells by itself, else what the fields tell.

    Args:
        data: settings of the data section, with the source.
        rows: the first examples.
        wishes: what is said already.
        asker: for open questions.
    """
    if data["source"] == "squad":
        empty = sum(not row["answers"] for row in rows)
        some_empty = f"; {empty:,} questions have none" if empty else ""
        says = [("label", f"answers{some_empty}")]
        return Task({"name": "question_answering"}, {}, ("question", "context"), says)
    if data["source"] == "conll":
        tags = Counter(str(tag) for row in rows for tag in _list(row["tags"]))
        kinds = sorted({tag[2:] for tag in tags if tag[1:2] == "-"} or set(tags))
        column = "UPOS" if data.get("variant") == "conllu" else "the last column"
        says = [("label", f"{column}: {len(kinds)} kinds: {', '.join(kinds[:12])}")]
        return Task({"name": "token_classification"}, {}, ("words",), says)
    return tasks.of_rows(rows, wishes, asker)


def _splits(place: Place, labelled: tuple[Mapping[str, object], str] | None) -> dict[str, object]:
    """Train, and files beside it that have the label; else parts that are held out.

    Args:
        place: with the files.
        labelled: settings to read a file with, and the field that it must have.
    """
    splits: dict[str, object] = {"train": place.splits["train"].as_posix()}
    for split in ("validation", "test"):
        path = place.splits.get(split)
        if path is not None and _reads(path, labelled):
            splits[split] = path.as_posix()
    splits.setdefault("validation", HELD_OUT)
    if len(splits) == 2 or splits["validation"] == HELD_OUT:
        splits.setdefault("test", HELD_OUT)
    return splits


def _reads(path: pathlib.Path, labelled: tuple[Mapping[str, object], str] | None) -> bool:
    """Whether a file beside train has what is to be learnt, as a test set in a contest has not."""
    if labelled is None:
        return True
    data, label = labelled
    rows = rows_of(data, str(path))
    return bool(rows) and rows[0].get(label) not in (None, "")


def seen_of(
    task: Task,
    data: Mapping[str, object],
    rows: Sequence[Mapping[str, object]],
    says: list[tuple[str, str]],
    name: str,
) -> Seen:
    """What was seen, with some of the texts to measure.

    Args:
        task: of the data.
        data: settings of the data section: the format and the splits.
        rows: the first examples.
        says: lines for people.
        name: of the data.
    """
    words = list(_words(task, data, rows[:TEXTS]))
    separator = "" if script_of(words) == CHINESE else " "
    if words and not separator:
        task = task._replace(head={**task.head, "word_separator": separator})
    texts = []
    for row in rows[:TEXTS]:
        parts = [_text_of(row[field], separator) for field in task.texts if field in row]
        texts.append(" ".join(parts))
    splits = {split: data[split] for split in ("train", "validation", "test") if split in data}
    format_ = {key: value for key, value in data.items() if key not in splits}
    return Seen(task, {**format_, **splits, **task.data}, texts, [*says, *task.says], name)


def _words(
    task: Task, data: Mapping[str, object], rows: Sequence[Mapping[str, object]]
) -> Iterator[str]:
    """The words of sentences that come as words, as they do where each has a tag."""
    if task.head["name"] != "token_classification":
        return
    for row in rows:
        sentence = row.get(task.texts[0])
        if isinstance(sentence, str) and data["source"] == "parallel":
            sentence = sentence.split()
        if isinstance(sentence, list):
            yield from map(str, sentence)


def _text_of(value: object, separator: str) -> str:
    return separator.join(map(str, value)) if isinstance(value, list) else str(value)


def _list(value: object) -> list[object]:
    return list(value) if isinstance(value, list | tuple) else [value]


def lines_of(seen: Seen, weights: str | None) -> list[Line]:
    """The settings that the data show, but the head's; what is measured is said in `seen`, too.

    Args:
        seen: what the data are.
        weights: the pretrained model; None: one for the language of the texts.
    """
    name = str(seen.task.head["name"])
    why = ""
    if weights is None:
        weights, why = weights_for(name, seen.texts)
    seq_len, most = seq_len_for(seen.texts)
    if name == "question_answering":
        seq_len = ROWS_OF_ANSWERS
    seen.says.append(("length", f"95 of 100 have {most:,} tokens at most, about"))
    lines = [Line("backbone.weights", weights, why)]
    for key, value in seen.data.items():
        held_out = "held out, always the same examples" if value == HELD_OUT else ""
        lines.append(Line(f"data.{key}", value, held_out))
    if name not in ("causal_lm", "masked_lm"):
        lines.append(
            Line("data.seq_len", seq_len, f"tokens; 95 of 100 texts have {most:,} at most, about")
        )
    return lines


def _config(seen: Seen, given: Given, target: pathlib.Path) -> str:
    """The config's text."""
    lines = [
        *lines_of(seen, given.weights),
        Line("train.epochs", 3, "passes over train; more where there are few examples"),
        Line("train.learning_rate", 5e-5, "2e-5 to 1e-4 are worth a try"),
    ]
    seen.says.append(("task", str(seen.task.head["name"])))
    about = [said for word, said in seen.says if word in ("data", "label")]
    return config_text([*about, f"  podtune train {target}"], seen.task.head, lines)
