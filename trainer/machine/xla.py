"""Which NVIDIA GPUs XLA compiles for.

XLA writes its programs in the PTX of the CUDA that TensorFlow was built with. For a GPU that is
newer than that PTX its compiler ends the process, without an exception. So it is asked beforehand.

Source: tensorflow/tensorflow#111958; openxla/xla, nvptx_backend.cc; PTX ISA, release history.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from trainer.errors import ConfigError, shown_name
from trainer.lazy import tf

Version = tuple[int, ...]

# By the compute capability from which on, the first CUDA whose PTX knows the GPU.
FIRST_CUDA: dict[Version, Version] = {
    (10, 0): (12, 8),  # B200, GB200: PTX 8.6
    (10, 3): (12, 9),  # B300: PTX 8.8
    (12, 0): (12, 8),  # RTX PRO 6000, RTX 50xx: PTX 8.7
    (12, 1): (12, 9),  # GB10: PTX 8.8
}
SETTINGS_ANYWAY = ("on", "parts")  # of train.xla, which compile whatever the device


class Gpu(NamedTuple):
    """A GPU.

    Attributes:
        name: of its model.
        capability: its compute capability; empty where it is not NVIDIA's.
    """

    name: str
    capability: Version


class Build(NamedTuple):
    """A TensorFlow: its version, and the CUDA that it was built with."""

    version: str
    cuda: Version


# What pyproject.toml allows.
RELEASED = Build("2.20 and 2.21", (12, 5))


def obstacle(gpus: Sequence[Gpu], build: Build) -> str | None:
    """Why XLA cannot compile for one of the GPUs; None where it can for all.

    Args:
        gpus: that a run uses.
        build: of TensorFlow.
    """
    for gpu in gpus:
        rows = [capability for capability in FIRST_CUDA if capability <= gpu.capability]
        needed = FIRST_CUDA[max(rows)] if rows else ()
        if build.cuda < needed:
            return (
                f"XLA cannot compile for {shown_name(gpu.name)} (compute capability"
                f" {_text(gpu.capability)}): that needs CUDA {_text(needed)} or later, and the CUDA"
                f" of TensorFlow {build.version} is {_text(build.cuda)}"
            )
    return None


def refusal(setting: str, problem: str | None) -> str | None:
    """The message, where a setting asks for XLA whatever the device, and it cannot compile.

    Args:
        setting: train.xla.
        problem: an `obstacle`, if there is one.
    """
    if problem is None or setting not in SETTINGS_ANYWAY:
        return None
    return (
        f"train.xla: {problem}. Received {setting!r}. Set --train.xla=off, or auto, which leaves"
        " XLA out there."
    )


def obstacle_here() -> str | None:
    """The `obstacle` of this machine's GPUs, with the TensorFlow that is installed."""
    return obstacle(_gpus(), _build())


def require_xla_here(setting: str) -> str | None:
    """The `obstacle_here`, with which a run goes on without XLA.

    Args:
        setting: train.xla.
    Raises:
        ConfigError: it asks for XLA whatever the device.
    """
    problem = obstacle_here()
    if message := refusal(setting, problem):
        raise ConfigError(message)
    return problem


def _gpus() -> list[Gpu]:
    gpus = []
    for device in tf.config.list_physical_devices("GPU"):
        facts = tf.config.experimental.get_device_details(device)
        name = facts.get("device_name", device.name)
        gpus.append(Gpu(name, tuple(facts.get("compute_capability", ()))))
    return gpus


def _build() -> Build:
    """Of this process. A build that does not tell its CUDA is taken for one of the releases."""
    cuda = tf.sysconfig.get_build_info().get("cuda_version", _text(RELEASED.cuda))
    return Build(tf.__version__, tuple(int(part) for part in cuda.split(".")[:2]))


def _text(version: Version) -> str:
    return ".".join(map(str, version))
