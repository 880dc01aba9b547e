"""The tagger in TensorFlow: scores of tags, their losses, and the spans that are answered."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from trainer.backbones.sites import FIRST_HEAD_SITE
from trainer.data.batch import Batch
from trainer.data.reader import Vocabulary
from trainer.heads._carried_over import CarriedOver
from trainer.heads.contract import Exchanges, Graph, Results, Target, Tensors
from trainer.heads.token_classification.answers import PlacedWords, spans_of_texts
from trainer.heads.token_classification.entities import entities_of, word_places, word_tags
from trainer.heads.token_classification.exchange import load_output, save_output
from trainer.heads.token_classification.explained import targets_of
from trainer.heads.token_classification.reader import TagReader
from trainer.heads.token_classification.rule import Rule, TaggedWords
from trainer.heads.token_classification.taggers import Tagger, labels_of
from trainer.heads.token_classification.word_kinds import NO_WORD
from trainer.lazy import keras, tf
from trainer.sources import Example

if TYPE_CHECKING:
    from trainer.backbones.family import Family
    from trainer.backbones.huggingface import TaskHead


@dataclasses.dataclass(frozen=True)
class TagGraph(Graph, Exchanges):
    """Scores the tags of each token, and answers with spans.

    Attributes:
        reader: of the texts.
        vocabulary: what train taught.
        family: of the backbone.
        layers: `output`, and those of the tagger.
        output: the layer of scores, as Hugging Face's …ForTokenClassification has it.
        dropout: before it, a share.
        tagger: how scores become tags.
        rule: how tags become spans.
        joins: whether what no space parts is one span.
    """

    reader: TagReader
    vocabulary: Vocabulary
    family: Family
    layers: Sequence[keras.layers.Layer]
    output: keras.layers.Dense
    dropout: float
    tagger: Tagger
    rule: Rule
    joins: bool
    per_token = ("tag", "score", "loss", "margin")

    def logits(self, outputs: Tensors, batch: Batch, seed: tf.Tensor | None) -> tf.Tensor:
        """The scores of each token's tags, (R, L, C) float32.

        Args:
            outputs: of the backbone.
            batch: of one shard.
            seed: (2,) int32, of the dropout masks.
        """
        from trainer.backbones.dropout import dropout

        hidden = dropout(outputs["sequence_output"], self.dropout, seed, FIRST_HEAD_SITE)
        return self.output(tf.cast(hidden, tf.float32))

    def weights(self, batch: Batch) -> dict[str, tf.Tensor]:
        """The number of labelled tokens."""
        return {"loss": tf.reduce_sum(tf.cast(labels_of(batch) > 0, tf.float32))}

    def losses(self, logits: tf.Tensor, batch: Batch) -> dict[str, tf.Tensor]:
        """The sum over the labelled tokens."""
        return {"loss": tf.reduce_sum(self.tagger.losses(logits, batch))}

    def results(self, logits: tf.Tensor, batch: Batch) -> dict[str, tf.Tensor]:
        """Of each token, (R, L), its tag as `BestTags` has it; and where labels are, `loss`."""
        best = self.tagger.decode(logits, batch)
        results = {"tag": best.tag, "score": best.score, "margin": best.margin}
        if batch.label is not None:
            results["loss"] = self.tagger.losses(logits, batch)
        return results

    def answers(
        self, results: Tensors, columns: Tensors, inputs: Sequence[tf.Tensor]
    ) -> dict[str, tf.Tensor]:
        """The spans of each text; see `spans_of_texts`.

        Args:
            results: of the windows, ragged.
            columns: as the reader encodes the texts.
            inputs: the texts, (B,) string.
        """
        row = columns["words"].value_rowids()
        kind = columns["words"].values
        is_answered = (kind != NO_WORD) & (columns["owned"].values > 0)

        def of_words(column: tf.Tensor) -> tf.Tensor:
            return tf.boolean_mask(column, is_answered)

        words = PlacedWords(
            text=of_words(tf.gather(columns["example"], row)),
            start=of_words(columns["start"].values),
            end=of_words(columns["end"].values),
            score=of_words(results["score"].values),
        )
        tagged = TaggedWords(
            text=words.text,
            tag=of_words(results["tag"].values),
            kind=of_words(kind) if self.joins else None,
        )
        return spans_of_texts(words, self.rule.mark(tagged), self.rule.types, inputs[0])

    def targets(
        self, logits: tf.Tensor, batch: Batch, columns: Tensors, inputs: Sequence[tf.Tensor]
    ) -> list[Target]:
        """Of each span the mean score of its words' tags; see `Explains`."""
        words = columns["words"]
        found = self.results(logits, batch)
        of_tokens = {
            name: tf.RaggedTensor.from_tensor(found[name], words.row_lengths())
            for name in ("tag", "score")
        }
        answers = self.answers(of_tokens, columns, inputs)
        spans = {name: column.numpy() for name, column in answers.items()}
        entities = entities_of(spans, 0)
        return list(targets_of(entities, of_tokens["tag"], columns, logits.shape[1:]))

    def token_answers(self, results: Tensors) -> dict[str, tf.Tensor]:
        """To token ids (B, S): tag (B, S) string and score (B, S).

        Also of special tokens and padding, where they mean nothing.
        """
        labels = tf.constant(self.vocabulary["labels"])
        return {"tag": tf.gather(labels, results["tag"]), "score": results["score"]}

    def decode(
        self, answers: Results, row: int, example: Example | None = None
    ) -> dict[str, object]:
        """The `entities` of a text; of words also the `tags` of each, and the `text` they make.

        Args:
            answers: of some texts.
            row: which of them.
            example: that was asked.
        """
        entities = entities_of(answers, row)
        words = example.features[self.reader.field] if example else None
        if not isinstance(words, list):
            return {"entities": entities}
        text = self.reader.join(words)
        tokens = self.reader.tokenizer.tokenize_with_offsets(tf.constant([text]))
        separator = self.reader.settings.word_separator
        starts = tokens.starts.values.numpy()
        places = word_places(words, separator, starts, tokens.ends.values.numpy())
        tags = word_tags(places, entities, self.rule, self.vocabulary["labels"])
        return {"text": text, "tags": tags, "entities": entities}

    def ambiguous(
        self, answers: Results, results: Tensors, columns: Tensors, tolerance: float
    ) -> dict[str, np.ndarray]:
        """The texts where two tags of a word are so near each other that either may win.

        Args:
            answers: of the texts.
            results: of the windows, ragged.
            columns: as the reader encodes the texts.
            tolerance: to which results agree.
        """
        is_word = columns["words"].values != NO_WORD
        is_near = results["margin"].values <= 2 * tolerance
        text = tf.gather(columns["example"], columns["words"].value_rowids())
        near_texts = tf.boolean_mask(text, is_near & is_word).numpy()
        texts = np.zeros(len(answers["start"]), bool)
        texts[near_texts] = True
        return dict.fromkeys(answers, texts)

    def load_tensors(self, checkpoint: TaskHead) -> CarriedOver:
        """Takes over the checkpoint's own classifier."""
        return load_output(checkpoint, self.output, self.family, self.vocabulary)

    def save_tensors(self) -> tuple[dict[str, np.ndarray], dict[str, object]]:
        """The output layer under Hugging Face's names, and what config.json says of it."""
        return save_output(self.output, self.family, self.vocabulary["labels"])
