"""--mode=predict: JSON lines in, JSON lines out, through the same graph that is served."""

from __future__ import annotations

import sys

from trainer.console.display import Display
from trainer.errors import ConfigError
from trainer.heads.contract import Generates
from trainer.run.assembly import make_parts, start_strategy
from trainer.run.cluster import workers_named
from trainer.run.job import Job
from trainer.run.kept_model import load_kept
from trainer.serve.answerers import make_answerer
from trainer.serve.answers_file import require_output
from trainer.serve.conversation import converse, prompted
from trainer.serve.predictions import stream_texts, write_answers
from trainer.serve.questions import open_questions
from trainer.settings.resolve import Resolved


def predict(
    resolved: Resolved, job: Job, display: Display, source: str | None, target: str | None
) -> None:
    """Answers every question of an input; one that cannot be asked has an `error` instead.

    Who types them on a terminal reads answers in words, not JSON.

    A question keeps its own fields. An answer of the same name, such as label, is then called
    predicted_label.

    Args:
        source: --input; "-" is standard input.
        target: --output; "-" or None is standard output.
    Raises:
        ConfigError: there is no input, or the output would destroy something.
        DataError: some lines cannot be asked; the others are answered before.
    """
    if not source:
        raise ConfigError(
            "--input: missing. Expected a file of JSON lines, or - for standard input."
        )
    if workers_named() > 1:
        raise ConfigError(
            f"--mode=predict: runs in one process, and the environment names {workers_named()}"
            " workers. Start it without TF_CONFIG and CLUSTER_SPEC, each process with an --input"
            " of its own."
        )
    target = target or "-"
    config = resolved.config
    require_output(target, source, config, job)
    job.require_trained()
    parts = make_parts(config, display)
    questions = open_questions(source, config.data, parts.head.reader)
    kept = load_kept(parts, job, start_strategy(config, job, display))
    graph = kept.model.graph
    on_terminal = source == target == "-" and sys.stdout.isatty()
    if isinstance(graph, Generates) and on_terminal:
        stream_texts(graph, prompted(questions), display)
        return
    batch_size = config.train.evaluation_batch_size
    answerer = make_answerer(kept.model, parts.head, batch_size)
    if on_terminal and questions.typed:
        converse(questions, answerer, graph, parts.head.reader)
        return
    write_answers(questions, target, answerer, graph, display, batch_size)
