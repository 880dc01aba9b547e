"""The head, and how good its answers are."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import TYPE_CHECKING

from trainer.data.reader import Input, Vocabulary
from trainer.heads._generation.prompt import Prompt
from trainer.heads._generation.settings import refuse_contradictions, refuse_other_names, room_of
from trainer.heads._generation.writer import Writer
from trainer.heads._hub_task import TEXT, HubTask, of_writing
from trainer.heads._language_model import checks, decoder, perplexity
from trainer.heads._language_model.documents import Documents
from trainer.heads._settings_checks import overflow_of, refuse_dropout
from trainer.heads.causal_lm.graph import CausalGraph
from trainer.heads.causal_lm.reader import CausalReader
from trainer.heads.causal_lm.settings import Settings
from trainer.heads.contract import Graph, Head, Metric, Record, Results, Scorer
from trainer.settings.schema import DataSettings

if TYPE_CHECKING:
    from trainer.backbones.backbone import Backbone
    from trainer.backbones.config import BackboneConfig
    from trainer.data.store import TokenStore
    from trainer.text.tokenizer import Tokenizer


@dataclasses.dataclass(frozen=True)
class CausalScorer(Scorer):
    """Perplexity: of a token, of a word, and the bits of a byte of text."""

    def metrics(self, results: Results, store: TokenStore) -> dict[str, float]:
        """Over every predicted token once.

        Args:
            results: of the graph.
            store: has in `text_size` the words and the bytes that are predicted.
        """
        loss = perplexity.total(results["loss"])
        words, size = map(int, store.extras["text_size"])
        of_tokens = perplexity.scores_of_tokens(results)
        return of_tokens | perplexity.scores_of_text(loss, words, size)

    def records(self, results: Results, store: TokenStore) -> Iterator[Record]:
        """Of each row; see `records_of_tokens`."""
        return perplexity.records_of_tokens(results)


@dataclasses.dataclass(frozen=True)
class CausalHead(Head):
    """See `Head`.

    Attributes:
        settings: of the config.
        reader: of documents.
    """

    settings: Settings
    reader: CausalReader

    @property
    def hub_task(self) -> HubTask:
        """Text generation."""
        return of_writing({"text": TEXT}, self.settings.prompt)

    def check(self, backbone: BackboneConfig) -> None:
        """Raises ConfigError where the backbone is no decoder, or has too few positions."""
        decoder.refuse_encoder(self.settings.name, backbone, "For it take masked_lm.")
        room_of(self.settings, backbone)

    def build(self, backbone: Backbone, vocabulary: Vocabulary, seed: int) -> CausalGraph:
        """Makes no layers. Raises ConfigError, see `check`.

        Args:
            backbone: a decoder.
            vocabulary: nothing.
            seed: of nothing.
        """
        self.check(backbone.config)
        model = decoder.as_decoder(backbone)
        prompt = Prompt.of(self.settings.prompt, self.reader.tokenizer)
        return CausalGraph(model, vocabulary, Writer.of(self.settings, prompt, model))

    def scorer(self, graph: Graph) -> CausalScorer:
        """See `CausalScorer`."""
        return CausalScorer()

    def available_metrics(self, vocabulary: Vocabulary | None = None) -> tuple[Metric, ...]:
        """Perplexity first."""
        return perplexity.OF_TOKENS + perplexity.OF_TEXT


def make_head(settings: Settings, data: DataSettings, tokenizer: Tokenizer) -> CausalHead:
    """Makes the head of a run.

    Args:
        settings: of the head.
        data: of the texts.
        tokenizer: of the backbone.
    Raises:
        ConfigError: settings contradict each other, or are none of this head.
    """
    refuse_dropout(settings)
    field = checks.text_field(settings, data)
    overflow_of(settings, data, CausalReader.overflows)
    checks.refuse_window_overlap(settings, data)
    refuse_other_names(settings.prompt)
    refuse_contradictions(settings)
    documents = Documents(field, data.seq_len, joined=settings.documents == "joined")
    reader = CausalReader(
        tokenizer=tokenizer,
        inputs=(Input("text", field),),
        documents=documents,
        is_streamed=data.stream_characters is not None,
    )
    return CausalHead(settings, reader)
