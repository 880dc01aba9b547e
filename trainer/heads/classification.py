"""Classification of a text or a pair: one label, several labels, or a number."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

import numpy as np

from trainer.backbones.sites import FIRST_HEAD_SITE
from trainer.data.batch import Batch
from trainer.data.reader import Column, EncodedTensors, Value, Vocabulary
from trainer.heads._carried_over import CarriedOver, LabelRows, carry_over, label_rows
from trainer.heads._classes.decision import Decision
from trainer.heads._classes.graph import ClassGraph, Scores
from trainer.heads._classes.head import ClassHead
from trainer.heads._classes.kinds import KINDS, PROBLEM_TYPES, Kind
from trainer.heads._classes.naming import naming_of
from trainer.heads._classes.reader import LABEL, ClassReader, Encoding, inputs_of
from trainer.heads._classes.settings import ClassifierSettings
from trainer.heads._hub_task import TEXT, HubTask, of_pipeline
from trainer.heads._settings_checks import overflow_of
from trainer.lazy import keras, tf
from trainer.settings.schema import DataSettings
from trainer.sources import text_fields

if TYPE_CHECKING:  # which would import TensorFlow
    from trainer.backbones.backbone import Backbone
    from trainer.backbones.family import Family
    from trainer.backbones.huggingface import TaskHead
    from trainer.text.tokenizer import Tokenizer

OVERFLOWS = ("truncate", "head_tail", "error")
HIDDEN_SITE = FIRST_HEAD_SITE  # of the initial values
OUTPUT_SITE = FIRST_HEAD_SITE + 1
BEFORE_OUTPUT = FIRST_HEAD_SITE  # of the dropout masks
BEFORE_HIDDEN = FIRST_HEAD_SITE + 1
UNNAMED = "LABEL_0"  # Hugging Face's name of the only output of a regression


class Settings(ClassifierSettings):
    """Classification of a text or a pair."""

    name: Literal["classification"] = "classification"


@dataclasses.dataclass(frozen=True)
class TextEncoding(Encoding):
    """A row of a text or a pair: special tokens added, cut to seq_len.

    Attributes:
        tokenizer: of the texts.
        fields: of the texts.
        seq_len: S.
        overflow: what becomes of longer texts.
        with_segments: whether the second of a pair is told apart by segment_ids.
    """

    tokenizer: Tokenizer
    fields: Sequence[str]
    seq_len: int
    overflow: str
    with_segments: bool

    def encode(self, *texts: tf.Tensor) -> EncodedTensors:
        """Token columns and counts of what was lost.

        Args:
            texts: one or two (B,) string.
        Returns:
            token_ids (and segment_ids), each ragged (B, None) int32; truncated_tokens,
            unknown_tokens (B,) int32.
        """
        from trainer.text.assemble import assemble
        from trainer.text.flat_arrays import in_columns

        at_once = self.tokenizer.tokenize(tf.concat(texts, 0))
        ids = in_columns(at_once, len(texts))
        is_unknown = [tf.cast(row == self.tokenizer.unk_id, tf.int32) for row in ids]
        token_ids, segment_ids, truncated = assemble(
            ids[0],
            ids[1] if len(ids) > 1 else None,
            seq_len=self.seq_len,
            overflow=self.overflow,
            template=self.tokenizer.template,
        )
        columns = {"token_ids": token_ids}
        if self.with_segments:
            columns["segment_ids"] = segment_ids
        unknown = tf.add_n([tf.reduce_sum(row, axis=1) for row in is_unknown])
        return columns, {"truncated_tokens": truncated, "unknown_tokens": unknown}

    def places(self, *texts: tf.Tensor) -> tf.RaggedTensor:
        """The characters of the tokens of `encode`; see `PlacesTokens`.

        They go the way of the token ids: the same cuts, the same template.
        """
        from trainer.text.assemble import assemble
        from trainer.text.places import places_of

        tokens = [self.tokenizer.tokenize_with_offsets(text) for text in texts]
        numbers = [tf.ones_like(each.ids) * place for place, each in enumerate(tokens)]

        def row(columns: Sequence[tf.RaggedTensor]) -> tf.RaggedTensor:
            return assemble(
                columns[0],
                columns[1] if len(columns) > 1 else None,
                seq_len=self.seq_len,
                overflow=self.overflow,
                template=self.tokenizer.template.filled(-1),
            )[0]

        return places_of(
            row([each.starts for each in tokens]), row([each.ends for each in tokens]), row(numbers)
        )

    def shown(self, values: Sequence[Value]) -> list[tuple[str, str]]:
        """The texts, by their fields."""
        return [(field, str(text)) for field, text in zip(self.fields, values, strict=True)]


@dataclasses.dataclass(frozen=True, eq=False)
class TextScores(Scores):
    """Layers on one token of each text, as Hugging Face's …ForSequenceClassification has them.

    Attributes:
        backbone: below.
        layers: perhaps a hidden one, and the output.
        dropout: the rate before the output.
        kind: of the labels.
        names: (C,) of the labels; none of a number.
        settings: of the head.
    """

    backbone: Backbone
    layers: Sequence[keras.layers.Layer]
    dropout: float
    kind: Kind
    names: Sequence[str]
    settings: Settings

    @property
    def family(self) -> Family:
        """Of the backbone."""
        return self.backbone.config.family

    def place(self, batch: Batch) -> tf.Tensor:
        """(E,) int32: the first token; where tokens see only those before, the last one."""
        examples = batch.examples
        if self.family.sequence_classifier.reads_last:
            return examples.start + tf.maximum(examples.length - 1, 0)
        return examples.start

    def logits(self, hidden: tf.Tensor, seed: tf.Tensor | None) -> tf.Tensor:
        """(E, C) float32; see `Scores.logits`."""
        from trainer.backbones.dropout import dropout

        dropped = dropout(self._before_output(hidden, seed), self.dropout, seed, BEFORE_OUTPUT)
        return self.layers[-1](tf.cast(dropped, tf.float32))

    def _before_output(self, hidden: tf.Tensor, seed: tf.Tensor | None) -> tf.Tensor:
        """(E, H): what the head's own hidden layer or the pooler makes of the tokens."""
        from trainer.backbones.activations import ACTIVATIONS
        from trainer.backbones.dropout import dropout

        shape = self.family.sequence_classifier
        if shape.hidden is None:
            return self.backbone.pool(hidden) if shape.pooled else hidden
        if shape.hidden.drops_input:
            hidden = dropout(hidden, self.dropout, seed, BEFORE_HIDDEN)
        activation = ACTIVATIONS[shape.hidden.activation]
        return activation(self.layers[0](tf.cast(hidden, tf.float32)))

    def load_tensors(self, checkpoint: TaskHead) -> CarriedOver:
        """Takes over the checkpoint's own layers.

        The rows of the last one are taken by the names of the labels.
        """
        *hidden, output = self._weights_by_layer()
        below = {name: weight for layer in hidden for name, weight in layer.items()}

        def find_rows(rows: int) -> LabelRows:
            return self._find_rows(checkpoint, rows)

        carried = carry_over(checkpoint, "ForSequenceClassification", below, output, find_rows)
        trained_as = checkpoint.problem_type
        is_another = trained_as in PROBLEM_TYPES and trained_as != self.kind.problem_type
        if not carried.output or not is_another:
            return carried
        note = (
            f"they were trained as {trained_as}, so its probabilities are not yet those of"
            f" head.kind {self.settings.kind}"
        )
        remark = "; ".join(filter(None, [carried.remark, note]))
        return dataclasses.replace(carried, remark=remark)

    def _find_rows(self, checkpoint: TaskHead, rows: int) -> LabelRows:
        if self.names:
            listed = self.settings.labels is not None
            return label_rows(checkpoint.labels, self.names, rows, can_list=True, listed=listed)
        if rows == 1:
            return LabelRows([0])
        return LabelRows(
            None,
            f"the checkpoint's have {rows:,} rows, a regression has one. For labels set"
            " --head.kind=single_label",
        )

    def _weights_by_layer(self) -> list[dict[str, keras.Variable]]:
        """The weights of each layer by Hugging Face's names.

        Kernels are (outputs, inputs) there.
        """
        weights = []
        names = self.family.sequence_classifier.tensors
        for name, layer in zip(names, self.layers, strict=True):
            bias = {f"{name}.bias": layer.bias} if layer.use_bias else {}
            weights.append({f"{name}.weight": layer.kernel, **bias})
        return weights

    def save_tensors(self) -> tuple[dict[str, np.ndarray], dict[str, object]]:
        """The layers under Hugging Face's names, and what config.json says of them."""
        tensors = {
            name: np.ascontiguousarray(weight.numpy().T)
            for layer in self._weights_by_layer()
            for name, weight in layer.items()
        }
        labels = self.names or [UNNAMED]
        return tensors, {
            "architectures": [self.family.class_for("ForSequenceClassification")],
            "problem_type": self.kind.problem_type,
            "id2label": {str(number): name for number, name in enumerate(labels)},
            "label2id": {name: number for number, name in enumerate(labels)},
        }


def _make_layers(backbone: Backbone, outputs: int, seed: int) -> list[keras.layers.Layer]:
    """The layers above the backbone.

    Args:
        backbone: below.
        outputs: C.
        seed: of the initial values.
    """
    config = backbone.config
    shape = config.family.sequence_classifier

    def dense(name: str, size: int, site: int, *, use_bias: bool = True) -> keras.layers.Layer:
        initial = keras.initializers.TruncatedNormal(
            stddev=config.initializer_range, seed=seed + site
        )
        layer = keras.layers.Dense(
            size, kernel_initializer=initial, name=name, dtype="float32", use_bias=use_bias
        )
        layer.build((None, config.hidden_size))
        return layer

    output = dense("output", outputs, OUTPUT_SITE, use_bias=shape.has_bias)
    if shape.hidden is None:
        return [output]
    return [dense("dense", config.hidden_size, HIDDEN_SITE), output]


@dataclasses.dataclass(frozen=True)
class Head(ClassHead):
    """Classification, before its data is known.

    Attributes:
        settings: of the config.
    """

    settings: Settings
    uses_pooler = True

    @property
    def hub_task(self) -> HubTask:
        """Text classification; of a number, too."""
        sample = {item.name: TEXT for item in self.reader.inputs}
        return of_pipeline("text-classification", "AutoModelForSequenceClassification", sample)

    def build(self, backbone: Backbone, vocabulary: Vocabulary, seed: int) -> ClassGraph:
        """Makes the layers above the backbone.

        Args:
            backbone: with its weights.
            vocabulary: what train taught.
            seed: of the initial values.
        """
        decision = self.kind.decision(self.settings, vocabulary)
        scores = self._make_scores(backbone, decision, seed)
        return ClassGraph(vocabulary, scores.layers, scores, decision)

    def _make_scores(self, backbone: Backbone, decision: Decision, seed: int) -> TextScores:
        rate = self.settings.dropout
        return TextScores(
            backbone=backbone,
            layers=_make_layers(backbone, len(decision.names) or 1, seed),
            dropout=backbone.config.classifier_dropout if rate is None else rate,
            kind=self.kind,
            names=decision.names,
            settings=self.settings,
        )


def make_head(settings: Settings, data: DataSettings, tokenizer: Tokenizer) -> Head:
    """Classification of the texts of `data`.

    Args:
        settings: of the head.
        data: of the examples.
        tokenizer: of the texts.
    Raises:
        ConfigError: settings contradict each other.
    """
    kind = KINDS[settings.kind]
    labels = kind.labels(settings, data, naming_of(settings, data))
    fields = text_fields(data)
    encoding = TextEncoding(
        tokenizer=tokenizer,
        fields=fields,
        seq_len=data.seq_len,
        overflow=overflow_of(settings, data, OVERFLOWS),
        with_segments=len(fields) > 1 and tokenizer.template.segments,
    )
    reader = ClassReader(
        tokenizer=tokenizer,
        inputs=inputs_of(data),
        columns=(Column("segment_ids"), LABEL) if encoding.with_segments else (LABEL,),
        overflows=OVERFLOWS,
        encoding=encoding,
        labels=labels,
        stored=settings.model_dump(include={"name", "kind", "labels", "label_separator"}),
    )
    return Head(settings, reader, kind)
