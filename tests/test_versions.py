"""What a plain `pip install podtune-*.whl` takes from the registry, for every Python it allows.

Nothing is installed: the wheel is built, and its requirements are resolved.
"""

import json
import pathlib
import shutil
import subprocess
import sys
from collections.abc import Mapping

import pytest
from packaging import tags
from packaging.utils import parse_wheel_filename

from scripts.lock_images import PLATFORM, tomllib
from tests.toy import ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
PYTHONS = ("3.10", "3.11", "3.12", "3.13")
EXTRAS = sorted(PROJECT["optional-dependencies"])
# Other frameworks, builds of TensorFlow that stand in each other's way, and what is years too old.
UNWANTED = {"torch", "jax", "tf-keras", "keras-nightly", "tf-nightly", "tensorflow-cpu"}
SOURCES_ONLY = {"promise", "rouge-score"}  # no wheel for any Python; pure Python
NOT_THERE = {("3.10", "tpu-plan"): "jax>=0.10"}  # JAX left Python 3.10 before
COPIED = ("podtune", "trainer", "configs", "setup.py", "pyproject.toml", "README.md", "MANIFEST.in")

pytestmark = pytest.mark.slow

Lock = Mapping[str, dict]  # by a package's name, what pylock.toml says of it


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """Built from a copy, as a build leaves folders behind."""
    place = tmp_path_factory.mktemp("wheel")
    (place / "source").mkdir()
    for name in COPIED:
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
        copy(ROOT / name, place / "source" / name)
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", place]
    subprocess.run([*command, place / "source"], check=True)
    (built,) = place.glob("podtune-*.whl")
    return built


def resolve(wheel: pathlib.Path, python: str, extra: str = "") -> subprocess.CompletedProcess[str]:
    """By uv, which resolves for a Python that is not here; writes pylock.toml beside the wheel."""
    asked = f"podtune{f'[{extra}]' if extra else ''} @ {wheel.as_uri()}"
    command = [sys.executable, "-m", "uv", "pip", "compile", "-", "--quiet"]
    command += ["--python-version", python, "--python-platform", PLATFORM]
    command += ["--format", "pylock.toml", "--output-file", str(wheel.with_name("pylock.toml"))]
    return subprocess.run(command, input=asked, capture_output=True, text=True, check=False)


def locked(wheel: pathlib.Path, python: str, extra: str = "") -> Lock:
    """What was resolved."""
    file = wheel.with_name("pylock.toml")
    file.unlink(missing_ok=True)
    done = resolve(wheel, python, extra)
    assert done.returncode == 0, done.stderr
    packages = tomllib.loads(file.read_text(encoding="utf-8"))["packages"]
    return {package["name"]: package for package in packages}


def without_a_wheel(lock: Lock, python: str) -> set[str]:
    """The packages that would have to be built."""
    major, minor = map(int, python.split("."))
    glibc = int(PLATFORM.rpartition("_")[2])
    platforms = [f"manylinux_2_{version}_x86_64" for version in range(glibc, 4, -1)]
    platforms += ["manylinux2014_x86_64", "manylinux2010_x86_64", "manylinux1_x86_64"]
    known = {
        *tags.cpython_tags((major, minor), platforms=platforms),
        *tags.compatible_tags((major, minor), platforms=platforms),
    }
    fits = {
        name
        for name, package in lock.items()
        for own in package.get("wheels", [])
        if parse_wheel_filename(own["url"].rpartition("/")[2])[3] & known
    }
    return {*lock} - fits - {"podtune"}


@pytest.mark.parametrize("python", PYTHONS)
def test_a_plain_install_resolves_for_every_python(wheel, python):
    lock = locked(wheel, python)
    minors = {
        lock[name]["version"].rpartition(".")[0] for name in ("tensorflow", "tensorflow-text")
    }
    assert len(minors) == 1, minors
    assert not UNWANTED & {*lock}
    assert without_a_wheel(lock, python) == SOURCES_ONLY


@pytest.mark.parametrize("extra", EXTRAS)
@pytest.mark.parametrize("python", PYTHONS)
def test_every_extra_resolves(wheel, python, extra):
    missing = NOT_THERE.get((python, extra))
    if missing:
        done = resolve(wheel, python, extra)
        assert done.returncode and missing in " ".join(done.stderr.split())
        return
    lock = locked(wheel, python, extra)
    assert not {"torch", "tf-keras", "keras-nightly"} & {*lock}
    assert lock["tensorflow"]["version"].startswith(("2.20.", "2.21."))


def test_pip_itself_takes_the_same(wheel):
    command = [sys.executable, "-m", "pip", "install", "--dry-run", "--ignore-installed"]
    command += ["--quiet", "--report", "-", str(wheel)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    taken = {
        package["metadata"]["name"].lower().replace("_", "-"): package["metadata"]["version"]
        for package in json.loads(done.stdout)["install"]
    }
    lock = locked(wheel, ".".join(map(str, sys.version_info[:2])))
    named = ("tensorflow", "tensorflow-text", "keras", "transformers", "tensorflow-datasets")
    assert {name: taken[name] for name in named} == {name: lock[name]["version"] for name in named}
    assert not UNWANTED & {*taken}


@pytest.mark.parametrize("python", ["3.9", *PYTHONS, "3.14"])
def test_a_python_that_was_not_tried_is_refused_by_its_version(wheel, tmp_path, python):
    command = [sys.executable, "-m", "pip", "install", "--dry-run", "--no-deps", "--quiet"]
    command += ["--python-version", python, "--target", str(tmp_path), str(wheel)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    said = f"requires a different Python: {python}.0 not in '<3.14,>=3.10'"
    assert (done.returncode, said in done.stderr) == (
        (0, False) if python in PYTHONS else (1, True)
    )
