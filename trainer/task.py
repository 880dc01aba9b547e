"""The entry: flags -> config -> mode; nothing else.

python -m trainer.task --config=FILE [--job_dir=DIR] [--mode=train|plan|evaluate|predict|export] [--SECTION.KEY=VALUE ...]
"""

from __future__ import annotations

import os
import pathlib
import sys
import tempfile

from trainer import flags
from trainer.errors import ConfigError, UserError
from trainer.resolve import Resolved, resolve

MODES_ON_A_JOB = ("evaluate", "predict", "export")


def main(argv: list[str] | None = None) -> int:
    """Runs one mode.

    Returns:
        the exit code: 0 done, 2 a mistake in flags, config or data. A bug of ours leaves as an exception (exit code 1).
    """
    try:
        command = flags.parse(sys.argv if argv is None else argv)
        if command.help:
            print(flags.help_text())
            return 0
        resolved, job_dir = _resolve(command)
        _run(command, resolved, job_dir)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


def _resolve(command: flags.CommandLine) -> tuple[Resolved, pathlib.Path]:
    config = pathlib.Path(command.config) if command.config else None
    job_dir = pathlib.Path(command.job_dir) if command.job_dir else None
    if command.mode in MODES_ON_A_JOB:
        if job_dir is None:
            raise ConfigError(f"--job_dir: missing. --mode={command.mode} works on the job_dir of a training run.")
        if config is None:
            config = job_dir / "config.yaml"
            if not config.exists():
                raise ConfigError(f"--job_dir={job_dir}: no config.yaml there. Expected the job_dir of a training run.")
    if config is None and not command.overrides:
        raise ConfigError("--config: missing. Expected a YAML file; configs/ has examples, --help lists every setting.")
    return resolve(config, command.overrides), job_dir or pathlib.Path("runs") / (config.stem if config else "run")


def _run(command: flags.CommandLine, resolved: Resolved, job_dir: pathlib.Path) -> None:
    from trainer.stopping import StopSignal
    from trainer.timeline import Timeline

    timeline = Timeline()
    stop = StopSignal()
    stop.listen()
    # Everything below imports TensorFlow, which takes seconds: a mistake above is answered before.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # its errors reach us as exceptions; its notes frighten people
    os.environ["KERAS_BACKEND"] = "tensorflow"
    _import_tensorflow()
    from trainer.display import Display
    from trainer.job import Job

    job, display = Job(job_dir), Display()
    display.line(f"podtune {command.mode}, job_dir {job_dir}")
    if command.mode == "train":
        from trainer.train import train
        train(resolved, job, display, stop, timeline)
    elif command.mode == "plan":
        from trainer.plan import plan
        plan(resolved, job_dir if command.job_dir else None, display)
    elif command.mode == "predict":
        from trainer.predict import predict
        predict(resolved, job, display, command.input, command.output)
    else:
        from trainer import finish
        getattr(finish, command.mode)(resolved, job, display)


def _import_tensorflow() -> None:
    """Imports TensorFlow without the notes that it writes on stderr before its log level counts; shown if it fails."""
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
