"""Classification by a masked language model: the text is set into a pattern with a mask, and the label is the likeliest of some words there.

Nothing is learnt from nothing: the model's own layers answer, so that it takes few examples.

Source: Schick and Schütze 2021, "Exploiting Cloze Questions for Few Shot Text Classification".
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import Field

from trainer.config import DataSettings
from trainer.errors import ConfigError, DataError
from trainer.heads._classifier import Classifier, ClassifierSettings, class_weights_of
from trainer.heads._masked_output import MaskedOutput
from trainer.lazy import keras, tf

PLACES = ("{text}", "{text_pair}", "{mask}")


class Settings(ClassifierSettings):
    """Classification by words at the mask of a pattern."""

    name: Literal["prompt"] = "prompt"
    kind: Literal["single_label"] = Field("single_label", description="one of the labels")
    pattern: str = Field(description="with {text} and {mask}, of pairs {text_pair} too, such as '{text} It was {mask}.'")
    label_words: dict[str, Annotated[str, Field(min_length=1)]] = Field(description="label: the word that stands for it, one token long")


class Head(Classifier):
    """See trainer/heads/__init__.py for what each method is for."""

    Settings = Settings
    more_inputs = ("asked",)
    overflows = ("truncate", "error")
    lives_on_pretraining = True

    def __init__(self, settings: Settings, data: DataSettings, tokenizer: Any) -> None:
        super().__init__(settings, data, tokenizer)
        self.overflow_of(data)
        if tokenizer.mask_id is None:
            raise ConfigError("head.name: prompt needs a tokenizer with a mask token, and this one has none.")
        self.parts = re.split(r"(\{text\}|\{text_pair\}|\{mask\})", settings.pattern)
        wanted = sorted([*(f"{{{name}}}" for name in self.text_names), "{mask}"])
        if sorted(part for part in self.parts if part in PLACES) != wanted:
            raise ConfigError(f"head.pattern: expected {', '.join(wanted)}, each once. Received {settings.pattern!r}.")
        if settings.labels is not None and set(settings.labels) != set(settings.label_words):
            raise ConfigError("head.labels: others than those of head.label_words. Leave head.labels out: the words name all labels.")
        if len(settings.label_words) < 2:
            raise ConfigError(f"head.label_words: expected a word for each of two labels or more. Received {settings.label_words}.")
        # A space goes with the word behind it, as byte-level vocabularies write words: place -> the space before it. Parts and places alternate.
        self.opening = {place: part[len(part.rstrip()):] for part, place in zip(self.parts[::2], self.parts[1::2], strict=False)}
        self.fixed = {index: self._fixed(index) for index, part in enumerate(self.parts) if part not in ("{text}", "{text_pair}")}

    def preparation_settings(self) -> dict[str, Any]:
        """What of the settings changes the stored examples."""
        return self.settings.model_dump(include={"name", "label_words", "pattern"})

    def learn(self, labels: Sequence[Any], names: list[str] | None, origin: Callable[[int], str]) -> dict[str, Any]:
        """The labels that have a word.

        Raises:
            DataError: train has a label without one.
        """
        words = self.settings.label_words
        for index, label in enumerate(labels):
            if label not in words:
                raise DataError(f"{origin(index)}: label {label!r} has no word. Those with one: {', '.join(words)}. Give it one with --head.label_words.")
        counts = Counter(labels)
        return {"labels": list(words), "train_counts": {name: counts[name] for name in words}}

    # --- graph ----------------------------------------------------------------------------------------------------

    def encode(self, *texts: tf.Tensor) -> tuple[dict[str, tf.RaggedTensor], dict[str, tf.Tensor]]:
        """Token columns and counts; the very function that serves.

        Args:
            texts: one or two (B,) string.
        Returns:
            token_ids, and `asked`, 1 at the mask: each ragged (B, None) int32; truncated_tokens, unknown_tokens (B,) int32. Texts are cut, the pattern never.
        """
        from trainer.text.assemble import join, keep, keep_ranges

        ids = [self.tokenizer.tokenize(tf.strings.join([self.opening[f"{{{name}}}"], text])) for name, text in zip(self.text_names, texts, strict=True)]
        special = self.tokenizer.template.size(pair=False) + sum(map(len, self.fixed.values()))
        kept = keep_ranges(ids[0], ids[1] if len(ids) > 1 else None, seq_len=self.data.seq_len, special=special, overflow="truncate")
        cut = [keep(row, part) for row, part in zip(ids, kept, strict=False)]
        columns, asked = [], []
        for index, part in enumerate(self.parts):
            if part in ("{text}", "{text_pair}"):
                columns.append(cut[("{text}", "{text_pair}").index(part)])
            elif self.fixed[index]:
                columns.append(tf.tile(tf.constant([self.fixed[index]]), [ids[0].nrows(), 1]))
            else:
                continue
            asked.append(tf.ones_like(columns[-1]) if part == "{mask}" else tf.zeros_like(columns[-1]))
        lost = tf.add_n([before.row_lengths() - after.row_lengths() for before, after in zip(ids, cut, strict=True)])
        unknown = tf.add_n([tf.reduce_sum(tf.cast(row == self.tokenizer.unk_id, tf.int32), axis=1) for row in ids])
        template = self.tokenizer.template
        return ({"token_ids": join(tf.concat(columns, 1), template=template), "asked": join(tf.concat(asked, 1), template=template.filled(0))},
                {"truncated_tokens": tf.cast(lost, tf.int32), "unknown_tokens": unknown})

    def _fixed(self, index: int) -> list[int]:
        """The tokens of a part of the pattern that is always there."""
        part = self.parts[index]
        if part == "{mask}":
            return [self.tokenizer.mask_id]
        if index + 1 < len(self.parts):
            part = part.removesuffix(self.opening[self.parts[index + 1]])
        return self.tokenizer.tokenize(tf.constant([part])).values.numpy().tolist() if part else []

    def _word(self, word: str) -> int:
        """The token of a label's word, as it stands behind what is before the mask; else as it is in the vocabulary.

        Raises:
            ConfigError: it has several tokens, or is unknown.
        """
        space = " " if self.opening["{mask}"].endswith(" ") else ""
        found = self.tokenizer.tokenize(tf.constant([space + word])).values.numpy().tolist()
        if len(found) == 1 and found[0] != self.tokenizer.unk_id:
            return found[0]
        if word in self.tokenizer.vocabulary:
            return self.tokenizer.vocabulary.index(word)
        pieces = [self.tokenizer.vocabulary[id] for id in found]
        raise ConfigError(f"head.label_words: {word!r} is no single token of this vocabulary, but {pieces}. Choose another word.")

    def build(self, backbone: Any, vocabulary: Mapping[str, Any], seed: int) -> list[keras.layers.Layer]:
        """The layers of masked language modelling: nothing is new.

        Raises:
            ConfigError: the backbone is a decoder; a word is no single token.
        """
        if backbone.config.causal:
            raise ConfigError(f"head.name: prompt needs an encoder such as BERT. Received a backbone of kind {backbone.config.architecture}.")
        self.vocabulary, self.architecture = vocabulary, backbone.config.architecture
        self.classes, self.weights = len(vocabulary["labels"]), class_weights_of(self.settings.class_weights, vocabulary)
        with tf.init_scope():
            self.words = [self._word(self.settings.label_words[label]) for label in vocabulary["labels"]]
        if len(set(self.words)) < len(self.words):
            raise ConfigError(f"head.label_words: expected different words. Received {self.settings.label_words}.")
        self.output = MaskedOutput(backbone, seed)
        return self.output.layers

    def logits(self, backbone: Any, outputs: Mapping[str, tf.Tensor], batch: Mapping[str, tf.Tensor], *, training: bool, seed: Any) -> tf.Tensor:
        """(E, C) float32: of the labels' words alone, at each example's mask."""
        asked = tf.gather(batch["asked"], batch["example_row"])  # (E, L)
        place = tf.range(tf.shape(asked)[1])[None, :]
        start, length = batch["example_start"][:, None], batch["example_length"][:, None]
        place = tf.argmax(tf.where((place >= start) & (place < start + length), asked, 0), axis=1, output_type=tf.int32)
        hidden = tf.gather_nd(outputs["sequence_output"], tf.stack([batch["example_row"], place], axis=1))
        words = tf.constant(self.words)
        table = tf.gather(backbone.embeddings.word.value, words)
        return tf.matmul(self.output.transform(hidden), table, transpose_b=True) + tf.gather(self.output.bias(), words)

    # --- Hugging Face ---------------------------------------------------------------------------------------------

    def load_tensors(self, tensors: Mapping[str, np.ndarray], labels: Sequence[str] | None) -> list[str]:
        """Takes over the checkpoint's own prediction layers; returns what was taken."""
        return self.output.load(tensors)

    def save_tensors(self) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        """The masked language model that it is; the pattern has no place there."""
        return self.output.save()
