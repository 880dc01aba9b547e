"""The model card of an export: README.md, with Hugging Face's metadata at its head.

It has no path of this machine outside the working directory, and no text of the data.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

from trainer.files.hub import HUB_NAME
from trainer.files.paths import shareable
from trainer.heads._hub_task import HubTask, in_quotes
from trainer.lazy import quiet_imports
from trainer.serve import card_text
from trainer.serve.markdown import block, code, plain, table
from trainer.settings.schema import Config

if TYPE_CHECKING:
    from huggingface_hub import EvalResult, ModelCardData

HUB = "hf://"
# the hub's names of metrics, where they are not ours
HUB_METRICS = {
    "f1_macro": "f1",
    "f1_micro": "f1",
    "precision_macro": "precision",
    "recall_macro": "recall",
    "auc_roc": "roc_auc",
    "pearson": "pearsonr",
    "spearman": "spearmanr",
}
DIGITS = 6  # of a metric's value
TO_COMPLETE = (
    "<!-- podtune wrote this card. Complete it, such as by `license:` above, and by what the model"
    " is for. -->"
)
LOADED = '"FOLDER" is this folder; huggingface_hub.snapshot_download fetches it from the hub.'


@dataclasses.dataclass(frozen=True)
class Facts:
    """What is known of a model and of the run that trained it.

    Attributes:
        name: of the run.
        config: that it was begun with.
        task: what the Hugging Face hub calls it, where it has a name for that.
        backbone: in words.
        parameters: how many numbers are its weights.
        pretrained: whether it started from weights, not from random values.
        labels: that it answers; none where it answers something else.
        overflow: what became of texts over seq_len.
        language: as ISO 639 has it, where it is known.
        sizes: split -> examples.
        scores: split -> metric -> value.
        steps, epochs: of the run, where they are known.
        kept_step: whose weights these are.
        losses: what preparing the data changed, lost or doubted -> split -> how often.
        versions: of what wrote the export.
    """

    name: str
    config: Config
    task: HubTask | None
    backbone: str
    parameters: int
    pretrained: bool
    labels: Sequence[str]
    overflow: str
    language: str | None
    sizes: Mapping[str, int]
    scores: Mapping[str, Mapping[str, float]]
    steps: int | None
    epochs: float | None
    kept_step: int
    losses: Mapping[str, Mapping[str, int]]
    versions: Mapping[str, str]


class Signature(NamedTuple):
    """A function of a SavedModel.

    Attributes:
        name: by which it is asked for.
        takes, answers: names of its inputs and outputs.
    """

    name: str
    takes: Sequence[str]
    answers: Sequence[str]


class Export(NamedTuple):
    """What a card says of a format.

    Attributes:
        tag: the hub's name of what is asked and answered.
        library: that loads it.
        tags: more of them, for who searches.
        about: what the export is, a sentence.
        usage: paragraphs, how it is asked.
    """

    tag: str | None
    library: str
    tags: Sequence[str]
    about: str
    usage: Sequence[str]


def saved_model_card(facts: Facts, signatures: Sequence[Signature]) -> str:
    """The card of a SavedModel.

    Args:
        facts: of the model.
        signatures: its functions.
    """
    rows = []
    for name, takes, answers in signatures:
        rows.append((code(name), _codes(takes), _codes(answers)))
    usage = [
        block("python", _saved_model_usage(facts, signatures)),
        LOADED,
        table(("signature", "takes", "answers"), rows),
    ]
    export = Export(
        tag=facts.task.tag if facts.task else None,
        library="tensorflow",
        tags=("saved-model",),
        about="This is a TensorFlow SavedModel: it takes texts as they are.",
        usage=usage,
    )
    return _card(facts, export)


def huggingface_card(facts: Facts) -> str:
    """The card of a folder that transformers loads."""
    task = facts.task
    about = "This is a Hugging Face folder"
    export = Export(None, "transformers", (), f"{about}.", ())
    if task is not None:
        export = export._replace(
            tag=task.folder_tag,
            about=f"{about}: {code(task.auto_class)} of transformers loads it.",
            usage=(block("python", task.usage), LOADED),
        )
    return _card(facts, export)


def _codes(names: Sequence[str]) -> str:
    return ", ".join(map(code, names))


def _saved_model_usage(facts: Facts, signatures: Sequence[Signature]) -> str:
    """Python that asks what a model is asked most: for a text to go on, or for an answer."""
    by_name = {signature.name: signature for signature in signatures}
    signature = by_name.get("generate", by_name["serving_default"])
    sample = facts.task.sample if facts.task else {}
    inputs = []
    for name in signature.takes:
        value = f"tf.constant([{in_quotes(sample[name])}])" if name in sample else "..."
        inputs.append(f"{name}={value}")
    return (
        "import tensorflow as tf\n"
        "import tensorflow_text  # the tokenizer's operations\n\n"
        'model = tf.saved_model.load("FOLDER")\n'
        f'answers = model.signatures["{signature.name}"]({", ".join(inputs)})\n'
        "for name, values in answers.items():\n"
        "    print(name, values.numpy())\n"
    )


def _card(facts: Facts, export: Export) -> str:
    with quiet_imports():
        from huggingface_hub import ModelCard

    sections = {
        "Scores": card_text.scores(facts),
        "How to use it": export.usage,
        "What it answers": card_text.labels(facts),
        "How it was trained": card_text.training(facts),
        "Limits": card_text.limits(facts),
    }
    body = [TO_COMPLETE, f"# {plain(facts.name)}", _about(facts, export)]
    for heading, paragraphs in sections.items():
        if paragraphs:
            body += [f"## {heading}", *paragraphs]
    metadata = _metadata(facts, export).to_yaml()
    text = "\n\n".join(body)
    return str(ModelCard(f"---\n{metadata}\n---\n\n{text}\n"))


def _about(facts: Facts, export: Export) -> str:
    """What the model is, in two sentences."""
    task = ""
    if export.tag is not None:
        task = f" for {export.tag.replace('-', ' ')}"
    return (
        f"A {facts.backbone} with {facts.parameters:,} parameters, fine-tuned{task}. {export.about}"
    )


def _metadata(facts: Facts, export: Export) -> ModelCardData:
    from huggingface_hub import ModelCardData

    weights = facts.config.backbone.weights
    base = HUB_NAME.fullmatch(weights.removeprefix(HUB)) if weights.startswith(HUB) else None
    data_set = facts.config.data.public_name
    results = list(_results(facts, export.tag)) if export.tag else []
    metrics = {result.metric_type for result in results} - {"loss"}
    return ModelCardData(
        language=facts.language,
        library_name=export.library,
        pipeline_tag=export.tag,
        tags=["podtune", *export.tags],
        base_model=base["name"] if base else None,
        base_model_relation="finetune" if base else None,
        datasets=[data_set.partition("/")[0]] if data_set else None,
        metrics=sorted(metrics) or None,
        model_name=facts.name if results else None,
        eval_results=results or None,
    )


def _results(facts: Facts, task: str) -> Iterator[EvalResult]:
    """Each score, for the metadata."""
    from huggingface_hub import EvalResult

    data = facts.config.data
    name, _, config = (data.public_name or "").partition("/")
    for split, metrics in facts.scores.items():
        for metric, value in metrics.items():
            yield EvalResult(
                task_type=task,
                dataset_type=name or data.source,
                dataset_name=data.public_name or shareable(_place(facts.config, split)),
                dataset_config=config or None,
                dataset_split=split,
                metric_type=HUB_METRICS.get(metric, metric),
                metric_name=metric,
                metric_value=round(value, DIGITS),
            )


def _place(config: Config, split: str) -> str:
    """Where the examples of a split are from: its own place, or train's."""
    place = getattr(config.data, split)
    return place if isinstance(place, str) else config.data.train
