"""The layer that finds where answers begin and end, and what comes of its scores."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from trainer.backbones.sites import FIRST_HEAD_SITE
from trainer.data.batch import Batch
from trainer.data.reader import Vocabulary
from trainer.heads.contract import Calibration, Graph, Results, Target, Tensors
from trainer.heads.question_answering.answers import ANSWER_FIELDS, AnswerRule, as_json
from trainer.heads.question_answering.exchange import load_output, saved_output
from trainer.heads.question_answering.settings import Settings
from trainer.heads.question_answering.spans import NEVER, best_spans
from trainer.heads.question_answering.threshold import find_threshold
from trainer.lazy import keras, tf
from trainer.sources import Example

if TYPE_CHECKING:
    from trainer.backbones.backbone import Backbone
    from trainer.backbones.family import Family
    from trainer.backbones.huggingface import TaskHead
    from trainer.data.store import TokenStore
    from trainer.heads._carried_over import CarriedOver

LOGITS_OF_A_SCORE = 20  # how far a sum of logits may differ, in tolerances of one result


@dataclasses.dataclass(frozen=True)
class QuestionGraph(Graph):
    """Two scores a token, for the beginning and the end, as …ForQuestionAnswering has them.

    Attributes:
        settings: of the head.
        vocabulary: whether train has questions without an answer.
        layers: the output layer alone.
        family: of the backbone.
        dropout: before the output layer.
        threshold: how much better no answer must be than the best.
    """

    settings: Settings
    vocabulary: Vocabulary
    layers: tuple[keras.layers.Dense]
    family: Family
    dropout: float
    threshold: float = 0.0

    @property
    def output(self) -> keras.layers.Dense:
        """The output layer, H to 2."""
        return self.layers[0]

    @property
    def rule(self) -> AnswerRule:
        """What is answered, given results."""
        return AnswerRule(
            n_best=self.settings.n_best,
            top_k=self.settings.top_k,
            threshold=self.threshold if self.vocabulary["unanswerable"] else None,
        )

    def logits(self, outputs: Tensors, batch: Batch, seed: tf.Tensor | None) -> tf.Tensor:
        """(E, L, 2) float32: for the beginning and the end, of each token of the example's row.

        NEVER at tokens of others.

        Args:
            outputs: of the backbone.
            batch: of one shard.
            seed: of the dropout mask; None: nothing is dropped.
        """
        from trainer.backbones.dropout import dropout

        hidden = dropout(outputs["sequence_output"], self.dropout, seed, FIRST_HEAD_SITE)
        hidden = tf.cast(hidden, tf.float32)
        of_rows = self.output(hidden)  # (R, L, 2)
        logits = tf.gather(of_rows, batch.examples.row)
        is_own = _is_own(batch)[:, :, None]
        return tf.where(is_own, logits, NEVER)

    def weights(self, batch: Batch) -> dict[str, tf.Tensor]:
        """The number of windows; those that cannot be learnt from weigh nothing."""
        return {"loss": tf.reduce_sum(_window_weights(batch))}

    def losses(self, logits: tf.Tensor, batch: Batch) -> dict[str, tf.Tensor]:
        """The sum over the windows of the mean of both losses."""
        weighted = _window_losses(logits, batch) * _window_weights(batch)
        return {"loss": tf.reduce_sum(weighted)}

    def results(self, logits: tf.Tensor, batch: Batch) -> dict[str, tf.Tensor]:
        """Of each window the N best spans.

        Args:
            logits: (E, L, 2) float32.
            batch: of one shard.
        Returns:
            `score` (E, N), NEVER where there are fewer; `first`, `last` (E, N) int32, tokens of the
            window; `none` (E,), the score of no answer; `loss` (E,) where labels are.
        """
        of_rows = tf.gather(batch.own["candidate"], batch.examples.row)
        score, first, last = best_spans(
            logits,
            tf.where(_is_own(batch), of_rows, 0),
            longest=self.settings.max_answer_tokens,
            count=self.settings.n_best,
        )
        window_start = batch.examples.start[:, None]
        at_first_token = tf.gather(logits, batch.examples.start, batch_dims=1)  # [CLS] in BERT
        results = {
            "score": score,
            "first": first - window_start,
            "last": last - window_start,
            "none": tf.reduce_sum(at_first_token, axis=1),
        }
        if batch.label is None:
            return results
        return {**results, "loss": _window_losses(logits, batch)}

    def answers(
        self, results: Tensors, columns: Tensors, inputs: Sequence[tf.Tensor]
    ) -> dict[str, tf.Tensor]:
        """The best spans over all windows of each text.

        Args:
            results: of the windows.
            columns: of the windows, as `Reader.encode` made them.
            inputs: questions and contexts, (B,) string each.
        Returns:
            `answer` (B,) string, `start`, `end` (B,) int32 in characters of the context, "" and -1
            where no answer is better; `score` (B,) float32, its share among the N best and no
            answer. With top_k K above 1 also `n_best_answer`, `n_best_start`, `n_best_end`,
            `n_best_score`, (B, K), of which the first are those; score is 0 where there are fewer.
        """
        _, contexts = inputs
        return self.rule.answers(results, columns, contexts)

    def targets(
        self, logits: tf.Tensor, batch: Batch, columns: Tensors, inputs: Sequence[tf.Tensor]
    ) -> list[Target]:
        """The scores of the answer's beginning and end, or of no answer; see `Explains`."""
        results = self.results(logits, batch)
        answers = self.answers(results, columns, inputs)
        weights = np.zeros(logits.shape[1:], np.float32)
        answer = answers["answer"][0].numpy().decode()
        if not answer:
            row = int(tf.argmin(results["none"]))
            weights[0] = 1
            return [Target("", row, -1, -1, 0, weights)]
        row = int(tf.argmax(results["score"][:, 0]))
        first, last = (int(results[name][row, 0]) for name in ("first", "last"))
        weights[first, 0] = weights[last, 1] = 1
        start, end = (int(answers[name][0]) for name in ("start", "end"))
        return [Target(answer, row, start, end, first, weights)]

    def token_answers(self, results: Tensors) -> dict[str, tf.Tensor]:
        """To token ids (B, S): the best span, and the score of no answer, `none`.

        Of the span its `first` and `last` token and its `score`.
        """
        best = {result: results[result][:, 0] for result in ("first", "last", "score")}
        return {**best, "none": results["none"]}

    def decode(
        self, answers: Results, row: int, example: Example | None = None
    ) -> dict[str, object]:
        """One row of the answers as JSON, for --mode=predict.

        Args:
            answers: to several questions.
            row: which of them.
            example: not needed.
        """
        best = [answers[field][row] for field in ANSWER_FIELDS]
        if self.settings.top_k == 1:
            return as_json(*best)
        n_best = [answers[f"n_best_{field}"][row] for field in ANSWER_FIELDS]
        given = []
        for answer, start, end, score in zip(*n_best, strict=True):
            if start >= 0 or score > 0:  # else there are fewer
                given.append(as_json(answer, start, end, score))
        return {**as_json(*best), "n_best": given}

    def ambiguous(
        self, answers: Results, results: Tensors, columns: Tensors, tolerance: float
    ) -> dict[str, np.ndarray]:
        """Answer -> (B,) bool: texts where two answers are so near that either may win.

        Args:
            answers: to B questions.
            results: of the windows.
            columns: of the windows.
            tolerance: to which results agree.
        """
        near = LOGITS_OF_A_SCORE * tolerance
        texts = len(answers["start"])
        is_near_tie = self.rule.is_near_tie(results, columns["example"], texts, near=near)
        return dict.fromkeys(answers, is_near_tie.numpy())

    def calibration(self, results: Results, store: TokenStore) -> Calibration:
        """The threshold by which f1 is highest, where a question may have no answer.

        Args:
            results: of validation.
            store: validation.
        """
        if not self.vocabulary["unanswerable"]:
            return {}
        return {"threshold": find_threshold(results, store, self.settings.language)}

    def calibrated(self, calibration: Calibration) -> QuestionGraph:
        """The same graph with that threshold."""
        threshold = calibration.get("threshold", self.threshold)
        return dataclasses.replace(self, threshold=threshold)

    def load_tensors(self, checkpoint: TaskHead) -> CarriedOver:
        """Takes over the checkpoint's own output layer."""
        return load_output(self.output, self.family, checkpoint)

    def save_tensors(self) -> tuple[dict[str, np.ndarray], dict[str, object]]:
        """The output layer under Hugging Face's names, and what config.json says of it."""
        return saved_output(self.output, self.family)


def make_graph(
    settings: Settings, backbone: Backbone, vocabulary: Vocabulary, seed: int
) -> QuestionGraph:
    """Makes the layer above the backbone.

    Args:
        settings: of the head.
        backbone: below.
        vocabulary: what train taught.
        seed: of the initial values.
    """
    config = backbone.config
    initial = keras.initializers.TruncatedNormal(
        stddev=config.initializer_range, seed=seed + FIRST_HEAD_SITE
    )
    output = keras.layers.Dense(2, kernel_initializer=initial, name="output", dtype="float32")
    output.build((None, config.hidden_size))
    return QuestionGraph(
        settings=settings,
        vocabulary=vocabulary,
        layers=(output,),
        family=config.family,
        dropout=config.qa_dropout if settings.dropout is None else settings.dropout,
    )


def _is_own(batch: Batch) -> tf.Tensor:
    """(E, L) bool: which tokens of its row are the example's."""
    rows = batch.rows
    examples = batch.examples
    if rows.sequence_ids is None:
        return tf.gather(rows.padding_mask, examples.row) > 0
    ids = tf.gather(rows.sequence_ids, examples.row)
    own_id = tf.gather(ids, examples.start[:, None], batch_dims=1)  # (E, 1)
    is_padding = ids == 0
    return (ids == own_id) & ~is_padding


def _window_weights(batch: Batch) -> tf.Tensor:
    """(E,) float32."""
    assert batch.label is not None  # which evaluation and training have
    is_learnt = batch.label[:, 0] >= 0
    return batch.examples.weight * tf.cast(is_learnt, tf.float32)


def _window_losses(logits: tf.Tensor, batch: Batch) -> tf.Tensor:
    """(E,) float32: the mean of the cross-entropies of the beginning and the end."""
    tokens = tf.maximum(batch.label, 0)  # (E, 2)
    places = tokens + batch.examples.start[:, None]
    log_shares = tf.nn.log_softmax(logits, axis=1)
    of_sides = tf.transpose(log_shares, (0, 2, 1))  # (E, 2, L)
    chosen = tf.gather(of_sides, places, batch_dims=2)
    return -tf.reduce_mean(chosen, axis=1)
