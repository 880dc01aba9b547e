"""Prompting, before its data is known."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from trainer.data.reader import Column, Vocabulary
from trainer.errors import ConfigError
from trainer.heads._classes.graph import ClassGraph
from trainer.heads._classes.head import ClassHead
from trainer.heads._classes.kinds import KINDS, Kind
from trainer.heads._classes.naming import naming_of
from trainer.heads._classes.reader import LABEL, ClassReader, inputs_of
from trainer.heads._hub_task import TEXT, HubTask, of_pipeline
from trainer.heads._masked_output import MaskedOutput
from trainer.heads._settings_checks import overflow_of, refuse_dropout
from trainer.heads.prompt.encoding import ASKED, encoding_of
from trainer.heads.prompt.pattern import Pattern, read_pattern
from trainer.heads.prompt.scores import WordScores
from trainer.heads.prompt.settings import Settings, check_settings
from trainer.heads.prompt.words import WordLabels, tokens_of_words
from trainer.settings.schema import DataSettings

if TYPE_CHECKING:  # which would import TensorFlow
    from trainer.backbones.backbone import Backbone
    from trainer.backbones.config import BackboneConfig
    from trainer.text.tokenizer import Tokenizer

OVERFLOWS = ("truncate", "error")


@dataclasses.dataclass(frozen=True)
class Head(ClassHead):
    """Classification by words at the mask of a pattern.

    Attributes:
        settings: of the config.
        pattern: that the texts are set into.
    """

    settings: Settings
    pattern: Pattern
    lives_on_pretraining = True

    @property
    def hub_task(self) -> HubTask:
        """Text classification; a Hugging Face folder fills in the mask of the pattern."""
        sample = {item.name: TEXT for item in self.reader.inputs}
        return of_pipeline(
            "text-classification",
            "AutoModelForMaskedLM",
            sample,
            folder_tag="fill-mask",
            asked=self.pattern.asked(list(sample.values()), self.reader.tokenizer.mask_token),
        )

    def check(self, backbone: BackboneConfig) -> None:
        """Raises ConfigError where the backbone is a decoder, or a word is no single token."""
        if backbone.causal:
            raise ConfigError(
                "head.name: prompt needs an encoder such as BERT. Received a backbone of kind"
                f" {backbone.architecture}."
            )
        self._words()

    def _words(self) -> tuple[int, ...]:
        """(C,) the token of each label's word."""
        return tokens_of_words(self.settings.label_words, self.reader.tokenizer, self.pattern)

    def build(self, backbone: Backbone, vocabulary: Vocabulary, seed: int) -> ClassGraph:
        """Makes the layers above the backbone.

        Args:
            backbone: with its weights.
            vocabulary: what train taught.
            seed: of the initial values.
        Raises:
            ConfigError: see `check`.
        """
        self.check(backbone.config)
        output = MaskedOutput.of(backbone, seed)
        scores = WordScores(backbone, output, self._words())
        decision = self.kind.decision(self.settings, vocabulary)
        return ClassGraph(vocabulary, output.layers, scores, decision)


def make_head(settings: Settings, data: DataSettings, tokenizer: Tokenizer) -> Head:
    """Prompting with the texts of `data`.

    Args:
        settings: of the head.
        data: of the examples.
        tokenizer: of the texts.
    Raises:
        ConfigError: settings contradict each other, or the tokenizer is none for a prompt.
    """
    kind = KINDS[settings.kind]
    labels = _labels_of(settings, data, kind)
    overflow_of(settings, data, OVERFLOWS)
    refuse_dropout(settings)
    check_settings(settings)
    inputs = inputs_of(data)
    pattern = read_pattern(settings.pattern, [item.name for item in inputs])
    reader = ClassReader(
        tokenizer=tokenizer,
        inputs=inputs,
        columns=(Column(ASKED), LABEL),
        overflows=OVERFLOWS,
        encoding=encoding_of(tokenizer, pattern, len(inputs), data.seq_len),
        labels=labels,
        stored=settings.model_dump(include={"name", "label_words", "pattern"}),
    )
    return Head(settings, reader, kind, pattern)


def _labels_of(settings: Settings, data: DataSettings, kind: Kind) -> WordLabels:
    """Labels that the words name, and no others."""
    naming = dataclasses.replace(
        naming_of(settings, data),
        given=list(settings.label_words),
        refuses_unseen=True,
        known_from="head.label_words",
        remedy="give it a word with --head.label_words",
    )
    return WordLabels(settings.label_words, kind.labels(settings, data, naming))
