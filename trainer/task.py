"""The entry: flags -> config -> mode; nothing else.

python -m trainer.task --config=FILE [--job_dir=DIR] [--mode=train|plan|evaluate|predict|export]
[--SECTION.KEY=VALUE ...]
"""

from __future__ import annotations

import contextlib
import os
import pathlib
import sys
import tempfile
from typing import IO, TYPE_CHECKING

from trainer.console import on_vertex, standard_streams
from trainer.console.standard_streams import Output, ReaderGoneError
from trainer.errors import ConfigError, UserError, shown_message
from trainer.files import mirror
from trainer.files.storage import config_file
from trainer.machine.allocator import keep_memory
from trainer.run import cluster
from trainer.run.limits import exhausted_memory_is_told
from trainer.settings import flags
from trainer.settings.resolve import Resolved, resolve
from trainer.settings.settings_file import shown_path

if TYPE_CHECKING:  # which import TensorFlow
    from trainer.console.display import Display
    from trainer.console.stopping import StopSignal
    from trainer.console.timeline import Timeline
    from trainer.run.job import Job

MODES_ON_A_JOB = ("evaluate", "predict", "export")


def main(argv: list[str] | None = None) -> int:
    """Runs one mode.

    Returns:
        the exit code: 0 done, 2 a mistake in flags, config or data, 141 nobody reads what is
            written any more. A bug of
        ours leaves as an exception (exit code 1).
    """
    closed = standard_streams.open_closed()
    log = (
        None
        if sys.stderr.isatty() or not on_vertex.is_job()
        else standard_streams.standard_output()
    )
    try:
        command = flags.parse(sys.argv if argv is None else argv)
        if command.help:
            standard_streams.print_text(flags.help_text())
            return 0
        if command.mode == "predict":  # whose answers may go there
            log = log and sys.stderr
            if (command.output or "-") == "-" and "stdout" in closed:
                raise ConfigError(
                    "--output: standard output is closed, and the answers would go there. Give a"
                    " file."
                )
        resolved, folders = _resolve(command)
        with exhausted_memory_is_told():
            _run(command, resolved, folders, log)
    except UserError as error:
        _say_error(str(error), log)
        standard_streams.give_up()
        return 2
    except (ReaderGoneError, BrokenPipeError):
        standard_streams.say("stopped: nobody reads what is written any more")
        standard_streams.give_up()
        return standard_streams.READER_GONE_CODE
    return 0


def _say_error(text: str, log: IO[str] | Output | None) -> None:
    message = shown_message(mirror.shown(text))
    if log:
        with contextlib.suppress(UserError, ReaderGoneError):
            log.write(on_vertex.log_entry(message, severity="ERROR") + "\n")
            log.flush()
            return
    standard_streams.say(f"error: {message}")


def _resolve(command: flags.CommandLine) -> tuple[Resolved, on_vertex.Folders]:
    named = on_vertex.folders()
    job_dir = command.job_dir or named.job_dir
    config = command.config
    if command.mode in MODES_ON_A_JOB:
        if job_dir is None:
            raise ConfigError(
                f"--job_dir: missing. --mode={command.mode} works on the job_dir of a training run."
            )
        if config is None:
            config = f"{job_dir.rstrip('/')}/config.yaml"
            if not job_dir.startswith(mirror.SCHEME) and not os.path.exists(
                os.path.expanduser(config)
            ):
                raise ConfigError(
                    f"--job_dir={shown_path(job_dir)}: no config.yaml there. Expected the job_dir"
                    " of a training run."
                )
    # then the data set that the job was given is not asked for
    own_data = {("data", "train"), ("data", "source")} & set(command.overrides)
    overrides = {
        **(on_vertex.data_settings() if command.mode == "train" and not own_data else {}),
        **command.overrides,
    }
    if config is None and not overrides:
        raise ConfigError(
            "--config: missing. Expected a YAML file; configs/ has examples, --help lists every"
            " setting."
        )
    resolved = resolve(config_file(os.path.expanduser(config)) if config else None, overrides)
    if command.mode != "plan":  # which may be made for another machine than this
        cluster.require_readable(resolved.config.distribution)
    mirror.use_cache(resolved.config.data.cache_dir)
    return resolved, named._replace(
        job_dir=job_dir or f"runs/{pathlib.PurePath(config).stem if config else 'run'}"
    )


def _run(
    command: flags.CommandLine,
    resolved: Resolved,
    folders: on_vertex.Folders,
    log: IO[str] | Output | None,
) -> None:
    from trainer.console.stopping import StopSignal
    from trainer.console.timeline import Timeline

    timeline = Timeline()
    stop = StopSignal()
    stop.listen()
    # Everything below imports TensorFlow, which takes seconds: a mistake above is answered before.
    # its errors reach us as exceptions; its notes frighten people
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ["KERAS_BACKEND"] = "tensorflow"
    keep_memory()
    _import_tensorflow()
    from trainer.console.display import Display
    from trainer.run.job import Job

    job = Job(
        folders.job_dir, model=folders.model, checkpoints=folders.checkpoints, logs=folders.logs
    )
    display = Display(log)
    display.line(f"podtune {command.mode}, job_dir {folders.job_dir}")
    mirror.watch(display.fetched)
    stop.before_leaving = display.done
    try:
        _run_mode(command, resolved, job, display, stop, timeline)
    finally:
        job.release()
        display.done()  # what follows, such as an error, begins on a row of its own


def _run_mode(
    command: flags.CommandLine,
    resolved: Resolved,
    job: Job,
    display: Display,
    stop: StopSignal,
    timeline: Timeline,
) -> None:
    if command.mode == "train":
        from trainer.modes.train import train

        train(resolved, job, display, stop, timeline)
    elif command.mode == "plan":
        from trainer.planning.plan import plan

        if command.job_dir:
            job.hold("plan")
        plan(resolved, job.folder if command.job_dir else None, display)
    elif command.mode == "predict":
        from trainer.modes.predict import predict

        predict(resolved, job, display, command.input, command.output)
    else:
        from trainer.modes import finish

        getattr(finish, command.mode)(resolved, job, display)


def _import_tensorflow() -> None:
    """Imports TensorFlow without the notes that it writes on stderr before its log level counts;
    shown if it fails.
    """
    sys.stderr.flush()
    kept = os.dup(2)
    with tempfile.TemporaryFile() as notes:
        os.dup2(notes.fileno(), 2)
        try:
            import tensorflow  # noqa: F401
            import tensorflow_text  # noqa: F401
        except BaseException:
            notes.seek(0)
            os.write(kept, notes.read())
            raise
        finally:
            os.dup2(kept, 2)
            os.close(kept)


if __name__ == "__main__":
    sys.exit(main())
