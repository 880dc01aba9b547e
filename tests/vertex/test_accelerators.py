"""Every accelerator's request: golden, and taken by the API's own messages; what is not offered is
refused with its remedy.

After a change that is meant, `python -m tests.vertex.test_accelerators` writes the golden file
anew, for the eye to read.
"""

import datetime
import json
import pathlib

import pytest

from trainer.errors import ConfigError
from trainer.vertex import accelerators, preflight, request
from trainer.vertex.options import Options
from trainer.vertex.service import as_message

GOLDEN = pathlib.Path(__file__).with_name("requests.json")
BASE = {"config": "c.yaml", "project": "my-project", "bucket": "gs://bucket"}
CASES = {
    f"{name}:{count}": {
        "accelerator": f"{name}:{count}",
        "region": (row.pod_regions or row.regions or ["us-central1"])[-1],
    }
    for name, row in accelerators.table().accelerators.items()
    if not row.refused
    for count in row.slices or row.machines
    if row.kind != "cpu"
} | {
    "cpu": {},
    "cpu, three workers": {"workers": 3, "machine_type": "n1-standard-16"},
    "l4:2, two workers on spot": {"accelerator": "l4:2", "workers": 2, "spot": True},
    "h100:8, flex start": {
        "accelerator": "h100:8",
        "flex_start": True,
        "max_wait_hours": 2,
        "timeout_hours": 24,
    },
    "tpu-v5e:4 on spot": {"accelerator": "tpu-v5e:4", "spot": True, "region": "us-west4"},
    "cpu, package": {"package": True, "region": "europe-west4"},
    "a100:2, everything": {
        "accelerator": "a100:2",
        "image": "docker.io/a/b:1",
        "service_account": "a@p.iam.gserviceaccount.com",
        "disk_gb": 500,
        "tensorboard": "projects/p/locations/us-central1/tensorboards/1",
        "network": "projects/1/global/networks/n",
        "timeout_hours": 1.5,
    },
}


def job(**given):
    options = Options(**{**BASE, **given})
    package = "gs://bucket/packages/x/podtune.tar.gz" if options.package else None
    spec = request.job_spec(
        options,
        accelerators.choose(options),
        folder="gs://bucket/job",
        config="gs://bucket/job/submitted.yaml",
        package=package,
    )
    return request.custom_job("job", spec)


@pytest.mark.parametrize("name", CASES)
def test_the_request_is_the_golden_one_and_the_api_knows_it(name):
    made = job(**CASES[name])
    assert made == json.loads(GOLDEN.read_text())[name]
    message = as_message("CustomJob", made)
    pool = message.job_spec.worker_pool_specs[0]
    assert (
        pool.replica_count == 1
        and pool.machine_spec.machine_type
        and message.job_spec.base_output_directory.output_uri_prefix == "gs://bucket/job"
    )


def test_the_golden_file_has_no_others():
    assert set(json.loads(GOLDEN.read_text())) == set(CASES)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (
            {"accelerator": "tpu-v6e:8"},
            (
                "--accelerator: tpu-v6e cannot be used: from v6e on, Vertex AI's TPUs do not run"
                " TensorFlow. Choose one of tpu-v2, tpu-v3, tpu-v5e"
            ),
        ),
        ({"accelerator": "tpu-v4:8"}, "--accelerator: tpu-v4 cannot be used: "),
        (
            {"accelerator": "gb200:4"},
            (
                "--accelerator: gb200 cannot be used: the processors of a4x-highgpu-4g are Arm's,"
                " and TensorFlow's packages for Arm have no CUDA. Choose one of t4, v100, l4, a100,"
                " a100-80gb, h100, h100-mega, h200, b200, rtx-pro-6000, or a TPU."
            ),
        ),
        (
            {"accelerator": "tpu-v3:8", "workers": 2, "region": "europe-west4"},
            (
                "--workers: a TPU job has one worker, whatever its hosts. Received 2. For more"
                " chips take a larger slice: --accelerator=tpu-v3:32"
            ),
        ),
        (
            {"accelerator": "tpu-v5e:8", "workers": 2},
            "chips take a larger slice: --accelerator=tpu-v5e:16",
        ),
        (
            {"accelerator": "tpu-v5e:256", "workers": 2},
            "This slice is the largest. Leave --workers out.",
        ),
        (
            {"accelerator": "tpu-v5e:12"},
            (
                "--accelerator: tpu-v5e comes in 1, 4, 8, 16, 32, 64, 128, 256 chips. Received"
                " 'tpu-v5e:12'."
            ),
        ),
        (
            {"accelerator": "tpu-v3:16"},
            (
                "--accelerator: tpu-v3 comes in 8, 32, 64, 128, 256, 512, 1024, 2048 cores."
                " Received 'tpu-v3:16'."
            ),
        ),
        (
            {"accelerator": "tpu-v5e:16", "machine_type": "ct5lp-hightpu-8t"},
            (
                "--machine_type: --accelerator=tpu-v5e:16 is ct5lp-hightpu-4t, topology 4x4."
                " Received 'ct5lp-hightpu-8t'. Leave it out."
            ),
        ),
        (
            {"accelerator": "tpu-v3:32"},
            (
                "--region: slices of several hosts are offered in europe-west4. Received"
                " 'us-central1'."
            ),
        ),
        (
            {"accelerator": "tpu-v5e:16", "spot": True},
            "--spot: not for TPU slices of several hosts. --accelerator=tpu-v5e:16 has 4.",
        ),
        (
            {"accelerator": "tpu-v5e:8", "tune": "a", "goal": "b"},
            "--tune: Vertex AI's hyperparameter tuning does not run on TPUs.",
        ),
        ({"accelerator": "l4:3"}, "--accelerator: l4 comes in 1, 2, 4, 8. Received 'l4:3'."),
        ({"accelerator": "l4:two"}, "--accelerator: l4 comes in 1, 2, 4, 8."),
        (
            {"accelerator": "h10:8"},
            (
                "--accelerator: expected one of cpu, t4, v100, l4, a100, a100-80gb, h100,"
                " h100-mega, h200, b200, rtx-pro-6000, gb200, tpu-v2, "
            ),
        ),
        ({"accelerator": "h10:8"}, "Received 'h10:8'. Did you mean h100?"),
        ({"accelerator": "cpu:8"}, "--accelerator: cpu has no count."),
        (
            {"accelerator": "l4:1", "region": "europe-west6"},
            "--region: l4 is offered for training in asia-northeast3, ",
        ),
        (
            {"region": "us-centrall"},
            "--region: Vertex AI does not train in 'us-centrall'. Did you mean us-central1?",
        ),
        (
            {"accelerator": "l4:8", "machine_type": "g2-standard-48"},
            (
                "--machine_type: expected one of g2-standard-96 for --accelerator=l4:8. Received"
                " 'g2-standard-48'."
            ),
        ),
        (
            {"accelerator": "l4:1", "package": True},
            (
                "--package: Vertex AI's newest container for a GPU has TensorFlow 2.17, whose"
                " libraries do not serve"
            ),
        ),
        (
            {"flex_start": True},
            (
                "--flex_start: only for l4, a100, a100-80gb, h100, h100-mega, h200, b200. Received"
                " --accelerator=cpu."
            ),
        ),
        (
            {"accelerator": "l4:1", "flex_start": True, "timeout_hours": 200},
            "--timeout_hours: at most 168 with --flex_start. Received 200.",
        ),
    ],
)
def test_what_is_not_offered_is_refused(given, message):
    with pytest.raises(ConfigError) as caught:
        accelerators.choose(Options(**{**BASE, **given}))
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("accelerator", "image", "known"),
    [("b200:8", None, True), ("b200:8", "docker.io/a/b:1", False), ("h200:8", None, False)],
)
def test_xla_is_left_out_where_our_own_image_cannot_compile(accelerator, image, known):
    options = Options(**BASE, accelerator=accelerator, image=image)
    machine = accelerators.choose(options)
    assert bool(machine.xla_obstacle) == known
    finding = preflight._machine(options, machine)
    assert ("; without XLA: XLA cannot compile for b200:8" in finding) == known


def test_all_problems_come_at_once():
    with pytest.raises(ConfigError) as caught:
        accelerators.choose(
            Options(
                **BASE, accelerator="tpu-v3:16", region="us-east1", workers=4, tune="x", goal="y"
            )
        )
    assert [line.partition(":")[0] for line in str(caught.value).splitlines()] == [
        "--region",
        "--accelerator",
        "--workers",
        "--tune",
    ]


def test_the_table_is_sound():
    table = accelerators.table()
    for name, row in table.accelerators.items():
        assert set(row.regions or []) <= set(table.regions) and set(row.pod_regions or []) <= set(
            row.regions or []
        ), name
        assert bool(row.slices) != bool(row.machines) or row.refused, name
        for count, found in row.slices.items():
            assert count == found.replicas
            if found.topology:
                sides = [int(side) for side in found.topology.split("x")]
                chips_of_machine = int(found.machine.rpartition("-")[2][:-1])
                assert sides[0] * sides[1] == count and count == chips_of_machine * found.hosts
            else:
                assert found.hosts == max(1, count // 8)


def test_a_container_past_its_end_is_named():
    machine = accelerators.choose(Options(**BASE, package=True))
    assert accelerators.executor_problem(machine, datetime.date(2026, 7, 11)) is None
    assert "is no longer offered since 2026-07-11" in accelerators.executor_problem(
        machine, datetime.date(2026, 7, 12)
    )
    other = accelerators.choose(
        Options(
            **BASE,
            package=True,
            executor_image="us-docker.pkg.dev/vertex-ai/training/tf-cpu.2-20.py312:latest",
        )
    )
    assert (
        accelerators.executor_problem(other, datetime.date(2030, 1, 1)) is None
        and "tf-cpu.2-20" in other.executor_image
    )


if __name__ == "__main__":
    GOLDEN.write_text(
        json.dumps({name: job(**case) for name, case in CASES.items()}, indent=1) + "\n",
        encoding="utf-8",
    )
