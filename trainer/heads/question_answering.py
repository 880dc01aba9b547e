"""Extractive question answering: the answer is a span of the context, or none."""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np
from pydantic import Field

from trainer.backbones.sites import FIRST_HEAD_SITE
from trainer.data.batch import Batch
from trainer.data.reader import Aligned, Column, RowKind
from trainer.errors import ConfigError, DataError
from trainer.files.mapped import release
from trainer.heads._carried_over import CarriedOver, LabelRows, carry_over
from trainer.heads._plain import Plain
from trainer.heads._spans import EAST_ASIAN, UNSPACED
from trainer.lazy import keras, tf
from trainer.settings.schema import DataSettings, HeadSettings
from trainer.sources import Example, require_field, require_text

if TYPE_CHECKING:
    from trainer.backbones.huggingface import TaskHead
    from trainer.data.store import StoreWriter

NEVER = -1e9  # the score of what is no candidate
NEAR = 100  # characters within which a misplaced answer is looked for
RECORDS = 1 << 12  # read before their memory is let go
SHOWN_BEFORE = 40  # characters of the context before an answer, where an example is shown
# bits of `candidate`: an answer may begin and end at the token; its middle may be there
EDGE, MIDDLE = 1, 2
OF_UNSPACED = re.compile(
    f"[{''.join(f'{chr(first)}-{chr(stop - 1)}' for first, stop in UNSPACED)}]"
)


class Settings(HeadSettings):
    """Answers that are spans of a context."""

    name: Literal["question_answering"] = "question_answering"
    max_question_tokens: int = Field(
        64, ge=1, description="longer questions are cut; the ledger counts them"
    )
    max_answer_tokens: int = Field(30, ge=1, description="longer spans are no answers")
    n_best: int = Field(
        20, ge=1, description="candidates of each text, over which the score is a share"
    )
    top_k: int = Field(
        1,
        ge=1,
        description="answers to give to a question, best first; more than one: n_best lists them",
    )
    language: Literal["en", "zh"] = Field(
        "en", description="of the metrics: words without articles, or Chinese characters"
    )


class Gold(NamedTuple):
    """The gold answers of a question.

    Attributes:
        start, end: the characters of the context that the first one has that stands in it; -1 where
            none does.
    """

    texts: tuple[str, ...]
    start: int
    end: int
    state: str  # found, moved, lost or none


class Window(NamedTuple):
    """Of the tokens of a window, (S,) int32 each, what `encode` says."""

    start: np.ndarray
    end: np.ndarray
    candidate: np.ndarray


class Found(NamedTuple):
    """What of an answer is found in the windows of its text.

    Attributes:
        label: of each window, see `Head.align`.
        length: of the answer, in tokens.
        reached: whether a window can give it.
    """

    label: list[tuple[int, int]]
    length: int
    reached: bool


class Head(Plain):
    """See trainer/heads/contract.py for what each method is for."""

    Settings = Settings
    rows = RowKind.WINDOWS
    overflows = ("window", "error")
    keeps_texts = True
    grouping = slice(1, None)  # the questions of a context stay together
    text_names = ("question", "context")

    def __init__(self, settings: Settings, data: DataSettings, tokenizer: Any) -> None:
        self.settings = settings
        self.data = data
        self.tokenizer = tokenizer
        self.fields = list(data.text)
        if isinstance(data.text, str) or len(data.text) != 2:
            raise ConfigError(
                "data.text: head question_answering takes two fields, [question, context]."
                f" Received {data.text!r}."
            )
        self.overflow_of(data, ", so that no answer goes unseen")
        self.special = tokenizer.template.size(pair=True)
        self.more_inputs = (*(("segment_ids",) if tokenizer.template.segments else ()), "candidate")
        self.columns = (
            *(Column(name) for name in self.more_inputs),
            Column("start", fed=False),
            Column("end", fed=False),
            Column("label", per_token=False, encoded=False),
        )
        room = data.seq_len - self.special - settings.max_question_tokens
        self.overlap = (
            max(room // 3, min(settings.max_answer_tokens, room // 2))
            if data.window_overlap is None
            else data.window_overlap
        )
        if not 0 <= self.overlap < room:
            raise ConfigError(
                f"data.seq_len: {data.seq_len} leaves {room} tokens beside a question of"
                f" head.max_question_tokens = {settings.max_question_tokens}, and neighbouring"
                f" windows share {self.overlap}. Raise data.seq_len, or lower one of the others."
            )
        if settings.top_k > settings.n_best:
            raise ConfigError(
                f"head.top_k: {settings.top_k} answers are chosen from the head.n_best ="
                f" {settings.n_best} best of each text. Raise head.n_best."
            )
        self.threshold = 0.0  # how much better no answer must be than the best

    def values(self, example: Example) -> tuple[str, ...]:
        """Question and context. Raises DataError where one is missing or no text."""
        return tuple(require_text(example, field) for field in self.data.text)

    def label(self, example: Example) -> Gold:
        """The gold answers, looked up in the context.

        Raises DataError where they are no answers.
        """
        answers = _read_answers(example, self.data.label)
        impossible = example.features.get("is_impossible")
        if impossible is not None and not isinstance(impossible, bool):
            raise DataError(
                f"{example.origin}: field 'is_impossible': expected true or false. Received"
                f" {impossible!r:.60}. Correct it, or leave it out."
            )
        if not answers or impossible:  # SQuAD v2.0 lists plausible ones
            return Gold((), -1, -1, "none")
        context = example.features[self.data.text[1]]
        located = [(*_locate(context, text, start), len(text)) for text, start in answers]
        # of equals the first
        found, state, length = min(
            located, key=lambda place: ("found", "moved", "lost").index(place[1])
        )
        return Gold(
            tuple(text for text, _ in answers), found, found + length if found >= 0 else -1, state
        )

    def shown(self, example: Example, texts: Sequence[str], label: Gold) -> list[tuple[str, str]]:
        """Question, context from shortly before the answer on, and the answer that is learnt."""
        question, context = texts
        begin = max(0, label.start - SHOWN_BEFORE)
        around = ("…" if begin else "") + context[begin:]
        answer = context[label.start : label.end] if label.start >= 0 else ""
        return [*zip(self.data.text, (question, around), strict=True), ("answer", answer)]

    def preparation_settings(self) -> dict[str, Any]:
        """What of the settings changes the stored examples."""
        # the last for the ledger
        return self.settings.model_dump(
            include={"name", "max_question_tokens", "max_answer_tokens"}
        )

    def learn(
        self, labels: Sequence[Gold], names: list[str] | None, origin: Callable[[int], str]
    ) -> dict[str, Any]:
        """Whether train has questions without an answer.

        Raises:
            DataError: no question of train has one that is in its context.
        """
        if not any(gold.state in ("found", "moved") for gold in labels):
            raise DataError(
                f"data.train: none of the {len(labels):,} questions has an answer that stands in"
                f" its context (first: {origin(0)}). Is --data.label={self.data.label} the right"
                " field?"
            )
        return {"labels": [], "unanswerable": any(gold.state == "none" for gold in labels)}

    def align(self, split: Any, vocabulary: Mapping[str, Any], ledger: Any) -> Aligned:
        """Finds the tokens of each answer.

        Returns:
            columns: `label` (windows, 2) int32, the answer's first and last token in the window; 0
                where it is not whole in
            it; -1 where the question cannot be learnt from.
            no token columns.
            extras: `longest_answer` (2,), how many answers have more than max_answer_tokens, and
                the tokens of the longest one; of each
            text but train's a `record` for the metrics.
        """
        writer = split.writer
        label = writer.scratch(np.int32, (2,))
        long = 0
        longest = 0
        golds = enumerate(split.labels)
        for windows in _windows_of_texts(writer):
            text, gold = next(golds)
            found = self._find(gold, windows)
            for row in found.label:
                label.append(row)
            is_long = found.length > self.settings.max_answer_tokens
            for kind in self._losses_of_data(gold, vocabulary, reached=found.reached, long=is_long):
                ledger.add(split.name, kind, split.origin(text))
            long = long + is_long
            longest = max(longest, found.length)
        extras = {
            "longest_answer": np.array([long, longest], np.int32),
            **(_records(split) if split.name != "train" else {}),
        }
        return Aligned({"label": label.mapped()}, {}, extras)

    def _find(self, gold: Gold, windows: Sequence[Window]) -> Found:
        """The tokens of an answer in each window of its text."""
        label = [(-1, -1) if gold.state == "lost" else (0, 0)] * len(windows)
        length, reached = 0, False
        for number, window in enumerate(windows if gold.start >= 0 else ()):
            inside = np.flatnonzero(window.candidate & EDGE)
            starts = window.start[inside]
            ends = window.end[inside]
            touched = inside[(ends > gold.start) & (starts < gold.end)]
            # each token is owned by one window
            length += int(np.count_nonzero(window.candidate[touched] & MIDDLE))
            if not len(touched):
                continue
            first, last = touched[[0, -1]].tolist()
            # Whole in this window: nothing of the answer lies before its first token or behind its
            # last.
            if (number == 0 or starts[0] <= gold.start) and (
                number + 1 == len(windows) or ends[-1] >= gold.end
            ):
                label[number] = first, last
                reached |= (
                    bool(window.candidate[(first + last) // 2] & MIDDLE)
                    and last - first < self.settings.max_answer_tokens
                )
        return Found(label, length, reached)

    def _losses_of_data(
        self, gold: Gold, vocabulary: Mapping[str, Any], *, reached: bool, long: bool
    ) -> Iterator[str]:
        """The ledger's kinds of an answer that cannot be learnt or given: `reached`, whether a
        window can give it; `long`, whether none may.
        """
        kinds = {"moved": "answers_moved", "lost": "answers_not_found"}
        if not vocabulary["unanswerable"]:
            kinds["none"] = "answers_unforeseen"
        if gold.state in kinds:
            yield kinds[gold.state]
        if long:
            yield "long_answers"
        elif gold.start >= 0 and not reached:
            yield "unreachable_answers"

    def warnings(self, vocabulary: Mapping[str, Any], splits: Mapping[str, Any]) -> list[str]:
        """Where gold answers are longer than one that may be given: so are many in Chinese, where a
        character is a token.
        """
        lines = []
        for name, store in splits.items():
            count, longest = store.extras["longest_answer"].tolist()
            if count:
                lines.append(
                    f"data.{name}: {count:,} of {store.meta['examples']:,} gold answers have more"
                    f" than head.max_answer_tokens = {self.settings.max_answer_tokens} tokens (the"
                    f" longest {longest:,}): none of them is ever given. Raise"
                    f" --head.max_answer_tokens{self._advice(longest)}"
                )
        return lines

    def _advice(self, longest: int) -> str:
        """How far, and what is raised with it: neighbouring windows share as many tokens as an
        answer may have.
        """
        needed = 2 * longest + self.settings.max_question_tokens + self.special
        more = (
            f", and --data.seq_len to {needed:,}, so that windows share as many"
            if needed > self.data.seq_len
            else ""
        )
        return f", to {longest:,} for all{more}"

    def encode(
        self, question: tf.Tensor, context: tf.Tensor
    ) -> tuple[dict[str, Any], dict[str, tf.Tensor]]:
        """Token columns and counts; the very function that serves.

        Args:
            question, context: (B,) string.
        Returns:
            token_ids, segment_ids; `candidate`, the sum of EDGE where an answer may begin and end,
            which is where a character of the context stands, and MIDDLE where its middle may be, as
            this window has most around it; `start`, `end`, the
            characters of the context that the token has: each ragged (U, None) int32, -1 outside
                the context. `example` (U,) int32,
            the text of each window. Counts, (B,) int32 each.
        """
        from trainer.text.assemble import join
        from trainer.text.windows import make_windows

        asked = self.tokenizer.tokenize(question)
        cut = tf.maximum(asked.row_lengths() - self.settings.max_question_tokens, 0)
        asked = asked[:, : self.settings.max_question_tokens]
        tokens = self.tokenizer.tokenize_with_offsets(context)
        ids, template = tokens.ids, self.tokenizer.template
        room = self.data.seq_len - self.special - asked.row_lengths()
        windows = make_windows(
            ids.row_lengths(), room, tf.fill(tf.shape(room), tf.constant(self.overlap, tf.int64))
        )
        before = tf.gather(asked, windows.text)
        nowhere = -tf.ones_like(before)
        edge = windows.take(
            ids.with_values(EDGE * tf.cast(tokens.ends.values > tokens.starts.values, tf.int32))
        )
        columns = {
            "token_ids": join(before, windows.take(ids), template=template),
            "candidate": join(
                tf.zeros_like(before), edge + MIDDLE * windows.owned(), template=template.filled(0)
            ),
            "start": join(nowhere, windows.take(tokens.starts), template=template.filled(-1)),
            "end": join(nowhere, windows.take(tokens.ends), template=template.filled(-1)),
        }
        if template.segments:
            columns["segment_ids"] = join(
                tf.zeros_like(before),
                tf.ones_like(windows.take(ids)),
                template=template.filled(0, last=1),
            )
        count = tf.size(room)
        extra = (
            tf.math.bincount(tf.cast(windows.text, tf.int32), minlength=count, maxlength=count) - 1
        )
        unknown = tf.add_n(
            [
                tf.reduce_sum(tf.cast(row == self.tokenizer.unk_id, tf.int32), axis=1)
                for row in (asked, ids)
            ]
        )
        counts = {
            "unknown_tokens": unknown,
            "extra_windows": extra,
            "cut_questions": tf.cast(cut > 0, tf.int32),
        }
        return {**columns, "example": tf.cast(windows.text, tf.int32)}, counts

    def build(self, backbone: Any, vocabulary: Mapping[str, Any], seed: int) -> Head:
        """The layer above the backbone, as Hugging Face's …ForQuestionAnswering has it."""
        config = backbone.config
        self.vocabulary = vocabulary
        self.backbone = backbone
        self.family = config.family
        self.dropout = config.qa_dropout if self.settings.dropout is None else self.settings.dropout
        initial = keras.initializers.TruncatedNormal(
            stddev=config.initializer_range, seed=seed + FIRST_HEAD_SITE
        )
        self.output = keras.layers.Dense(
            2, kernel_initializer=initial, name="output", dtype="float32"
        )
        self.output.build((None, config.hidden_size))
        self.layers = [self.output]
        return self

    def logits(
        self, outputs: Mapping[str, tf.Tensor], batch: Batch, seed: tf.Tensor | None
    ) -> tf.Tensor:
        """(E, L, 2) float32: for the beginning and the end, of each token of the example's row;
        NEVER at tokens of others.
        """
        from trainer.backbones.layers import dropout

        hidden = outputs["sequence_output"]
        if seed is not None and self.dropout:
            hidden = dropout(hidden, self.dropout, seed, FIRST_HEAD_SITE)
        logits = tf.gather(self.output(tf.cast(hidden, tf.float32)), batch.examples.row)
        return tf.where(_own(batch)[:, :, None], logits, NEVER)

    def weights(self, batch: Batch) -> dict[str, tf.Tensor]:
        """How many windows there are; those that cannot be learnt from weigh nothing."""
        return {"loss": tf.reduce_sum(self._weight(batch))}

    def _weight(self, batch: Batch) -> tf.Tensor:
        return batch.examples.weight * tf.cast(batch.label[:, 0] >= 0, tf.float32)

    def losses(self, logits: tf.Tensor, batch: Batch) -> dict[str, tf.Tensor]:
        """Sum over the windows of the mean of both losses."""
        return {"loss": tf.reduce_sum(self._losses(logits, batch) * self._weight(batch))}

    def _losses(self, logits: tf.Tensor, batch: Batch) -> tf.Tensor:
        place = tf.maximum(batch.label, 0) + batch.examples.start[:, None]  # (E, 2)
        chosen = tf.gather(
            tf.transpose(tf.nn.log_softmax(logits, axis=1), (0, 2, 1)), place, batch_dims=2
        )
        return -tf.reduce_mean(chosen, axis=1)

    def results(self, logits: tf.Tensor, batch: Batch) -> dict[str, tf.Tensor]:
        """Of each window the N best spans: `score` (E, N), NEVER where there are fewer; `first`,
        `last` (E, N) int32, tokens of the window; `none` (E,), the score of no answer; `loss` (E,)
        where labels are.
        """
        # (E, L)
        candidate = tf.where(_own(batch), tf.gather(batch.own["candidate"], batch.examples.row), 0)
        edge = candidate % 2 == EDGE
        middle = candidate >= MIDDLE
        begin, end = (tf.where(edge, logits[:, :, side], NEVER) for side in (0, 1))
        length = logits.shape[1] or tf.shape(logits)[1]
        most = self.settings.max_answer_tokens
        end, middle = (
            tf.pad(values, [[0, 0], [0, most]], constant_values=NEVER)
            for values in (end, tf.where(middle, 0.0, NEVER))
        )
        sums = tf.stack(
            [
                begin
                + end[:, further : further + length]
                + middle[:, further // 2 : further // 2 + length]
                for further in range(most)
            ],
            axis=2,
        )  # (E, L, A)
        count = self.settings.n_best
        flat = tf.pad(
            tf.reshape(sums, (logits.shape[0] or tf.shape(logits)[0], length * most)),
            [[0, 0], [0, count]],
            constant_values=2 * NEVER,
        )
        score, place = tf.math.top_k(flat, count)
        first = tf.minimum(place // most, length - 1) - batch.examples.start[:, None]
        cls = tf.gather(logits, batch.examples.start, batch_dims=1)
        found = {
            "score": tf.maximum(score, NEVER),
            "first": first,
            "last": first + place % most,
            "none": tf.reduce_sum(cls, axis=1),
        }
        return {**found, "loss": self._losses(logits, batch)} if batch.label is not None else found

    def answers(
        self,
        results: Mapping[str, tf.Tensor],
        columns: Mapping[str, Any],
        texts: Sequence[tf.Tensor],
    ) -> dict[str, tf.Tensor]:
        """The best spans over all windows of each text: answer (B,) string, start, end (B,) int32
        in characters of the context, "" and -1 where no answer is better; score (B,) float32, its
        share among the N best and no answer. With top_k K above 1 also n_best_answer, n_best_start,
        n_best_end, n_best_score, (B, K), of which the first are those; score is 0 where there are
        fewer.
        """
        batch = tf.size(texts[0])
        count = self.settings.n_best
        example = columns["example"]
        firsts = tf.gather(columns["start"].row_splits, tf.range(tf.size(example)))[:, None]
        valid = results["score"] > NEVER / 2
        start, end = (
            tf.where(
                valid,
                tf.gather(
                    columns[name].values,
                    tf.where(valid, firsts + tf.cast(results[place], tf.int64), 0),
                ),
                -1,
            )
            for name, place in (("start", "first"), ("end", "last"))
        )

        def by_text(values: tf.Tensor, fill: Any) -> tf.Tensor:
            """(U, N) -> (B, all windows' x N), N more to fill up."""
            dense = tf.RaggedTensor.from_value_rowids(
                values, example, nrows=tf.cast(batch, example.dtype), validate=False
            ).to_tensor(fill)
            return tf.concat(
                [
                    tf.reshape(dense, (batch, tf.shape(dense)[1] * count)),
                    tf.fill((batch, count), fill),
                ],
                1,
            )

        score, order = tf.math.top_k(by_text(results["score"], NEVER), count)
        start, end = (
            tf.gather(by_text(values, -1), order, batch_dims=1) for values in (start, end)
        )
        share = tf.where(start < 0, 0.0, tf.nn.softmax(score))
        rank = score
        if self.vocabulary["unanswerable"]:
            none = tf.math.unsorted_segment_min(results["none"], example, batch)[:, None]
            start, end = (
                tf.concat([values, -tf.ones_like(values[:, :1])], 1) for values in (start, end)
            )
            share = tf.nn.softmax(tf.concat([score, none], 1))
            rank = tf.concat([score, none - self.threshold], 1)
        _, chosen = tf.math.top_k(rank, self.settings.top_k)
        start, end, share = (
            tf.gather(values, chosen, batch_dims=1) for values in (start, end, share)
        )
        contexts = tf.broadcast_to(
            tf.strings.unicode_transcode(texts[1], "UTF-8", "UTF-8")[:, None], tf.shape(start)
        )
        text = tf.strings.substr(
            contexts,
            tf.maximum(start, 0),
            tf.maximum(end, 0) - tf.maximum(start, 0),
            unit="UTF8_CHAR",
        )
        found = {"answer": text, "start": start, "end": end, "score": share}
        best = {name: values[:, 0] for name, values in found.items()}
        return (
            best
            if self.settings.top_k == 1
            else {**best, **{f"n_best_{name}": values for name, values in found.items()}}
        )

    def token_answers(self, results: Mapping[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        """To token ids (B, S): the best span's `first` and `last` token and its `score`, and the
        score of no answer, `none`.
        """
        return {
            **{name: results[name][:, 0] for name in ("first", "last", "score")},
            "none": results["none"],
        }

    main_metric = "f1"

    def metric_names(self) -> tuple[str, ...]:
        """The names that `metrics` may give."""
        more = [f"{kind}_{name}" for kind in ("HasAns", "NoAns") for name in ("exact_match", "f1")]
        return ("loss", "exact_match", "f1", *more)

    def metrics(self, results: Mapping[str, np.ndarray], store: Any) -> dict[str, float]:
        """SQuAD's official figures, in per cent, every question once; of v2.0 where questions have
        no answer.
        """
        rows = self._judged(results, store)
        label = np.asarray(store.columns["label"])[:, 0] >= 0
        values = {
            "loss": float(results["loss"][label].mean(dtype=np.float64)) if label.any() else 0.0
        }
        answered = (
            rows["none"] - rows["score"] <= self.threshold
            if self.vocabulary["unanswerable"]
            else np.ones(len(rows), bool)
        )
        found = {
            name: np.where(answered, rows[name], rows[f"{name}_of_none"])
            for name in ("exact_match", "f1")
        }
        values |= {name: 100 * float(scores.mean()) for name, scores in found.items()}
        if (~rows["has"]).any():
            for kind, chosen in (("HasAns", rows["has"]), ("NoAns", ~rows["has"])):
                values |= {
                    f"{kind}_{name}": 100 * float(scores[chosen].mean())
                    for name, scores in found.items()
                    if chosen.any()
                }
        return values

    def calibrated(self, calibration: Mapping[str, float]) -> Head:
        """Takes over what an earlier `calibration` chose."""
        self.threshold = calibration.get("threshold", self.threshold)
        return self

    def calibration(self, results: Mapping[str, np.ndarray], store: Any) -> dict[str, float]:
        """Chooses by validation how much better no answer must be than the best one, so that f1 is
        highest.

        Source: find_best_thresh of SQuAD 2.0's evaluation script.
        """
        if not self.vocabulary["unanswerable"]:
            return {}
        from trainer.heads._answers import best_threshold

        rows = self._judged(results, store)
        threshold = best_threshold(
            (rows["none"] - rows["score"]).astype(np.float64), rows["f1"], rows["f1_of_none"]
        )
        return {"threshold": threshold}

    def _judged(self, results: Mapping[str, np.ndarray], store: Any) -> np.ndarray:
        """A row a question: the scores of its best span and of no answer, how right each is, and
        whether it has an answer.
        """
        from trainer.heads._answers import best

        example = np.asarray(store.columns["example"])
        splits = np.searchsorted(example, np.arange(int(example[-1]) + 2))
        v2 = not all(record["answers"] for record in _read_records(store))
        kinds = [
            (name, np.float64)
            for name in ("score", "none", "exact_match", "f1", "exact_match_of_none", "f1_of_none")
        ]
        rows = np.zeros(len(splits) - 1, [*kinds, ("has", bool)])
        for text, record in enumerate(_read_records(store)):
            windows = slice(splits[text], splits[text + 1])
            row = int(splits[text] + results["score"][windows, 0].argmax())
            answer = ""
            score = float(results["score"][row, 0])
            if score > NEVER / 2:
                token = store.row_splits[row]
                answer = record["context"][
                    store.tokens["start"][token + results["first"][row, 0]] : store.tokens["end"][
                        token + results["last"][row, 0]
                    ]
                ]
            judged = best(answer, record["answers"], self.settings.language, v2=v2)
            of_none = best("", record["answers"], self.settings.language, v2=v2)
            rows[text] = (
                score,
                results["none"][windows].min(),
                *judged,
                *of_none,
                bool(record["answers"]),
            )
        return rows

    def decode(
        self, outputs: Mapping[str, np.ndarray], row: int, example: Example | None = None
    ) -> dict[str, Any]:
        """One row of the answers as JSON for --mode=predict; `example` is what was asked."""
        found = {
            "answer": outputs["answer"][row].decode(),
            "start": int(outputs["start"][row]),
            "end": int(outputs["end"][row]),
            "score": float(outputs["score"][row]),
        }
        if self.settings.top_k == 1:
            return found
        columns = (outputs[f"n_best_{name}"][row].tolist() for name in found)
        return {
            **found,
            "n_best": [
                {"answer": answer.decode(), "start": start, "end": end, "score": score}
                for answer, start, end, score in zip(*columns, strict=True)
                if start >= 0 or score > 0
            ],
        }

    def ambiguous(
        self,
        answers: Mapping[str, np.ndarray],
        results: Mapping[str, Any],
        columns: Mapping[str, Any],
        tolerance: float,
    ) -> dict[str, np.ndarray]:
        """Answer -> (B,) bool: texts where two of the spans to give, or one and the next or no
        answer, are so near each other that either may win.
        """
        # of sums of logits, which are some units large
        example = columns["example"].numpy()
        near = 20 * tolerance
        rows = np.zeros(len(answers["start"]), bool)
        for text in range(len(rows)):
            scores = results["score"].numpy()[example == text].reshape(-1)
            if self.vocabulary["unanswerable"]:
                scores = np.append(
                    scores, results["none"].numpy()[example == text].min() - self.threshold
                )
            best = np.sort(scores[scores > NEVER / 2])[::-1][: self.settings.top_k + 1]
            rows[text] = (best[:-1] - best[1:] <= near).any()
        return dict.fromkeys(answers, rows)

    def load_tensors(self, checkpoint: TaskHead) -> CarriedOver:
        """Takes over the checkpoint's own output layer,
        whose two rows are the start and the end.
        """
        name = self.family.span_classifier
        output = {f"{name}.weight": self.output.kernel, f"{name}.bias": self.output.bias}
        return carry_over(checkpoint, "ForQuestionAnswering", {}, output, _sides)

    def save_tensors(self) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        """The output layer under Hugging Face's names, and what config.json says of it."""
        name = self.family.span_classifier
        tensors = {
            f"{name}.weight": np.ascontiguousarray(self.output.kernel.numpy().T),
            f"{name}.bias": self.output.bias.numpy(),
        }
        # Hugging Face takes the layer's width from the number of labels
        sides = {"LABEL_0": 0, "LABEL_1": 1}
        return tensors, {
            "architectures": [self.family.class_for("ForQuestionAnswering")],
            "id2label": {str(side): name for name, side in sides.items()},
            "label2id": sides,
            "problem_type": None,
        }


def _sides(rows: int) -> LabelRows:
    return (
        LabelRows([0, 1])
        if rows == 2
        else LabelRows(
            None, f"the checkpoint's qa_outputs has {rows:,} rows, not those of start and end"
        )
    )


def _own(batch: Batch) -> tf.Tensor:
    """(E, L) bool: which tokens of its row are the example's."""
    if batch.rows.sequence_ids is None:
        return tf.gather(batch.rows.padding_mask, batch.examples.row) > 0
    ids = tf.gather(batch.rows.sequence_ids, batch.examples.row)
    return (ids == tf.gather(ids, batch.examples.start, batch_dims=1)[:, None]) & (ids > 0)


def _windows_of_texts(writer: StoreWriter) -> Iterator[list[Window]]:
    """The windows of each text."""
    mapped = [writer.token_column(name) for name in Window._fields]
    columns = [np.asarray(values) for values in mapped]
    for splits, example in writer.whole_texts():
        begun = np.flatnonzero(np.diff(example, prepend=-1))  # windows that are their text's first
        for first, stop in itertools.pairwise([*begun.tolist(), len(example)]):
            yield [
                Window(*(values[start:end] for values in columns))
                for start, end in itertools.pairwise(splits[first : stop + 1].tolist())
            ]
        for values in mapped:
            release(values)


def _read_answers(example: Example, field: str) -> list[tuple[str, int | None]]:
    """(text, answer_start) of each answer: a list of objects as SQuAD has it, or one object of
    lists as some data sets have it.

    A place is None where it is not known. An answer without text and place says that there is none.
    """
    features = example.features
    where = f"{example.origin}: field {field!r}"
    if f"{field}.text" in features:
        texts = features[f"{field}.text"]
        starts = features.get(f"{field}.answer_start")
        if not isinstance(texts, list) or not isinstance(starts, list) or len(texts) != len(starts):
            raise DataError(
                f"{where}: expected as many texts as answer_starts. Received {texts!r:.60} and"
                f" {starts!r:.60}."
            )
        answers: list[Any] = [
            {"text": text, "answer_start": start} for text, start in zip(texts, starts, strict=True)
        ]
    else:
        answers = require_field(example, field, "data.label")
    if answers is None:
        raise DataError(
            f"{where} is null. Expected a list of answers, or [] for a question that has none."
        )
    if not isinstance(answers, list):
        raise DataError(
            f'{where}: expected a list of {{"text", "answer_start"}}. Received {answers!r:.80}.'
        )
    result = []
    for answer in answers:
        text, start = (
            (answer.get("text"), answer.get("answer_start"))
            if isinstance(answer, dict)
            else (None, None)
        )
        if not isinstance(text, str):
            raise DataError(
                f'{where}: expected answers {{"text", "answer_start"}}. Received {answer!r:.80}.'
                " Give each the text that it has in the context."
            )
        if isinstance(start, float) and start.is_integer():
            start = int(start)
        if start is not None and type(start) is not int:
            raise DataError(
                f"{where}: expected answer_start to be a whole number, of the context's characters"
                f" before the answer, or null where it is not known. Received {start!r}."
            )
        if text or (start is not None and start >= 0):
            result.append((text, start))
    return result


def _locate(context: str, text: str, start: int | None) -> tuple[int, str]:
    """Where an answer stands: where it says, or at the one place near by (of all, where it does not
    say) that has its text as words of its own.
    """
    if not text:
        return -1, "lost"
    if start is not None and start >= 0 and context[start : start + len(text)] == text:
        return start, "found"
    low, high = (
        (0, len(context))
        if start is None
        else (max(0, start - NEAR), max(start, 0) + NEAR + len(text))
    )
    places = [
        match.start() for match in re.compile(f"(?={re.escape(text)})").finditer(context, low, high)
    ]
    places = [
        place
        for place in places
        if not _inside_word(context, place) and not _inside_word(context, place + len(text))
    ]
    return (places[0], "moved") if len(places) == 1 else (-1, "lost")


def _inside_word(context: str, place: int) -> bool:
    """Whether letters or digits of a script that parts words by spaces stand on both sides of a
    place.
    """
    around = context[max(place - 1, 0) : place + 1]
    return (
        0 < place < len(context)
        and all(char.isalnum() and ord(char) < EAST_ASIAN for char in around)
        and not OF_UNSPACED.search(around)
    )


def _records(split: Any) -> dict[str, np.ndarray]:
    """What the metrics need of each text: its context and gold answers, as JSON."""
    records = split.writer.records()
    for context, gold in zip(split.kept, split.labels, strict=True):
        record = {"context": context.decode("utf-8", "surrogatepass"), "answers": gold.texts}
        records.append(json.dumps(record, ensure_ascii=False).encode("utf-8", "surrogatepass"))
    return {"record": records.content.mapped(), "record_splits": records.splits.mapped()}


def _read_records(store: Any) -> Iterator[dict[str, Any]]:
    """One by one: a context stands in the record of each of its questions, and all of them need not
    fit in memory.
    """
    content = store.extras["record"]
    splits = store.extras["record_splits"]
    for first in range(0, len(splits) - 1, RECORDS):
        for start, end in itertools.pairwise(splits[first : first + RECORDS + 1].tolist()):
            yield json.loads(content[start:end].tobytes().decode("utf-8", "surrogatepass"))
        release(content)


make_head = Head
