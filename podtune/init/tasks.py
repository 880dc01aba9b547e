"""Which task the examples are of, and which fields it takes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from podtune.init import columns as looks
from podtune.init.columns import Column
from podtune.init.questions import Asker
from trainer.errors import ConfigError, shown_labels, shown_name

TAG_FIELDS = ("tags", "ner_tags", "labels", "pos_tags", "slots")
WORD_FIELDS = ("tokens", "words", "characters")
SPAN_FIELDS = ("spans", "entities", "label", "labels", "ents")
ANSWER_FIELDS = ("answers", "answer")
TARGETS = ("target", "summary", "completion", "response", "output", "answer", "translation")


class Task(NamedTuple):
    """What is to be learnt.

    Attributes:
        head: settings of the head.
        data: settings of the data section, beside the format's.
        texts: fields whose texts a row holds.
        says: lines about it, for people: a word and what was seen.
    """

    head: Mapping[str, object]
    data: Mapping[str, object]
    texts: tuple[str, ...]
    says: list[tuple[str, str]]


class Wishes(NamedTuple):
    """What the command line says already."""

    head: str | None = None
    text: tuple[str, ...] = ()
    label: str | None = None


def of_rows(rows: Sequence[Mapping[str, object]], wishes: Wishes, asker: Asker) -> Task:
    """The task of examples with fields.

    Args:
        rows: the first ones.
        wishes: what is said already.
        asker: for open questions.
    Raises:
        ConfigError: a field that is named is not there; a question is open that nobody answers.
    """
    columns = looks.look_at(rows)
    _require(wishes, [column.name for column in columns])
    if task := _of_lists(rows[0], columns, wishes):
        return task
    text = wishes.text or _text(columns, wishes, asker)
    if wishes.head == "text_generation":
        return _generation(columns, text, wishes, asker)
    rest = [column for column in columns if column.name not in text]
    label = wishes.label or _label(rest, asker)
    if label is None:
        return _language_model(text, wishes, asker)
    return _classification(columns, text, label, wishes)


def _require(wishes: Wishes, names: Sequence[str]) -> None:
    for flag, wanted in (("text", wishes.text), ("label", (wishes.label,))):
        for name in filter(None, wanted):
            if name not in names:
                raise ConfigError(
                    f"--{flag}={shown_name(name)}: there is no such column. There are:"
                    f" {shown_labels(names)}."
                )


def _of_lists(
    first: Mapping[str, object], columns: Sequence[Column], wishes: Wishes
) -> Task | None:
    """A task that fields with lists show: tags of words, spans, answers, several labels."""
    lists = {column.name for column in columns if column.kind == "list"}
    words = next((name for name in WORD_FIELDS if name in lists), None)
    tags = next((name for name in TAG_FIELDS if name in lists), None)
    if words and tags:
        data: dict[str, object] = {"text": words, "label": tags}
        return Task({"name": "token_classification"}, data, (words,), [("task", "tags of words")])
    if {"question", "context"} <= set(first) and lists & set(ANSWER_FIELDS):
        answers = next(name for name in ANSWER_FIELDS if name in lists)
        data = {"text": ["question", "context"], "label": answers}
        says = [("task", "questions that a passage answers")]
        return Task({"name": "question_answering"}, data, ("question", "context"), says)
    text = next((name for name in looks.TEXT_NAMES if name in first), None)
    spans = next((name for name in (wishes.label, *SPAN_FIELDS) if name in lists), None)
    if text is None or spans is None:
        return None
    data = {"text": text, "label": spans}
    items = first[spans]
    inner = items[0] if isinstance(items, list) and items else None
    if isinstance(inner, str):
        head: dict[str, object] = {"name": "classification", "kind": "multi_label"}
        return Task(head, data, (text,), [("task", "several labels a text")])
    if isinstance(inner, dict | list):
        says = [("task", "spans of a text, such as names")]
        return Task({"name": "token_classification"}, data, (text,), says)
    return None


def _text(columns: Sequence[Column], wishes: Wishes, asker: Asker) -> tuple[str, ...]:
    """The field with the text, or the two of a pair."""
    texts = [column for column in columns if column.kind == "text" and column.name != wishes.label]
    if not texts:
        texts = [column for column in columns if column.kind == "other"]
    if not texts:
        raise ConfigError(
            f"no column looks like text. There are: {shown_labels([c.name for c in columns])}."
            " Name it with --text=COLUMN."
        )
    if len(texts) == 1:
        return (texts[0].name,)
    if pair := looks.pair_of(texts):
        return pair
    known = looks.named(texts, looks.TEXT_NAMES)
    if len(known) == 1:
        return (known[0],)
    choices = [column.name for column in texts]
    if len(choices) == 2:
        choices.append(",".join(choices))
    return tuple(asker.choose("Which column is the text?", choices, "--text=COLUMN").split(","))


def _label(columns: Sequence[Column], asker: Asker) -> str | None:
    """The field with the label; None where no column looks like one."""
    labels = [column for column in columns if column.kind in ("label", "number")]
    known = looks.named(labels, looks.LABEL_NAMES)
    if len(known) == 1:
        return known[0]
    choices = known or [column.name for column in labels if len(column.counts) > 1]
    if len(choices) > 1:
        return asker.choose("Which column is the label?", choices, "--label=COLUMN")
    return choices[0] if choices else None


def _classification(
    columns: Sequence[Column], text: tuple[str, ...], label: str, wishes: Wishes
) -> Task:
    column = next(column for column in columns if column.name == label)
    head: dict[str, object] = {"name": wishes.head or "classification"}
    values = column.counts
    if column.kind == "number" and wishes.head in (None, "classification"):
        head["kind"] = "regression"
        numbers = sorted(map(float, values))
        seen = f"numbers from {numbers[0]:g} to {numbers[-1]:g}"
    else:
        most = values.most_common()
        shown = ", ".join(f"{name} {count:,}" for name, count in most[:6])
        more = f" and {len(most) - 6} more" if len(most) > 6 else ""
        seen = f"{len(most)} classes: {shown}{more}"
    data: dict[str, object] = {"text": text[0] if len(text) == 1 else list(text), "label": label}
    return Task(head, data, text, [("label", f"{label}: {seen}")])


def _generation(
    columns: Sequence[Column], text: tuple[str, ...], wishes: Wishes, asker: Asker
) -> Task:
    names = [column.name for column in columns if column.name not in text]
    known = [name for name in names if name.casefold() in TARGETS]
    target = wishes.label or (known[0] if len(known) == 1 else None)
    if target is None:
        target = asker.choose("Which column is to be written?", names, "--label=COLUMN")
    head: dict[str, object] = {"name": "text_generation", "target": target}
    # a row holds both
    return Task(head, {"text": text[0]}, (text[0], target), [("target", target)])


def _language_model(text: tuple[str, ...], wishes: Wishes, asker: Asker) -> Task:
    head = wishes.head or asker.choose(
        "No column looks like a label. What is to be learnt?",
        ["masked_lm", "causal_lm"],
        "--head=masked_lm (filling gaps, BERT) or --head=causal_lm (going on, GPT), or --label",
    )
    return Task({"name": head}, {"text": text[0]}, text[:1], [])
