"""The images and their build: Dockerfiles by a linter, cloudbuild.yaml by Cloud Build's own
message, pins by pyproject.toml's ranges.
"""

import pathlib
import re
import shutil
import subprocess
import sys

import pytest
import yaml
from google.cloud.devtools import cloudbuild_v1
from google.protobuf import json_format
from packaging.requirements import Requirement
from packaging.version import Version

import trainer
from scripts import lock_images
from trainer.vertex import accelerators

ROOT = pathlib.Path(__file__).resolve().parent.parent
DOCKERFILES = sorted((ROOT / "docker").glob("*.Dockerfile"))
KINDS = [file.name.partition(".")[0] for file in DOCKERFILES]


def cloudbuild():
    return yaml.safe_load((ROOT / "cloudbuild.yaml").read_text(encoding="utf-8"))


def pins(kind):
    lines = (ROOT / "docker" / f"requirements-{kind}.txt").read_text(encoding="utf-8").splitlines()
    return dict(line.split("==") for line in lines if "==" in line)


@pytest.mark.parametrize("file", DOCKERFILES, ids=KINDS)
def test_the_linter_finds_nothing(file):
    linter = shutil.which("hadolint", path=pathlib.Path(sys.executable).parent)
    found = subprocess.run(
        [linter, "--no-color", file], capture_output=True, text=True, check=False
    )
    assert (found.returncode, found.stdout) == (0, "")


def test_there_is_one_for_every_kind_of_machine():
    assert set(KINDS) == {row.kind for row in accelerators.table().accelerators.values()}


@pytest.mark.parametrize("kind", KINDS)
def test_the_pins_are_within_the_ranges_and_complete(kind):
    pinned = pins(kind)
    for text in lock_images.requirements(kind):
        required = Requirement(text)
        version = {"python_version": lock_images.PYTHONS[kind]}
        if required.marker and not required.marker.evaluate(version):
            continue
        assert Version(pinned[required.name]) in required.specifier, text
    if kind == "tpu":
        assert (
            "tensorflow" not in pinned
            and "tensorflow-text" not in pinned
            and pinned["tensorflow-tpu"]
        )


def test_cloud_build_knows_every_field():
    build = json_format.ParseDict(cloudbuild(), cloudbuild_v1.Build.pb(cloudbuild_v1.Build()))
    steps = {step.id: step for step in build.steps}
    assert set(steps) == {"lint", "test", "sdist", "pull", "serving", *KINDS} and all(
        "test" in steps[kind].wait_for for kind in KINDS
    )
    for step in build.steps:
        assert all(other in {*steps, "-"} for other in step.wait_for)
    assert len(build.images) == 2 * len(KINDS) + 2 and build.artifacts.objects.paths == [
        "dist/*.tar.gz"
    ]


def test_what_is_pushed_is_what_a_submission_asks_for():
    from trainer.vertex import deploy, request
    from trainer.vertex.options import Options

    content = cloudbuild()
    assert content["substitutions"]["_VERSION"] == trainer.__version__
    values = {**content["substitutions"], "PROJECT_ID": "my-project"}
    pushed = {
        re.sub(r"\$\{?(\w+)\}?", lambda match: values[match[1]], image)
        for image in content["images"]
    }
    options = Options(config="c.yaml", project="my-project", bucket="gs://bucket")
    machine = accelerators.choose(options)
    assert {request.own_image(options, machine._replace(kind=kind)) for kind in KINDS} <= pushed
    assert {
        request.registry_image(options, f"serving:{deploy.SERVING_VERSION}{suffix}")
        for suffix in ("", "-gpu")
    } <= pushed


def test_all_substitutions_are_documented_and_used():
    text = (ROOT / "cloudbuild.yaml").read_text(encoding="utf-8")
    for name in cloudbuild()["substitutions"]:
        assert f"#   {name} " in text and f"${{{name}}}" in text


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["cpu", "gpu"])
def test_the_steps_of_an_image_work_in_a_plain_environment(kind):
    """That of TPUs takes Python 3.10: scripts/try_image.py docker/tpu.Dockerfile python3.10."""
    command = [
        sys.executable,
        ROOT / "scripts" / "try_image.py",
        ROOT / "docker" / f"{kind}.Dockerfile",
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
