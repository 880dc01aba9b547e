"""A trained model to the Model Registry and an endpoint: TensorFlow Serving with raw strings in.

Source: https://cloud.google.com/vertex-ai/docs/predictions/custom-container-requirements.
"""

from __future__ import annotations

import dataclasses
import pathlib
from typing import NamedTuple

import yaml

from trainer.console.display import Display, print_result
from trainer.errors import ConfigError
from trainer.files import gcs, mirror
from trainer.serve.warmup import BATCHING_FILE, write_batching_parameters
from trainer.vertex import accelerators, request
from trainer.vertex.accelerators import Machine
from trainer.vertex.options import Options
from trainer.vertex.request import Json
from trainer.vertex.service import Service, as_message

SAVED_MODEL = "saved_model.pb"
SERVED = "model"  # the name under which TensorFlow Serving knows it
REST_PORT = 8501
SERVING_VERSION = "2.20.0"  # whose tensorflow-text operations are those of the graphs
SMALL_MACHINE = "n1-standard-4"
NO_ENDPOINT = "none"
KEY = "--deploy"  # in messages


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


@dataclasses.dataclass(frozen=True)
class Deployment:
    """What serves a model.

    Attributes:
        name: of the model, the endpoint and what is deployed.
        model: the request for the registry.
        deployed: the request for the endpoint, without the model's resource name.
    """

    name: str
    model: Json
    deployed: Json

    def of_model(self, model: str) -> Json:
        """The request for the endpoint, for an uploaded model."""
        return {**self.deployed, "model": model}


def deploy(options: Options, saved_model: str, now: str) -> None:
    """Uploads the model, makes an endpoint unless one is named, and has it serve.

    With --dry_run it prints the requests.

    Args:
        options: where and how.
        saved_model: --deploy, a URL or a folder.
        now: the time, for the folder that is served.
    Raises:
        ConfigError: there is no SavedModel, or Vertex AI refuses it.
    """
    display = Display()
    machine = accelerators.choose(options)
    name = options.name or "podtune"
    # a folder of its own: what serves by now stays as it is
    target = f"{options.bucket}/served/{name}/{now}"
    artifact = Artifact(target, "1", saved_model) if options.dry_run else _find(saved_model, target)
    deployment = _deployment(options, machine, name, artifact)
    if options.dry_run:
        requests = _requests(deployment, options.endpoint)
        print_result(yaml.safe_dump_all(requests, sort_keys=False, width=200).rstrip())
        return
    service = Service(options.project, options.region)
    _stage(artifact, display)
    uploaded = service.upload_model(deployment.model)
    display.line(f"uploaded {uploaded}")
    print_result(uploaded)
    if options.endpoint != NO_ENDPOINT:
        _serve(deployment, uploaded, options.endpoint, service, display)


def _deployment(options: Options, machine: Machine, name: str, artifact: Artifact) -> Deployment:
    """The requests. Raises ValueError where the API does not know something of them."""
    suffix = "-gpu" if machine.kind == "gpu" else ""
    image = options.serving_image or request.registry_image(
        options, f"serving:{SERVING_VERSION}{suffix}"
    )
    model = model_request(name, artifact.base, image)
    if not machine.accelerator_type and not options.machine_type:
        machine = machine._replace(machine_type=SMALL_MACHINE)
    resources: Json = {
        "machineSpec": request.machine_spec(machine),
        "minReplicaCount": options.replicas,
        "maxReplicaCount": options.max_replicas or options.replicas,
    }
    if options.spot:
        resources["spot"] = True
    deployed: Json = {"displayName": name, "dedicatedResources": resources}
    if options.service_account:
        deployed["serviceAccount"] = options.service_account
    deployment = Deployment(name, model, deployed)
    as_message("Model", model)
    as_message("DeployedModel", deployment.of_model("projects/p/locations/r/models/m"))
    return deployment


def _requests(deployment: Deployment, endpoint: str | None) -> list[Json]:
    """What would be sent, for --dry_run."""
    requests: list[Json] = [{"uploadModel": {"model": deployment.model}}]
    if endpoint == NO_ENDPOINT:
        return requests
    if not endpoint:
        requests.append({"createEndpoint": {"endpoint": {"displayName": deployment.name}}})
    deployed = {"deployedModel": deployment.deployed, "trafficSplit": {"0": 100}}
    return [*requests, {"deployModel": deployed}]


def _serve(
    deployment: Deployment,
    model: str,
    endpoint_number: str | None,
    service: Service,
    display: Display,
) -> None:
    """Has an endpoint serve an uploaded model; without a number a new endpoint."""
    if endpoint_number:
        endpoint = f"{service.parent}/endpoints/{endpoint_number}"
    else:
        endpoint = service.create_endpoint(deployment.name)
    display.line(f"deploying to {endpoint}: this takes about a quarter of an hour")
    service.deploy_model(endpoint, deployment.of_model(model))
    print_result(endpoint)
    display.line(
        f"ask it: gcloud ai endpoints predict {endpoint.rpartition('/')[2]}"
        f" --region={service.region} --project={service.project}"
        ' --json-request=REQUEST.json, with {"instances": [{"text": "…"}]} in the file'
    )


def model_request(name: str, base: str, image: str) -> Json:
    """The Model: TensorFlow Serving's own container, which reads its folder from Cloud Storage.

    Args:
        name: that is shown.
        base: URL of the folder with the versions.
        image: of the container.
    """
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
    """The SavedModel at a URL or in a folder of this machine.

    It is there, in the folder `model` of a job_dir, or in the folder of the highest version.

    Args:
        place: where it is looked for.
        target: URL of the folder that it is copied to, unless it can be served where it is.
    Raises:
        ConfigError: there is none.
    """
    if not place.startswith(mirror.SCHEME):
        return _find_here(pathlib.Path(place).expanduser(), target)
    base = place.rstrip("/")
    urls = {str(item) for item in gcs.find(place, key=KEY)}
    folders = set()
    for url in urls:
        folder, _, name = url.rpartition("/")
        if name == SAVED_MODEL:
            folders.add(folder.removeprefix(base).strip("/"))
    chosen = _chosen(folders, place)
    if chosen.isdigit() and f"{base}/{BATCHING_FILE}" in urls:
        return Artifact(base, chosen, None)
    return Artifact(target, "1", f"{base}/{chosen}".rstrip("/"))


def _find_here(folder: pathlib.Path, target: str) -> Artifact:
    below = set()
    if folder.is_dir():
        for file in folder.rglob(SAVED_MODEL):
            below.add(str(file.parent.relative_to(folder)).strip("."))
    return Artifact(target, "1", str(folder / _chosen(below, str(folder))))


def _chosen(folders: set[str], place: str) -> str:
    """Which of the folders with a SavedModel is deployed, all of them named below the place."""
    for name in ("", "model"):
        if name in folders:
            return name
    versions = [int(name) for name in folders if name.isdigit()]
    if not versions:
        raise ConfigError(
            f"--deploy: there is no SavedModel in {place}: expected {SAVED_MODEL} in it, in its"
            " folder model, or in a version's folder. To make one: python -m trainer.task"
            " --mode=export --job_dir=JOB_DIR"
        )
    return str(max(versions))


def _stage(artifact: Artifact, display: Display) -> None:
    """Puts the SavedModel where TensorFlow Serving looks: in a version's folder."""
    if artifact.copied_from is None:
        return
    target = f"{artifact.base}/{artifact.version}"
    display.line(f"copying {artifact.copied_from} to {target}")
    if artifact.copied_from.startswith(mirror.SCHEME):
        _copy(artifact.copied_from, target)
    else:
        _upload(pathlib.Path(artifact.copied_from), target)
    write_batching_parameters(mirror.local(f"{artifact.base}/{BATCHING_FILE}"))


def _copy(source: str, target: str) -> None:
    """Copies a folder within Cloud Storage, saved_model.pb last."""

    def copy(item: gcs.RemoteObject) -> None:
        name = str(item).removeprefix(source).lstrip("/")
        gcs.copy(item, f"{target}/{name}", key=KEY)

    first: list[gcs.RemoteObject] = []
    last: list[gcs.RemoteObject] = []
    for item in gcs.listing(source, key=KEY):
        is_last = item.name.endswith(f"/{SAVED_MODEL}")
        (last if is_last else first).append(item)
    gcs.each(copy, first)
    gcs.each(copy, last)


def _upload(folder: pathlib.Path, target: str) -> None:
    """Uploads a folder, saved_model.pb last."""
    files = [file for file in folder.rglob("*") if file.is_file()]
    files.sort(key=lambda file: file.name == SAVED_MODEL)
    for file in files:
        name = file.relative_to(folder).as_posix()
        gcs.upload(file, f"{target}/{name}", key=KEY)
