"""What no single section of a config can see: settings that do not go together."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol, runtime_checkable

from trainer.settings.schema import Config, DataSettings, HeadSettings, TrainSettings

VALIDATION_NEEDED = "needs data.validation (a path, a split, or a fraction such as 0.1)."


@runtime_checkable
class Answering(Protocol):
    """Settings of a head that finds answers in texts."""

    max_answer_tokens: int


def contradictions(config: Config) -> Iterator[str]:
    """Each contradiction in a sentence, with the setting to change."""
    yield from _of_steps(config.train)
    yield from _of_answers(config.head, config.data)
    yield from _of_validation(config.train, config.data)
    if getattr(config.head, "calibrate", False) and config.data.validation is None:
        yield f"head.calibrate: {VALIDATION_NEEDED}"
    if config.data.stream_characters is not None:
        for problem in _of_streams(config.train, config.data):
            yield f"data.stream_characters: {problem}"


def _of_steps(train: TrainSettings) -> Iterator[str]:
    if train.epochs is not None and train.steps is not None:
        yield (
            f"train.epochs: give epochs or steps, not both. Received epochs {train.epochs:g} and"
            f" steps {train.steps}."
        )
    if train.micro_batches > train.global_batch_size:
        yield (
            f"train.micro_batches: expected at most {train.global_batch_size:,}, the examples of a"
            f" step (train.global_batch_size). Received {train.micro_batches:,}."
        )


def _of_answers(head: HeadSettings, data: DataSettings) -> Iterator[str]:
    if not isinstance(head, Answering):
        return
    longest = head.max_answer_tokens
    default = type(head).model_fields["max_answer_tokens"].default
    # each length is compared with every place of a row
    if longest > max(data.seq_len, default):
        yield (
            f"head.max_answer_tokens: expected at most {data.seq_len:,}, the tokens of a row"
            f" (data.seq_len). Received {longest:,}."
        )


def _of_validation(train: TrainSettings, data: DataSettings) -> Iterator[str]:
    if train.early_stopping_patience and data.validation is None:
        yield f"train.early_stopping_patience: {VALIDATION_NEEDED}"
    if train.best_metric and data.validation is None:
        yield f"train.best_metric: {VALIDATION_NEEDED}"
    held_out = sum(_fractions(data))
    if held_out >= 1:
        yield (
            "data.validation + data.test: the fractions held out of train must sum to less than 1."
            f" Received {held_out:g}."
        )


def _of_streams(train: TrainSettings, data: DataSettings) -> Iterator[str]:
    if train.steps is None:
        yield "how many steps a pass has is not known beforehand. Set train.steps."
    if _fractions(data):
        yield (
            "a fraction of train cannot be held out of what is not read beforehand."
            " Name files in data.validation and data.test."
        )
    for key in ("limit", "part"):
        if getattr(data, key) is not None:
            yield f"data.{key} is of what is stored. Remove one of the two."
    picks_checkpoint = train.early_stopping_patience or train.best_metric
    if picks_checkpoint and not train.evaluate_every_steps:
        yield (
            "an early stop or a best checkpoint needs evaluations on the way. Set"
            " train.evaluate_every_steps."
        )


def _fractions(data: DataSettings) -> list[float]:
    """What is held out of train, of all its examples."""
    return [place for place in (data.validation, data.test) if isinstance(place, float)]
