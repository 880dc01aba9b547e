"""A conversation on a terminal: each line is answered as it comes, for a person to read.

A line is a text, or a JSON object with the fields of a question; a mistake is answered too. What
other programs read is written by predictions.py.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.text import Text

from trainer.console.standard_streams import standard_output
from trainer.data.reader import Reader
from trainer.errors import shown_name
from trainer.heads.contract import Graph, Remarks
from trainer.serve.answerers import Answerer
from trainer.serve.questions import Question, Questions

PROMPT = "> "
SHOWN_CLASSES = 5
LONGEST_ERROR = 400
STYLES = ("cyan", "magenta", "green", "yellow", "blue", "red")  # of spans, one a type


def converse(questions: Questions, answerer: Answerer, graph: Graph, reader: Reader) -> None:
    """Answers until there is no line any more.

    Args:
        questions: as they are typed.
        answerer: is asked one at a time.
        graph: puts an answer into words.
        reader: of the head; knows the fields of texts.
    """
    console = Console(highlight=False, soft_wrap=True)
    fields = [item.field for item in reader.inputs]
    console.print(_invitation(reader), style="dim", markup=False)
    styles: dict[str, str] = {}  # of each type that was seen
    for question in prompted(questions):
        if question.error or question.example is None:
            console.print(
                f"! {shown_name(question.error, LONGEST_ERROR)}", style="yellow", markup=False
            )
            continue
        ((outputs, row),) = answerer([question])
        answer = graph.decode(outputs, row, question.example)
        text = question.example.features.get(fields[0])
        console.print(shown_answer(answer, text, styles))
        remark = graph.remark(answer) if isinstance(graph, Remarks) else ""
        if remark:
            console.print(f"! it has {remark}", style="yellow", markup=False)


def prompted(questions: Questions) -> Iterator[Question]:
    """The questions, each asked for by a prompt where somebody types them."""
    output = standard_output()
    rest = iter(questions)
    while True:
        if questions.typed:
            output.write(PROMPT)
            output.flush()
        question = next(rest, None)
        if question is None:
            break
        yield question
    if questions.typed:
        output.write("\n")
        output.flush()


def _invitation(reader: Reader) -> str:
    if len(reader.inputs) == 1:
        return "A text a line, or a JSON object; Ctrl-D ends."
    example = json.dumps({item.field: "…" for item in reader.inputs}, ensure_ascii=False)
    return f"A JSON object a line, {example}; Ctrl-D ends."


def shown_answer(answer: Mapping[str, Any], text: object, styles: dict[str, str]) -> Text:
    """An answer for a person.

    Args:
        answer: as a graph decodes it.
        text: that was asked.
        styles: of the types of spans; new types are added.
    """
    if "entities" in answer:
        return _spans(str(answer.get("text", text)), answer["entities"], styles)
    if isinstance(answer.get("probabilities"), Mapping):
        return _classes(answer)
    if "answer" in answer:
        return _found(answer)
    return _fields(answer)


def _spans(text: str, entities: Sequence[Mapping[str, Any]], styles: dict[str, str]) -> Text:
    """The text with its spans in colours, and what each is."""
    shown = Text()
    end = 0
    for entity in entities:
        style = styles.setdefault(entity["type"], STYLES[len(styles) % len(STYLES)])
        shown.append(text[end : entity["start"]])
        shown.append(text[entity["start"] : entity["end"]], style=f"bold {style}")
        shown.append(f" [{entity['type']} {entity['score']:.2f}]", style=style)
        end = entity["end"]
    shown.append(text[end:])
    return shown if entities else shown.append("  (no span)", style="dim")


def _classes(answer: Mapping[str, Any]) -> Text:
    """The label, and how likely it and the next ones are."""
    likely = sorted(answer["probabilities"].items(), key=lambda item: -item[1])
    decided = answer.get("label", answer.get("labels", ""))
    label = ", ".join(decided) if isinstance(decided, list) else str(decided)
    parts = [f"{name} {share:.3f}" for name, share in likely[:SHOWN_CLASSES]]
    left_out = len(likely) - SHOWN_CLASSES
    if left_out > 0:
        parts.append(f"and {left_out} more")
    shown = Text(label or "(no label)", style="bold")
    return shown.append("   " + "  ".join(parts), style="dim not bold")


def _found(answer: Mapping[str, Any]) -> Text:
    """The answer to a question, and how sure it is."""
    shown = Text(answer["answer"] or "(no answer)", style="bold")
    return shown.append(f"   {answer['score']:.3f}", style="dim not bold")


def _fields(answer: Mapping[str, Any]) -> Text:
    """An answer of another kind, as its fields; a number as people read it."""
    lines = []
    for name, value in answer.items():
        is_number = isinstance(value, float)
        lines.append(f"{name}: {value:.4g}" if is_number else f"{name}: {_json(value)}")
    return Text("\n".join(lines))


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)
