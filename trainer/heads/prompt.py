"""Classification by a masked language model: the text is set into a pattern with a mask, and the
label is the likeliest of some words there.

Nothing is learnt from nothing: the model's own layers answer, so that it takes few examples.

Source: Schick and Schütze 2021, "Exploiting Cloze Questions for Few Shot Text Classification".
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any, Literal

import numpy as np
from pydantic import Field

from trainer.data.batch import Batch
from trainer.data.reader import Column
from trainer.errors import ConfigError, DataError, shown_value
from trainer.heads._carried_over import CarriedOver
from trainer.heads._classifier import Classifier, ClassifierSettings, class_weights_of, known_counts
from trainer.heads._label_columns import Unseen
from trainer.heads._labels import Mentions, Spellings, shown_labels
from trainer.heads._masked_output import MaskedOutput
from trainer.lazy import tf
from trainer.settings.schema import DataSettings
from trainer.sources import Example

if TYPE_CHECKING:  # which would import TensorFlow
    from trainer.backbones.config import BackboneConfig
    from trainer.backbones.huggingface import TaskHead

PLACES = ("{text}", "{text_pair}", "{mask}")


class Settings(ClassifierSettings):
    """Classification by words at the mask of a pattern."""

    name: Literal["prompt"] = "prompt"
    kind: Literal["single_label"] = Field("single_label", description="one of the labels")
    pattern: str = Field(
        description=(
            "with {text} and {mask}, of pairs {text_pair} too, such as '{text} It was {mask}.'"
        )
    )
    label_words: dict[str, Annotated[str, Field(min_length=1)]] = Field(
        description="label: the word that stands for it, one token long"
    )


class Head(Classifier):
    """See trainer/heads/contract.py for what each method is for."""

    Settings = Settings
    more_inputs = ("asked",)
    columns = (Column("asked"), Column("label", per_token=False, encoded=False))
    overflows = ("truncate", "error")
    lives_on_pretraining = True

    def __init__(self, settings: Settings, data: DataSettings, tokenizer: Any) -> None:
        super().__init__(settings, data, tokenizer)
        self.overflow_of(data)
        self.refuse_dropout()
        for name in ("threshold", "label_separator"):
            if getattr(settings, name) != Settings.model_fields[name].default:
                raise ConfigError(
                    f"head.{name}: is of several labels an example, and a prompt gives one. Leave"
                    " it out."
                )
        if tokenizer.mask_id is None:
            raise ConfigError(
                "head.name: prompt needs a tokenizer with a mask token, and this one has none."
            )
        self.parts = re.split(r"(\{text\}|\{text_pair\}|\{mask\})", settings.pattern)
        wanted = sorted([*(f"{{{name}}}" for name in self.text_names), "{mask}"])
        if sorted(part for part in self.parts if part in PLACES) != wanted:
            raise ConfigError(
                f"head.pattern: expected {', '.join(wanted)}, each once. Received"
                f" {settings.pattern!r}."
            )
        if settings.labels is not None and set(settings.labels) != set(settings.label_words):
            raise ConfigError(
                "head.labels: others than those of head.label_words. Leave head.labels out: the"
                " words name all labels."
            )
        if len(settings.label_words) < 2:
            raise ConfigError(
                "head.label_words: expected a word for each of two labels or more. Received"
                f" {settings.label_words}."
            )
        place = self.parts.index("{mask}")
        before = self.parts[place - 1]  # parts and places alternate
        self.behind_space = before[-1:].isspace()
        self.opens = place == 1 and not before
        self.parts[place], self.masked = tokenizer.vocabulary[tokenizer.mask_id], place
        alone = tokenizer.tokenize(
            tf.constant(["".join(part for part in self.parts if part not in PLACES)])
        )
        special = tokenizer.template.size(pair=False)
        # a token may reach over a border
        needed = special + len(alone.values) + 2 * len(self.text_names)
        if data.seq_len < needed:
            raise ConfigError(
                f"data.seq_len: {data.seq_len} has no room for the {len(alone.values)} tokens of"
                f" head.pattern, the {special} special tokens and a text. Allowed: {needed} or"
                " more, up to the backbone's longest."
            )
        self.room = data.seq_len - special

    def preparation_settings(self) -> dict[str, Any]:
        """What of the settings changes the stored examples."""
        return self.settings.model_dump(include={"name", "label_words", "pattern"})

    def learn(
        self, labels: Sequence[Any], names: list[str] | None, origin: Callable[[int], str]
    ) -> dict[str, Any]:
        """The labels that have a word.

        Raises:
            DataError: train has a label without one, or one label only.
        """
        words = self.settings.label_words
        mentions = Mentions.of(labels)
        spellings = Spellings(list(words))
        for name, index in zip(mentions.names, mentions.first, strict=True):
            if spellings.find(name)[0] is None:
                raise DataError(
                    f"{origin(index)}: label {shown_value(name)} has no word. Those with one:"
                    f" {shown_labels(list(words))}. Give it one with --head.label_words."
                )
        self.require_classes(mentions.counts(), labels, origin)
        return {"labels": list(words), "train_counts": known_counts(list(words), mentions.counts())}

    @property
    def given_labels(self) -> list[str]:
        """Those that have a word."""
        return list(self.settings.label_words)

    def _unseen(self, split: str) -> Unseen:
        return (
            super()
            ._unseen(split)
            ._replace(
                known_from="head.label_words", remedy="give it a word with --head.label_words"
            )
        )

    def shown(self, example: Example, texts: Sequence[str], label: Any) -> list[tuple[str, str]]:
        """The filled pattern, and the label with the word that stands for it."""
        pattern = self.settings.pattern
        filled = pattern.replace("{text}", texts[0])
        if len(texts) > 1:
            filled = filled.replace("{text_pair}", texts[1])
        return [
            ("pattern", filled),
            ("label", f"{label} ({self.settings.label_words.get(label, '')})"),
        ]

    def warnings(self, vocabulary: Mapping[str, Any], splits: Mapping[str, Any]) -> list[str]:
        """Where train has no example of a label, as of a sorted file the first few."""
        absent = [name for name, count in vocabulary["train_counts"].items() if not count]
        sorted_file = (
            [
                f"data.train: no example has the label {shown_labels(absent)}. data.limit takes the"
                " first examples: shuffle the file"
            ]
            if absent
            else []
        )
        return [*sorted_file, *super().warnings(vocabulary, splits)]

    def encode(self, *texts: tf.Tensor) -> tuple[dict[str, tf.RaggedTensor], dict[str, tf.Tensor]]:
        """Token columns and counts; the very function that serves.

        Args:
            texts: one or two (B,) string.
        Returns:
            token_ids, and `asked`, 1 at the mask: each ragged (B, None) int32; truncated_tokens,
                unknown_tokens (B,) int32. Texts are cut, the pattern never.
        """
        from trainer.text.added_tokens import RAW_SPACES
        from trainer.text.assemble import join, keep_ranges, stays

        template = self.tokenizer.template
        count = tf.size(texts[0])
        given = dict(
            zip(
                ("{text}", "{text_pair}"),
                (tf.strings.unicode_transcode(text, "UTF-8", "UTF-8") for text in texts),
                strict=False,
            )
        )
        parts = [given[part] if part in given else tf.fill([count], part) for part in self.parts]
        # The spaces before the mask are left out: they go with the word there, as vocabularies
        # write words.
        before = tf.strings.regex_replace(
            tf.strings.join(parts[: self.masked]), f"{RAW_SPACES}$", ""
        )
        # (B, parts), of each in the filled pattern
        ends = tf.cumsum(
            tf.stack([tf.strings.length(part, unit="UTF8_CHAR") for part in parts], 1), axis=1
        )
        cut = tf.strings.length(before, unit="UTF8_CHAR")[:, None]
        ends = tf.concat(
            [
                tf.minimum(ends[:, : self.masked], cut),
                ends[:, self.masked :] - ends[:, self.masked - 1 : self.masked] + cut,
            ],
            1,
        )
        tokens = self.tokenizer.tokenize_with_offsets(
            tf.strings.join([before, *parts[self.masked :]])
        )
        row = tokens.ids.value_rowids()
        starts = tokens.starts.values
        stops = tokens.ends.values

        def borders(index: int) -> tuple[tf.Tensor, tf.Tensor]:
            """Where in each token's text a part begins and ends."""
            return (
                tf.gather(ends[:, index - 1], row) if index else tf.zeros_like(starts)
            ), tf.gather(ends[:, index], row)

        begin, end = borders(self.masked)
        # it may have taken in spaces
        asked = (tokens.ids.values == self.tokenizer.mask_id) & (starts <= begin) & (stops >= end)
        # of each text: its tokens, which may be cut; one that reaches into the pattern may not
        inside = []
        for place in given:
            begin, end = borders(self.parts.index(place))
            inside.append((starts >= begin) & (stops <= end))
        ids = [tf.ragged.boolean_mask(tokens.ids, tokens.ids.with_values(mask)) for mask in inside]
        fixed = tf.cast(
            tokens.ids.row_lengths() - tf.add_n([row.row_lengths() for row in ids]), tf.int32
        )
        kept = keep_ranges(
            ids[0],
            ids[1] if len(ids) > 1 else None,
            room=tf.maximum(self.room - fixed, 0),
            overflow="truncate",
        )
        left = tf.ones_like(asked)
        for mask, part in zip(inside, kept, strict=False):
            left &= stays(tokens.ids.with_values(mask), part)
        columns = {
            "token_ids": tokens.ids,
            "asked": tokens.ids.with_values(tf.cast(asked, tf.int32)),
        }
        columns = {
            name: tf.ragged.boolean_mask(values, values.with_values(left))
            for name, values in columns.items()
        }
        unknown = tf.add_n(
            [tf.reduce_sum(tf.cast(row == self.tokenizer.unk_id, tf.int32), axis=1) for row in ids]
        )
        lost = tf.reduce_sum(tf.cast(tokens.ids.with_values(~left), tf.int32), axis=1)
        return (
            {
                "token_ids": join(columns["token_ids"], template=template),
                "asked": join(columns["asked"], template=template.filled(0)),
            },
            {"truncated_tokens": lost, "unknown_tokens": unknown},
        )

    def _word(self, word: str) -> int:
        """The token of a label's word, as it would stand at the mask; else as it is in the
        vocabulary.

        Raises:
            ConfigError: it has several tokens, or is unknown.
        """
        found = (
            self.tokenizer.tokenize(tf.constant([" " * self.behind_space + word]))
            .values.numpy()
            .tolist()
        )
        alone = found[0] if len(found) == 1 and found[0] != self.tokenizer.unk_id else None
        named = self.tokenizer.vocabulary.index(word) if word in self.tokenizer.vocabulary else None
        # Where no space stands before the mask, SentencePiece's token has no mark of one, as the
        # vocabulary's own name has none.
        for id in (alone, named) if self.behind_space or self.opens else (named, alone):
            if id is not None:
                return id
        pieces = [self.tokenizer.vocabulary[id] for id in found]
        raise ConfigError(
            f"head.label_words: {word!r} is no single token of this vocabulary, but {pieces}."
            " Choose another word."
        )

    def check(self, backbone: BackboneConfig) -> None:
        """Raises ConfigError where the backbone is a decoder,
        or a label's word is no single token.
        """
        if backbone.causal:
            raise ConfigError(
                "head.name: prompt needs an encoder such as BERT. Received a backbone of kind"
                f" {backbone.architecture}."
            )
        with tf.init_scope():
            self.words = [self._word(word) for word in self.settings.label_words.values()]
        if len(set(self.words)) < len(self.words):
            raise ConfigError(
                f"head.label_words: expected different words. Received {self.settings.label_words}."
            )

    def build(self, backbone: Any, vocabulary: Mapping[str, Any], seed: int) -> Head:
        """The layers of masked language modelling: nothing is new.

        Raises ConfigError, see `check`.
        """
        self.check(backbone.config)
        self.vocabulary = vocabulary
        self.backbone = backbone
        self.classes, self.class_weights = (
            len(vocabulary["labels"]),
            class_weights_of(self.settings.class_weights, vocabulary),
        )
        self.output = MaskedOutput(backbone, seed)
        self.layers = self.output.layers
        return self

    def logits(
        self, outputs: Mapping[str, tf.Tensor], batch: Batch, seed: tf.Tensor | None
    ) -> tf.Tensor:
        """(E, C) float32: of the labels' words alone, at each example's mask."""
        asked = tf.gather(batch.own["asked"], batch.examples.row)  # (E, L)
        place = tf.range(tf.shape(asked)[1])[None, :]
        start = batch.examples.start[:, None]
        length = batch.examples.length[:, None]
        place = tf.argmax(
            tf.where((place >= start) & (place < start + length), asked, 0),
            axis=1,
            output_type=tf.int32,
        )
        hidden = tf.gather_nd(
            outputs["sequence_output"], tf.stack([batch.examples.row, place], axis=1)
        )
        words = tf.constant(self.words)
        table = tf.gather(self.backbone.embeddings.word.value, words)
        return tf.matmul(self.output.transform(hidden), table, transpose_b=True) + tf.gather(
            self.output.bias(), words
        )

    def load_tensors(self, checkpoint: TaskHead) -> CarriedOver:
        """Takes over the checkpoint's own prediction layers."""
        return CarriedOver.whole(self.output.load(checkpoint.tensors))

    def save_tensors(self) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        """The masked language model that it is; the pattern has no place there."""
        return self.output.save()


make_head = Head
