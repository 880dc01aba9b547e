"""The head, and how good its answers are."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import TYPE_CHECKING

from trainer.data.reader import TARGET, Column, Input, Vocabulary
from trainer.errors import ConfigError
from trainer.heads._hub_task import HubTask, of_pipeline
from trainer.heads._language_model import checks, perplexity
from trainer.heads._language_model.documents import Documents
from trainer.heads._masked_output import MaskedOutput
from trainer.heads._settings_checks import overflow_of, refuse_dropout
from trainer.heads.contract import Graph, Head, Metric, Record, Results, Scorer
from trainer.heads.masked_lm.graph import MaskedGraph
from trainer.heads.masked_lm.masking import Masking
from trainer.heads.masked_lm.reader import WORDS, MaskedReader
from trainer.heads.masked_lm.settings import Settings
from trainer.settings.schema import DataSettings

if TYPE_CHECKING:
    from trainer.backbones.backbone import Backbone
    from trainer.backbones.config import BackboneConfig
    from trainer.data.store import TokenStore
    from trainer.text.tokenizer import Tokenizer


@dataclasses.dataclass(frozen=True)
class MaskedScorer(Scorer):
    """Perplexity of hidden tokens, always the same of a split."""

    def metrics(self, results: Results, store: TokenStore) -> dict[str, float]:
        """Over every predicted token once."""
        return perplexity.scores_of_tokens(results)

    def records(self, results: Results, store: TokenStore) -> Iterator[Record]:
        """Of each row; see `records_of_tokens`."""
        return perplexity.records_of_tokens(results)


@dataclasses.dataclass(frozen=True)
class MaskedHead(Head):
    """See `Head`.

    Attributes:
        settings: of the config.
        reader: of documents.
    """

    settings: Settings
    reader: MaskedReader
    lives_on_pretraining = True

    @property
    def hub_task(self) -> HubTask:
        """Filling in masks."""
        sample = {"text": f"Anna lives in {self.reader.tokenizer.mask_token}."}
        return of_pipeline("fill-mask", "AutoModelForMaskedLM", sample)

    def check(self, backbone: BackboneConfig) -> None:
        """Raises ConfigError where the backbone is a decoder."""
        if backbone.causal:
            raise ConfigError(
                "head.name: masked_lm needs an encoder such as BERT. Received a backbone of kind"
                f" {backbone.architecture}. For it take causal_lm."
            )

    def build(self, backbone: Backbone, vocabulary: Vocabulary, seed: int) -> MaskedGraph:
        """Makes the layers before the vocabulary. Raises ConfigError, see `check`.

        Args:
            backbone: an encoder.
            vocabulary: nothing.
            seed: of the initial values.
        """
        self.check(backbone.config)
        output = MaskedOutput.of(backbone, seed)
        return MaskedGraph(
            backbone=backbone,
            vocabulary=vocabulary,
            tokenizer=self.reader.tokenizer,
            mask_id=self.reader.masking.mask_id,
            output=output,
            layers=output.layers,
            top_k=self.settings.top_k,
        )

    def scorer(self, graph: Graph) -> MaskedScorer:
        """See `MaskedScorer`."""
        return MaskedScorer()

    def available_metrics(self, vocabulary: Vocabulary | None = None) -> tuple[Metric, ...]:
        """Perplexity first."""
        return perplexity.OF_TOKENS


def make_head(settings: Settings, data: DataSettings, tokenizer: Tokenizer) -> MaskedHead:
    """Makes the head of a run.

    Args:
        settings: of the head.
        data: of the texts.
        tokenizer: of the backbone.
    Raises:
        ConfigError: settings are none of this head, or the tokenizer has no mask.
    """
    refuse_dropout(settings)
    field = checks.text_field(settings, data)
    overflow_of(settings, data, MaskedReader.overflows)
    checks.refuse_window_overlap(settings, data)
    if tokenizer.mask_id is None:
        raise ConfigError(
            "head.name: masked_lm needs a tokenizer with a mask token, and this one has none."
            " For a decoder take causal_lm."
        )
    documents = Documents(field, data.seq_len, joined=settings.documents == "joined")
    masking = _masking_of(settings, tokenizer, tokenizer.mask_id)
    reader = MaskedReader(
        tokenizer=tokenizer,
        inputs=(Input("text", field),),
        columns=_columns_of(settings),
        scored_share=settings.mask_probability,
        documents=documents,
        masking=masking,
        whole_words=settings.whole_words,
    )
    return MaskedHead(settings, reader)


def _columns_of(settings: Settings) -> tuple[Column, ...]:
    target = Column(TARGET, encoded=False)
    return (target, Column(WORDS, fed=False)) if settings.whole_words else (target,)


def _masking_of(settings: Settings, tokenizer: Tokenizer, mask_id: int) -> Masking:
    template = tokenizer.template
    around = {*template.before, *template.between, *template.after}
    special = sorted(around | {tokenizer.pad_id, mask_id})
    words = len(tokenizer.vocabulary)
    return Masking(settings.mask_probability, tuple(special), mask_id, words)
