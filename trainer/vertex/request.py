"""What Vertex AI is asked to run, as the JSON of its API, which gcloud's --config takes too."""

from __future__ import annotations

import re
from typing import TypeAlias

import trainer
from trainer.vertex.accelerators import Machine
from trainer.vertex.options import Options

MODULE = "trainer.task"
LABELS = {"trainer": "podtune"}
SPOT_RESTARTS = "restartJobOnWorkerRestart"
LONGEST_NAME = 63
Json: TypeAlias = dict[str, object]


def own_image(options: Options, machine: Machine) -> str:
    """The image that cloudbuild.yaml pushes for that kind of machine."""
    return registry_image(options, f"{machine.kind}:{trainer.__version__}")


def registry_image(options: Options, name: str) -> str:
    """An image of the project's own registry."""
    # a domain's project has a colon
    return f"{options.region}-docker.pkg.dev/{options.project.replace(':', '/')}/podtune/{name}"


def job_spec(
    options: Options, machine: Machine, *, folder: str, config: str, package: str | None
) -> Json:
    """The CustomJobSpec.

    Args:
        options: where and how.
        machine: what is asked for.
        folder: URL that becomes the job_dir: AIP_MODEL_DIR and so on are in it.
        config: URL of the config that is run.
        package: URL of the package; None for a container.
    """
    optional = {
        "serviceAccount": options.service_account,
        "tensorboard": options.tensorboard,
        "network": options.network,
    }
    return {
        "workerPoolSpecs": _worker_pools(options, machine, config, package),
        "scheduling": _scheduling(options),
        "baseOutputDirectory": {"outputUriPrefix": folder},
        **{name: value for name, value in optional.items() if value},
    }


def _worker_pools(
    options: Options, machine: Machine, config: str, package: str | None
) -> list[Json]:
    """The machines, and what runs on each."""
    arguments = [f"--config={config}"]
    if machine.kind == "tpu" and machine.hosts == 1:
        arguments.append("--distribution.tpu=local")
    pool: Json = {
        "machineSpec": machine_spec(machine),
        "diskSpec": {"bootDiskType": machine.disk_type, "bootDiskSizeGb": options.disk_gb},
    }
    if package:
        pool["pythonPackageSpec"] = {
            "executorImageUri": machine.executor_image,
            "packageUris": [package],
            "pythonModule": MODULE,
            "args": arguments,
        }
    else:
        pool["containerSpec"] = _container(options, machine, arguments)
    chief: Json = {**pool, "replicaCount": "1"}
    if options.workers == 1:
        return [chief]
    return [chief, {**pool, "replicaCount": str(options.workers - 1)}]


def _container(options: Options, machine: Machine, arguments: list[str]) -> Json:
    if machine.kind == "tpu":
        # The base image of TPU pods has an entry point of its own, which runs what follows on the
        # right host.
        arguments = ["python3", "-m", MODULE, *arguments]
    container: Json = {"imageUri": options.image or own_image(options, machine), "args": arguments}
    if machine.environment:
        container["env"] = [
            {"name": name, "value": value} for name, value in machine.environment.items()
        ]
    return container


def _scheduling(options: Options) -> Json:
    scheduling: Json = {"timeout": _seconds(options.timeout_hours)}
    if options.spot:
        scheduling["strategy"] = "SPOT"
    elif options.flex_start:
        scheduling["strategy"] = "FLEX_START"
    if options.workers > 1:
        scheduling[SPOT_RESTARTS] = True
    if options.max_wait_hours:
        scheduling["maxWaitDuration"] = _seconds(options.max_wait_hours)
    return scheduling


def _seconds(hours: float) -> str:
    return f"{round(hours * 3600)}s"


def machine_spec(machine: Machine) -> Json:
    """The MachineSpec."""
    spec: Json = {"machineType": machine.machine_type}
    if machine.accelerator_type:
        spec["acceleratorType"] = machine.accelerator_type
        spec["acceleratorCount"] = machine.accelerator_count
    if machine.topology:
        spec["tpuTopology"] = machine.topology
    return spec


def custom_job(name: str, spec: Json) -> Json:
    """A CustomJob."""
    return {"displayName": name, "jobSpec": spec, "labels": LABELS}


def tuning_job(name: str, spec: Json, study: Json, options: Options) -> Json:
    """A HyperparameterTuningJob.

    Args:
        name: that is shown.
        spec: of each trial, which gets its settings as further flags.
        study: the StudySpec.
        options: say how many trials there are.
    """
    return {
        "displayName": name,
        "studySpec": study,
        "maxTrialCount": options.trials,
        "parallelTrialCount": options.parallel,
        "trialJobSpec": spec,
        "labels": LABELS,
    }


def gcloud_config(kind: str, request: Json) -> object:
    """What gcloud takes as --config for it: the name and the labels are flags there."""
    if kind == "CustomJob":
        return request["jobSpec"]
    return {name: part for name, part in request.items() if name not in ("displayName", "labels")}


def gcloud_command(kind: str, request: Json, options: Options) -> str:
    """The command that sends the same request from a file.

    Args:
        kind: CustomJob or HyperparameterTuningJob.
        request: of that kind.
        options: say where.
    """
    group = "custom-jobs" if kind == "CustomJob" else "hp-tuning-jobs"
    labels = ",".join(f"{name}={value}" for name, value in LABELS.items())
    return (
        f"gcloud ai {group} create --project={options.project} --region={options.region}"
        f" --display-name={request['displayName']} --labels={labels} --config=FILE"
    )


def default_name(config: str, now: str) -> str:
    """A name of the config's and the time: a-z, 0-9 and -."""
    stem = re.sub(r"[^a-z0-9]+", "-", config.lower()).strip("-") or "run"
    if not stem[0].isalpha():
        stem = f"run-{stem}"
    return f"{stem[: LONGEST_NAME - 1 - len(now)]}-{now}"
