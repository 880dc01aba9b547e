"""Token classification: named entities, slots, parts of speech; from words with tags, or from raw
text with spans.
"""

from __future__ import annotations

import itertools
import math
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from pydantic import Field

from trainer.backbones.sites import FIRST_HEAD_SITE
from trainer.data.batch import Batch
from trainer.data.reader import Aligned, Column, RowKind
from trainer.errors import ConfigError, DataError, shown_value
from trainer.files.mapped import blocks, count_numbers
from trainer.heads._carried_over import CarriedOver, LabelRows, carry_over, few, label_rows
from trainer.heads._crf import Chain, forbidden_moves
from trainer.heads._gold import Gold, are_tags, bio_tags, read_spans, scheme_of, tag_numbers
from trainer.heads._lost_words import invisible_words
from trainer.heads._per_label import scores_per_label
from trainer.heads._plain import Plain
from trainer.heads._span_scores import ScoredWords, span_counts
from trainer.heads._span_shapes import FIELDS, span_keys
from trainer.heads._spans import (
    characters_before,
    first_characters,
    is_unspaced,
    joined,
    joins,
    slices,
)
from trainer.heads._tags import OUTSIDE, continued, repaired
from trainer.heads._word_tokens import Tags, align, opened, tokens_of_texts
from trainer.lazy import keras, tf
from trainer.settings.schema import DataSettings, HeadSettings
from trainer.sources import Example, require_field

if TYPE_CHECKING:
    from trainer.backbones.huggingface import TaskHead

# of the store's extras
WORD_COLUMNS = {
    "word_tag": np.int32,
    "word_token": np.int64,
    "word_shares": np.bool_,
    "word_splits": np.int64,
}
# as the ledger has them
LOST = ("words_without_tokens", "spans_without_tokens", "borders_inside_tokens")


class Settings(HeadSettings):
    """Tags of words: entities, slots, parts of speech."""

    name: Literal["token_classification"] = "token_classification"
    scheme: Literal["auto", "bio", "iob1", "bioes", "bmes", "bilou", "none"] = Field(
        "auto",
        description=(
            "how tags mark spans: as train shows; one of the usual ways; none: a tag a word, such"
            " as parts of speech"
        ),
    )
    word_separator: str = Field(
        " ", description='between the words of a sentence that comes as words; "" for Chinese'
    )
    crf: bool = Field(
        False,
        description=(
            "score whole sequences of tags with a linear-chain CRF instead of each tag alone"
        ),
    )


class Head(Plain):
    """See trainer/heads/contract.py for what each method is for."""

    Settings = Settings
    rows = RowKind.WINDOWS
    overflows = ("window", "error")
    text_names = ("text",)
    more_inputs = ("words",)
    columns = (
        Column("words"),
        *(Column(name, fed=False) for name in ("owned", "start", "end")),
        Column("label", encoded=False),
    )
    per_token = ("tag", "score", "loss", "margin")

    def __init__(self, settings: Settings, data: DataSettings, tokenizer: Any) -> None:
        from trainer.text.windows import window_overlap

        self.settings = settings
        self.data = data
        self.tokenizer = tokenizer
        self.fields = [data.text]
        if not isinstance(data.text, str):
            raise ConfigError(
                f"data.text: head token_classification takes one field. Received {data.text}."
            )
        self.overflow_of(data, ", so that no word goes unseen")
        self._span_keys = span_keys(data.span_keys)
        self.overlap = window_overlap(
            data.seq_len, tokenizer.template.size(pair=False), data.window_overlap
        )

    def values(self, example: Example) -> tuple[str, ...]:
        """The raw text, or the words joined; tags are not needed.

        Raises DataError where the field is missing or neither.
        """
        text = require_field(example, self.data.text, "data.text")
        if isinstance(text, str) and not are_tags(example.features.get(self._label_field(example))):
            return (text,)
        return (self._join(self._words(example, text)),)

    def _label_field(self, example: Example) -> str:
        """data.label; where that is not set and not there, the one field in which other tools write
        spans.
        """
        label = self.data.label
        if label in example.features or label != type(self.data).model_fields["label"].default:
            return label
        others = [name for name in FIELDS if isinstance(example.features.get(name), list)]
        return others[0] if len(others) == 1 else label

    def _join(self, words: Sequence[str]) -> str:
        return self.settings.word_separator.join(words)

    def label(self, example: Example) -> Gold:
        """The tags. Raises DataError where they do not belong to the words, or spans overlap."""
        field = self._label_field(example)
        text = require_field(example, self.data.text, "data.text")
        tags = require_field(example, field, "data.label")
        where = f"{example.origin}: field {field!r}"
        if isinstance(text, str) and isinstance(tags, list) and not are_tags(tags):
            return read_spans(text, tags, where, self._span_keys)
        words = self._words(example, text)
        tags = _parts(tags) if isinstance(tags, str) else tags
        if not isinstance(tags, list) or not all(isinstance(tag, str) and tag for tag in tags):
            numbers = isinstance(tags, list) and all(type(tag) is int for tag in tags)
            advice = (
                " Write the tags' names in place of their numbers; data.source: tfds does so by"
                " itself."
                if tags and numbers
                else ""
            )
            raise DataError(
                f'{where} should be a tag for each word, or spans {{"start", "end", "label"}} of'
                f" the text. Received {tags!r:.80}.{advice}"
            )
        if len(words) != len(tags):
            raise DataError(
                f"{where} has {len(tags)} tags for {len(words)} words. Give each word one tag."
            )
        separator = len(self.settings.word_separator)
        start = tuple(
            itertools.accumulate((len(word) + separator for word in words[:-1]), initial=0)
        )[: len(words)]
        end = tuple(place + len(word) for place, word in zip(start, words, strict=True))
        return Gold(start, end, tuple(tags), example.lines, invisible=invisible_words(words))

    def _words(self, example: Example, text: Any) -> list[str]:
        words = _parts(text) if isinstance(text, str) else text
        if not isinstance(words, list) or not all(isinstance(word, str) for word in words):
            raise DataError(
                f"{example.origin}: field {self.data.text!r} should be text or a list of words."
                f" Received {text!r:.80}. Name it with --data.text."
            )
        if "" in words:
            raise DataError(
                f"{example.origin}: field {self.data.text!r}: word {words.index('') + 1} is empty."
                " Remove it and its tag."
            )
        return words

    def shown(self, example: Example, texts: Sequence[str], label: Gold) -> list[tuple[str, str]]:
        """The text, and its words with a tag, or its spans, as word/TAG."""
        (text,) = texts
        tags = [tag.removeprefix("B-") if label.spans else tag for tag in label.tags]
        places = zip(label.start, label.end, tags, strict=True)
        words = [(text[start:end], tag) for start, end, tag in places if tag != OUTSIDE]
        tagged = [f"{word if word.strip() else shown_value(word)}/{tag}" for word, tag in words]
        return [(self.data.text, text), ("spans" if label.spans else "tags", "  ".join(tagged))]

    def preparation_settings(self) -> dict[str, Any]:
        """What of the settings changes the stored examples."""
        return self.settings.model_dump(include={"name", "scheme", "word_separator"})

    def learn(
        self, labels: Sequence[Gold], names: list[str] | None, origin: Callable[[int], str]
    ) -> dict[str, Any]:
        """The scheme and the tags of train, in BIO: O, then B- and I- of each type by name; without
        spans the tags by name.

        Raises:
            DataError: train has no tags, or some that its scheme does not know.
        """
        scheme = scheme_of(labels, self.settings.scheme, origin)
        counts: Counter[str] = Counter()
        for index, gold in enumerate(labels):
            counts.update(bio_tags(gold, scheme, lambda index=index: origin(index))[0])
        if not counts:
            raise DataError(f"data.train: no example has a tag in field {self.data.label!r}.")
        if scheme == "none":
            tags = sorted(counts)
        else:
            tags = [
                OUTSIDE,
                *(
                    f"{part}-{name}"
                    for name in sorted({tag[2:] for tag in counts if tag != OUTSIDE})
                    for part in "BI"
                ),
            ]
        if len(tags) == 1:
            raise DataError(
                f"data.train: every word has the tag {tags[0]!r}. Is --data.label the right field?"
            )
        return {
            "labels": tags,
            "scheme": scheme,
            "tagged": "text" if any(gold.spans for gold in labels) else "words",
            "train_counts": {tag: counts.get(tag, 0) for tag in tags},
        }

    def align(self, split: Any, vocabulary: Mapping[str, Any], ledger: Any) -> Aligned:
        """Finds the tokens of each gold word.

        Args:
            split: what is being written: its `labels`, `origin` and `writer`.
        Returns:
            no columns.
            no token columns; the writer has `label`, 1 + the tag's number where a word, or a part
            of one that is tokenized like a word, begins. extras for `metrics`: of each gold word
            its tag `word_tag`, its token in the store `word_token` (-1: none) and whether it shares
            it with the word before, `word_shares`; `word_splits` (texts + 1,) int64; `unseen_tags`,
            the tags
            that train does not have: their words are scored, as missed, and not learnt. Words
                without a token are not scored.
        """
        numbers, unseen = tag_numbers(
            split,
            vocabulary,
            ledger,
            held_out=not isinstance(getattr(self.data, split.name), str),
            convert=self.settings.scheme == "auto",
        )
        names = [*vocabulary["labels"], *unseen]
        follow = np.array(
            [names.index(continued(tag, vocabulary["scheme"])) for tag in names], np.int32
        )
        tags = Tags(len(vocabulary["labels"]), follow, spans=vocabulary["scheme"] != "none")
        kept = {name: split.writer.scratch(dtype) for name, dtype in WORD_COLUMNS.items()}
        kept["word_splits"].append(0)
        lost: dict[str, list[Any]] = {}  # kind -> the first place, and how many
        done = 0  # tags
        for tokens in tokens_of_texts(split.writer):
            golds = split.labels[tokens.texts.start : tokens.texts.stop]
            ends = np.cumsum([len(gold.tags) for gold in golds])
            found = align(
                golds, np.split(numbers[done : done + int(ends[-1])], ends[:-1]), tokens, tags
            )
            done += int(ends[-1])
            split.writer.append_tokens("label", found.label)
            kept["word_splits"].extend(len(kept["word_tag"]) + found.splits[1:])
            for name, values in (
                ("word_tag", found.tag),
                ("word_token", found.token),
                ("word_shares", found.shares),
            ):
                kept[name].extend(values)
            for kind, words in found.lost.items():
                if len(words):
                    first = found.origin(
                        golds, words[0], lambda text, texts=tokens.texts: split.origin(texts[text])
                    )
                    lost.setdefault(kind, [first, 0])[1] += len(words)
        for kind in sorted(lost, key=LOST.index):
            ledger.add(split.name, kind, *lost[kind])
        return Aligned(
            {},
            {},
            {
                **{name: values.mapped() for name, values in kept.items()},
                "unseen_tags": np.array(unseen, np.str_),
            },
        )

    def encode(self, text: tf.Tensor) -> tuple[dict[str, Any], dict[str, tf.Tensor]]:
        """Token columns and counts; the very function that serves.

        Args:
            text: (B,) string.
        Returns:
            token_ids; `words`, 1 where a word begins, 2 at the first of a text, 3 where no space
            parts it from the one before (the S of U.S.), 4 where it is also a mark that joins names
            (. - ' &); `owned`, whether this window answers for the token; `start`, `end`, the
            characters of the text that the token's word has: each ragged (U, None) int32, -1 or 0
            at special tokens. `example` (U,) int32, the text of each window. Counts, (B,) int32
            each.
        """
        from trainer.text.assemble import join
        from trainer.text.windows import make_windows

        ids, start, end, begins = self.tokenizer.tokenize_with_offsets(text)
        template = self.tokenizer.template
        lengths = ids.row_lengths()
        place = tf.ragged.range(lengths).values
        opens = place == 0
        # A name may begin and end at any piece where no spaces part words, and where such a script
        # meets another.
        character = first_characters(text, start)
        borders = is_unspaced(character) | is_unspaced(characters_before(text, end))
        begins = begins.with_values(tf.where((begins.values == 0) & borders, 1, begins.values))
        # Words that normalization makes of one character are one: two spans cannot stand at the
        # same place. A mark of a space alone, which ends where it begins, may stand between them.
        for back in (1, 2):
            again = (
                (place >= back)
                & (begins.values == 1)
                & (start.values < tf.pad(end.values, [[back, 0]])[:-back])
            )
            begins = begins.with_values(tf.where(again, 0, begins.values))
        begin = tf.cast(begins.values == 1, tf.int32)
        before = tf.cumsum(begin, exclusive=True)  # words, in all texts
        first = before == tf.gather(before, tf.gather(begins.row_splits, begins.value_rowids()))
        words = begins.with_values(tf.where(first, 2, 1) * begin)
        # a word, or the white space between two
        group = tf.cumsum(tf.cast((begins.values != 0) | opens, tf.int32)) - 1
        word_end = tf.gather(tf.math.segment_max(end.values, group), group)
        words = words.with_values(
            tf.where(
                words.values == 1,
                1 + joins(character, start.values, word_end, group, begins.values != -1),
                words.values,
            )
        )
        room = tf.fill(
            tf.shape(lengths), tf.constant(self.data.seq_len - template.size(pair=False), tf.int64)
        )
        windows = make_windows(
            lengths, room, tf.fill(tf.shape(lengths), tf.constant(self.overlap, tf.int64))
        )
        columns = {
            "token_ids": join(windows.take(ids), template=template),
            "words": join(windows.take(words), template=template.filled(0)),
            "owned": join(windows.owned(), template=template.filled(0)),
            "start": join(windows.take(start), template=template.filled(-1)),
            "end": join(windows.take(end.with_values(word_end)), template=template.filled(-1)),
        }
        extra = (
            tf.math.bincount(
                tf.cast(windows.text, tf.int32),
                minlength=tf.size(lengths),
                maxlength=tf.size(lengths),
            )
            - 1
        )
        unknown = tf.reduce_sum(tf.cast(ids == self.tokenizer.unk_id, tf.int32), axis=1)
        return {**columns, "example": tf.cast(windows.text, tf.int32)}, {
            "unknown_tokens": unknown,
            "extra_windows": extra,
        }

    def build(self, backbone: Any, vocabulary: Mapping[str, Any], seed: int) -> Head:
        """The layers above the backbone, as Hugging Face's …ForTokenClassification has them, and
        the CRF's scores.
        """
        config = backbone.config
        self.vocabulary = vocabulary
        self.backbone = backbone
        self.family = config.family
        self.classes = len(vocabulary["labels"])
        self.spans = vocabulary["scheme"] != "none"
        self.dropout = (
            self.settings.dropout
            if self.settings.dropout is not None
            else config.token_classifier_dropout
        )
        initial = keras.initializers.TruncatedNormal(
            stddev=config.initializer_range, seed=seed + FIRST_HEAD_SITE
        )
        self.output = keras.layers.Dense(
            self.classes, kernel_initializer=initial, name="output", dtype="float32"
        )
        self.output.build((None, config.hidden_size))
        self.layers = [self.output]
        if not self.settings.crf:
            return self
        self.moves = keras.layers.Layer(name="crf", dtype="float32")
        self.moves.between = self.moves.add_weight(
            (self.classes, self.classes), initializer="zeros", name="between"
        )
        self.moves.first = self.moves.add_weight((self.classes,), initializer="zeros", name="first")
        self.moves.built = True
        self.layers = [self.output, self.moves]
        return self

    def logits(
        self, outputs: Mapping[str, tf.Tensor], batch: Batch, seed: tf.Tensor | None
    ) -> tf.Tensor:
        """(R, L, C) float32."""
        from trainer.backbones.layers import dropout

        hidden = outputs["sequence_output"]
        if seed is not None and self.dropout:
            hidden = dropout(hidden, self.dropout, seed, FIRST_HEAD_SITE)
        return self.output(tf.cast(hidden, tf.float32))

    def weights(self, batch: Batch) -> dict[str, tf.Tensor]:
        """How many tokens are labelled."""
        return {"loss": tf.reduce_sum(tf.cast(batch.label > 0, tf.float32))}

    def losses(self, logits: tf.Tensor, batch: Batch) -> dict[str, tf.Tensor]:
        """Sum of the losses over the labelled tokens."""
        return {"loss": tf.reduce_sum(self._losses(logits, batch))}

    def _losses(self, logits: tf.Tensor, batch: Batch) -> tf.Tensor:
        label = batch.label
        if self.settings.crf:
            kind = tf.where(label > 0, batch.own["words"], 0)
            return self._chain().losses(logits, tf.maximum(label - 1, 0), kind, _fresh(batch))
        losses = tf.nn.sparse_softmax_cross_entropy_with_logits(tf.maximum(label - 1, 0), logits)
        return tf.where(label > 0, losses, 0.0)

    def _chain(self) -> Chain:
        between, first = forbidden_moves(self.vocabulary["labels"], spans=self.spans)
        return Chain(self.moves.between.value + between, self.moves.first.value + first)

    def results(self, logits: tf.Tensor, batch: Batch) -> dict[str, tf.Tensor]:
        """Of each token, (R, L): `tag` int32; `score`, its probability; `margin`, how far the next
        is behind; and where labels are, `loss`.
        """
        if self.settings.crf:
            tag, score, margin = self._chain().decode(logits, batch.own["words"], _fresh(batch))
        else:
            shares = tf.nn.softmax(logits)
            tag = tf.argmax(logits, axis=-1, output_type=tf.int32)
            score = tf.gather(shares, tag, batch_dims=2)
            margin = score - tf.reduce_max(shares - tf.one_hot(tag, self.classes), axis=-1)
        found = {"tag": tag, "score": score, "margin": margin}
        return {**found, "loss": self._losses(logits, batch)} if batch.label is not None else found

    def answers(
        self,
        results: Mapping[str, tf.RaggedTensor],
        columns: Mapping[str, Any],
        texts: Sequence[tf.Tensor],
    ) -> dict[str, tf.Tensor]:
        """The spans of each text: start, end (B, N) int32 in characters, type, text (B, N) string,
        score (B, N) float32; padded with -1 and "".
        """
        mine = (columns["words"].values > 0) & (columns["owned"].values > 0)
        text = tf.boolean_mask(tf.gather(columns["example"], columns["words"].value_rowids()), mine)
        tag, score = (tf.boolean_mask(results[name].values, mine) for name in ("tag", "score"))
        start, end = (tf.boolean_mask(columns[name].values, mine) for name in ("start", "end"))
        names, begins, outside = (
            tf.constant(table) for table in _tables(self.vocabulary["labels"], self.spans)
        )
        entity = ~tf.gather(outside, tag)
        begins = tf.gather(begins, tag)
        tagged = tf.cast(entity, tf.float32)
        # A tagger of words between spaces has learnt to see U.S. as one; spans of raw text, and of
        # words that stand side by side, may end anywhere.
        if self.spans and self.vocabulary["tagged"] == "words" and self.settings.word_separator:
            tag, entity, begins = joined(
                tag, entity, begins, tf.boolean_mask(columns["words"].values, mine)
            )
        kind = tf.gather(names, tag)
        same = tf.concat(
            [[False], (kind[1:] == kind[:-1]) & (text[1:] == text[:-1]) & entity[:-1]], 0
        )[: tf.size(tag)]
        opens = entity & (begins | ~same)
        span = tf.boolean_mask(tf.cumsum(tf.cast(opens, tf.int32)) - 1, entity)
        first = tf.boolean_mask(start, opens)
        last = tf.math.segment_max(tf.boolean_mask(end, entity), span)
        of = tf.boolean_mask(text, opens)
        batch = tf.size(texts[0])
        counts = tf.math.bincount(of, minlength=batch, maxlength=batch)
        weight = tf.boolean_mask(tagged, entity)  # not of what only joins
        mean = tf.math.segment_sum(
            tf.boolean_mask(score, entity) * weight, span
        ) / tf.math.segment_sum(weight, span)
        found = {
            "start": (first, -1),
            "end": (last, -1),
            "type": (tf.boolean_mask(kind, opens), ""),
            "text": (slices(texts[0], of, first, last), ""),
            "score": (mean, -1.0),
        }
        return {
            name: tf.RaggedTensor.from_row_lengths(values, counts, validate=False).to_tensor(fill)
            for name, (values, fill) in found.items()
        }

    def token_answers(self, results: Mapping[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        """To token ids (B, S): tag (B, S) string and score (B, S), also of special tokens and
        padding, where they mean nothing.
        """
        return {
            "tag": tf.gather(tf.constant(self.vocabulary["labels"]), results["tag"]),
            "score": results["score"],
        }

    @property
    def main_metric(self) -> str:
        """What early stopping watches unless told otherwise."""
        return "f1" if getattr(self, "spans", True) else "accuracy"

    def metric_names(self) -> tuple[str, ...]:
        """The names that `metrics` may give."""
        return (
            "loss",
            "accuracy",
            *(("precision", "recall", "f1") if getattr(self, "spans", True) else ()),
        )

    def metrics(self, results: Mapping[str, np.ndarray], store: Any) -> dict[str, float]:
        """Over every gold word of a split once: accuracy of the tags, and of whole spans precision,
        recall and f1, strictly (seqeval).
        """
        words = self.scored_words(results, store)
        labelled = sum(np.count_nonzero(label) for label in blocks(store.tokens["label"]))
        values = {
            "loss": float(results["loss"].sum(dtype=np.float64) / max(labelled, 1)),
            "accuracy": float(
                np.count_nonzero(words.gold == words.predicted) / max(len(words.gold), 1)
            ),
        }
        if self.spans:
            values |= span_counts(words, len(self._names(store))).total()
        return values

    def label_counts(self, vocabulary: Mapping[str, Any], store: Any) -> dict[str, int]:
        """How many spans of each type a split has; of tags that are no spans, how many words have
        each.
        """
        names = [*vocabulary["labels"], *store.extras["unseen_tags"].tolist()]
        counts = zip(
            names, count_numbers(store.extras["word_tag"], len(names)).tolist(), strict=True
        )
        if vocabulary["scheme"] == "none":
            return dict(counts)
        return {name.removeprefix("B-"): count for name, count in counts if name.startswith("B-")}

    def undefined_metrics(self, vocabulary: Mapping[str, Any], store: Any) -> dict[str, str]:
        """Where a split has no span, those of spans."""
        if vocabulary["scheme"] == "none" or any(self.label_counts(vocabulary, store).values()):
            return {}
        return dict.fromkeys(("precision", "recall", "f1"), "it has no spans")

    def per_label(
        self, results: Mapping[str, np.ndarray], store: Any
    ) -> dict[str, dict[str, float]]:
        """precision, recall, f1 and support of each type of span, strictly (seqeval); of each tag
        where tags are no spans.
        """
        words = self.scored_words(results, store)
        names = self._names(store)
        if not self.spans:
            return scores_per_label(words.gold, words.predicted, names, list(range(len(names))))
        return span_counts(words, len(names)).of_each([name[2:] for name in names[1::2]])

    def _names(self, store: Any) -> list[str]:
        """The tags of train, and those that the split has beside them."""
        return [*self.vocabulary["labels"], *store.extras["unseen_tags"].tolist()]

    def scored_words(self, results: Mapping[str, np.ndarray], store: Any) -> ScoredWords:
        """Gold and predicted tags of every text's words, in BIO, but of those that have no token: a
        span is its other words.
        """
        token = np.asarray(store.extras["word_token"])
        scored = token >= 0
        token = token[scored]
        shares = np.asarray(store.extras["word_shares"])[scored]
        predicted = results["tag"][token]
        names = self._names(store)
        follow = np.array(
            [names.index(continued(tag, self.vocabulary["scheme"])) for tag in names], np.int32
        )
        predicted[shares] = follow[predicted[shares]]
        splits = np.concatenate([[0], np.cumsum(scored)])[store.extras["word_splits"]]
        text = np.repeat(np.arange(len(splits) - 1, dtype=np.int32), np.diff(splits))
        return ScoredWords(
            np.asarray(store.extras["word_tag"])[scored],
            opened(predicted, text) if self.spans else predicted,
            text,
        )

    def decode(
        self, outputs: Mapping[str, np.ndarray], row: int, example: Example | None = None
    ) -> dict[str, Any]:
        """One row of the answers as JSON for --mode=predict; for an example of words also the
        `tags` of each, and the `text` that they make.
        """
        names = ("start", "end", "type", "text", "score")
        found = zip(*(outputs[name][row] for name in names), strict=True)
        entities = [
            {
                name: value.decode() if isinstance(value, bytes) else value.item()
                for name, value in zip(names, values, strict=True)
            }
            for values in found
            if values[0] >= 0
        ]
        words = example.features[self.data.text] if example else None
        if not isinstance(words, list):
            return {"entities": entities}
        return {
            "text": self._join(words),
            "tags": self._word_tags(words, entities),
            "entities": entities,
        }

    def _word_tags(self, words: Sequence[str], entities: Sequence[Mapping[str, Any]]) -> list[str]:
        """In BIO: the tag of a word's first token, as the metrics read it."""
        tags = []
        place = 0
        token = 0
        _, starts, ends, _ = (
            values.to_list()[0]
            for values in self.tokenizer.tokenize_with_offsets(tf.constant([self._join(words)]))
        )
        remaining = iter([*entities, {"start": math.inf, "end": math.inf}])
        entity = next(remaining)
        for word in words:
            while token < len(starts) and ends[token] <= place:
                token += 1
            first = max(place, starts[token]) if token < len(starts) else math.inf
            while entity["end"] <= min(first, place + len(word)):
                entity = next(remaining)
            inside = entity["start"] <= first < place + len(word)
            # no token: it is of the span that goes on around it
            if self.spans and first >= place + len(word):
                tags.append(
                    f"I-{entity['type']}"
                    if entity["start"] < place and entity["end"] > place + len(word)
                    else OUTSIDE
                )
            elif self.spans:
                tags.append(
                    f"{'B' if entity['start'] == first else 'I'}-{entity['type']}"
                    if inside
                    else OUTSIDE
                )
            else:
                tags.append(entity["type"] if inside else "")
            place += len(word) + len(self.settings.word_separator)
        return repaired(tags) if self.spans else tags

    def ambiguous(
        self,
        answers: Mapping[str, np.ndarray],
        results: Mapping[str, Any],
        columns: Mapping[str, Any],
        tolerance: float,
    ) -> dict[str, np.ndarray]:
        """Answer -> (B,) bool: texts where two tags of a word are so near each other that either
        may win.
        """
        near = (results["margin"].values <= 2 * tolerance) & (columns["words"].values > 0)
        text = tf.gather(columns["example"], columns["words"].value_rowids())
        rows = np.zeros(len(answers["start"]), bool)
        rows[np.unique(tf.boolean_mask(text, near).numpy())] = True
        return dict.fromkeys(answers, rows)

    @property
    def no_huggingface(self) -> str | None:
        """A CRF has no place in that format."""
        return (
            "Hugging Face's models for token classification have no CRF. Export a savedmodel, or"
            " train with head.crf false."
            if self.settings.crf
            else None
        )

    def load_tensors(self, checkpoint: TaskHead) -> CarriedOver:
        """Takes over the checkpoint's own classifier, row by row by the names of the tags."""
        name = self.family.token_classifier
        output = {f"{name}.weight": self.output.kernel, f"{name}.bias": self.output.bias}
        return carry_over(
            checkpoint,
            "ForTokenClassification",
            {},
            output,
            lambda rows: self._find_rows(checkpoint.labels, rows),
        )

    def _find_rows(self, theirs: Sequence[str] | None, rows: int) -> LabelRows:
        found = label_rows(theirs, self.vocabulary["labels"], rows)
        # Where spans of one word have a tag of their own (S-, U-), the rows of B- and I- alone
        # would miss them.
        others = [
            tag for tag in theirs or [] if self.spans and tag[1:2] == "-" and tag[0] not in "BI"
        ]
        if found.order is None or not others:
            return found
        return LabelRows(
            None,
            f"the checkpoint tags spans otherwise, with {few(others)}, and here tags are B-, I-"
            " and O",
        )

    def save_tensors(self) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        """The output layer under Hugging Face's names, and what config.json says of it."""
        name = self.family.token_classifier
        labels = self.vocabulary["labels"]
        tensors = {
            f"{name}.weight": np.ascontiguousarray(self.output.kernel.numpy().T),
            f"{name}.bias": self.output.bias.numpy(),
        }
        return tensors, {
            "architectures": [self.family.class_for("ForTokenClassification")],
            "id2label": {str(i): name for i, name in enumerate(labels)},
            "label2id": {name: i for i, name in enumerate(labels)},
            "problem_type": None,
        }


def _parts(line: str) -> list[str]:
    """Between spaces and tabs: other spaces, such as a no-break one, may stand in a word, as in
    CoNLL's columns.
    """
    return [part for part in re.split("[ \t\r\n]+", line) if part]


def _fresh(batch: Batch) -> tf.Tensor:
    """(R, L) bool, where an example of a packed row begins."""
    if batch.rows.position_ids is not None:
        return batch.rows.position_ids == 0
    words = batch.own["words"]
    return tf.broadcast_to(tf.range(tf.shape(words)[1])[None] == 0, tf.shape(words))


def _tables(labels: Sequence[str], spans: bool) -> tuple[list[str], list[bool], list[bool]]:
    """Of each tag: the type, whether it begins a span, whether it is none."""
    if not spans:
        return list(labels), [True] * len(labels), [False] * len(labels)
    return (
        [label[2:] for label in labels],
        [label.startswith("B-") for label in labels],
        [label == OUTSIDE for label in labels],
    )


make_head = Head
