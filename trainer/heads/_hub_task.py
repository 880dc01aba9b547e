"""What the Hugging Face hub and transformers call what a head does, for the card of an export."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping

TEXT = "An example of a text."
PIPELINE = """from transformers import pipeline

ask = pipeline("{pipeline}", model="FOLDER")
print(ask({asked}{settings}))
"""


def in_quotes(text: str | Mapping[str, str]) -> str:
    """Text, or a dict of texts, as Python has it; JSON is the same, and shows all letters."""
    return json.dumps(text, ensure_ascii=False)


@dataclasses.dataclass(frozen=True)
class HubTask:
    """The names of a task, and how it is asked.

    Attributes:
        tag: the hub's name, its pipeline_tag.
        auto_class: of transformers, that loads a Hugging Face folder.
        sample: raw inputs to show, by their names.
        usage: Python that asks such a folder, FOLDER.
        folder_tag: the hub's name of what such a folder does.
    """

    tag: str
    auto_class: str
    sample: Mapping[str, str]
    usage: str
    folder_tag: str


def of_pipeline(
    tag: str,
    auto_class: str,
    sample: Mapping[str, str],
    *,
    folder_tag: str = "",
    asked: str = "",
    settings: str = "",
) -> HubTask:
    """A task of which transformers has a pipeline.

    Args:
        tag: the hub's name.
        auto_class: of transformers.
        sample: raw inputs to show; one, or the two of a pair.
        folder_tag: the pipeline of a Hugging Face folder, where it has another name.
        asked: of that pipeline, where it is not the sample.
        settings: arguments behind what is asked, as Python.
    """
    of_sample = sample["text"] if len(sample) == 1 else dict(sample)
    usage = PIPELINE.format(
        pipeline=folder_tag or tag,
        asked=in_quotes(asked or of_sample),
        settings=settings,
    )
    return HubTask(
        tag=tag,
        auto_class=auto_class,
        sample=sample,
        usage=usage,
        folder_tag=folder_tag or tag,
    )


def of_writing(sample: Mapping[str, str], prompt: str) -> HubTask:
    """A task of going on with texts.

    Args:
        sample: raw inputs to show, by their names.
        prompt: what goes on, with {text} once; the space at its end belongs to what follows.
    """
    asked = prompt.replace("{text}", sample["text"]).removesuffix(" ")
    return of_pipeline(
        "text-generation",
        "AutoModelForCausalLM",
        sample,
        asked=asked,
        settings=", max_new_tokens=20",
    )
