"""Whatever the flags of a submission hold: a request, or one message, bounded and clean."""

import random
import time

import pytest

from tests import toy
from tests.fuzzing import assert_clean, mutated_config, mutated_flags
from trainer.files import mirror
from trainer.settings import flags
from trainer.vertex.__main__ import main
from trainer.vertex.command_line import own_flags

SAMPLE, ALL = 40, 500
SECONDS = 30
PLACE = ["--project=my-project", "--bucket=gs://jobs/podtune", "--dry_run"]
OWN = [flag.name for flag in own_flags() if flag.name not in ("help", "dry_run")]
SEARCH = ["--tune", "--goal", "--accelerator", "--bucket", "--trials", "--machine_type", "--name"]
ODD = [
    "train.learning_rate:1e-5..1e-4:log", "train.learning_rate:0..1:log", "train.epochs:3..2",
    "train.epochs:1..9e999", "train.seed:1|2|x", "x:1..2", ":", "..",
    "train.epochs:" + "1|" * 5000, "train.epochs:" + "9" * 5000 + "..1", "train.epochs:[..]",
    "maximize:validation.accuracy", "maximize:", "minimize:test.loss", "l4:2",
    "l4:999999999999", "l4:-1", "l4:x", "tpu-v3:8", "tpu-v5e:7", "tpu-v5e:" + "8" * 400,
    "cpu:3", ":8", "gs://", "gs://B", "gs://jobs/\x1b[2J", "s3://x", "a100:8", "n1-standard-4",
    "\x1b[31m", "none", "A" * 300, "1e400", "-5", "0", "true", "",
]  # fmt: skip


@pytest.fixture
def config(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(mirror, "_chosen", [])
    monkeypatch.chdir(tmp_path)
    weights = toy.write_checkpoint(tmp_path / "weights", layers=1, hidden=8)
    rows = toy.write_sentences(tmp_path / "train.jsonl", 5)
    return toy.write_config(tmp_path, weights, rows, data={"validation": 0.2, "cache_dir": None})


@pytest.mark.parametrize(
    "numbers",
    [range(SAMPLE), pytest.param(range(SAMPLE, ALL), marks=pytest.mark.slow)],
    ids=["sample", "all"],
)
def test_odd_flags_are_a_request_or_one_message(config, capsys, numbers):
    start, codes = time.process_time(), []
    for number in numbers:
        rng = random.Random(number)
        file = config.with_name("mutated.yaml")
        text = config.read_text(encoding="utf-8")
        file.write_bytes(mutated_config(rng, text) if rng.random() < 0.3 else text.encode())
        searched = [f"{flag}={rng.choice(ODD)}" for flag in SEARCH if rng.random() < 0.15]
        arguments = [*searched, *mutated_flags(rng, flags.setting_names(), OWN)[:2]]
        code = main(["vertex", f"--config={file}", *PLACE, *arguments])
        assert_clean(code, capsys.readouterr(), f"case {number}: {arguments!r:.300}")
        codes.append(code)
    assert {0, 2} <= set(codes)
    assert time.process_time() - start < SECONDS


@pytest.mark.parametrize(
    ("argument", "expected"),
    [
        ("--deploy=", "--deploy: no value. Expected text or null; leave it out for the default."),
        ("--workers=", "--workers: no value. Expected integer >= 1;"),
        ("--trials=9", "--trials: only with --tune."),
        (
            "--region=us\x1b[2J",
            r"--region: has a character that cannot be printed. Received 'us\x1b[2J'.",
        ),
        ("--timeout_hours=1e300", "--timeout_hours: expected at most 10000. Received 1e+300."),
    ],
)
def test_what_would_be_taken_for_something_else_is_refused(config, capsys, argument, expected):
    assert main(["vertex", f"--config={config}", *PLACE, argument]) == 2
    assert expected in capsys.readouterr().err
