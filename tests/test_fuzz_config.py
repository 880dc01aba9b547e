"""Whatever a config or a command line holds: it is valid, or there is one message, bounded and
clean.
"""

import collections
import os
import random
import time

import pytest

from tests.fuzzing import assert_clean, configs, mutated_cluster, mutated_config, mutated_flags
from tests.toy import ROOT
from trainer import task
from trainer.run.cluster import VARIABLES
from trainer.settings import flags
from trainer.settings.resolve import resolve

SAMPLE, ALL = 150, 2000
SECONDS = 30
SETTINGS = flags.setting_names()
CONFIGS = configs(ROOT / "configs")
OWN = [flag.name for flag in flags.OWN]


@pytest.fixture
def started(monkeypatch, tmp_path):
    """What would be run."""
    calls = []
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(task, "perform", lambda run, log: calls.append(run.resolved))
    for name in list(os.environ):
        if name.startswith(("AIP_", "CLOUD_ML_", "TPU_")) or name in ("TF_CONFIG", "CLUSTER_SPEC"):
            monkeypatch.delenv(name)
    return calls


def check(number, folder, started, capsys):
    """One case: its exit code."""
    rng = random.Random(number)
    file = folder / "run.yaml"
    file.write_bytes(
        mutated_config(rng, rng.choice(CONFIGS))
        if rng.random() < 0.8
        else rng.choice(CONFIGS).encode()
    )
    arguments = mutated_flags(rng, SETTINGS, OWN)
    with pytest.MonkeyPatch.context() as patch:
        if rng.random() < 0.1:
            patch.setenv(rng.choice(VARIABLES), mutated_cluster(rng))
        code = task.main(["task", f"--config={file}", *arguments])
    case = f"case {number}: {arguments!r:.300} {file.read_bytes()[:300]!r}"
    assert_clean(code, capsys.readouterr(), case)
    if code == 0 and started:
        again = folder / "resolved.yaml"
        again.write_text(started[-1].to_yaml(), encoding="utf-8")
        assert resolve(again).config == started[-1].config, case
    started.clear()
    return code


@pytest.mark.parametrize(
    "numbers",
    [range(SAMPLE), pytest.param(range(SAMPLE, ALL), marks=pytest.mark.slow)],
    ids=["sample", "all"],
)
def test_a_mutated_config_is_valid_or_one_message(tmp_path, started, capsys, numbers):
    start = time.process_time()
    codes = collections.Counter(check(number, tmp_path, started, capsys) for number in numbers)
    assert (
        codes[0] > len(numbers) / 50 and codes[2] > len(numbers) / 2
    )  # the mutations are neither all nor none
    assert time.process_time() - start < SECONDS
