"""Which options of a submission go together."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from typing import TypeAlias

from trainer.errors import shown_value
from trainer.vertex.options import Options

ONLY_WITH_DEPLOY = ("endpoint", "serving_image", "replicas", "max_replicas")
WITH_DEPLOY = (
    "project",
    "region",
    "bucket",
    "accelerator",
    "machine_type",
    "spot",
    "service_account",
    "name",
    "dry_run",
    "deploy",
    *ONLY_WITH_DEPLOY,
)
ONLY_WITH_TUNE = ("trials", "parallel")
TENSORBOARD = re.compile(r"projects/[^/]+/locations/[^/]+/tensorboards/\d+")
Rule: TypeAlias = Callable[[Options, Sequence[str]], Iterator[str]]


def contradictions(options: Options, given: Sequence[str]) -> list[str]:
    """What does not go together, a message each.

    Args:
        options: each good by itself.
        given: the names of the options and settings that were given, and are not their defaults.
    """
    return [message for rule in RULES for message in rule(options, given)]


def _of_deploying(options: Options, given: Sequence[str]) -> Iterator[str]:
    if options.deploy is None:
        for name in given:
            if name in ONLY_WITH_DEPLOY:
                yield f"--{name}: only with --deploy."
        return
    for name in given:
        if name not in WITH_DEPLOY:
            yield f"--{name}: not with --deploy, which takes {', '.join(WITH_DEPLOY)}."
    if options.max_replicas and options.max_replicas < options.replicas:
        yield (
            f"--max_replicas: expected at least --replicas={options.replicas}. Received"
            f" {options.max_replicas}."
        )


def _of_the_run(options: Options, given: Sequence[str]) -> Iterator[str]:
    if options.deploy is None and options.config is None:
        yield "--config: missing. Expected a YAML file; configs/ has examples."
    if options.image and options.package:
        yield "--package: give an image or package, not both."


def _of_capacity(options: Options, given: Sequence[str]) -> Iterator[str]:
    if options.spot and options.flex_start:
        yield "--flex_start: give spot or flex_start, not both."
    if options.max_wait_hours and not options.flex_start:
        yield "--max_wait_hours: only with --flex_start."


def _of_the_container(options: Options, given: Sequence[str]) -> Iterator[str]:
    if options.executor_image and not options.package:
        yield "--executor_image: only with --package. A container of your own is --image."


def _of_tensorboard(options: Options, given: Sequence[str]) -> Iterator[str]:
    if not options.tensorboard:
        return
    if not options.service_account:
        yield (
            "--service_account: missing. --tensorboard needs one, with the roles storage.admin and"
            " aiplatform.user: Vertex AI's own agent may not write there."
        )
    if not TENSORBOARD.fullmatch(options.tensorboard):
        yield (
            "--tensorboard: expected projects/PROJECT/locations/REGION/tensorboards/ID. Received"
            f" {shown_value(options.tensorboard)}."
        )


def _of_searching(options: Options, given: Sequence[str]) -> Iterator[str]:
    if options.tune and not options.goal:
        yield (
            "--goal: missing. A search needs what it is for, such as"
            " --goal=maximize:validation.accuracy."
        )
    if options.goal and not options.tune:
        yield (
            "--tune: missing. --goal is for a search, such as"
            " --tune=train.learning_rate:1e-5..1e-4:log."
        )
    if not options.tune:
        for name in given:
            if name in ONLY_WITH_TUNE:
                yield f"--{name}: only with --tune."
    elif options.parallel > options.trials:
        yield (
            f"--parallel: expected at most --trials={options.trials}. Received {options.parallel}."
        )


RULES: tuple[Rule, ...] = (
    _of_deploying,
    _of_the_run,
    _of_capacity,
    _of_the_container,
    _of_tensorboard,
    _of_searching,
)
