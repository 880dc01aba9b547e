"""Which matrix products a run takes."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest

from trainer.machine import kernels

SHOW = """
import os, sys
os.environ.pop("TF_ENABLE_ONEDNN_OPTS", None)
from trainer import task
from trainer.machine import start
start.keep_memory = lambda: sys.exit(os.environ["TF_ENABLE_ONEDNN_OPTS"])
task.main(["task", "--config=configs/quickstart.yaml", f"--job_dir={sys.argv[1]}"])
"""


@pytest.mark.parametrize("machine", ["x86_64", "AMD64"])
def test_onednn_is_taken_on_x86(machine, monkeypatch):
    monkeypatch.setattr(platform, "machine", lambda: machine)
    variables: dict[str, str] = {}
    kernels.prefer_onednn(variables)
    assert variables == {"TF_ENABLE_ONEDNN_OPTS": "1"}


def test_other_processors_are_left_alone(monkeypatch):
    monkeypatch.setattr(platform, "machine", lambda: "aarch64")
    variables: dict[str, str] = {}
    kernels.prefer_onednn(variables)
    assert variables == {}


def test_what_the_environment_says_counts(monkeypatch):
    monkeypatch.setattr(platform, "machine", lambda: "x86_64")
    variables = {"TF_ENABLE_ONEDNN_OPTS": "0"}
    kernels.prefer_onednn(variables)
    assert variables == {"TF_ENABLE_ONEDNN_OPTS": "0"}


@pytest.mark.skipif(platform.machine() not in kernels.X86, reason="oneDNN is asked for on x86")
def test_a_run_asks_before_tensorflow_is_imported(tmp_path):
    run = subprocess.run(
        [sys.executable, "-c", SHOW, str(tmp_path)], capture_output=True, text=True, check=False
    )
    assert run.stderr.strip() == "1"
