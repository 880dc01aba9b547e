"""The entry: flags -> config -> mode; nothing else.

python -m trainer.task --config=FILE [--job_dir=DIR]
[--mode=train|plan|evaluate|predict|export|report] [--SECTION.KEY=VALUE ...]
"""

from __future__ import annotations

import contextlib
import os
import pathlib
import sys
from collections.abc import Collection
from typing import IO, TYPE_CHECKING, NamedTuple

from trainer.console import on_vertex, standard_streams
from trainer.console.standard_streams import Output, ReaderGoneError
from trainer.errors import ConfigError, UserError, shown_message
from trainer.files import mirror
from trainer.files.storage import config_file
from trainer.machine.start import start_tensorflow
from trainer.run import cluster, trackers
from trainer.run.limits import exhausted_memory_is_told
from trainer.settings import flags
from trainer.settings.resolve import Resolved, resolve
from trainer.settings.setting import Settings
from trainer.settings.settings_file import shown_path

if TYPE_CHECKING:  # which import TensorFlow
    from trainer.console.display import Display
    from trainer.console.stopping import StopSignal
    from trainer.console.timeline import Timeline
    from trainer.run.job import Job

MODES_ON_A_JOB = ("evaluate", "predict", "export", "report")
TRACKED_MODES = ("train", "evaluate")
Log = Output | IO[str]  # entries for Cloud Logging


class Run(NamedTuple):
    """What is to be done.

    Attributes:
        command: what the command line says.
        resolved: the config.
        job_dir: where the run keeps everything it writes.
        folders: what Vertex AI wants elsewhere.
    """

    command: flags.CommandLine
    resolved: Resolved
    job_dir: str
    folders: on_vertex.Folders


def main(argv: list[str] | None = None) -> int:
    """Runs one mode.

    Returns:
        the exit code: 0 done, 2 a mistake in flags, config or data, 3 what report.require asks is
        not met, 141 nobody reads what is written any more. A bug of ours leaves as an exception
        (exit code 1).
    """
    closed = standard_streams.open_closed()
    log: Log | None = None
    if on_vertex.is_job() and not sys.stderr.isatty():
        log = standard_streams.standard_output()
    try:
        command = flags.parse(sys.argv if argv is None else argv)
        if command.help:
            standard_streams.print_text(flags.help_text())
            return 0
        if command.mode == "predict":  # whose answers may go to standard output
            _require_output(command, closed)
            log = log and sys.stderr
        run = resolve_run(command)
        with exhausted_memory_is_told():
            perform(run, log)
    except UserError as error:
        _say_error(str(error), log)
        standard_streams.give_up()
        return error.exit_code
    except (ReaderGoneError, BrokenPipeError):
        standard_streams.say("stopped: nobody reads what is written any more")
        standard_streams.give_up()
        return standard_streams.READER_GONE_CODE
    return 0


def _require_output(command: flags.CommandLine, closed: Collection[str]) -> None:
    if command.output in (None, "", "-") and "stdout" in closed:
        raise ConfigError(
            "--output: standard output is closed, and the answers would go there. Give a file."
        )


def _say_error(text: str, log: Log | None) -> None:
    message = shown_message(mirror.shown(text))
    if log:
        with contextlib.suppress(UserError, ReaderGoneError):
            log.write(on_vertex.log_entry(message, severity="ERROR") + "\n")
            log.flush()
            return
    standard_streams.say(f"error: {message}")


def resolve_run(command: flags.CommandLine) -> Run:
    """The run that the command line, the config and the environment ask for.

    Raises ConfigError where they are wrong.
    """
    folders = on_vertex.folders()
    job_dir = command.job_dir or folders.job_dir
    config = command.config
    if command.mode in MODES_ON_A_JOB:
        if job_dir is None:
            raise ConfigError(
                f"--job_dir: missing. --mode={command.mode} works on the job_dir of a training run."
            )
        config = config or _config_of(job_dir)
    overrides = _overrides(command)
    if config is None and not overrides:
        raise ConfigError(
            "--config: missing. Expected a YAML file; configs/ has examples, --help lists every"
            " setting."
        )
    resolved = resolve(config_file(os.path.expanduser(config)) if config else None, overrides)
    if command.mode != "plan":  # which may be made for another machine than this
        cluster.require_readable(resolved.config.distribution)
    if not job_dir:
        job_dir = f"runs/{pathlib.PurePath(config).stem if config else 'run'}"
    return Run(command, resolved, job_dir, folders)


def _config_of(job_dir: str) -> str:
    """The config of a run that was trained; in a bucket it is looked for when it is read."""
    config = f"{job_dir.rstrip('/')}/config.yaml"
    is_here = not job_dir.startswith(mirror.SCHEME)
    if is_here and not os.path.exists(os.path.expanduser(config)):
        raise ConfigError(
            f"--job_dir={shown_path(job_dir)}: no config.yaml there. Expected the job_dir"
            " of a training run."
        )
    return config


def _overrides(command: flags.CommandLine) -> Settings:
    """The flags; for training, the data set that a job on Vertex AI was given, unless they name
    another.
    """
    names_data = {("data", "train"), ("data", "source")} & set(command.overrides)
    if command.mode != "train" or names_data:
        return dict(command.overrides)
    return {**on_vertex.data_settings(), **command.overrides}


def perform(run: Run, log: Log | None) -> None:
    """Does what a run asks for; raises what its mode raises.

    Args:
        run: what is to be done.
        log: where each line is an entry for Cloud Logging; None: lines for people on stderr.
    """
    from trainer.console.stopping import StopSignal
    from trainer.console.timeline import Timeline

    if run.command.mode in TRACKED_MODES:
        trackers.require(run.resolved.config.log)
    mirror.use_cache(run.resolved.config.data.cache_dir)
    timeline = Timeline()
    stop = StopSignal()
    stop.listen()
    # Everything below imports TensorFlow, which takes seconds: a mistake above is answered before.
    if run.command.mode != "report":  # which reads files alone
        start_tensorflow()
    from trainer.console.display import Display
    from trainer.run.job import Job

    folders = run.folders
    job = Job(run.job_dir, model=folders.model, checkpoints=folders.checkpoints, logs=folders.logs)
    display = Display(log)
    stop.say = display.last_line
    display.line(f"podtune {run.command.mode}, job_dir {run.job_dir}")
    mirror.watch(display.fetched)
    try:
        _run_mode(run, job, display, stop, timeline)
    finally:
        job.release()
        display.done()  # what follows, such as an error, begins on a row of its own


def _run_mode(run: Run, job: Job, display: Display, stop: StopSignal, timeline: Timeline) -> None:
    command = run.command
    resolved = job.settled(run.resolved) if command.mode in MODES_ON_A_JOB else run.resolved
    if command.mode == "train":
        from trainer.modes.train import train

        train(resolved, job, display, stop, timeline)
    elif command.mode == "plan":
        from trainer.modes.plan import plan

        plan(resolved, job if command.job_dir else None, display)
    elif command.mode == "predict":
        from trainer.modes.predict import predict

        predict(resolved, job, display, command.input, command.output)
    elif command.mode == "evaluate":
        from trainer.modes.evaluate import evaluate

        evaluate(resolved, job, display)
    elif command.mode == "report":
        from trainer.modes.report import report

        report(resolved, job, display)
    else:
        from trainer.modes.export import export

        export(resolved, job, display)


if __name__ == "__main__":
    sys.exit(main())
