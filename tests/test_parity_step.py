"""Optimizer steps through the whole program equal PyTorch's, weight by weight (golden files of
tests/golden/make_step.py).
"""

from __future__ import annotations

import json
import pathlib

import numpy as np
import pytest
from safetensors.numpy import load_file

from tests import toy

pytestmark = pytest.mark.heavy

GOLDEN = pathlib.Path(__file__).parent / "golden" / "step"
# In exact arithmetic the key biases have no gradient (softmax ignores a shift): what float32 leaves
# is noise, which AdamW scales up to whole steps of the rate, in PyTorch as here.
NO_GRADIENT = ".attention.self.key.bias"


@pytest.mark.parametrize("batching", ["packed", "bucketed", "fixed"])
@pytest.mark.parametrize("steps", [1, 3])
def test_steps_equal_pytorchs_adamw(tmp_path: pathlib.Path, steps: int, batching: str) -> None:
    settings = {
        "steps": steps,
        "global_batch_size": 8,
        "learning_rate": 1e-3,
        "schedule": "constant",
        "warmup_fraction": 0.0,
        "weight_decay": 0.01,
        "clip_norm": 1.0,
        "epsilon": 1e-8,
    }
    config = toy.write_config(
        tmp_path,
        GOLDEN / "checkpoint",
        GOLDEN / "train.jsonl",
        data={"batching": batching},
        train=settings,
        export={"format": "huggingface"},
    )
    assert toy.run_main(config, tmp_path / "job") == 0
    ours = load_file(tmp_path / "job" / "huggingface" / "model.safetensors")
    theirs = load_file(GOLDEN / f"after_{steps}.safetensors")
    assert ours.keys() == theirs.keys()
    before = load_file(GOLDEN / "checkpoint" / "model.safetensors")
    for name in theirs:
        if NO_GRADIENT not in name:
            np.testing.assert_allclose(ours[name], theirs[name], rtol=0, atol=1e-5, err_msg=name)
    # a step is a hundred times the tolerance
    assert max(np.abs(theirs[name] - before[name]).max() for name in theirs) > 9e-4


def test_losses_and_norms_equal_pytorchs(tmp_path: pathlib.Path) -> None:
    config = toy.write_config(
        tmp_path,
        GOLDEN / "checkpoint",
        GOLDEN / "train.jsonl",
        train={
            "steps": 3,
            "global_batch_size": 8,
            "learning_rate": 1e-3,
            "schedule": "constant",
            "warmup_fraction": 0.0,
        },
    )
    assert toy.run_main(config, tmp_path / "job") == 0
    logged = [
        line
        for line in toy.read_jsonl(tmp_path / "job" / "metrics.jsonl")
        if line["split"] == "train"
    ]
    for line, fact in zip(logged, json.loads((GOLDEN / "facts.json").read_text()), strict=True):
        assert line["loss"] == pytest.approx(fact["loss"], abs=1e-5)
        assert line["gradient_norm"] == pytest.approx(fact["gradient_norm"], abs=1e-5)
