"""A model under a strategy with its compiled steps, on stores of random tokens: what the tests of
the steps drive.
"""

import dataclasses
import json
import pathlib

import numpy as np
import tensorflow as tf

from tests import toy
from tests.heads.contract_heads import two_objectives
from trainer.backbones import huggingface
from trainer.backbones.backbone import set_frozen
from trainer.data.batching import TrainingPlan, lay_out
from trainer.data.example_rows import rows_of
from trainer.data.store import TokenStore
from trainer.data.store_writer import StoreWriter
from trainer.run.distribution import make_strategy
from trainer.run.model import Model
from trainer.run.optimization import Optimizer
from trainer.run.replica_calls import feed
from trainer.run.schedule import make_schedule
from trainer.run.split_results import EvaluationPlan, make_results_call, split_results
from trainer.run.steps import make_train_call
from trainer.settings.schema import DataSettings, DistributionSettings, TrainSettings
from trainer.settings.sections import plugin_module
from trainer.text import load_tokenizer

CLASSES = ["a", "b", "c"]
LOGGED = ("loss_sum", "weight", "gradient_norm", "stop", "input_wait_s")  # of one objective
SEQ_LEN = 24
PLAIN_SGD = {
    "optimizer": "sgd",
    "learning_rate": 0.5,
    "schedule": "constant",
    "warmup_fraction": 0,
    "momentum": 0,
    "clip_norm": None,
    "xla": "off",
}
KINDS = (
    "single_label",
    "multi_label",
    "regression",
    "tags",
    "crf",
    "questions",
    "causal",
    "target",
    "masked",
    "prompt",
    "last",
    "two",
)
DECODER_KINDS = ("causal", "target", "last")  # of which "last" is a classification
TEXT = {"question_answering": ["question", "context"]}
TAGS = ["O", "B-x", "I-x"]


def make_store(folder: pathlib.Path, kind: str, count: int) -> TokenStore:
    """Pairs of random tokens, 3 to SEQ_LEN long, with random labels, or tags of about two tokens in
    three.
    """
    rng = np.random.default_rng(4)
    lengths = np.r_[SEQ_LEN, rng.integers(3, SEQ_LEN, count - 1)]
    tokens = rng.integers(2, len(toy.VOCABULARY), lengths.sum()).astype(np.int32)
    if kind in ("tags", "crf"):
        return _store_of_tags(folder, rng, tokens, lengths)
    if kind == "questions":
        return _store_of_questions(folder, rng, tokens, lengths)
    if kind in ("causal", "target", "masked"):
        return _store_of_words(folder, kind, tokens, lengths)
    labels = {
        **dict.fromkeys(
            ("single_label", "last", "prompt", "two"), lambda: rng.integers(0, 3, count, np.int32)
        ),
        "multi_label": lambda: rng.integers(0, 2, (count, 3)).astype(np.float32),
        "regression": lambda: rng.normal(size=count).astype(np.float32),
    }[kind]()
    writer = StoreWriter(folder)
    more = {"segment_ids": (tokens % 2, lengths)}
    if kind == "prompt":
        starts = np.cumsum(lengths) - lengths
        more = {
            "asked": (
                np.isin(np.arange(len(tokens)), starts + rng.integers(0, lengths)).astype(np.int32),
                lengths,
            )
        }
    writer.append({"token_ids": (tokens, lengths), **more}, {"label": labels})
    writer.close({}, {}, {"samples": []})
    return TokenStore(folder)


def _store_of_words(
    folder: pathlib.Path, kind: str, tokens: np.ndarray, lengths: np.ndarray
) -> TokenStore:
    """Each token predicts the next one of its example, or does so from its middle on, or some are
    hidden at each step.
    """
    target = np.zeros(len(tokens), np.int32)
    if kind != "masked":
        target[:-1] = tokens[1:] + 1
        target[np.cumsum(lengths) - 1] = 0
    columns = {"example": np.arange(len(lengths), dtype=np.int32)}
    if kind == "target":
        target[
            np.arange(len(tokens)) - np.repeat(np.cumsum(lengths) - lengths, lengths)
            < np.repeat(lengths // 2, lengths)
        ] = 0
        columns = {"text_size": np.full((len(lengths), 2), 5, np.int32)}
    writer = StoreWriter(folder)
    writer.append({"token_ids": (tokens, lengths)}, columns)
    writer.close(
        {},
        {"target": target},
        {"samples": [], "scored_share": 0.3 if kind == "masked" else 1.0},
        extras={"text_size": np.array([100, 500])},
    )
    return TokenStore(folder)


def _store_of_tags(
    folder: pathlib.Path, rng: np.random.Generator, tokens: np.ndarray, lengths: np.ndarray
) -> TokenStore:
    words = rng.integers(0, 3, len(tokens)).clip(0, 1).astype(np.int32)
    words[np.concatenate([[0], np.cumsum(lengths)[:-1]])] = 2
    label = np.where(words > 0, rng.integers(1, 4, len(tokens)), 0).astype(np.int32)
    # I-x but after B-x alone: the CRF forbids it after O
    label[(label == 3) & (np.r_[0, label[:-1]] != 2)] = 2
    word = np.flatnonzero(words)
    splits = np.searchsorted(word, np.concatenate([[0], np.cumsum(lengths)]))
    writer = StoreWriter(folder)
    writer.append(
        {"token_ids": (tokens, lengths), "words": (words, lengths), "label": (label, lengths)},
        {"example": np.arange(len(lengths), dtype=np.int32)},
    )
    writer.close(
        {},
        {},
        {"samples": []},
        extras={
            "word_tag": label[word] - 1,
            "word_token": word,
            "word_shares": np.zeros(len(word), bool),
            "word_splits": splits,
            "unseen_tags": np.array([], np.str_),
        },
    )
    return TokenStore(folder)


def _store_of_questions(
    folder: pathlib.Path, rng: np.random.Generator, tokens: np.ndarray, lengths: np.ndarray
) -> TokenStore:
    """Each token of the context is a character; every fifth question has no answer, every seventh
    cannot be learnt from.
    """
    count = len(lengths)
    starts = np.cumsum(lengths) - lengths
    within = np.arange(len(tokens)) - np.repeat(starts, lengths)
    first = rng.integers(1, lengths)
    label = np.stack([first, np.minimum(first + 2, lengths - 1)], 1).astype(np.int32)
    label[::5], label[::7] = 0, -1
    inputs = [json.dumps(["?", "x" * length]).encode() for length in lengths]
    answers = [json.dumps(["xx"] if number % 5 else []).encode() for number in range(count)]
    writer = StoreWriter(folder)
    writer.append(
        {
            "token_ids": (tokens, lengths),
            "segment_ids": (tokens % 2, lengths),
            "candidate": (3 * (within > 0), lengths),
            "start": (within - 1, lengths),
            "end": (within, lengths),
        },
        {"example": np.arange(count, dtype=np.int32)},
    )
    writer.close(
        {"label": label},
        {},
        {"samples": [], "examples": count},
        extras={
            "inputs": np.frombuffer(b"".join(inputs), np.uint8),
            "input_splits": np.cumsum([0, *map(len, inputs)]),
            "answers": np.frombuffer(b"".join(answers), np.uint8),
            "answer_splits": np.cumsum([0, *map(len, answers)]),
        },
    )
    return TokenStore(folder)


class Setup:
    """A model under a strategy with its compiled step; can be set back to its first weights."""

    def __init__(
        self,
        weights,
        *,
        strategy="one_device",
        replicas=None,
        head=None,
        train=None,
        frozen=None,
        lanes=1,
    ):
        self.settings = TrainSettings(**{**PLAIN_SGD, **(train or {})})
        self.strategy, _ = make_strategy(DistributionSettings(strategy=strategy, replicas=replicas))
        settings = {"name": "classification", **(head or {})}
        module = two_objectives
        if settings["name"] != "two_objectives":
            module = plugin_module("trainer.heads", settings["name"])
        data = DataSettings(
            source="jsonl", train="", seq_len=SEQ_LEN, text=TEXT.get(settings["name"], "text")
        )
        self.head = module.make_head(
            module.Settings(**settings),
            data,
            load_tokenizer(weights) if settings["name"] == "prompt" else toy.TEMPLATE,
        )
        labels = (
            TAGS
            if settings["name"] == "token_classification"
            else []
            if settings.get("kind") == "regression"
            else CLASSES
        )
        vocabulary = {
            "labels": labels,
            "train_counts": {"a": 6, "b": 3, "c": 2},
            "scheme": "bio",
            "unanswerable": True,
        }
        with self.strategy.scope():
            encoder, _ = huggingface.load_backbone(weights)
            self.model = Model(encoder, self.head.build(encoder, vocabulary, 3))
            set_frozen(encoder, **(frozen or {}))
            self.optimizer = Optimizer(
                self.settings, make_schedule(self.settings, 100), self.model.trainable()
            )
        self.train_call = make_train_call(
            self.strategy, self.model, self.optimizer, self.settings, lanes=lanes
        )
        self.results_call = make_results_call(self.strategy, self.model, xla=False, lanes=lanes)
        self.variables = {**self.model.weights, **self.optimizer.variables()}
        self.first = {name: variable.numpy() for name, variable in self.variables.items()}

    def state(self):
        return {name: variable.numpy() for name, variable in self.model.weights.items()}

    def reset(self):
        for name, variable in self.variables.items():
            variable.assign(self.first[name])

    def train(self, store, steps, *, batching="packed", batch_size=11, per_call=1):
        """Of each step LOGGED, and the weights after the steps."""
        plan = TrainingPlan(len(store), batch_size, seed=1)

        def layouts():
            for step in range(steps):
                indices = plan.indices(step)
                layout = lay_out(
                    indices,
                    store.lengths[indices],
                    batching=batching,
                    seq_len=SEQ_LEN,
                    capacity=batch_size,
                    shards=self.strategy.num_replicas_in_sync * self.settings.micro_batches,
                )
                yield dataclasses.replace(layout, step=step)

        rows = rows_of(self.head.reader, 0)
        iterator = iter(feed(self.strategy, store, layouts, rows, self.settings.micro_batches))
        rows = [
            self.train_call(iterator, tf.constant(per_call), tf.constant(0.0)).numpy()
            for _ in range(steps // per_call)
        ]
        return np.concatenate(rows), self.state()

    def logits(self, store, **keywords):
        return self.results(store, **keywords)["logits"]

    def results(self, store, batching="packed", **keywords):
        return split_results(
            self.strategy,
            self.model,
            self.results_call,
            store,
            EvaluationPlan(
                examples=rows_of(self.head.reader, 0),
                batching=batching,
                seq_len=SEQ_LEN,
                batch_size=4,
                shards=self.strategy.num_replicas_in_sync,
                static_shapes=False,
            ),
            **keywords,
        )
