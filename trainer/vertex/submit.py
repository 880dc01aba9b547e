"""The story of a submission."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import yaml

from trainer.console.display import Display, print_result
from trainer.errors import ConfigError
from trainer.files import gcs, mirror
from trainer.settings.setting import Settings
from trainer.vertex import inputs, package, preflight, request
from trainer.vertex.options import Options
from trainer.vertex.request import Json
from trainer.vertex.service import Service, types
from trainer.vertex.submission import Submission, prepare

if TYPE_CHECKING:  # an optional package
    from google.cloud.aiplatform_v1 import HyperparameterTuningJob

PACKAGE_TO_BE = "packages/(built when it is sent)/podtune.tar.gz"


def submit(options: Options, config: str, overrides: Settings, now: str) -> None:
    """Checks, uploads what the run reads from this machine, and creates the job.

    With --dry_run it prints the request.

    Args:
        options: where and how.
        config: the run's YAML file.
        overrides: settings that were given as flags.
        now: the time, for the name of a job that has none.
    Raises:
        ConfigError: the options, the config or what they need in the cloud are wrong; lists every
            problem.
        JobFailedError: the job was waited for and failed.
    """
    display = Display()
    submission = prepare(options, config, overrides, now)
    draft = submission.job(f"{options.bucket}/{PACKAGE_TO_BE}" if options.package else None)
    if options.dry_run:
        _print_request(submission, draft)
        return
    service = Service(options.project, options.region)
    if options.check:
        preflight.check(submission, service, display)
    _send(submission, display)
    job = submission.job(package.publish(options.bucket) if options.package else None)
    created = service.create(submission.kind, job)
    display.line(
        f"created {created}\n  console: {service.link(created)}\n  logs:   "
        f" {service.logs(created)}\n  stop:    {service.cancel_command(created)}"
    )
    print_result(f"{created}\n{submission.folder}")
    if options.wait:
        _wait(service, created, submission.folder, display)


def _send(submission: Submission, display: Display) -> None:
    """Uploads the inputs, and the config last."""
    target = mirror.local(submission.config_url)
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(submission.remote.to_yaml(), encoding="utf-8")
    before = gcs.listing(submission.config_url, key="--bucket")
    if before and before[0].crc32c != gcs.crc32c(target):
        raise ConfigError(
            f"--name: another run was submitted as {submission.folder}, and reads its config"
            " there. Give another --name."
        )
    places = submission.places
    for uploaded, url in places.items():
        display.line(f"{uploaded.described()}, as {url}")
    if places:
        display.line(f"uploaded {inputs.upload(places) / 1e6:,.1f} MB that the bucket did not have")
    gcs.upload(target, submission.config_url, key="--bucket")


def _print_request(submission: Submission, job: Json) -> None:
    for uploaded, url in submission.places.items():
        sys.stderr.write(f"would upload {uploaded.described()}, to {url}\n")
    command = request.gcloud_command(submission.kind, job, submission.options)
    config = request.gcloud_config(submission.kind, job)
    text = yaml.safe_dump(config, sort_keys=False, width=200)
    print_result(f"# {command}\n{text.rstrip()}")


def _wait(service: Service, created: str, folder: str, display: Display) -> None:
    try:
        job = service.follow(created, display.line)
    except KeyboardInterrupt:
        display.line(
            f"no longer waiting; the job goes on. To stop it: {service.cancel_command(created)}"
        )
        return
    if isinstance(job, types().HyperparameterTuningJob):
        _show_trials(job, display)
    else:
        display.line(f"done: {folder}/results.json")


def _show_trials(job: HyperparameterTuningJob, display: Display) -> None:
    metric = job.study_spec.metrics[0]
    sign = -1 if metric.goal.name == "MAXIMIZE" else 1
    measured = [
        (trial.final_measurement.metrics[0].value, trial)
        for trial in job.trials
        if trial.final_measurement.metrics
    ]
    rows = []
    for value, trial in sorted(measured, key=lambda item: sign * item[0]):
        settings = [
            f"--{parameter.parameter_id}={parameter.value}" for parameter in trial.parameters
        ]
        rows.append(
            (f"trial {trial.id}", "  ".join([f"{metric.metric_id} {value:.4f}", *settings]))
        )
    display.table("Trials, the best first", rows)
