"""Compiles XLA modules for a TPU generation on a host without a TPU.

Runs by itself, in a process of its own.

    python tpu_compile.py v5e:2x2

reads lines from standard input, each the path of a serialized HLO module, and answers each with one
line of JSON: {"memory": {"argument", "output", "alias", "temporary", "code"} in bytes, "flops",
"bytes", "seconds"}, or {"error": …}.

It needs jax and libtpu. It reaches into private parts of JAX, for want of a public way to compile
HLO that is not JAX's own: this file is the one place that does, and the versions that were tried
are in pyproject.toml.
"""

from __future__ import annotations

import json
import os
import pathlib
import re
import sys
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import jax

ACCELERATOR = "v5litepod-4"  # any: the topology decides; without it libtpu looks for a TPU
COPY = re.compile(r"mhlo.copy (%\S+) : (\S+)")


def main(topology_name: str) -> None:
    """Serves until standard input ends."""
    os.environ.update(
        TPU_SKIP_MDS_QUERY="1",
        TPU_ACCELERATOR_TYPE=ACCELERATOR,
        TPU_WORKER_HOSTNAMES="localhost",
        JAX_PLATFORMS="cpu",
        ALLOW_MULTIPLE_LIBTPU_LOAD="1",  # it locks the machine as if it had the TPU
    )
    from jax.experimental import topologies

    topology = topologies.get_topology_desc(platform="tpu", topology_name=topology_name)
    for line in sys.stdin:
        answer = answer_module(topology.devices[0], pathlib.Path(line.strip()))
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()


def answer_module(device: jax.Device, file: pathlib.Path) -> dict[str, object]:
    """What the compiler says of one module for one device, and how long it took."""
    start = time.monotonic()
    try:
        answer = compile_module(device, file.read_bytes())
    except Exception as error:  # whatever the compiler says is the answer
        answer = {"error": f"{type(error).__name__}: {error}"}
    answer["seconds"] = round(time.monotonic() - start, 1)
    return answer


def compile_module(device: jax.Device, module: bytes) -> dict[str, object]:
    """Compiles one serialized HLO module for one device: its memory and its cost."""
    import numpy as np
    from jax._src.interpreters import mlir as jax_mlir
    from jax._src.lib import xla_client
    from jaxlib.mlir import ir

    options = xla_client.CompileOptions()
    options.num_replicas = options.num_partitions = 1
    options.device_assignment = xla_client.DeviceAssignment.create(np.array([[0]]))
    devices = xla_client._xla.DeviceList((device,))
    text = _stablehlo(module)
    with jax_mlir.make_ir_context():
        executable = device.client.compile(ir.Module.parse(text), devices, options)
    stats = executable.get_compiled_memory_stats()
    cost = executable.cost_analysis()
    memory = {
        "argument": stats.argument_size_in_bytes,
        "output": stats.output_size_in_bytes,
        "alias": stats.alias_size_in_bytes,
        "temporary": stats.temp_size_in_bytes,
        "code": stats.generated_code_size_in_bytes,
    }
    return {
        "memory": memory,
        "flops": cost.get("flops", 0.0),
        "bytes": cost.get("bytes accessed", 0.0),
    }


def _stablehlo(module: bytes) -> str:
    """The module as text that JAX's compiler takes."""
    from jax._src.lib import xla_client

    computation = xla_client.XlaComputation(module)
    converted = xla_client._xla.mlir.xla_computation_to_mlir_module(computation)
    text = converted.decode() if isinstance(converted, bytes) else converted
    # The converter leaves mhlo.copy, which the TPU compiler does not take; a reshape to the
    # same type is the identity.
    return COPY.sub(r"stablehlo.reshape \1 : (\2) -> \2", text)


if __name__ == "__main__":
    main(sys.argv[1])
