"""How good the answers are: SQuAD's official figures."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

import numpy as np

from trainer.data.store import TokenStore
from trainer.heads.contract import Metric, Record, Results, Scorer
from trainer.heads.question_answering import official
from trainer.heads.question_answering.answers import ANSWER_FIELDS, AnswerRule, as_json
from trainer.heads.question_answering.evaluated import have_unanswerable, read_blocks
from trainer.lazy import tf

METRICS = (
    Metric("f1"),
    Metric("loss", lower_is_better=True),
    Metric("exact_match"),
    Metric("HasAns_exact_match"),
    Metric("HasAns_f1"),
    Metric("NoAns_exact_match"),
    Metric("NoAns_f1"),
)


@dataclasses.dataclass(frozen=True)
class QuestionScorer(Scorer):
    """Judges the answers of a rule, every question once.

    Attributes:
        rule: of the graph.
        language: of the metrics.
    """

    rule: AnswerRule
    language: official.Language

    def metrics(self, results: Results, store: TokenStore) -> dict[str, float]:
        """Figures in per cent; of v2.0 where questions have no answer.

        Args:
            results: of all windows, in the store's order.
            store: the split.
        """
        with tf.device("CPU:0"):  # where the string operations are
            judged = list(self._judge(results, store))
        has_answer = np.array([has for has, _ in judged])
        scores = np.array([figures for _, figures in judged])  # (questions, 2)
        metrics = {"loss": _mean_loss(results, store), **_per_cent(scores)}
        if not has_answer.all():
            if has_answer.any():
                metrics |= _per_cent(scores[has_answer], "HasAns_")
            metrics |= _per_cent(scores[~has_answer], "NoAns_")
        return metrics

    def records(self, results: Results, store: TokenStore) -> Iterator[Record]:
        """`gold`, texts; `answer`, its place and `score`; how right it is, and the loss.

        The loss is the mean over the windows that can be learnt from.
        """
        v2 = have_unanswerable(store)
        for block in read_blocks(results, store):
            with tf.device("CPU:0"):
                given = self.rule.answers(block.results, block.columns, block.contexts)
            answers = {name: given[name].numpy() for name in ANSWER_FIELDS}
            for row, (golds, loss) in enumerate(zip(block.golds, block.losses, strict=True)):
                answer = as_json(*(answers[name][row] for name in ANSWER_FIELDS))
                right = official.figures(str(answer["answer"]), golds, self.language, v2=v2)
                yield {"gold": golds, **answer, **right._asdict(), "loss": loss}

    def _judge(
        self, results: Results, store: TokenStore
    ) -> Iterator[tuple[bool, official.Figures]]:
        """Of each question whether it has an answer, and how right the given one is."""
        v2 = have_unanswerable(store)
        for block in read_blocks(results, store):
            given = self.rule.answers(block.results, block.columns, block.contexts)
            answers = given["answer"].numpy()
            for answer, golds in zip(answers, block.golds, strict=True):
                figures = official.figures(answer.decode(), golds, self.language, v2=v2)
                yield bool(golds), figures


def _mean_loss(results: Results, store: TokenStore) -> float:
    """Over the windows that can be learnt from."""
    first, _ = np.asarray(store.columns["label"]).T
    is_learnt = first >= 0
    if not is_learnt.any():
        return 0.0
    losses = results["loss"][is_learnt]
    return float(losses.mean(dtype=np.float64))


def _per_cent(scores: np.ndarray, prefix: str = "") -> dict[str, float]:
    """The means of (questions, 2) figures by their names."""
    exact_match, f1 = scores.T
    return {
        f"{prefix}exact_match": 100 * float(exact_match.mean()),
        f"{prefix}f1": 100 * float(f1.mean()),
    }
