"""A trained model to the Model Registry and an endpoint: TensorFlow Serving with raw strings in.

Source: https://cloud.google.com/vertex-ai/docs/predictions/custom-container-requirements.
"""

from __future__ import annotations

import pathlib
from typing import Any, NamedTuple

import yaml

from trainer.console.display import Display, print_result
from trainer.errors import ConfigError
from trainer.files import gcs, mirror
from trainer.serve.warmup import BATCHING_FILE, write_batching_parameters
from trainer.vertex import accelerators, request
from trainer.vertex.options import Options
from trainer.vertex.service import Service, as_message

SAVED_MODEL = "saved_model.pb"
SERVED = "model"  # the name under which TensorFlow Serving knows it
REST_PORT = 8501
SERVING_VERSION = "2.20.0"  # whose tensorflow-text operations are those of the graphs
SMALL_MACHINE = "n1-standard-4"
NO_ENDPOINT = "none"


class Artifact(NamedTuple):
    """A SavedModel in Cloud Storage.

    Attributes:
        base: the folder that TensorFlow Serving watches.
        version: the folder in it.
        copied_from: where it is copied from; None where it already stands so.
    """

    base: str
    version: str
    copied_from: str | None


def deploy(options: Options, now: str) -> None:
    """Uploads the model, makes an endpoint unless one is named, and has it serve; or prints the
    requests.

    Args:
        now: the time, for the folder that is served.

    Raises:
        ConfigError: there is no SavedModel, or Vertex AI refuses it.
    """
    display, name = Display(), options.name or "podtune"
    machine = accelerators.choose(options)
    image = options.serving_image or request.registry_image(
        options, f"serving:{SERVING_VERSION}{'-gpu' if machine.kind == 'gpu' else ''}"
    )
    # a folder of its own: what serves by now stays as it is
    target = f"{options.bucket}/served/{name}/{now}"
    spec = request.machine_spec(
        machine
        if machine.accelerator_type or options.machine_type
        else machine._replace(machine_type=SMALL_MACHINE)
    )
    artifact = (
        Artifact(target, "1", options.deploy) if options.dry_run else _find(options.deploy, target)
    )
    model = model_request(name, artifact.base, image)
    resources = {
        "machineSpec": spec,
        "minReplicaCount": options.replicas,
        "maxReplicaCount": options.max_replicas or options.replicas,
        **({"spot": True} if options.spot else {}),
    }
    deployed = {
        "displayName": name,
        "dedicatedResources": resources,
        **({"serviceAccount": options.service_account} if options.service_account else {}),
    }
    as_message("Model", model)
    as_message("DeployedModel", {**deployed, "model": "projects/p/locations/r/models/m"})
    if options.dry_run:
        requests = [{"uploadModel": {"model": model}}]
        if options.endpoint != NO_ENDPOINT:
            requests += [
                *(
                    []
                    if options.endpoint
                    else [{"createEndpoint": {"endpoint": {"displayName": name}}}]
                ),
                {"deployModel": {"deployedModel": deployed, "trafficSplit": {"0": 100}}},
            ]
        print_result(yaml.safe_dump_all(requests, sort_keys=False, width=200).rstrip())
        return
    service = Service(options.project, options.region)
    _stage(artifact, display)
    uploaded = service.upload_model(model)
    display.line(f"uploaded {uploaded}")
    print_result(uploaded)
    if options.endpoint == NO_ENDPOINT:
        return
    endpoint = (
        f"{service.parent}/endpoints/{options.endpoint}"
        if options.endpoint
        else service.create_endpoint(name)
    )
    display.line(f"deploying to {endpoint}: this takes about a quarter of an hour")
    service.deploy_model(endpoint, {**deployed, "model": uploaded})
    print_result(endpoint)
    display.line(
        f"ask it: gcloud ai endpoints predict {endpoint.rpartition('/')[2]}"
        f" --region={options.region} --project={options.project} --json-request=REQUEST.json, with"
        ' {"instances": [{"text": "…"}]} in the file'
    )


def model_request(name: str, base: str, image: str) -> dict[str, Any]:
    """The Model: TensorFlow Serving's own container, which reads its folder from Cloud Storage."""
    arguments = [
        f"--rest_api_port={REST_PORT}",
        "--port=8500",
        f"--model_name={SERVED}",
        "--model_base_path=$(AIP_STORAGE_URI)",
        "--enable_batching",
        f"--batching_parameters_file=$(AIP_STORAGE_URI)/{BATCHING_FILE}",
    ]
    container = {
        "imageUri": image,
        "command": ["tensorflow_model_server"],
        "args": arguments,
        "ports": [{"containerPort": REST_PORT}],
        "predictRoute": f"/v1/models/{SERVED}:predict",
        "healthRoute": f"/v1/models/{SERVED}",
    }
    return {
        "displayName": name,
        "artifactUri": base,
        "containerSpec": container,
        "labels": request.LABELS,
    }


def _find(place: str, target: str) -> Artifact:
    """The SavedModel at a URL or in a folder of this machine, in the folder `model` of a job_dir,
    or in the highest version.
    """
    key = "--deploy"
    if not place.startswith(mirror.SCHEME):
        return _find_here(pathlib.Path(place).expanduser(), target)
    names = {item.name: item for item in gcs.find(place, key=key)}
    prefix = gcs.parse(place, key=key)[1].rstrip("/")
    folders = [name.rpartition("/")[0] for name in names if name.endswith(f"/{SAVED_MODEL}")]
    below = {folder.removeprefix(prefix).strip("/"): folder for folder in folders}
    bucket = gcs.parse(place, key=key)[0]
    chosen = _chosen(set(below), place)
    if chosen.isdigit() and f"{prefix}/{BATCHING_FILE}".lstrip("/") in names:
        return Artifact(place.rstrip("/"), chosen, None)
    return Artifact(target, "1", f"gs://{bucket}/{below[chosen]}")


def _find_here(folder: pathlib.Path, target: str) -> Artifact:
    below = (
        {str(file.parent.relative_to(folder)).strip(".") for file in folder.rglob(SAVED_MODEL)}
        if folder.is_dir()
        else set()
    )
    return Artifact(target, "1", str(folder / _chosen(below, str(folder))))


def _chosen(found: set[str], place: str) -> str:
    for name in ("", "model"):
        if name in found:
            return name
    versions = sorted((name for name in found if name.isdigit()), key=int, reverse=True)
    if not versions:
        raise ConfigError(
            f"--deploy: there is no SavedModel in {place}: expected {SAVED_MODEL} in it, in its"
            " folder model, or in a version's folder. To make one: python -m trainer.task"
            " --mode=export --job_dir=JOB_DIR"
        )
    return versions[0]


def _stage(artifact: Artifact, display: Display) -> None:
    """Puts the SavedModel where TensorFlow Serving looks: in a version's folder, saved_model.pb
    last.
    """
    if artifact.copied_from is None:
        return
    key = "--deploy"
    target = f"{artifact.base}/{artifact.version}"
    display.line(f"copying {artifact.copied_from} to {target}")
    if artifact.copied_from.startswith(mirror.SCHEME):
        items = gcs.listing(artifact.copied_from, key=key)
        prefix = gcs.parse(artifact.copied_from, key=key)[1]
        places = {item: f"{target}/{item.name.removeprefix(prefix).lstrip('/')}" for item in items}
        gcs.each(
            lambda item: gcs.copy(item, places[item], key=key),
            [item for item in items if not item.name.endswith(f"/{SAVED_MODEL}")],
        )
        gcs.each(
            lambda item: gcs.copy(item, places[item], key=key),
            [item for item in items if item.name.endswith(f"/{SAVED_MODEL}")],
        )
    else:
        folder = pathlib.Path(artifact.copied_from)
        files = sorted(
            (file for file in folder.rglob("*") if file.is_file()),
            key=lambda file: file.name == SAVED_MODEL,
        )
        for file in files:
            gcs.upload(file, f"{target}/{file.relative_to(folder).as_posix()}", key=key)
    write_batching_parameters(mirror.local(f"{artifact.base}/{BATCHING_FILE}"))
