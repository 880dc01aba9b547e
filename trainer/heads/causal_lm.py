"""Causal language modelling: each token is predicted from those before it."""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any, Literal

import numpy as np
from pydantic import Field

from trainer.data.batch import Batch, Predicted
from trainer.data.reader import Aligned, Column, RowKind
from trainer.errors import ConfigError, DataError, WeightsError
from trainer.files.mapped import blocks, release
from trainer.files.spool import Ascending
from trainer.heads._carried_over import CarriedOver
from trainer.heads._generation import Decoding, Generator, ManyPrompts
from trainer.heads._judged import JUDGED, bleu_and_rouge
from trainer.heads._language_model import (
    LanguageModel,
    LanguageModelSettings,
    count_words,
    ends_document,
    word_pattern,
)
from trainer.lazy import tf
from trainer.settings.schema import DataSettings
from trainer.sources import Example, require_text

if TYPE_CHECKING:  # which would import TensorFlow
    from trainer.backbones.config import BackboneConfig
    from trainer.backbones.huggingface import TaskHead

# of tokens: their values, and the lengths of the rows
Columns = dict[str, tuple[np.ndarray, np.ndarray]]

NEW_TOKENS = 64  # generated unless the config says how many
# at most in a character: behind so many more it is seen whether a word goes on
CHARACTER_TOKENS = 4


class Settings(LanguageModelSettings):
    """Causal language modelling, from random values or continued; with a target, from a prompt to a
    text.
    """

    name: Literal["causal_lm"] = Field("causal_lm")
    target: str | None = Field(
        None,
        description=(
            "field with the text to write for data.text, which alone is learnt; null: all of"
            " data.text is learnt"
        ),
    )
    prompt: str = Field(
        "{text}",
        description=(
            "what is continued, with {text} for data.text, such as 'German: {text} English:'"
        ),
    )
    max_new_tokens: int | None = Field(
        None,
        ge=1,
        description=(
            f"of a generated text; null: {NEW_TOKENS}, or half the backbone's positions if that is"
            " less"
        ),
    )
    num_beams: int = Field(
        1,
        ge=1,
        description=(
            "texts that are followed at once; 1: the likeliest token each time, or a drawn one"
        ),
    )
    do_sample: bool = Field(False, description="draw tokens")
    temperature: float = Field(
        1.0, gt=0, le=100, description="of drawing: below 1 likelier ones are preferred"
    )
    top_k: int | None = Field(None, ge=1, description="draw from the k likeliest tokens only")
    top_p: Annotated[float, Field(gt=0, le=1)] | None = Field(
        None, description="draw from the likeliest tokens that have this share together"
    )
    sampling_seed: int = Field(0, ge=0, lt=2**31, description="of drawing")
    repetition_penalty: float = Field(
        1.0,
        gt=0,
        le=10,
        description="above 1, tokens of the prompt and the text so far are less likely",
    )
    no_repeat_ngram_size: int | None = Field(
        None, ge=1, description="no so many tokens in a row come twice in the prompt and the text"
    )
    min_new_tokens: int = Field(
        0, ge=0, description="the end-of-text token comes no earlier; a text of `stop` may"
    )
    length_penalty: float = Field(1.0, description="of beams: above 0 longer texts are preferred")
    early_stopping: bool | Literal["never"] = Field(
        False,
        description=(
            "of beams: true: end when as many have ended as are followed; false: when no better one"
            " is likely; never: when none can be"
        ),
    )
    judged_examples: int | None = Field(
        500,
        ge=1,
        description=(
            "of validation and test, so many are generated and compared with their target;"
            " null: all"
        ),
    )
    judged_by: Literal["13a", "intl", "zh", "char", "none"] = Field(
        "13a", description="sacreBLEU's tokenizer: zh for Chinese targets"
    )
    stop: list[Annotated[str, Field(min_length=1)]] = Field(
        [], description="texts at which a generated text ends, themselves left out"
    )


class Head(LanguageModel):
    """See trainer/heads/contract.py for what each method is for."""

    Settings = Settings
    more_inputs = ("target",)
    columns = (Column("target"), Column("text_size", per_token=False, fed=False, encoded=False))

    def __init__(self, settings: Settings, data: DataSettings, tokenizer: Any) -> None:
        if settings.target is not None:
            self.overflows = ("truncate", "head_tail", "error")
        super().__init__(settings, data, tokenizer)
        if re.findall(r"\{\w+\}", settings.prompt) != ["{text}"]:
            raise ConfigError(
                "head.prompt: expected a text with {text} once, where data.text goes, and no"
                f" other name in braces. Received {settings.prompt!r}."
            )
        if settings.target is not None and tokenizer.eos_id is None:
            raise ConfigError(
                "head.target: the tokenizer names no end-of-text token, so that a generated text"
                ' would never end. Name it as "eos_token" in tokenizer_config.json, or by its'
                ' number as "eos_token_id" in config.json.'
            )
        without_beams = "is of beams, and head.num_beams is 1. Raise that, or leave it out."
        without_drawing = (
            "is of drawing, and head.do_sample is false. Set that to true, or leave it out."
        )
        without_target = (
            "is of targets, and head.target names none. Name the field with the text to write, or"
            " leave it out."
        )
        unused = {
            **(
                dict.fromkeys(("judged_examples", "judged_by"), without_target)
                if settings.target is None
                else {
                    "documents": (
                        "is of documents end to end, and with head.target each example has a row of"
                        " its own. Leave it out."
                    )
                }
            ),
            **(
                dict.fromkeys(("length_penalty", "early_stopping"), without_beams)
                if settings.num_beams == 1
                else {}
            ),
            **(
                {}
                if settings.do_sample
                else dict.fromkeys(("temperature", "top_k", "top_p"), without_drawing)
            ),
        }
        for name, problem in unused.items():
            if getattr(settings, name) != Settings.model_fields[name].default:
                raise ConfigError(f"head.{name}: {problem}")
        if settings.do_sample and settings.num_beams > 1:
            raise ConfigError(
                f"head.num_beams: {settings.num_beams} beams are not drawn. Set head.do_sample to"
                " false, or head.num_beams to 1."
            )
        self._before, behind = settings.prompt.split("{text}")
        self._behind = behind.removesuffix(" ")
        self._opening = behind[len(self._behind) :]
        self._many: ManyPrompts | None = None  # of judge, compiled once
        if settings.target is not None:
            self.rows = RowKind.ONE
            self.keeps_texts = True
            self.grouping = slice(0, 1)  # the targets of a text stay together
            self.judged = JUDGED
            self.fields = [data.text, settings.target]
            self.text_names = ("text", "target")

    def values(self, example: Example) -> tuple[str, ...]:
        """The document, or the text and its target."""
        texts = super().values(example)
        if self.settings.target is None:
            return texts
        return (*texts, require_text(example, self.settings.target, "head.target"))

    def asked(self, example: Example) -> tuple[str, ...]:
        """The text that is continued: no target is asked for."""
        return super().values(example)

    def label(self, example: Example) -> tuple[bool, int, int]:
        """Whether a document ends here, and how many words and bytes of text are learnt."""
        if self.settings.target is None:
            return super().label(example)
        text = example.features[self.settings.target]
        return True, count_words(text), len(text.encode("utf-8", "replace"))

    def _align_targets(self, split: Any) -> Aligned:
        """Of each example the words and bytes that are learnt."""
        text_size = split.writer.scratch(np.int32, (2,))
        for _, *sizes in split.labels:
            text_size.append(sizes)
        return Aligned({"text_size": text_size.mapped()}, {}, self.kept(split))

    def shown(self, example: Example, texts: Sequence[str], label: Any) -> list[tuple[str, str]]:
        """The document, or the prompt and its target."""
        if self.settings.target is None:
            return super().shown(example, texts, label)
        return [
            ("prompt", self.settings.prompt.replace("{text}", texts[0])),
            (self.settings.target, texts[1]),
        ]

    def preparation_settings(self) -> dict[str, Any]:
        """What of the settings changes the stored examples."""
        relevant = self.settings.model_dump(
            include={
                "name",
                "documents",
                "target",
                *(("prompt",) if self.settings.target is not None else ()),
            }
        )
        return {**relevant, "eos_id": self.tokenizer.eos_id}

    def warnings(self, vocabulary: Mapping[str, Any], splits: Mapping[str, Any]) -> list[str]:
        """Where documents run into each other, or a judged text cannot be as long as its target."""
        if self.settings.target is None:
            runs_on = (
                self.tokenizer.eos_id is None
                and self.settings.documents == "joined"
                and splits["train"].meta["examples"] > 1
            )
            return (
                [
                    "head.documents: joined, and the tokenizer names no end-of-text token: nothing"
                    " stands between two documents"
                ]
                if runs_on
                else []
            )
        found = []
        for name in ("validation", "test"):
            if name in splits:
                store = splits[name]
                judged = min(len(splits[name]), self.settings.judged_examples or len(splits[name]))
                lengths = np.add.reduceat(
                    np.asarray(store.tokens["target"]) > 0, store.row_splits[:-1], dtype=np.int64
                )[:judged]
                if longer := np.count_nonzero(lengths > self.new_tokens):
                    found.append(
                        f"data.{name}: of {judged:,} judged targets {longer:,} have more than"
                        f" head.max_new_tokens = {self.new_tokens} tokens (the longest"
                        f" {lengths.max():,}), which a generated text can not have"
                    )
        return found

    def finish_rows(
        self, tokens: Columns, example: np.ndarray, labels: Sequence[tuple[bool, int, int]]
    ) -> Columns:
        """Puts the end-of-text token behind each document; targets are made when the rows are."""
        ids, lengths = tokens["token_ids"]
        if self.tokenizer.eos_id is None:
            return {"token_ids": (ids, lengths)}
        last = ends_document(example, labels)
        ids = np.insert(ids, np.cumsum(lengths)[last], self.tokenizer.eos_id)
        return {"token_ids": (ids, lengths + last)}

    def align(self, split: Any, vocabulary: Mapping[str, Any], ledger: Any) -> Aligned:
        """Each token's target, 1 + the next one, also where that begins another row; 0 at the end,
        and at a document's where they are separate.
        """
        if self.settings.target is not None:
            return self._align_targets(split)
        ids = split.writer.token_column("token_ids")
        separate = self.settings.documents == "separate"
        found = False
        for target in _targets(ids, Ascending(split.document_ends.blocks() if separate else [])):
            found |= bool(target.any())
            split.writer.append_tokens("target", target)
        if not found and not (split.name == "train" and self.data.stream_characters):
            raise DataError(
                f"data.{split.name}: none of its {len(ids):,} tokens is predicted from another"
                f" (first: {split.origin(0)}). Longer documents are needed, or"
                " --head.documents=joined."
            )
        counts = self.counts(split)
        # Nothing predicts the first token of all, or of each document: what it writes does not
        # count either.
        last = 0
        for ends in split.document_ends.blocks() if separate else [np.array([len(ids)])]:
            counts["text_size"] -= self._first_sizes(ids, np.r_[last, ends[:-1]], ends)
            last = int(ends[-1])
        return Aligned({}, {}, counts)

    def _first_sizes(self, ids: np.ndarray, starts: np.ndarray, ends: np.ndarray) -> np.ndarray:
        """(2,) int64: how many words end in the very first tokens of documents, and their bytes."""
        places = starts[:, None] + np.arange(1 + CHARACTER_TOKENS)
        beginnings = np.where(places < ends[:, None], ids[np.minimum(places, len(ids) - 1)], -1)
        release(ids)
        beginnings, times = np.unique(beginnings, axis=0, return_counts=True)
        return times @ np.array([self._first_size(beginning) for beginning in beginnings.tolist()])

    def _first_size(self, beginning: list[int]) -> tuple[int, int]:
        """Of a document's first tokens, then -1: how many words end in the very first, and its
        bytes.
        """
        first, *others = (
            (
                self.tokenizer.token_bytes[token]
                if 0 <= token < len(self.tokenizer.token_bytes)
                else b""
            )
            for token in beginning
        )
        first = first.lstrip(b" ")  # which may be the tokenizer's own
        text = b"".join([first, *others]).decode("utf-8", "surrogateescape")
        ends = (
            len(text[: word.end()].encode("utf-8", "surrogateescape"))
            for word in word_pattern().finditer(text)
        )
        return sum(end <= len(first) for end in ends), len(first)

    def encode(
        self, text: tf.Tensor, target: tf.Tensor | None = None
    ) -> tuple[dict[str, Any], dict[str, tf.Tensor]]:
        """Token columns and counts; the very function that serves.

        Args:
            text: (B,) string.
            target: the same, with head.target: then a row is the prompt, the target and the end of
                the text, and the target and the end are predicted. Where that is more than seq_len,
                the text is cut as data.overflow says; then the prompt at its beginning; then the
                target at its end.
        Returns:
            token_ids; `target`, 1 + the token that follows in the text, 0 behind the last: each
            ragged (U, None) int32. `example` (U,) int32, the text of each row of at most seq_len
            tokens. Counts, (B,) int32 each.
        """
        from trainer.text.windows import cut_rows

        if target is not None:
            return self._encode_pair(text, target)
        ids = self.tokenizer.tokenize(text)
        unknown = tf.reduce_sum(tf.cast(ids == self.tokenizer.unk_id, tf.int32), axis=1)
        target = _following(ids.with_values(ids.values + 1))
        windows = cut_rows(ids.row_lengths(), self.data.seq_len)
        return (
            {
                "token_ids": windows.take(ids),
                "target": windows.take(target),
                "example": tf.cast(windows.text, tf.int32),
            },
            {"unknown_tokens": unknown},
        )

    def _encode_pair(
        self, text: tf.Tensor, target: tf.Tensor
    ) -> tuple[dict[str, Any], dict[str, tf.Tensor]]:
        answer = self.tokenizer.tokenize(tf.strings.join([self._opening, target]))
        whole = tf.concat([answer, tf.fill([answer.nrows(), 1], self.tokenizer.eos_id)], 1)
        answer = whole[:, : self.data.seq_len - 1]
        asked, lost = self._fitted(text, self.data.seq_len - answer.row_lengths())
        # The last token of the prompt predicts the first of the answer; the last of all predicts
        # nothing.
        predicted = _following(tf.concat([tf.zeros_like(asked), answer + 1], 1))
        cut = tf.cast(whole.row_lengths() - answer.row_lengths(), tf.int32)
        return {"token_ids": tf.concat([asked, answer], 1), "target": predicted}, {
            "truncated_tokens": lost + cut,
            "cut_targets": tf.cast(cut > 0, tf.int32),
        }

    def _fitted(self, text: tf.Tensor, room: tf.Tensor) -> tuple[tf.RaggedTensor, tf.Tensor]:
        """The prompts' tokens, as many as there is room for.

        What is too much is cut from the text: with a target as data.overflow says, else at its
        beginning, as its end is continued. Only where the rest of the prompt has no room either
        does that lose its beginning.

        Args:
            text: (B,) string.
            room: (B,) int64, 1 or more.
        Returns:
            (B, None) int32, one token at least; (B,) int32, how many tokens each has lost.
        """
        from trainer.text.assemble import Kept, keep_ranges, stays

        text = tf.strings.unicode_transcode(text, "UTF-8", "UTF-8")
        # Without a space at the end: it belongs to the first token of what follows, as a byte-level
        # vocabulary writes words.
        tokens = self.tokenizer.tokenize_with_offsets(
            tf.strings.join([self._before, text, self._behind])
        )
        row = tokens.ids.value_rowids()
        stops = tokens.ends.values
        limit = len(self._before) + tf.gather(tf.strings.length(text, unit="UTF8_CHAR"), row)
        inside = tokens.ids.with_values((stops > len(self._before)) & (stops <= limit))
        of_text = tf.ragged.boolean_mask(tokens.ids, inside)
        free = tf.maximum(
            tf.cast(room - tokens.ids.row_lengths() + of_text.row_lengths(), tf.int32), 0
        )
        if self.settings.target is not None:
            kept, _ = keep_ranges(of_text, None, room=free, overflow=self.overflow_of(self.data))
        else:
            kept = Kept(
                tf.zeros_like(free), tf.minimum(tf.cast(of_text.row_lengths(), tf.int32), free)
            )
        ids = tf.ragged.boolean_mask(tokens.ids, inside.with_values(stays(inside, kept)))
        count = tf.minimum(ids.row_lengths(), room)
        return _last(ids, count, self.tokenizer.template.empty), tf.cast(
            tokens.ids.row_lengths() - count, tf.int32
        )

    def check(self, backbone: BackboneConfig) -> None:
        """Raises ConfigError where the backbone sees what it would have to predict, or has fewer
        positions than a generated text.
        """
        if not backbone.causal:
            raise ConfigError(
                "head.name: causal_lm needs a decoder such as GPT-2. Received a backbone of kind"
                f" {backbone.architecture}, whose tokens see those behind them. For it take"
                " masked_lm."
            )
        self.positions = positions = backbone.max_positions
        self.new_tokens = (
            min(NEW_TOKENS, positions // 2)
            if self.settings.max_new_tokens is None
            else self.settings.max_new_tokens
        )
        if self.new_tokens >= positions:
            raise ConfigError(
                f"head.max_new_tokens: expected less than {positions}, the positions of the"
                f" backbone. Received {self.new_tokens}."
            )
        if self.settings.min_new_tokens > self.new_tokens:
            raise ConfigError(
                f"head.min_new_tokens: expected at most {self.new_tokens}, head.max_new_tokens."
                f" Received {self.settings.min_new_tokens}."
            )

    def build(self, backbone: Any, vocabulary: Mapping[str, Any], seed: int) -> Head:
        """No layers: tokens are compared with their own embeddings.

        Raises ConfigError, see `check`.
        """
        self.check(backbone.config)
        self.vocabulary = vocabulary
        self.backbone = backbone
        self.family = backbone.config.family
        self._embeddings = backbone.embeddings.word
        self.layers = []
        return self

    def logits(self, outputs: Mapping[str, tf.Tensor], batch: Batch, seed: tf.Tensor | None) -> Any:
        """What the projection takes: hidden states of the predicted places (M, H), embeddings (V,
        H), no bias.
        """
        hidden = outputs["sequence_output"]
        return (
            tf.gather(
                tf.reshape(hidden, [-1, self.backbone.config.hidden_size]),
                batch.predicted.place,
            ),
            self.backbone.word_embeddings(),
            None,
        )

    def served(self, batch: Batch) -> Batch:
        """The batch of a server, which predicts where the column `target` says."""
        target = tf.reshape(batch.own["target"] * tf.cast(batch.rows.padding_mask, tf.int32), [-1])
        shape = tf.shape(batch.own["target"])
        predicted = Predicted(
            place=tf.range(tf.size(target)),
            target=tf.maximum(target - 1, 0),
            example=tf.repeat(tf.range(shape[0]), shape[1]),
            weight=tf.cast(target > 0, tf.float32),
        )
        return dataclasses.replace(batch, predicted=predicted)

    def kept(self, split: Any) -> dict[str, np.ndarray]:
        """The targets of a split but train, for `judge`."""
        if self.settings.target is None or split.name == "train":
            return {}
        return {
            "target_text": split.kept.content.mapped(),
            "target_splits": split.kept.splits.mapped(),
        }

    def judge(
        self, store: Any, batch_size: int, on_batch: Callable[[int, int], None]
    ) -> dict[str, float]:
        """What the texts that are generated for a split's prompts are worth: bleu, chrf, rouge1,
        rouge2 and rouge_l.
        """
        if self.settings.target is None:
            return {}
        if self._many is None or self._many.generator.backbone is not self.backbone:
            self._many = ManyPrompts(self.generator(), batch_size)
        count = min(len(store), self.settings.judged_examples or len(store))
        prompts = [prompt_of(store.example(index)) for index in range(count)]
        found = self._many.generate(prompts, self.settings.sampling_seed, on_batch)
        written = [text.decode() for text in self.written(tf.constant(found["token_ids"])).numpy()]
        splits = store.extras["target_splits"]
        targets = store.extras["target_text"]
        golds = [
            targets[splits[index] : splits[index + 1]].tobytes().decode("utf-8", "replace")
            for index in range(count)
        ]
        return bleu_and_rouge(written, golds, self.settings.judged_by)

    def stream(self, text: str, *, drawn: int = 0, tokens_at_once: int = 4) -> Iterator[str]:
        """The prompt of a text, then what follows it, piece by piece as it is generated; by beams
        at once, as which is best is known at the end.

        `drawn`: how many texts were continued before, so that the same draws never come twice.
        """
        prompt = self._before + text + self._behind + self._opening
        yield prompt
        generator = self.generator()
        prompts, lengths, _ = self.prompt_tokens(_strings([text]))
        seed = tf.constant([self.settings.sampling_seed, drawn])
        if self.settings.num_beams > 1:
            found = generator.generate(prompts, lengths, seed)["token_ids"]
            yield self._space(prompt, found) + self.written(found)[0].numpy().decode()
            return
        start, run = (
            tf.function(function, autograph=False) for function in (generator.start, generator.run)
        )
        state, shown = start(prompts, lengths), ""
        # A character may have half of its bytes, and a stop text half of its letters, until the
        # next token.
        held = max([len(stop) - 1 for stop in self.settings.stop], default=0)
        while int(state["step"]) < self.new_tokens and not bool(state["finished"][0]):
            state = run(state, seed, tf.constant(tokens_at_once))
            # behind them nothing is written yet
            whole = self.written(state["tokens"][:, : state["step"]])[0].numpy().decode()
            safe = whole.rstrip("\ufffd")[: max(0, len(whole) - held)]
            if len(safe) > len(shown) and safe.startswith(shown):
                yield ("" if shown else self._space(prompt, state["tokens"])) + safe[len(shown) :]
                shown = safe
        whole = self.written(state["tokens"][:, : state["step"]])[0].numpy().decode()
        if whole[len(shown) :]:
            yield ("" if shown else self._space(prompt, state["tokens"])) + whole[len(shown) :]

    def _space(self, prompt: str, token_ids: tf.Tensor) -> str:
        """Between a prompt and its continuation, (1, M) int32: " " where a first token that begins
        a word lost its own as one that begins a text does.
        """
        parts = self.tokenizer.token_bytes
        first = int(token_ids[0, 0])
        begins_word = (
            first < len(parts)
            and parts[first].startswith(b" ")
            and not self.written(token_ids[:, :1])[0].numpy().startswith(b" ")
        )
        return " " if begins_word and prompt and not prompt[-1].isspace() else ""

    def generate(self, text: tf.Tensor) -> dict[str, tf.Tensor]:
        """What follows each text: `generated_text` (B,) string, `score` (B,) float32, the
        log-probability of its tokens; of beams over the length to the power of head.length_penalty.
        A prompt that leaves no room is cut, see `_fitted`.
        """
        generator = self.generator()
        prompts, lengths, _ = self.prompt_tokens(text)
        found = generator.generate(prompts, lengths, tf.constant([self.settings.sampling_seed, 0]))
        return {"generated_text": self.written(found["token_ids"]), "score": found["score"]}

    def generate_many(self, batch_size: int) -> Callable[[Sequence[str]], dict[str, np.ndarray]]:
        """A function that gives what `generate` does and `truncated_tokens` (B,) int32, those that
        each prompt lost.

        It is compiled where there are many texts, and draws other tokens at each call.
        """
        many = ManyPrompts(self.generator(), batch_size)
        drawn = 0

        def generate(texts: Sequence[str]) -> dict[str, np.ndarray]:
            nonlocal drawn
            ids, lengths, lost = (values.numpy() for values in self.prompt_tokens(_strings(texts)))
            found = many.generate(
                [row[:length] for row, length in zip(ids, lengths, strict=True)],
                self.settings.sampling_seed,
                drawn=drawn,
            )
            drawn += many.batches(len(texts))
            return {
                "generated_text": self.written(tf.constant(found["token_ids"])).numpy(),
                "score": found["score"],
                "truncated_tokens": lost,
            }

        return generate

    def generator(self) -> Generator:
        """As head's settings say."""
        s = self.settings
        return Generator(
            self.backbone,
            Decoding(
                max_new_tokens=self.new_tokens,
                eos_id=self.tokenizer.eos_id,
                pad_id=(
                    self.tokenizer.pad_id
                    if self.tokenizer.eos_id is None
                    else self.tokenizer.eos_id
                ),
                num_beams=s.num_beams,
                do_sample=s.do_sample,
                temperature=s.temperature,
                top_k=s.top_k,
                top_p=s.top_p,
                repetition_penalty=s.repetition_penalty,
                no_repeat_ngram_size=s.no_repeat_ngram_size,
                min_new_tokens=s.min_new_tokens,
                length_penalty=s.length_penalty,
                early_stopping=s.early_stopping,
                stop=tuple(stop.encode() for stop in s.stop),
                opening=self._opening.encode(),
                token_bytes=self.tokenizer.token_bytes if s.stop else (),
            ),
        )

    def prompt_tokens(self, text: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        """(B, P) int32, the prompts' tokens; (B,) int32 each, how many there are, and how many
        there was no room for.
        """
        ids, lost = self._fitted(
            text, tf.fill(tf.shape(text, tf.int64), tf.constant(self.prompt_room(), tf.int64))
        )
        return ids.to_tensor(), tf.cast(ids.row_lengths(), tf.int32), lost

    def prompt_room(self) -> int:
        """Tokens that a prompt may have."""
        return self.positions - self.new_tokens

    def written(self, token_ids: tf.Tensor) -> tf.Tensor:
        """(B, M) int32 -> (B,) string, the texts of generated tokens up to their end or a stop
        text.
        """
        if self.tokenizer.eos_id is None:  # a text ends with its last token, or with a stop text
            rows = tf.RaggedTensor.from_tensor(token_ids)
        else:
            rows = tf.ragged.boolean_mask(
                token_ids,
                tf.cumsum(tf.cast(token_ids == self.tokenizer.eos_id, tf.int32), axis=1) == 0,
            )
        text = self.tokenizer.decode(rows)
        if self._opening:
            text = tf.strings.regex_replace(text, "^" + self._opening, "")
        for stop in self.settings.stop:
            text = tf.strings.regex_replace(text, "(?s)" + re.escape(stop) + ".*", "")
        return text

    def answers(
        self,
        results: Mapping[str, tf.Tensor],
        columns: Mapping[str, Any],
        texts: Sequence[tf.Tensor],
    ) -> dict[str, tf.Tensor]:
        """Of each text: `log_probability` (B,) float32, of its tokens but the first; `tokens` (B,)
        int32, how many those are; `perplexity` (B,).
        """
        if self.settings.target is not None:  # a row each
            return self.token_answers(results)
        loss, predicted = (
            tf.math.unsorted_segment_sum(results[name], columns["example"], tf.size(texts[0]))
            for name in ("loss", "predicted")
        )
        return _answers(loss, predicted)

    def token_answers(self, results: Mapping[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        """The same, to token ids and targets:
        1 + the id that follows, 0 where none is asked for.
        """
        return _answers(results["loss"], results["predicted"])

    def metric_names(self) -> tuple[str, ...]:
        """The names that `metrics` may give."""
        return (*super().metric_names(), "word_perplexity", "bits_per_byte", *self.judged)

    def metrics(self, results: Mapping[str, np.ndarray], store: Any) -> dict[str, float]:
        """Also the perplexity of a word, as white space parts them, in Chinese of a character, and
        the bits of a byte of text, which no tokenizer changes; of targets by those that are whole.
        """
        loss = results["loss"]
        if self.settings.target is None:
            sizes = store.extras["text_size"]
        else:
            last = np.asarray(store.tokens["token_ids"])[store.row_splits[1:] - 1]
            whole = (store.lengths < self.data.seq_len) | (last == self.tokenizer.eos_id)
            sizes = np.asarray(store.columns["text_size"])[whole].sum(0)
            loss = loss[whole]
        total = float(loss.sum(dtype=np.float64))
        words, size = map(int, sizes)
        metrics = super().metrics(results, store)
        if words:  # else there is nothing to be perplexed at
            metrics["word_perplexity"] = math.exp(min(total / words, 700))
        if size:
            metrics["bits_per_byte"] = total / math.log(2) / size
        return metrics

    def decode(
        self, outputs: Mapping[str, np.ndarray], row: int, example: Any = None
    ) -> dict[str, Any]:
        """One row of the answers as JSON for --mode=predict."""
        if "generated_text" in outputs:
            found = {
                "generated_text": outputs["generated_text"][row].decode(),
                "score": float(outputs["score"][row]),
            }
            lost = int(outputs["truncated_tokens"][row]) if "truncated_tokens" in outputs else 0
            return {**found, "truncated_tokens": lost} if lost else found
        return {
            "log_probability": float(outputs["log_probability"][row]),
            "tokens": int(outputs["tokens"][row]),
            "perplexity": float(outputs["perplexity"][row]),
        }

    def remark(self, found: Mapping[str, Any]) -> str:
        """Whether the prompt was cut."""
        if not found.get("truncated_tokens"):
            return ""
        return (
            f"more than {self.prompt_room():,} tokens, the backbone's {self.positions:,} positions"
            f" less head.max_new_tokens = {self.new_tokens:,}: what is over that was cut,"
            " truncated_tokens says how much"
        )

    def load_tensors(self, checkpoint: TaskHead) -> CarriedOver:
        """The output layer is the embeddings: a tied copy needs no reading.

        Raises WeightsError where it is no copy.
        """
        copy = checkpoint.tensors.get("lm_head.weight")
        if copy is None:
            return CarriedOver.whole([])
        if not np.array_equal(copy.astype(np.float32), self._embeddings.numpy()):
            raise WeightsError(
                "lm_head.weight is no copy of the word embeddings: tie_word_embeddings false is not"
                " supported. Take a checkpoint that ties them."
            )
        return CarriedOver.whole(["lm_head.weight"])

    def save_tensors(self) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        """Nothing but the backbone's, whose embeddings are tied, and in config.json the class and
        where texts end.
        """
        end = {} if self.tokenizer.eos_id is None else {"eos_token_id": self.tokenizer.eos_id}
        return {}, {
            "architectures": [self.family.class_for(self.family.causal_lm_class)],
            "tie_word_embeddings": True,
            "id2label": None,
            "label2id": None,
            "problem_type": None,
            **end,
        }


def prompt_of(tokens: Mapping[str, np.ndarray]) -> np.ndarray:
    """Of a row with prompt and target: up to the first token that predicts; all, where none does,
    as a target may be empty.
    """
    predicting = np.flatnonzero(tokens["target"] > 0)
    return tokens["token_ids"][: predicting[0] + 1] if len(predicting) else tokens["token_ids"]


def _strings(texts: Sequence[str]) -> tf.Tensor:
    return tf.constant([text.encode("utf-8", "replace") for text in texts])


def _following(rows: tf.RaggedTensor) -> tf.RaggedTensor:
    """At each place of a row the next one's value; 0 at its last."""
    values = tf.concat([rows.values[1:], [0]], 0)[: tf.size(rows.values)]
    ends = tf.boolean_mask(rows.row_splits[1:] - 1, rows.row_lengths() > 0)
    return rows.with_values(
        tf.tensor_scatter_nd_update(values, ends[:, None], tf.zeros_like(ends, tf.int32))
    )


def _last(rows: tf.RaggedTensor, count: tf.Tensor, empty: int) -> tf.RaggedTensor:
    """The last so many tokens of each row; one where there is none."""
    from trainer.text.assemble import join
    from trainer.text.tokenizer import Template

    limits = rows.row_splits[1:]
    places = tf.ragged.range(limits - count, limits, row_splits_dtype=tf.int64)
    return join(
        places.with_values(tf.gather(rows.values, places.values)), template=Template(empty=empty)
    )


def _answers(loss: tf.Tensor, predicted: tf.Tensor) -> dict[str, tf.Tensor]:
    return {
        "log_probability": -loss,
        "tokens": tf.cast(predicted, tf.int32),
        "perplexity": tf.exp(loss / tf.maximum(predicted, 1.0)),
    }


def _targets(ids: np.ndarray, document_ends: Ascending) -> Iterator[np.ndarray]:
    """Each token's target, a block at a time; (n,) int32 each.

    Args:
        document_ends: behind which tokens nothing is predicted.
    """
    start = 0
    for block in blocks(ids):
        stop = start + len(block)
        target = np.zeros(len(block), np.int32)
        target[:-1] = block[1:] + 1
        target[-1] = ids[stop] + 1 if stop < len(ids) else 0
        target[document_ends.below(stop + 1) - 1 - start] = 0
        yield target
        start = stop


make_head = Head
