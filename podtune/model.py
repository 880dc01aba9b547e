"""`podtune.load`: a trained model to ask, to look into, and to go on with in Keras."""

from __future__ import annotations

import functools
import os
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np

from trainer.errors import ConfigError, DataError, shown_labels, shown_value
from trainer.files import mirror
from trainer.files.storage import config_file
from trainer.machine.start import start_tensorflow
from trainer.settings.resolve import resolve
from trainer.sources import Example, Origin

if TYPE_CHECKING:
    import keras
    import tensorflow as tf

    from trainer.run.kept_model import KeptModel
    from trainer.serve.answerers import Answerer
    from trainer.serve.questions import Question

SHOWN_LABELS = 6
Pooling = Literal["mean", "cls"]
Asked = str | Mapping[str, object]


class Reading(NamedTuple):
    """What a backbone makes of texts.

    Attributes:
        tokens: of each text, special ones included.
        token_ids: (B, S) int32, filled up.
        padding_mask: (B, S) int32, 1 at tokens.
        hidden_states: the embeddings and each layer's output, (B, S, H) float32.
        attentions: each layer's probabilities, (B, N, S, S) float32.
    """

    tokens: list[list[str]]
    token_ids: np.ndarray
    padding_mask: np.ndarray
    hidden_states: list[np.ndarray]
    attentions: list[np.ndarray]


class Model:
    """A trained model.

    Attributes:
        job_dir: of the run that trained it.
    """

    def __init__(self, kept: KeptModel, job_dir: str) -> None:
        self.job_dir = job_dir
        self._kept = kept

    def __repr__(self) -> str:
        parts, model = self._kept.parts, self._kept.model
        labels = model.graph.vocabulary["labels"]
        of = f" of {shown_labels(labels, SHOWN_LABELS)}" if labels else ""
        return (
            f"Model({self.job_dir!r}: {parts.config.head.name}{of}; {parts.backbone.layers} layers,"
            f" {parts.backbone.hidden_size} wide, {model.parameters / 1e6:.1f} M weights)"
        )

    @functools.cached_property
    def keras_model(self) -> keras.Model:
        """The same weights as a keras.Model; what is trained of it is trained of this."""
        from podtune.keras_model import FineTuned

        parts = self._kept.parts
        tokenizer = parts.tokenizer
        return FineTuned(
            self._kept.model,
            pad_id=tokenizer.pad_id if tokenizer.has_pad else None,
            head=parts.config.head.name,
            columns=[
                column.name for column in parts.head.reader.columns if column.fed and column.encoded
            ],
            seed=parts.config.train.seed,
        )

    def predict(self, texts: Sequence[Asked]) -> list[dict[str, object]]:
        """The answers, by the graph that is served.

        Args:
            texts: strings where the head takes one text; else dicts of the fields.
        Returns:
            a dict each, as `podtune predict` writes it, without what was asked.
        Raises:
            DataError: something cannot be asked; names its place.
        """
        _refuse_one(texts)
        questions = [self._question(number, asked) for number, asked in enumerate(texts)]
        graph = self._kept.model.graph
        answers = self._answerer(questions) if questions else []
        return [
            graph.decode(answer.outputs, answer.row, question.example)
            for answer, question in zip(answers, questions, strict=True)
        ]

    @functools.cached_property
    def _answerer(self) -> Answerer:
        from trainer.serve.answerers import make_answerer

        parts = self._kept.parts
        batch_size = parts.config.train.evaluation_batch_size
        return make_answerer(self._kept.model, parts.head, batch_size)

    def _question(self, number: int, asked: Asked) -> Question:
        from trainer.heads.contract import Generates
        from trainer.serve.questions import Question

        reader = self._kept.parts.head.reader
        fields = [item.field for item in reader.inputs]
        if isinstance(asked, str):
            # of a text and its target, the text is asked
            if len(fields) > 1 and not isinstance(self._kept.model.graph, Generates):
                raise DataError(
                    f"text {number}: expected a dict with {' and '.join(fields)}. Received"
                    f" {shown_value(asked)}."
                )
            asked = {fields[0]: asked}
        if not isinstance(asked, Mapping):
            raise DataError(
                f"text {number}: expected a string or a dict. Received {shown_value(asked)}."
            )
        by_field = {item.field: asked[item.name] for item in reader.inputs if item.name in asked}
        example = Example({**by_field, **asked}, Origin("text", number))
        return Question(dict(asked), example, reader.asked(example))

    def embed(
        self, texts: Sequence[str], *, pooling: Pooling = "mean", batch_size: int = 32
    ) -> np.ndarray:
        """A vector for each text.

        Args:
            texts: B strings; of longer ones than the run's data.seq_len the beginning counts.
            pooling: the mean over all tokens, or the vector of the first, [CLS].
            batch_size: texts at once.
        Returns:
            (B, H) float32.
        """
        if pooling not in ("mean", "cls"):
            raise ConfigError(f"pooling: expected mean or cls. Received {shown_value(pooling)}.")
        vectors = [np.zeros((0, self._kept.parts.backbone.hidden_size), np.float32)]
        _refuse_one(texts)
        for inputs in self._batches(texts, batch_size):
            states = self._kept.model.backbone(inputs)["sequence_output"].numpy()
            vectors.append(_pooled(states, inputs["padding_mask"].numpy(), pooling))
        return np.concatenate(vectors)

    def read(self, texts: Sequence[str]) -> Reading:
        """Tokens, hidden states and attentions of some texts, all in memory."""
        _refuse_one(texts)
        (inputs,) = self._batches(texts, len(texts))
        outputs = self._kept.model.backbone(
            inputs, output_hidden_states=True, output_attentions=True
        )
        ids, mask = inputs["token_ids"].numpy(), inputs["padding_mask"].numpy()
        words = self._kept.parts.tokenizer.words
        tokens = [
            [words[token] for token, is_token in zip(row, own, strict=True) if is_token]
            for row, own in zip(ids, mask, strict=True)
        ]
        hidden_states = [_as_float32(states) for states in outputs["hidden_states"]]
        attentions = [_as_float32(probabilities) for probabilities in outputs["attentions"]]
        return Reading(tokens, ids, mask, hidden_states, attentions)

    def _batches(self, texts: Sequence[str], size: int) -> Iterator[dict[str, tf.Tensor]]:
        """The backbone's inputs for some texts at a time."""
        import tensorflow as tf

        from trainer.text.assemble import assemble

        parts = self._kept.parts
        for start in range(0, len(texts), max(1, size)):
            some = tf.constant([text.encode() for text in texts[start : start + size]])
            token_ids, segment_ids, _ = assemble(
                parts.tokenizer.tokenize(some),
                None,
                seq_len=parts.config.data.seq_len,
                overflow="truncate",
                template=parts.tokenizer.template,
            )
            yield {
                "token_ids": token_ids.to_tensor(parts.tokenizer.pad_id),
                "segment_ids": segment_ids.to_tensor(),
                "padding_mask": tf.ones_like(token_ids).to_tensor(),
            }


def load(job_dir: str | os.PathLike[str]) -> Model:
    """The model of a run that was trained, here or on gs://.

    Args:
        job_dir: of the run.
    Raises:
        JobDirError: there is no trained model, or it is damaged.
    """
    start_tensorflow()
    from trainer.console.display import Display
    from trainer.run.assembly import make_parts, start_strategy
    from trainer.run.job import Job
    from trainer.run.kept_model import load_kept

    folder = os.path.expanduser(str(job_dir)).rstrip("/")
    job = Job(folder)
    job.require_trained()
    config = job.settled(resolve(config_file(f"{folder}/config.yaml"), {})).config
    mirror.use_cache(config.data.cache_dir)
    display = Display()
    display.quiet = True
    parts = make_parts(config, display)
    strategy = start_strategy(config, job, display)
    display.quiet = True  # which the strategy has decided anew
    return Model(load_kept(parts, job, strategy), folder)


def _refuse_one(texts: Sequence[Asked]) -> None:
    """Raises ConfigError for one text, whose characters would be asked."""
    if isinstance(texts, str | Mapping):
        raise ConfigError(
            f"texts: expected a list. Received one {type(texts).__name__}: [{shown_value(texts)}]."
        )


def _pooled(states: np.ndarray, mask: np.ndarray, pooling: Pooling) -> np.ndarray:
    """(B, S, H), (B, S) -> (B, H) float32."""
    states = states.astype(np.float32)
    if pooling == "cls":
        return states[:, 0]
    weight = mask[..., None].astype(np.float32)
    return (states * weight).sum(1) / np.maximum(weight.sum(1), 1)  # tokens of each text


def _as_float32(values: tf.Tensor) -> np.ndarray:
    return np.asarray(values, np.float32)
