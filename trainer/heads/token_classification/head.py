"""Token classification: what a run knows of it before its data."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from trainer.backbones.sites import FIRST_HEAD_SITE
from trainer.data.reader import Vocabulary
from trainer.heads._hub_task import of_pipeline
from trainer.heads.contract import Graph, Head, Metric, Scorer
from trainer.heads.token_classification.crf import forbidden_moves, no_forbidden_moves
from trainer.heads.token_classification.graph import TagGraph
from trainer.heads.token_classification.reader import TagReader, make_reader
from trainer.heads.token_classification.rule import rule_of
from trainer.heads.token_classification.scorer import SpanScorer, TagScorer
from trainer.heads.token_classification.settings import Settings
from trainer.heads.token_classification.taggers import EachAlone, InSequence, Tagger, moves_layer
from trainer.heads.token_classification.vocabulary import marks_spans
from trainer.lazy import keras
from trainer.settings.schema import DataSettings

if TYPE_CHECKING:
    from trainer.backbones.backbone import Backbone
    from trainer.backbones.config import BackboneConfig
    from trainer.data.store import TokenStore
    from trainer.text.tokenizer import Tokenizer

LOSS = Metric("loss", lower_is_better=True)
ACCURACY = Metric("accuracy")
# the main one first
SPAN_METRICS = (Metric("f1"), LOSS, ACCURACY, Metric("precision"), Metric("recall"))
TAG_METRICS = (ACCURACY, LOSS)
NO_CRF = (
    "Hugging Face's models for token classification have no CRF. Export a savedmodel, or"
    " train with head.crf false."
)
HUB_TASK = of_pipeline(
    "token-classification",
    "AutoModelForTokenClassification",
    {"text": "Anna lives in Mainz."},
)


@dataclasses.dataclass(frozen=True)
class TagHead(Head):
    """Tags of words, and the spans that they mark.

    Attributes:
        settings: of the config.
        reader: of the examples.
    """

    settings: Settings
    reader: TagReader
    hub_task = HUB_TASK

    @property
    def no_huggingface(self) -> str:
        """Why that format has no place for a CRF, where there is one."""
        return NO_CRF if self.settings.crf else ""

    def build(self, backbone: Backbone, vocabulary: Vocabulary, seed: int) -> TagGraph:
        """Makes the layer of scores, and the CRF's.

        Args:
            backbone: with its weights.
            vocabulary: what train taught.
            seed: of the initial values.
        """
        config = backbone.config
        learnt_words = vocabulary.get("tagged") == "words"
        dropout = self.settings.dropout
        output = _output_layer(config, len(vocabulary["labels"]), seed)
        tagger = self._tagger(vocabulary)
        return TagGraph(
            reader=self.reader,
            vocabulary=vocabulary,
            family=config.family,
            layers=(output, *tagger.layers),
            output=output,
            dropout=config.token_classifier_dropout if dropout is None else dropout,
            tagger=tagger,
            rule=rule_of(vocabulary),
            # A tagger of words between spaces has learnt to see U.S. as one; spans of raw text, and
            # of words that stand side by side, may end anywhere.
            joins=learnt_words and marks_spans(vocabulary) and bool(self.settings.word_separator),
        )

    def _tagger(self, vocabulary: Vocabulary) -> Tagger:
        if not self.settings.crf:
            return EachAlone()
        labels = vocabulary["labels"]
        forbidden = forbidden_moves if marks_spans(vocabulary) else no_forbidden_moves
        return InSequence((moves_layer(len(labels)),), forbidden(labels))

    def scorer(self, graph: Graph) -> Scorer:
        """Of spans, or of tags that are none, as the graph's vocabulary says."""
        assert isinstance(graph, TagGraph)
        labels = tuple(graph.vocabulary["labels"])
        if marks_spans(graph.vocabulary):
            return SpanScorer(graph.rule, labels)
        return TagScorer(graph.rule, labels)

    def available_metrics(self, vocabulary: Vocabulary | None = None) -> tuple[Metric, ...]:
        """Those of spans, unless the vocabulary says that tags are none."""
        return SPAN_METRICS if marks_spans(vocabulary) else TAG_METRICS

    def undefined_metrics(self, vocabulary: Vocabulary, store: TokenStore) -> dict[str, str]:
        """Where a split has no span, those of spans."""
        if not marks_spans(vocabulary):
            return {}
        if any(self.reader.label_counts(vocabulary, store).values()):
            return {}
        return dict.fromkeys(("precision", "recall", "f1"), "it has no spans")


def make_head(settings: Settings, data: DataSettings, tokenizer: Tokenizer) -> TagHead:
    """The head that a config asks for.

    Args:
        settings: of the head.
        data: of the sources.
        tokenizer: of the texts.
    Raises:
        ConfigError: settings of the data are none for a tagger.
    """
    reader = make_reader(settings, data, tokenizer)
    return TagHead(settings, reader)


def _output_layer(config: BackboneConfig, classes: int, seed: int) -> keras.layers.Dense:
    initial = keras.initializers.TruncatedNormal(
        stddev=config.initializer_range, seed=seed + FIRST_HEAD_SITE
    )
    layer = keras.layers.Dense(classes, kernel_initializer=initial, name="output", dtype="float32")
    layer.build((None, config.hidden_size))
    return layer
