"""Puts a run's parts together: tokenizer, head, data, model. Every mode starts here."""

from __future__ import annotations

import dataclasses
import functools
import itertools
import pathlib
from collections.abc import Sequence

import tensorflow as tf

from trainer.backbones import huggingface
from trainer.backbones.backbone import set_frozen
from trainer.backbones.config import BackboneConfig
from trainer.backbones.huggingface.safetensors_files import few
from trainer.console.display import Display
from trainer.data.example_rows import ExampleRows, rows_of
from trainer.data.reader import Vocabulary
from trainer.data.stream import Stream
from trainer.errors import ConfigError, shown_value
from trainer.files.storage import local_folder
from trainer.heads import make_head
from trainer.heads._carried_over import CarriedOver
from trainer.heads.contract import Exchanges, Head, Metric
from trainer.machine.xla import require_xla_here
from trainer.run.cluster import read_cluster
from trainer.run.distribution import make_strategy, set_precision
from trainer.run.job import Job
from trainer.run.model import Model
from trainer.run.workers import host
from trainer.settings.schema import Config
from trainer.text import load_tokenizer
from trainer.text.tokenizer import Tokenizer

SHOWN_TENSORS = 6
STEPS_OF_A_BLOCK = 10


@dataclasses.dataclass
class Parts:
    """What every mode needs. `weights` and `tokenizer_folder` are local folders."""

    config: Config
    weights: pathlib.Path
    tokenizer_folder: pathlib.Path
    backbone: BackboneConfig
    head: Head
    tokenizer: Tokenizer
    display: Display

    @property
    def examples(self) -> ExampleRows:
        """The rows of the examples at each step."""
        return rows_of(self.head.reader, self.config.train.seed)

    @functools.cached_property
    def stream(self) -> Stream | None:
        """Train as a stream, if it is one; its files are looked up when it is first asked for."""
        data, train = self.config.data, self.config.train
        return (
            Stream(data, self.head.reader, batch_size=train.global_batch_size, seed=train.seed)
            if data.stream_characters
            else None
        )


def start_strategy(config: Config, job: Job, display: Display) -> tf.distribute.Strategy:
    """The strategy; call it before TensorFlow's first operation.

    On several workers the chief alone writes and speaks.

    Args:
        config: of the run.
        job: learns whether this worker writes.
        display: speaks on the chief only.
    """
    if (cluster := read_cluster()) and config.distribution.strategy in ("auto", "multi_worker"):
        workers = itertools.chain.from_iterable(cluster["cluster"].values())
        display.line(f"distribution: waiting for the workers {', '.join(workers)}")
    strategy, line = make_strategy(config.distribution)
    set_precision(config.train.precision)
    without_xla = require_xla_here(config.train.xla)
    job.writes = host(strategy) == 0
    display.line(line)
    if without_xla and config.train.xla == "auto":
        display.line(f"train.xla: off. {without_xla}")
    display.quiet = not job.writes
    return strategy


def make_parts(config: Config, display: Display) -> Parts:
    """Reads the backbone's config and the tokenizer, and checks them against the run's config.

    It costs no more than that.

    Args:
        config: of the run.
        display: speaks in the modes.
    Raises:
        ConfigError: seq_len over the backbone's positions, more frozen layers than there are, …
        WeightsError: the weights folder is not one, or of another architecture.
    """
    weights = local_folder(config.backbone.weights, key="backbone.weights")
    backbone = huggingface.read_config(weights)
    huggingface.require_weights_that_fit(weights)  # before anything is prepared
    tokenizer_folder = (
        local_folder(config.backbone.tokenizer, key="backbone.tokenizer")
        if config.backbone.tokenizer
        else weights
    )
    tokenizer = load_tokenizer(tokenizer_folder)
    if tokenizer.eos_id is None:
        # by which Hugging Face's generate ends a text
        tokenizer.eos_id = huggingface.read_eos_id(weights)
    _check_sizes(config, backbone)
    _check_vocabulary(config, backbone, tokenizer, tokenizer_folder)
    head = make_head(config.head, config.data, tokenizer)
    _check_head(config, head, backbone)
    backbone = dataclasses.replace(backbone, pooler=backbone.pooler and head.uses_pooler)
    return Parts(config, weights, tokenizer_folder, backbone, head, tokenizer, display)


def _check_sizes(config: Config, backbone: BackboneConfig) -> None:
    if config.data.seq_len > backbone.max_positions:
        raise ConfigError(
            f"data.seq_len: expected at most {backbone.max_positions}, the positions of"
            f" {config.backbone.weights}. Received {config.data.seq_len}. Lower --data.seq_len."
        )
    if config.backbone.freeze_layers > backbone.layers:
        raise ConfigError(
            f"backbone.freeze_layers: expected at most {backbone.layers}, the layers of"
            f" {config.backbone.weights}. Received {config.backbone.freeze_layers}."
        )


def _check_vocabulary(
    config: Config, backbone: BackboneConfig, tokenizer: Tokenizer, folder: pathlib.Path
) -> None:
    """Raises ConfigError where the tokenizer of a folder has tokens that are not embedded."""
    beyond = tokenizer.vocabulary[backbone.vocabulary_size :]
    if beyond:
        named = [name for name in beyond if name]
        raise ConfigError(
            f"backbone.tokenizer: {folder} has {len(tokenizer.vocabulary):,} tokens,"
            f" {config.backbone.weights} embeds {backbone.vocabulary_size:,}, so there is none for"
            f" {few(named)}. Give the tokenizer that belongs to the weights, or resize these with"
            " transformers' resize_token_embeddings."
        )


def _check_head(config: Config, head: Head, backbone: BackboneConfig) -> None:
    if config.data.stream_characters and not head.reader.streams:
        raise ConfigError(
            f"data.stream_characters: for language models only, as head {config.head.name} learns"
            " its labels from all of train. Remove data.stream_characters."
        )
    if config.export.format == "huggingface" and head.no_huggingface:
        raise ConfigError(f"export.format: {head.no_huggingface}")
    head.check(backbone)
    _check_metric(config, head)


def _check_metric(config: Config, head: Head, vocabulary: Vocabulary | None = None) -> None:
    metric = config.train.best_metric
    names = [available.name for available in head.available_metrics(vocabulary)]
    if metric and metric not in names:
        raise ConfigError(
            f"train.best_metric: expected one of {', '.join(names)}. Received"
            f" {shown_value(metric)}."
        )


def best_metric(config: Config, available: Sequence[Metric]) -> Metric | None:
    """The validation metric that picks the checkpoint to export, if one does.

    Args:
        config: of the run.
        available: the metrics that there may be, the main one first.
    """
    name = config.train.best_metric
    if name:
        return next((metric for metric in available if metric.name == name), Metric(name))
    return available[0] if config.train.early_stopping_patience else None


@dataclasses.dataclass(frozen=True)
class Origin:
    """Where a model's weights start from, for a run that does start from there."""

    backbone: huggingface.LoadReport
    head: CarriedOver
    pretrained: bool  # whether the folder has weights at all


def build_model(parts: Parts, strategy: tf.distribute.Strategy, vocabulary: Vocabulary) -> Model:
    """The model, a copy on each replica, for a checkpoint to replace its weights.

    Args:
        parts, strategy, vocabulary: as in `start_model`.
    """
    return start_model(parts, strategy, vocabulary)[0]


def start_model(
    parts: Parts, strategy: tf.distribute.Strategy, vocabulary: Vocabulary
) -> tuple[Model, Origin]:
    """The model with its initial weights, a copy on each replica, and where they are from.

    Args:
        parts: of the run.
        strategy: where it will run.
        vocabulary: what the head learnt from train.
    """
    config = parts.config
    with strategy.scope():
        backbone, report = huggingface.load_backbone(
            parts.weights,
            dtype=config.train.precision,
            seed=config.train.seed,
            pooler=parts.backbone.pooler,
            hidden_dropout=config.backbone.hidden_dropout,
            attention_dropout=config.backbone.attention_dropout,
        )
        graph = parts.head.build(backbone, vocabulary, config.train.seed)
        model = Model(backbone, graph)
        set_frozen(
            backbone,
            embeddings=config.backbone.freeze_embeddings,
            layers=config.backbone.freeze_layers,
        )
        pretrained = huggingface.has_weights(parts.weights)
        checkpoint = (
            huggingface.read_task_head(parts.weights) if pretrained else huggingface.TaskHead({})
        )
        carried = CarriedOver.whole([])
        if isinstance(graph, Exchanges):
            carried = graph.load_tensors(checkpoint)
        elif config.export.format == "huggingface":
            raise ConfigError(
                f"export.format: Hugging Face's format has no place for head {config.head.name}."
                " Export a savedmodel."
            )
    _check_metric(config, parts.head, vocabulary)  # again, now that the classes are known
    return model, Origin(report, carried, pretrained)


def announce_origin(parts: Parts, origin: Origin) -> None:
    """Says what a run that no checkpoint goes on with starts from."""
    config, display = parts.config, parts.display
    if not origin.pretrained:
        # so that a key of config.json that was not understood is seen
        sizes = f"{parts.backbone.layers} layers, {parts.backbone.hidden_size} wide"
        display.warn(
            f"{config.backbone.weights} has no weights: the backbone, of {sizes}, starts from"
            f" random values (seed {config.train.seed})"
        )
    elif origin.backbone.new:
        display.line(
            f"weights: {_few(origin.backbone.new)} not in the checkpoint, starting from random"
            " values"
        )
    for note in origin.backbone.notes:
        display.line(f"weights: {note}")
    if unused := [name for name in origin.backbone.unused if name not in origin.head.tensors]:
        display.line(f"weights: {_few(unused)} in the checkpoint, not used")
    display.line(f"weights: {_of_the_head(origin.head)}")
    if parts.head.lives_on_pretraining and not origin.head.output and origin.pretrained:
        _warn_of_missing_layers(parts)


def _warn_of_missing_layers(parts: Parts) -> None:
    parts.display.warn(
        f"{parts.config.backbone.weights} has no layers of a masked language model, such as"
        " cls.predictions.transform: until they are learnt, words at a mask mean nothing"
    )


def foresee_origin(parts: Parts) -> None:
    """Says before a model is built what it would start without, and needs."""
    if not parts.head.lives_on_pretraining or not huggingface.has_weights(parts.weights):
        return
    masked_lm = parts.backbone.family.masked_lm
    if masked_lm and set(masked_lm.tensors) - huggingface.tensor_names(parts.weights):
        _warn_of_missing_layers(parts)


def _of_the_head(carried: CarriedOver) -> str:
    """Where the head's layers start from, and how or why."""
    if carried.output:
        said = "the head's layers come from the checkpoint"
    elif carried.tensors:
        said = (
            f"{_few(carried.tensors)} come from the checkpoint, the head's output layer starts from"
            " random values"
        )
    else:
        said = "the head's layers start from random values"
    return said + (f": {carried.remark}" if carried.remark else "")


def _few(names: list[str]) -> str:
    shown = ", ".join(names[:SHOWN_TENSORS])
    return shown + (f" and {len(names) - SHOWN_TENSORS} more" if len(names) > SHOWN_TENSORS else "")
