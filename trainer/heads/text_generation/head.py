"""The head, and how good its answers are."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from trainer.data.reader import Input, Vocabulary
from trainer.errors import ConfigError
from trainer.heads._generation.prompt import Prompt
from trainer.heads._generation.settings import (
    NEW_TOKENS,
    refuse_contradictions,
    refuse_other_names,
    room_of,
)
from trainer.heads._generation.writer import Writer
from trainer.heads._hub_task import TEXT, HubTask, of_writing
from trainer.heads._judged import JUDGED
from trainer.heads._language_model import checks, decoder, perplexity
from trainer.heads._settings_checks import overflow_of, refuse_dropout
from trainer.heads._stored_results import blocks_of_texts
from trainer.heads.contract import Graph, Head, Metric, Record, Results, Scorer
from trainer.heads.text_generation.graph import TargetGraph
from trainer.heads.text_generation.reader import TargetReader
from trainer.heads.text_generation.settings import Settings
from trainer.settings.schema import DataSettings

if TYPE_CHECKING:
    from trainer.backbones.backbone import Backbone
    from trainer.backbones.config import BackboneConfig
    from trainer.data.store import TokenStore
    from trainer.text.tokenizer import Tokenizer


@dataclasses.dataclass(frozen=True)
class TargetScorer(Scorer):
    """Perplexity: of a token, of a word, and the bits of a byte of text.

    Attributes:
        seq_len: S; a row that is as long may be cut.
        eos_id: with which a whole target ends.
    """

    seq_len: int
    eos_id: int

    def metrics(self, results: Results, store: TokenStore) -> dict[str, float]:
        """Over every predicted token once; of words and bytes, over the targets that are whole.

        Args:
            results: of the graph.
            store: has in `text_size` the words and the bytes of each target.
        """
        token_ids = np.asarray(store.tokens["token_ids"])
        last = token_ids[store.row_splits[1:] - 1]
        is_short = store.lengths < self.seq_len
        is_whole = is_short | (last == self.eos_id)
        loss = perplexity.total(results["loss"][is_whole])
        sizes = np.asarray(store.columns["text_size"])
        words, size = sizes[is_whole].sum(0).tolist()
        of_tokens = perplexity.scores_of_tokens(results)
        return of_tokens | perplexity.scores_of_text(loss, words, size)

    def records(self, results: Results, store: TokenStore) -> Iterator[Record]:
        """Of each target, `gold`, how many `tokens` it has, and their mean `loss`."""
        of_tokens = perplexity.records_of_tokens(results)
        for texts, _ in blocks_of_texts(store):
            for (_, target), record in zip(store.inputs(texts), of_tokens, strict=False):
                yield {"gold": target, **record}


@dataclasses.dataclass(frozen=True)
class TargetHead(Head):
    """See `Head`.

    Attributes:
        settings: of the config.
        reader: of texts and their targets.
        eos_id: with which a target ends.
    """

    settings: Settings
    reader: TargetReader
    eos_id: int

    @property
    def hub_task(self) -> HubTask:
        """Text generation."""
        return of_writing({"text": TEXT, "target": TEXT}, self.settings.prompt)

    def check(self, backbone: BackboneConfig) -> None:
        """Raises ConfigError where the backbone is no decoder, or has too few positions."""
        decoder.refuse_encoder(self.settings.name, backbone, "It writes no texts.")
        room_of(self.settings, backbone)

    def build(self, backbone: Backbone, vocabulary: Vocabulary, seed: int) -> TargetGraph:
        """Makes no layers. Raises ConfigError, see `check`.

        Args:
            backbone: a decoder.
            vocabulary: nothing.
            seed: of nothing.
        """
        self.check(backbone.config)
        model = decoder.as_decoder(backbone)
        writer = Writer.of(self.settings, self.reader.prompt, model)
        return TargetGraph(model, vocabulary, writer, self.settings.judged_by, self.reader.judged)

    def scorer(self, graph: Graph) -> TargetScorer:
        """See `TargetScorer`."""
        return TargetScorer(self.reader.seq_len, self.eos_id)

    def available_metrics(self, vocabulary: Vocabulary | None = None) -> tuple[Metric, ...]:
        """Perplexity first; those of generated texts last."""
        judged = tuple(Metric(name, judged=True) for name in JUDGED)
        return perplexity.OF_TOKENS + perplexity.OF_TEXT + judged


def make_head(settings: Settings, data: DataSettings, tokenizer: Tokenizer) -> TargetHead:
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
    overflow = overflow_of(settings, data, TargetReader.overflows)
    checks.refuse_window_overlap(settings, data)
    refuse_other_names(settings.prompt)
    if tokenizer.eos_id is None:
        raise ConfigError(
            "head.target: the tokenizer names no end-of-text token, so that a generated text"
            ' would never end. Name it as "eos_token" in tokenizer_config.json, or by its'
            ' number as "eos_token_id" in config.json.'
        )
    refuse_contradictions(settings)
    reader = TargetReader(
        tokenizer=tokenizer,
        inputs=(Input("text", field), Input("target", settings.target)),
        prompt=Prompt.of(settings.prompt, tokenizer, overflow),
        pattern=settings.prompt,
        seq_len=data.seq_len,
        judged_examples=settings.judged_examples,
        new_tokens=settings.max_new_tokens or NEW_TOKENS,
    )
    return TargetHead(settings, reader, tokenizer.eos_id)
