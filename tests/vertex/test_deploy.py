"""A SavedModel, wherever it stands, becomes what TensorFlow Serving reads in a registered model,
and serves at an endpoint.
"""

import re

import pytest
import yaml

from tests.cloud import bucket_of_cloud_storage
from tests.vertex_api import vertex_api
from trainer.files import gcs, mirror
from trainer.serve.warmup import BATCHING_FILE, BATCHING_PARAMETERS
from trainer.vertex import service as service_module
from trainer.vertex.__main__ import main

PLACE = ["vertex", "--project=my-project", "--region=us-central1", "--bucket=gs://models"]
FILES = (
    "saved_model.pb",
    "variables/variables.index",
    "variables/variables.data-00000-of-00001",
    "assets.extra/tf_serving_warmup_requests",
)


@pytest.fixture(scope="module")
def servers():
    with (
        bucket_of_cloud_storage("models") as faults,
        vertex_api() as (vertex, api),
        pytest.MonkeyPatch.context() as patch,
    ):
        patch.setenv(service_module.ENDPOINT_VARIABLE, vertex)
        yield faults, api


@pytest.fixture
def api(servers, monkeypatch, tmp_path):
    servers[1].operations = []
    servers[1].requests = []
    servers[1].refuse = None
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(mirror, "_chosen", [])
    mirror._jobs.cache_clear()
    yield servers[1]
    mirror._jobs.cache_clear()


def put(folder, *, batching=False):
    for name in FILES:
        gcs.client().bucket("models").blob(f"{folder}/{name}").upload_from_string(
            f"{folder} {name}"
        )
    if batching:
        gcs.client().bucket("models").blob(
            f"{folder.rpartition('/')[0]}/{BATCHING_FILE}"
        ).upload_from_string("x")


def contents(prefix):
    return {
        item.name.removeprefix(f"{prefix}/"): (
            gcs.client().bucket("models").blob(item.name).download_as_text()
        )
        for item in gcs.listing(f"gs://models/{prefix}", key="test")
    }


@pytest.mark.parametrize("place", ["plain", "job", "here"])
def test_a_model_is_staged_uploaded_and_deployed(api, tmp_path, capsys, place):
    source = {"plain": "plain", "job": "job/model", "here": str(tmp_path / "model")}[place]
    if place == "here":
        for name in FILES:
            (tmp_path / "model" / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / "model" / name).write_text(f"{source} {name}")
    else:
        put(source)
    given = {"plain": "gs://models/plain", "job": "gs://models/job/", "here": str(tmp_path)}[place]
    assert (
        main([*PLACE, f"--deploy={given}", f"--name=m-{place}", "--replicas=2", "--max_replicas=5"])
        == 0
    )
    (_, upload), (_, endpoint), (path, deployed) = api.operations
    base = upload.model.artifact_uri.removeprefix("gs://models/")
    assert re.fullmatch(rf"served/m-{place}/\d{{8}}-\d{{6}}", base)
    assert contents(base) == {
        **{f"1/{name}": f"{source} {name}" for name in FILES},
        BATCHING_FILE: BATCHING_PARAMETERS,
    }
    container = upload.model.container_spec
    assert container.image_uri == "us-central1-docker.pkg.dev/my-project/podtune/serving:2.20.0"
    assert (
        container.predict_route == "/v1/models/model:predict"
        and container.ports[0].container_port == 8501
    )
    assert "--model_base_path=$(AIP_STORAGE_URI)" in container.args and list(container.command) == [
        "tensorflow_model_server"
    ]
    model, made = capsys.readouterr().out.splitlines()
    assert (
        model.startswith("projects/my-project/locations/us-central1/models/")
        and path == f"/v1/{made}:deployModel"
    )
    resources = deployed.deployed_model.dedicated_resources
    assert (
        deployed.deployed_model.model == model
        and dict(deployed.traffic_split) == {"0": 100}
        and endpoint.display_name == f"m-{place}"
    )
    assert (
        resources.machine_spec.machine_type,
        resources.min_replica_count,
        resources.max_replica_count,
    ) == ("n1-standard-4", 2, 5)


def test_a_versioned_folder_is_taken_as_it_is(api, servers):
    for version in (2, 10):
        put(f"versions/{version}", batching=True)
    servers[0].requests.clear()
    assert (
        main(
            [
                *PLACE,
                "--deploy=gs://models/versions",
                "--name=v",
                "--endpoint=77",
                "--accelerator=l4:1",
            ]
        )
        == 0
    )
    (_, upload), (path, deployed) = api.operations
    assert (
        upload.model.artifact_uri == "gs://models/versions"
        and path == "/v1/projects/my-project/locations/us-central1/endpoints/77:deployModel"
    )
    assert deployed.deployed_model.dedicated_resources.machine_spec.machine_type == "g2-standard-12"
    assert upload.model.container_spec.image_uri.endswith("/podtune/serving:2.20.0-gpu")
    assert {method for method, _ in servers[0].requests} == {"GET"}


def test_what_is_served_stays_when_it_is_deployed_again(api):
    put("served/again/old/1")
    before = contents("served/again/old")
    for place in ("gs://models/served/again/old/1", "gs://models/served/again/old"):
        assert main([*PLACE, f"--deploy={place}", "--name=again", "--endpoint=none"]) == 0
        base = api.operations[-1][1].model.artifact_uri.removeprefix("gs://models/")
        assert {name for name in contents(base) if name != BATCHING_FILE} == {
            f"1/{name}" for name in FILES
        } and contents("served/again/old") == before


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--train.epochs=5"], "--train.epochs: not with --deploy, which takes project, region, "),
        (["--workers=3"], "--workers: not with --deploy"),
        (
            ["--replicas=4", "--max_replicas=1"],
            "--max_replicas: expected at least --replicas=4. Received 1.",
        ),
    ],
)
def test_what_does_not_apply_is_refused(api, capsys, arguments, message):
    assert main([*PLACE, "--deploy=gs://models/plain", *arguments]) == 2
    assert message in capsys.readouterr().err and not api.requests


def test_it_can_stop_at_the_registry(api):
    put("plain")
    assert main([*PLACE, "--deploy=gs://models/plain", "--endpoint=none"]) == 0
    assert [path.rpartition(":")[2] for path, _ in api.operations] == ["upload"]


def test_a_dry_run_prints_the_requests(api, servers, capsys):
    servers[0].requests.clear()
    assert main([*PLACE, "--deploy=gs://models/plain", "--dry_run", "--name=dry"]) == 0
    upload, endpoint, deployed = yaml.safe_load_all(capsys.readouterr().out)
    assert upload["uploadModel"]["model"]["artifactUri"].startswith("gs://models/served/dry/")
    assert endpoint["createEndpoint"]["endpoint"]["displayName"] == "dry"
    assert (
        deployed["deployModel"]["trafficSplit"] == {"0": 100}
        and not api.requests
        and not servers[0].requests
    )


def test_where_there_is_no_model(api, tmp_path, capsys):
    gcs.client().bucket("models").blob("empty/a.txt").upload_from_string("")
    for place in ("gs://models/empty", str(tmp_path)):
        assert main([*PLACE, f"--deploy={place}"]) == 2
        said = capsys.readouterr().err
        assert re.search(
            rf"--deploy: there is no SavedModel in {re.escape(place)}: expected saved_model.pb in"
            r" it, in its folder model, or in a version",
            said,
        )
    assert not api.requests
