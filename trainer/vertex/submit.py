"""The story of a submission."""

from __future__ import annotations

import os
import pathlib
import sys
from collections.abc import Mapping
from typing import Any

import yaml

from trainer.console.display import Display, print_result
from trainer.errors import ConfigError
from trainer.files import gcs, mirror
from trainer.files.storage import config_file
from trainer.settings.resolve import Resolved, resolve
from trainer.settings.schema import Config
from trainer.settings.setting import Setting, Settings
from trainer.vertex import accelerators, inputs, package, preflight, request, search
from trainer.vertex.options import Options
from trainer.vertex.service import Service, as_message

PACKAGE_TO_BE = "packages/(built when it is sent)/podtune.tar.gz"


def submit(options: Options, overrides: Settings, now: str) -> None:
    """Checks, uploads what the run reads from this machine, and creates the job; or prints the
    request.

    Args:
        now: the time, for the name of a job that has none.
    Raises:
        ConfigError: the options, the config or what they need in the cloud are wrong; lists every
            problem.
        JobFailedError: the job was waited for and failed.
    """
    display = Display()
    file = config_file(os.path.expanduser(options.config))
    resolved = resolve(file, overrides)
    mirror.use_cache(resolved.config.data.cache_dir)
    machine = accelerators.choose(options)
    _require_fit(options, machine, resolved.config)
    study = search.study_spec(options.tune, options.goal, resolved.config) if options.tune else None
    places = inputs.place(inputs.find(resolved.config), options.bucket)
    remote = resolve(file, {**overrides, **inputs.settings(places), **_for_the_job(resolved)})
    name = options.name or request.default_name(pathlib.PurePath(options.config).stem, now)
    folder = f"{options.bucket}/{name}"
    kind = "HyperparameterTuningJob" if study else "CustomJob"

    def made(package_url: str | None) -> dict[str, Any]:
        spec = request.job_spec(
            options, machine, folder=folder, config=f"{folder}/submitted.yaml", package=package_url
        )
        job = (
            request.tuning_job(name, spec, study, options)
            if study
            else request.custom_job(name, spec)
        )
        as_message(kind, job)  # which refuses what the API does not know
        return job

    draft = made(f"{options.bucket}/{PACKAGE_TO_BE}" if options.package else None)
    if options.dry_run:
        _print_request(kind, draft, options, places)
        return
    service = Service(options.project, options.region)
    if options.check:
        preflight.check(options, machine, resolved, remote, service, places, display)
    _send(options, remote, places, folder, display)
    job = made(package.publish(options.bucket) if options.package else None)
    created = service.create(kind, job)
    display.line(
        f"created {created}\n  console: {service.link(created)}\n  logs:   "
        f" {service.logs(created)}\n  stop:    {service.cancel_command(created)}"
    )
    print_result(f"{created}\n{folder}")
    if options.wait:
        _wait(service, created, folder, display)


def _for_the_job(resolved: Resolved) -> Settings:
    """Without folders of this machine, which a job's would lose with it: it exports into its
    job_dir.
    """
    config = resolved.config
    found = {
        ("data", "cache_dir"): config.data.cache_dir,
        ("export", "directory"): config.export.directory,
    }
    return {
        setting: Setting(None, "trainer.vertex")
        for setting, path in found.items()
        if path and not path.startswith(mirror.SCHEME)
    }


def _require_fit(options: Options, machine: accelerators.Machine, config: Config) -> None:
    """Raises ConfigError for settings that the job would refuse once its machines are paid for."""
    problems = []
    train = config.train
    strategy = config.distribution.strategy
    if train.precision == "mixed_bfloat16" and machine.kind == "gpu" and not machine.bfloat16:
        problems.append(
            f"train.precision: {options.accelerator} has no bfloat16. Received 'mixed_bfloat16'."
            " Set --train.precision=mixed_float16."
        )
    if train.precision == "mixed_float16" and machine.kind == "tpu":
        problems.append(
            "train.precision: a TPU computes in bfloat16. Received 'mixed_float16'. Set"
            " --train.precision=mixed_bfloat16."
        )
    able = {
        "tpu": ("auto", "tpu"),
        "gpu": ("auto", "mirrored", "one_device"),
        "cpu": ("auto", "mirrored", "one_device"),
    }[machine.kind]
    able = ("auto", "multi_worker") if options.workers > 1 else able
    if strategy not in able:
        problems.append(
            f"distribution.strategy: expected {' or '.join(able)} on {options.workers} x"
            f" {options.accelerator}. Received {strategy!r}."
        )
    if problems:
        raise ConfigError("\n".join(problems))


def _send(
    options: Options,
    remote: Resolved,
    places: Mapping[inputs.Input, str],
    folder: str,
    display: Display,
) -> None:
    target = mirror.local(f"{folder}/submitted.yaml")
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(remote.to_yaml(), encoding="utf-8")
    before = gcs.listing(f"{folder}/submitted.yaml", key="--bucket")
    if before and before[0].crc32c != gcs.crc32c(target):
        raise ConfigError(
            f"--name: another run was submitted as {folder}, and reads its config there. Give"
            " another --name."
        )
    for found, url in places.items():
        display.line(
            f"{'.'.join(found.setting)}: {len(found.files)} files of {found.base},"
            f" {found.total_bytes() / 1e6:,.1f} MB, as {url}"
        )
    if places:
        display.line(f"uploaded {inputs.upload(places) / 1e6:,.1f} MB that the bucket did not have")
    gcs.upload(target, f"{folder}/submitted.yaml", key="--bucket")


def _print_request(
    kind: str, job: Mapping[str, Any], options: Options, places: Mapping[inputs.Input, str]
) -> None:
    for found, url in places.items():
        sys.stderr.write(
            f"would upload {'.'.join(found.setting)}: {len(found.files)} files of {found.base},"
            f" {found.total_bytes() / 1e6:,.1f} MB, to {url}\n"
        )
    command = request.gcloud_command(kind, job, options)
    print_result(
        f"# {command}\n"
        + yaml.safe_dump(request.gcloud_config(kind, job), sort_keys=False, width=200).rstrip()
    )


def _wait(service: Service, created: str, folder: str, display: Display) -> None:
    try:
        job = service.follow(created, display.line)
    except KeyboardInterrupt:
        display.line(
            f"no longer waiting; the job goes on. To stop it: {service.cancel_command(created)}"
        )
        return
    if hasattr(job, "trials"):
        _show_trials(job, display)
    else:
        display.line(f"done: {folder}/results.json")


def _show_trials(job: Any, display: Display) -> None:
    metric = job.study_spec.metrics[0]
    sign = -1 if metric.goal.name == "MAXIMIZE" else 1
    done = [trial for trial in job.trials if trial.final_measurement.metrics]
    ranked = sorted(done, key=lambda trial: sign * trial.final_measurement.metrics[0].value)
    rows = [
        (
            f"trial {trial.id}",
            "  ".join(
                [
                    f"{metric.metric_id} {trial.final_measurement.metrics[0].value:.4f}",
                    *(
                        f"--{parameter.parameter_id}={parameter.value}"
                        for parameter in trial.parameters
                    ),
                ]
            ),
        )
        for trial in ranked
    ]
    display.table("Trials, the best first", rows)
