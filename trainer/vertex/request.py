"""The request: what Vertex AI is asked to run, as the JSON of its API, which gcloud's --config
takes too.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import trainer
from trainer.vertex.accelerators import Machine
from trainer.vertex.options import Options

MODULE = "trainer.task"
LABELS = {"trainer": "podtune"}
SPOT_RESTARTS = "restartJobOnWorkerRestart"


def own_image(options: Options, machine: Machine) -> str:
    """The image that cloudbuild.yaml pushes for that kind of machine."""
    return registry_image(options, f"{machine.kind}:{trainer.__version__}")


def registry_image(options: Options, name: str) -> str:
    """An image of the project's own registry."""
    # a domain's project has a colon
    return f"{options.region}-docker.pkg.dev/{options.project.replace(':', '/')}/podtune/{name}"


def job_spec(
    options: Options, machine: Machine, *, folder: str, config: str, package: str | None
) -> dict[str, Any]:
    """The CustomJobSpec.

    Args:
        options: where and how.
        machine: what is asked for.
        folder: URL that becomes the job_dir: AIP_MODEL_DIR and so on are in it.
        config: URL of the config that is run.
        package: URL of the package; None for a container.
    """
    arguments = [
        f"--config={config}",
        *(["--distribution.tpu=local"] if machine.kind == "tpu" and machine.hosts == 1 else []),
    ]
    pool: dict[str, Any] = {
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
        # The base image of TPU pods has an entry point of its own, which runs what follows on the
        # right host.
        command = (
            {"args": ["python3", "-m", MODULE, *arguments]}
            if machine.kind == "tpu"
            else {"args": arguments}
        )
        pool["containerSpec"] = {
            "imageUri": options.image or own_image(options, machine),
            **command,
            **(
                {
                    "env": [
                        {"name": name, "value": value}
                        for name, value in machine.environment.items()
                    ]
                }
                if machine.environment
                else {}
            ),
        }
    pools = [{**pool, "replicaCount": "1"}]
    if options.workers > 1:  # the first pool is the chief alone
        pools.append({**pool, "replicaCount": str(options.workers - 1)})
    scheduling = {
        "timeout": f"{round(options.timeout_hours * 3600)}s",
        **(
            {"strategy": "SPOT"}
            if options.spot
            else {"strategy": "FLEX_START"}
            if options.flex_start
            else {}
        ),
        **({SPOT_RESTARTS: True} if options.workers > 1 else {}),
        **(
            {"maxWaitDuration": f"{round(options.max_wait_hours * 3600)}s"}
            if options.max_wait_hours
            else {}
        ),
    }
    optional = {
        "serviceAccount": options.service_account,
        "tensorboard": options.tensorboard,
        "network": options.network,
    }
    return {
        "workerPoolSpecs": pools,
        "scheduling": scheduling,
        "baseOutputDirectory": {"outputUriPrefix": folder},
        **{name: value for name, value in optional.items() if value},
    }


def machine_spec(machine: Machine) -> dict[str, Any]:
    """The MachineSpec."""
    found: dict[str, Any] = {"machineType": machine.machine_type}
    if machine.accelerator_type:
        found |= {
            "acceleratorType": machine.accelerator_type,
            "acceleratorCount": machine.accelerator_count,
        }
    if machine.topology:
        found["tpuTopology"] = machine.topology
    return found


def custom_job(name: str, spec: Mapping[str, Any]) -> dict[str, Any]:
    """A CustomJob."""
    return {"displayName": name, "jobSpec": dict(spec), "labels": LABELS}


def tuning_job(
    name: str, spec: Mapping[str, Any], study: Mapping[str, Any], options: Options
) -> dict[str, Any]:
    """A HyperparameterTuningJob: each trial is the job,
    with the trial's settings as further flags.
    """
    return {
        "displayName": name,
        "studySpec": dict(study),
        "maxTrialCount": options.trials,
        "parallelTrialCount": options.parallel,
        "trialJobSpec": dict(spec),
        "labels": LABELS,
    }


def gcloud_config(kind: str, request: Mapping[str, Any]) -> dict[str, Any]:
    """What gcloud takes as --config for it: the name and the labels are flags there."""
    return (
        dict(request["jobSpec"])
        if kind == "CustomJob"
        else {
            name: value for name, value in request.items() if name not in ("displayName", "labels")
        }
    )


def gcloud_command(kind: str, request: Mapping[str, Any], options: Options) -> str:
    """The command that sends the same request from a file."""
    group = "custom-jobs" if kind == "CustomJob" else "hp-tuning-jobs"
    labels = ",".join(f"{name}={value}" for name, value in request["labels"].items())
    return (
        f"gcloud ai {group} create --project={options.project} --region={options.region}"
        f" --display-name={request['displayName']} --labels={labels} --config=FILE"
    )


def default_name(config: str, now: str) -> str:
    """A name of the config's and the time: a-z, 0-9 and -."""
    stem = re.sub(r"[^a-z0-9]+", "-", config.lower()).strip("-") or "run"
    return f"{stem if stem[0].isalpha() else f'run-{stem}'}"[: 62 - len(now)] + f"-{now}"
