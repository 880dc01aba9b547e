"""How examples are read: words with tags, or raw text with spans."""

from __future__ import annotations

import dataclasses
import itertools
import re
from collections.abc import Callable, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np

from trainer.data.ledger import Ledger
from trainer.data.reader import (
    Aligned,
    EncodedTensors,
    Input,
    Reader,
    RowKind,
    Value,
    Vocabulary,
)
from trainer.errors import ConfigError, DataError, shown_value
from trainer.files.mapped import count_numbers
from trainer.heads._settings_checks import overflow_of
from trainer.heads.token_classification.alignment import UNSEEN_TAGS, Tags, align_split
from trainer.heads.token_classification.encoding import COLUMNS, encode_texts, places_of_texts
from trainer.heads.token_classification.gold import Gold, are_tags, read_spans
from trainer.heads.token_classification.invisible import invisible_words
from trainer.heads.token_classification.schemes import OUTSIDE
from trainer.heads.token_classification.settings import Settings
from trainer.heads.token_classification.span_shapes import FIELDS, SpanKeys, span_keys
from trainer.heads.token_classification.vocabulary import learn_tags, marks_spans, tag_numbers
from trainer.lazy import tf
from trainer.settings.schema import DataSettings
from trainer.sources import Example, require_field

if TYPE_CHECKING:
    from trainer.data.split import Split
    from trainer.data.store import TokenStore
    from trainer.text.tokenizer import Tokenizer

LOSSES_OF_DATA = MappingProxyType(
    {
        "scheme_violations": "tags that break their scheme, read as the beginning of a span",
        "spans_trimmed": "spans that begin or end with white space, which is left out of them",
        "unseen_tags": "words with a tag that train does not have: not learnt, but scored",
        "words_without_tokens": (
            "words of which the tokenizer leaves nothing: neither learnt nor scored, a span is its"
            " other words"
        ),
        "spans_without_tokens": (
            "spans of which the tokenizer leaves nothing: neither learnt nor scored"
        ),
        "borders_inside_tokens": (
            "words inside what is one word to the tokenizer, with another tag than its beginning"
        ),
    }
)


@dataclasses.dataclass(frozen=True)
class TagReader(Reader):
    """Reads words with tags, or raw text with spans.

    Attributes:
        settings: of the head.
        data: of the sources.
        tokenizer: of the texts.
        inputs: the text.
        overlap: tokens that neighbouring windows share.
        span_keys: the names of a span's parts.
    """

    settings: Settings
    data: DataSettings
    tokenizer: Tokenizer
    inputs: tuple[Input, ...]
    overlap: int
    span_keys: SpanKeys
    columns = COLUMNS
    rows = RowKind.WINDOWS
    overflows = ("window", "error")
    losses_of_data = LOSSES_OF_DATA

    @property
    def field(self) -> str:
        """The field that has the text, or its words."""
        return self.inputs[0].field

    def preparation_settings(self) -> dict[str, object]:
        """The settings on which the stored examples depend."""
        return self.settings.model_dump(include={"name", "scheme", "word_separator"})

    def values(self, example: Example) -> tuple[Value, ...]:
        """The raw text, or the words joined; tags are not needed.

        Raises DataError where the field is missing or neither.
        """
        text = require_field(example, self.field, "data.text")
        tags = example.features.get(self._label_field(example))
        if isinstance(text, str) and not are_tags(tags):
            return (text,)
        return (self.join(self._words(example, text)),)

    def join(self, words: Sequence[str]) -> str:
        """The text that words make."""
        return self.settings.word_separator.join(words)

    def label(self, example: Example) -> Gold:
        """The tags. Raises DataError where they do not belong to the words, or spans overlap."""
        field = self._label_field(example)
        text = require_field(example, self.field, "data.text")
        tags = require_field(example, field, "data.label")
        where = f"{example.origin}: field {field!r}"
        if isinstance(text, str) and isinstance(tags, list) and not are_tags(tags):
            return read_spans(text, tags, where, self.span_keys)
        words = self._words(example, text)
        word_tags = _word_tags(tags, where)
        if len(words) != len(word_tags):
            raise DataError(
                f"{where} has {len(word_tags)} tags for {len(words)} words. Give each word one tag."
            )
        separator = len(self.settings.word_separator)
        ends = list(itertools.accumulate(len(word) + separator for word in words))
        return Gold(
            start=tuple([0, *ends][: len(words)]),
            end=tuple(end - separator for end in ends),
            tags=tuple(word_tags),
            lines=example.lines,
            invisible=invisible_words(words),
        )

    def shown(
        self, example: Example, values: tuple[Value, ...], label: Gold
    ) -> list[tuple[str, str]]:
        """The text, and its words with a tag, or its spans, as word/TAG."""
        text = str(values[0])
        tagged = []
        for start, end, tag in zip(label.start, label.end, label.tags, strict=True):
            if tag != OUTSIDE:
                word = text[start:end]
                shown_tag = tag.removeprefix("B-") if label.spans else tag
                tagged.append(f"{word if word.strip() else shown_value(word)}/{shown_tag}")
        return [(self.field, text), ("spans" if label.spans else "tags", "  ".join(tagged))]

    def encode(self, *inputs: tf.Tensor) -> EncodedTensors:
        """Token columns and counts of (B,) texts; see `encode_texts`."""
        (text,) = inputs
        seq_len = self.data.seq_len
        return encode_texts(text, self.tokenizer, seq_len=seq_len, overlap=self.overlap)

    def places(self, *inputs: tf.Tensor) -> tf.RaggedTensor:
        """The characters that each token stands for; see `PlacesTokens`."""
        (text,) = inputs
        seq_len = self.data.seq_len
        return places_of_texts(text, self.tokenizer, seq_len=seq_len, overlap=self.overlap)

    def learn(
        self, labels: Sequence[Gold], names: list[str] | None, origin: Callable[[int], str]
    ) -> dict[str, Any]:
        """The scheme and the tags of train; see `learn_tags`.

        Args:
            labels: of the examples of train.
            names: of classes, which a tagger has not.
            origin: of an example, by its number.
        """
        return learn_tags(labels, self.settings.scheme, origin, str(self.data.label))

    def align(self, split: Split, vocabulary: Vocabulary, ledger: Ledger) -> Aligned:
        """Finds the tokens of each gold word; see `align_split`.

        Args:
            split: what is being written.
            vocabulary: what train taught.
            ledger: takes what is odd or lost.
        """
        given = {"validation": self.data.validation, "test": self.data.test}
        numbers = tag_numbers(
            split,
            vocabulary,
            ledger,
            held_out=isinstance(given.get(split.name), float),
            convert=self.settings.scheme == "auto",
        )
        tags = Tags(len(vocabulary["labels"]), spans=marks_spans(vocabulary))
        return Aligned({}, {}, align_split(split, numbers, tags, ledger))

    def notes(self, vocabulary: Vocabulary) -> list[str]:
        """The scheme of the tags."""
        scheme = vocabulary["scheme"]
        if marks_spans(vocabulary):
            return [f"tags: spans, scheme {scheme}"]
        return ["tags: one a word, no spans"]

    def label_counts(self, vocabulary: Vocabulary, store: TokenStore) -> dict[str, int]:
        """How many spans of each type a split has; of single tags, how many words have each."""
        tags = [*vocabulary["labels"], *store.extras[UNSEEN_TAGS].tolist()]
        numbers: np.ndarray = store.extras["word_tag"]
        counts = dict(zip(tags, count_numbers(numbers, len(tags)).tolist(), strict=True))
        if not marks_spans(vocabulary):
            return counts
        return {tag[2:]: count for tag, count in counts.items() if tag.startswith("B-")}

    def _label_field(self, example: Example) -> str:
        """data.label; where that is not set and not there, where other tools write spans.

        Only where that is one field.
        """
        label = str(self.data.label)
        is_set = label != type(self.data).model_fields["label"].default
        if is_set or label in example.features:
            return label
        others = [field for field in FIELDS if isinstance(example.features.get(field), list)]
        return others[0] if len(others) == 1 else label

    def _words(self, example: Example, text: object) -> list[str]:
        """The words of a text field. Raises DataError where it has none, or an empty one."""
        words = _parts(text) if isinstance(text, str) else text
        if not isinstance(words, list) or not all(isinstance(word, str) for word in words):
            raise DataError(
                f"{example.origin}: field {self.field!r} should be text or a list of words."
                f" Received {text!r:.80}. Name it with --data.text."
            )
        if "" in words:
            raise DataError(
                f"{example.origin}: field {self.field!r}: word {words.index('') + 1} is empty."
                " Remove it and its tag."
            )
        return words


def make_reader(settings: Settings, data: DataSettings, tokenizer: Tokenizer) -> TagReader:
    """The reader that a config asks for.

    Args:
        settings: of the head.
        data: of the sources.
        tokenizer: of the texts.
    Raises:
        ConfigError: settings of the data are none for a tagger.
    """
    from trainer.text.windows import window_overlap

    if not isinstance(data.text, str):
        raise ConfigError(
            f"data.text: head token_classification takes one field. Received {data.text}."
        )
    overflow_of(settings, data, TagReader.overflows, ", so that no word goes unseen")
    special = tokenizer.template.size(pair=False)
    return TagReader(
        settings=settings,
        data=data,
        tokenizer=tokenizer,
        inputs=(Input("text", data.text),),
        overlap=window_overlap(data.seq_len, special, data.window_overlap),
        span_keys=span_keys(data.span_keys),
    )


def _word_tags(tags: object, where: str) -> list[str]:
    """The tags of words. Raises DataError where they are none."""
    if isinstance(tags, str):
        return _parts(tags)
    if isinstance(tags, list) and all(isinstance(tag, str) and tag for tag in tags):
        return tags
    are_numbers = isinstance(tags, list) and tags and all(type(tag) is int for tag in tags)
    advice = (
        " Write the tags' names in place of their numbers; data.source: tfds does so by itself."
        if are_numbers
        else ""
    )
    raise DataError(
        f'{where} should be a tag for each word, or spans {{"start", "end", "label"}} of'
        f" the text. Received {tags!r:.80}.{advice}"
    )


def _parts(line: str) -> list[str]:
    """Between spaces and tabs.

    Other spaces, such as a no-break one, may stand in a word, as in CoNLL's columns.
    """
    return [part for part in re.split("[ \t\r\n]+", line) if part]
